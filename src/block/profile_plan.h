/*
 * What to fetch ahead by a boot profile. Pure policy: profile_plan_read() is told
 * each read, profile_plan_next() says which range to fetch next, if any.
 *
 * The plan is the profile's bytes in their order. What has been fetched is ahead of
 * the reader in it; how far is bounded, since what is fetched takes memory. Once there
 * is a reader, who may be of another boot than the profile, no more is fetched than the
 * link brings in half a second, and then as the reader bears the profile out. While he
 * reads elsewhere the plan rests.
 */
#ifndef BLOCK_PROFILE_PLAN_H
#define BLOCK_PROFILE_PLAN_H

#include "block/profile.h"

#define PROFILE_PLAN_TRUST  8            /* reads elsewhere, more than others, until the plan rests */
#define PROFILE_PLAN_RESUME 4            /* reads by the profile, more than others, until it goes on */
#define PROFILE_PLAN_BEYOND 4            /* reads in a row ahead of what was fetched: the reader is there */
#define PROFILE_PLAN_EARNED 4            /* times what was read by the profile may be fetched ahead */
#define PROFILE_PLAN_FIRST  (512u << 10) /* or that, if it is more than half a second's */

struct profile_plan {
    const struct profile *profile;       /* NULL: there is none, and nothing is ever told */
    uint32_t before[PROFILE_RUNS_MAX];   /* clusters of the plan before each run */
    uint16_t by_place[PROFILE_RUNS_MAX]; /* the runs in the image's order */
    uint32_t clusters;                   /* in all */
    uint32_t reader;                     /* where the reader is: clusters of the plan */
    uint32_t told;                       /* how far it was told to fetch */
    unsigned beyond;                     /* reads in a row ahead of that */
    int trust;                           /* PROFILE_PLAN_TRUST at first; 0: it rests */
    bool rests;
    bool read;        /* there was a read */
    uint64_t matched; /* bytes that were read by the profile */
};

/* What the link and the memory allow now, bytes. */
struct profile_plan_limits {
    uint64_t ahead;  /* of the reader */
    uint64_t second; /* what the link brings in a second; 0: it is not known */
    uint32_t chunk;  /* the most of one fetch */
};

/* The profile is valid, and outlives the plan. */
void profile_plan_init(struct profile_plan *plan, const struct profile *profile);
/* Whether the profile has it, and the plan is followed: then nothing else needs to be read ahead for it. */
bool profile_plan_read(struct profile_plan *plan, uint64_t offset, uint32_t length);
/* The next range worth fetching, which may lie here already; false when there is none now. */
bool profile_plan_next(struct profile_plan *plan, const struct profile_plan_limits *limits, uint64_t *offset,
                       uint32_t *length);
/* What was told last is not fetched after all. */
void profile_plan_untell(struct profile_plan *plan, uint64_t offset);

#endif
