/*
 * An empty USB stick: a partition table (MBR) with one FAT32 partition at 1 MiB, as firmware, Windows and Linux take it
 * (Microsoft's FAT specification 1.03, sections 3 to 5). All that is not zero are a few sectors. Pure.
 */
#ifndef STORE_STICK_H
#define STORE_STICK_H

#include <stdbool.h>
#include <stdint.h>

#define STICK_SECTOR    512u
#define STICK_SIZE_MIN  (40ull << 20)   /* FAT32 has 65525 clusters at least */
#define STICK_SIZE_MAX  (1ull << 40)    /* sectors are counted in 32 bits */
#define STICK_SECTORS   8
#define STICK_LABEL_MAX 11

struct stick {
    uint64_t size; /* bytes: whole sectors */
    struct stick_sector {
        uint32_t at;
        unsigned char data[STICK_SECTOR];
    } sectors[STICK_SECTORS];
    unsigned count;
};

/* What is wrong with a label, in words; NULL: nothing. "" is no label. */
const char *stick_label_problem(const char *label);
/* `id`: by chance, to tell sticks apart. False: there are no sticks of that size. */
bool stick_plan(struct stick *stick, uint64_t size, const char *label, uint32_t id);

#endif
