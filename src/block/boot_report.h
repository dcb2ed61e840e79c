/*
 * How the reads of a host went: how many, how long those waited that had to, and when
 * how much had been read. Pure; times are the loop's, in milliseconds.
 */
#ifndef BLOCK_BOOT_REPORT_H
#define BLOCK_BOOT_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#define BOOT_REPORT_STALL_MS 20 /* a read that waits longer is a stall */
#define BOOT_REPORT_WORST    8  /* the longest of them are told one by one */
#define BOOT_REPORT_MARKS    16 /* at 1, 2, 4, ... MiB */

struct boot_stall {
    uint64_t offset;
    uint32_t length, waited_ms;
    uint64_t at_ms; /* when it was asked for, from the first read */
};

struct boot_report {
    bool began;
    uint64_t began_ms;
    uint64_t reads, bytes;
    uint64_t last_ms; /* the last answer, from the first read */
    uint64_t stalls, stalled_ms;
    struct boot_stall worst[BOOT_REPORT_WORST]; /* the longest first */
    unsigned worst_count;
    uint64_t marks[BOOT_REPORT_MARKS]; /* milliseconds from the first read until 2^N MiB had been read */
    unsigned mark_count;
    uint64_t failures;
};

/* A read was answered, right or with an error, after `waited_ms`. */
void boot_report_answer(struct boot_report *report, uint64_t offset, uint32_t length, int status, uint64_t now_ms,
                        uint64_t waited_ms);

#endif
