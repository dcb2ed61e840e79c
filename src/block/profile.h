/*
 * A boot profile: which parts of an image a host reads, in the order in which it
 * reads them first. The image is divided into clusters; clusters that follow one
 * another in both orders are a run. It is recorded while a host boots, and given to
 * profile_plan (block/profile_plan.h) at the next boot from the same image. Pure.
 */
#ifndef BLOCK_PROFILE_H
#define BLOCK_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

#define PROFILE_CLUSTER_MIN  (64u << 10) /* bytes */
#define PROFILE_CLUSTER_MAX  (1u << 20)
#define PROFILE_CLUSTERS_MAX (1u << 17)   /* of an image: one of more than 128 GiB has no profile */
#define PROFILE_RUNS_MAX     600          /* so that written down it has less than 16 KiB */
#define PROFILE_BYTES_MAX    (1ull << 30) /* what was read behind them is no boot any more */
#define PROFILE_MS_MAX       (30 * 60 * 1000u)

struct profile_run {
    uint32_t first, count; /* clusters */
    uint32_t at_ms;        /* when the first of them was read, from the first read of all */
};

struct profile {
    uint64_t size;    /* of the image, bytes */
    uint32_t cluster; /* bytes, a power of two */
    uint32_t count;
    struct profile_run runs[PROFILE_RUNS_MAX];
};

/* The size of the clusters of an image of `size` bytes; 0: it can have no profile. */
uint32_t profile_cluster(uint64_t size);
/* Whether all runs lie in the image, none of their clusters is there twice, and the times go up. */
bool profile_is_valid(const struct profile *profile);
uint64_t profile_bytes(const struct profile *profile);
/* Whether there is anything to gain by it: reads in order are read ahead anyway. */
bool profile_is_useful(const struct profile *profile);

struct profile_recorder {
    struct profile profile;
    uint64_t clusters; /* recorded */
    uint64_t began_ms; /* the first read */
    bool began, full;  /* full: nothing more is recorded */
    uint8_t seen[PROFILE_CLUSTERS_MAX / 8];
};

void profile_recorder_init(struct profile_recorder *recorder, uint64_t size);
/* The host reads there, inside the image, at `now_ms` of the loop. */
void profile_recorder_read(struct profile_recorder *recorder, uint64_t offset, uint32_t length, uint64_t now_ms);

#endif
