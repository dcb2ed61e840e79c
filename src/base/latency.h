/*
 * How long things took: how many of them, in fixed steps, and the sum. Recording costs a few comparisons, and no memory.
 * Pure; times are microseconds.
 */
#ifndef BASE_LATENCY_H
#define BASE_LATENCY_H

#include <stdint.h>

#define LATENCY_STEPS 16
/* The upper bounds; what takes longer than the last is counted in at[LATENCY_STEPS]. */
extern const uint64_t latency_bounds_us[LATENCY_STEPS];

struct latency {
    uint64_t count, sum_us;
    uint64_t at[LATENCY_STEPS + 1]; /* of each step alone: how many were above the bound before, and not above its own */
};

void latency_add(struct latency *latency, uint64_t us);
/* Adds all that `more` has. */
void latency_merge(struct latency *latency, const struct latency *more);

#endif
