/*
 * How many times what the link holds (its bandwidth-delay product) may be under way. A large gain lets the estimate
 * grow quickly and hides a server that is slow to begin. But where the link has one queue for all, what is more than
 * the link holds waits in that queue, and whoever asks for something else waits behind it (RFC 6817, LEDBAT, and the
 * drain phase of BBR). So when answers begin late the gain is lowered step by step. A step that costs
 * throughput is taken back: the lateness was the server's own, and no queue's. Pure: the caller gives the time.
 */
#ifndef LINK_GAIN_H
#define LINK_GAIN_H

#include <stdbool.h>
#include <stdint.h>

#define LINK_GAIN_MOST  400 /* hundredths */
#define LINK_GAIN_LEAST 150
#define LINK_GAIN_STEP_RTTS 4      /* round trips from a step to the next */
#define LINK_GAIN_HOLD_US 10000000 /* no step down for so long after one that cost throughput */

struct link_gain {
    unsigned gain;        /* hundredths; 0: no step yet, so LINK_GAIN_MOST */
    uint64_t late_us;     /* how long answers took to begin lately, smoothed; 0: not known */
    uint64_t step_at_us;  /* when the next step may be */
    uint64_t hold_until_us;
    uint64_t rate;        /* the best since the last step, bytes a second */
    uint64_t rate_before; /* the best before a step down that was not judged yet; else 0 */
};

/* In hundredths. */
unsigned link_gain(const struct link_gain *gain);
/* How long the first byte of an answer took while other transfers of ours were under way. */
void link_gain_late(struct link_gain *gain, uint64_t late_us);
/* A rate, in bytes a second, was measured. `limited`: by what was asked for, not by the link. `rtt_us`: the link's. */
void link_gain_rate(struct link_gain *gain, uint64_t rate, bool limited, uint64_t rtt_us, uint64_t now_us);

#endif
