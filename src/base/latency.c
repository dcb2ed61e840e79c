#include "base/latency.h"

/* From a cache's answer to the longest time that a server is waited for. */
const uint64_t latency_bounds_us[LATENCY_STEPS] = {100,    250,    1000,    2500,    5000,    10000,    25000,    50000,
                                                   100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000};

void latency_add(struct latency *latency, uint64_t us)
{
    unsigned step = 0;
    while (step < LATENCY_STEPS && us > latency_bounds_us[step])
        step++;
    latency->at[step]++;
    latency->count++;
    latency->sum_us += us;
}

void latency_merge(struct latency *latency, const struct latency *more)
{
    latency->count += more->count;
    latency->sum_us += more->sum_us;
    for (unsigned i = 0; i <= LATENCY_STEPS; i++)
        latency->at[i] += more->at[i];
}
