/*
 * How many times what the link holds (its bandwidth-delay product) may be under way. Much lets the estimate grow quickly
 * and hides a server that is slow to begin; but where the link has one queue for all, what is more than it holds waits there, and
 * whoever asks for something else waits behind it (RFC 6817, LEDBAT, and the drain phase of BBR). So when answers begin
 * late the gain is lowered step by step, for as long as that costs no throughput: a server that is late by itself is told from a queue
 * by that. Pure: the caller gives the time.
 */
#ifndef LINK_GAIN_H
#define LINK_GAIN_H

#include <stdbool.h>
#include <stdint.h>

#define LINK_GAIN_MOST  400 /* hundredths */
#define LINK_GAIN_LEAST 150
#define LINK_GAIN_STEP_RTTS 4
#define LINK_GAIN_HOLD_US 10000000 /* after a step that cost throughput none is tried for so long */

struct link_gain {
    unsigned gain;        /* hundredths; 0: as at the beginning */
    uint64_t late_us;     /* how long answers took to begin, lately; 0: not known */
    uint64_t step_at_us;  /* when the next step may be */
    uint64_t hold_until_us;
    uint64_t rate;        /* the best since the last step */
    uint64_t rate_before; /* and before that, if it was a step down that was not judged yet; else 0 */
};

unsigned link_gain(const struct link_gain *gain);
/* How long the first byte of an answer took that others of ours were under way with. */
void link_gain_late(struct link_gain *gain, uint64_t late_us);
/* A rate was measured, `limited` by what was asked for or not; `rtt_us`: of the link. */
void link_gain_rate(struct link_gain *gain, uint64_t rate, bool limited, uint64_t rtt_us, uint64_t now_us);

#endif
