/*
 * How a host's reads go: how long they waited, and which failed, and why. The one owner of these facts, which the log,
 * the control socket, the page, Redfish and the metrics tell. One struct a slot, all zero at first; counters of the slot
 * only grow, those of a medium begin with it. Pure: the caller gives the time.
 */
#ifndef SLOT_HOST_READS_H
#define SLOT_HOST_READS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/latency.h"
#include "block/source.h"

#define HOST_READS_WAITS_MS 2000  /* a read that waits longer is told of */
#define HOST_READS_SLOW_US  20000 /* one that waited longer was no matter of the cache */
#define HOST_READS_LINES    10    /* failed reads that are logged one by one, */
#define HOST_READS_LINES_MS 60000 /* in each such time; the others are counted in the next line */

enum host_read_failure {
    HOST_READ_AWAY,       /* the image's server or browser is away */
    HOST_READ_UNREADABLE, /* what came could not be used, or the file could not be read */
    HOST_READ_INVALID,    /* there is no such part of the image */
    HOST_READ_EJECTED,    /* the medium went while the read waited: no trouble of the medium's */
    HOST_READ_FAILURES
};
const char *host_read_failure_name(enum host_read_failure failure); /* "away", ... */

/* A read that was answered. */
struct host_read {
    uint64_t offset;
    uint32_t length;
    uint64_t waited_us;
    int status;         /* 0, or a negative errno */
    bool away;          /* not 0: what the image is read from is away */
    const char *why;    /* not 0: in words; "": as the status says */
};

/* Those of the medium that failed. */
struct host_reads_failed {
    uint64_t count; /* 0: none, and the rest is not set */
    uint64_t seen;  /* of them somebody has taken note */
    uint64_t offset; /* of the last */
    uint32_t length;
    uint64_t waited_ms;
    time_t at;
    char why[SOURCE_ERROR_MAX];
};

struct host_reads {
    /* Since the slot was made. */
    struct latency latency;
    uint64_t failures[HOST_READ_FAILURES];
    /* Of the medium. */
    uint64_t count, slow, bytes; /* answered rightly; those of them that waited; and what all had */
    struct host_reads_failed failed;
    /* The log's. */
    uint64_t lines_since;
    unsigned lines;
    uint64_t untold;
};

/* Another medium: what was of the one before is forgotten. */
void host_reads_begin(struct host_reads *reads);
/* `now`: loop time, ms; `who`: the log's prefix. A failed read is a line of the log. */
void host_reads_answer(struct host_reads *reads, const struct host_read *read, uint64_t now, const char *who);
/* Somebody has taken note of the failed reads: they are not told again, but in the log and where they are counted. */
void host_reads_dismiss(struct host_reads *reads);
/* Failed reads that nobody has taken note of. */
static inline uint64_t host_reads_unseen(const struct host_reads *reads)
{
    return reads->failed.count - reads->failed.seen;
}

#endif
