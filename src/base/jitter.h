/*
 * Random numbers for what must not be the same on every machine at the same moment: pauses, ports, first
 * numbers. Each process has a seed of its own from getrandom(2). Not for secrets.
 */
#ifndef BASE_JITTER_H
#define BASE_JITTER_H

#include <stdint.h>

uint64_t jitter_number(void);
/* 0..bound-1, bound > 0. */
uint64_t jitter_below(uint64_t bound);
/* Between a half of `most_ms` and all of it. */
uint64_t jitter_pause(uint64_t most_ms);

#endif
