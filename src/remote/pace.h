/*
 * Judges whether a request in flight will be done in time, from how many bytes it brought lately. Pure policy:
 * pace_tick() is told every PACE_TICK_MS how many bytes have come.
 */
#ifndef REMOTE_PACE_H
#define REMOTE_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_TICK_MS   500
#define PACE_WINDOW    6    /* ticks that are looked at: 3 s */
#define PACE_PATIENCE  16   /* ticks without a byte, while other requests bring some */
#define PACE_FLOOR     1024 /* bytes a second; no link that is of use gives a request less */
#define PACE_UNFAIR    4    /* how many times less than its share of the link is unfair */

struct pace {
    uint64_t received[PACE_WINDOW + 1]; /* bytes so far, at each of the last ticks, a ring */
    unsigned ticks;
};

/* What else is known when a request is judged. */
struct pace_link {
    uint64_t gained;    /* bytes that all requests of the link brought in the window */
    uint64_t bandwidth; /* bytes a second, as measured; 0: not known */
    unsigned requests;  /* in flight */
};

void pace_begin(struct pace *pace);
void pace_tick(struct pace *pace, uint64_t received);
/* Bytes that came within the window. */
uint64_t pace_gained(const struct pace *pace);
/* `rest` bytes are to come within `left_ms`: at this pace they won't, and the link itself is not too slow for them. */
bool pace_is_late(const struct pace *pace, uint64_t rest, uint64_t left_ms, const struct pace_link *link);

#endif
