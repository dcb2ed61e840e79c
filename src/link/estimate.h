/*
 * What a link gives, learnt from the transfers on it: the smallest recent round trip and the largest recent rate of
 * delivery (the two filters of BBR, draft-cardwell-iccrg-bbr-congestion-control). Bytes are told as they arrive, not
 * when a transfer ends: transfers that end together would look like a burst. Pure: the caller gives the time.
 */
#ifndef LINK_ESTIMATE_H
#define LINK_ESTIMATE_H

#include <stdbool.h>
#include <stdint.h>

#define LINK_SAMPLES 8
#define LINK_SAMPLE_MIN_US 20000 /* a rate over less than that is a burst, not a rate */
#define LINK_RTT_KEEP_US 300000000 /* a round trip older than this gives way to any longer one, */
#define LINK_RTT_QUIET_US 30000000 /* one older than this to a longer one that met no queue of ours */

struct link_estimate {
    uint64_t rtt_us, rtt_at_us;        /* the smallest, 0: none yet; and when it was measured */
    uint64_t quiet_us[LINK_SAMPLES];   /* the last round trips that met no queue of ours, a ring */
    unsigned quiets;                   /* how many there were */
    uint64_t rates[LINK_SAMPLES];      /* the last samples, a ring; bytes a second */
    unsigned next_rate;
    uint64_t since_us;                 /* when the transfers began; 0: there are none */
    uint64_t busy_us, bytes;           /* of the current sample: time with transfers before since_us; bytes that came */
    bool limited;                      /* in the current sample's time less was under way than fills the link */
};

/* `quiet`: nothing else of ours was under way, so no queue of ours is in `rtt_us`. */
void link_round_trip(struct link_estimate *link, uint64_t rtt_us, bool quiet, uint64_t now_us);
/* The first of the transfers begins, and the last one ends: time without transfers is not counted as slowness. */
void link_busy(struct link_estimate *link, uint64_t now_us);
void link_idle(struct link_estimate *link, uint64_t now_us);
/* Bytes have come. Returns the rate, in bytes a second, of the sample that they ended; 0: they ended none. */
uint64_t link_received(struct link_estimate *link, uint64_t bytes, uint64_t now_us);
/* Too little is under way to fill the link: the link gives at least the rate that is measured now. */
void link_limited(struct link_estimate *link);
/* The middle one of the last round trips that met no queue of ours, for people: the smallest may be one whose beginning was
 * noticed late. 0: none was measured. */
uint64_t link_quiet_round_trip(const struct link_estimate *link);
uint64_t link_bandwidth(const struct link_estimate *link); /* bytes a second; 0: not known */

#endif
