/*
 * What a link gives, learnt from the transfers on it: the smallest recent round
 * trip and the largest recent rate of delivery (the two filters of BBR,
 * draft-cardwell-iccrg-bbr-congestion-control). Bytes are told as they arrive, not when a transfer ends: those that
 * end together would look like a burst. Pure: the caller gives the time.
 */
#ifndef LINK_ESTIMATE_H
#define LINK_ESTIMATE_H

#include <stdbool.h>
#include <stdint.h>

#define LINK_SAMPLES 8
#define LINK_SAMPLE_MIN_US 20000 /* a rate over less than that is a burst, not a rate */
#define LINK_RTT_KEEP_US 300000000 /* a round trip older than that is forgotten, */
#define LINK_RTT_QUIET_US 30000000 /* and before that, if one that met no queue of ours says so */

struct link_estimate {
    uint64_t rtt_us, rtt_at_us;        /* 0: none yet */
    uint64_t rates[LINK_SAMPLES];      /* bytes a second */
    unsigned next_rate;
    uint64_t since_us;                 /* when the transfers began; 0: there are none */
    uint64_t busy_us, bytes;           /* of the sample being taken, before since_us */
    bool limited;                      /* less was asked for in its time than the link could have brought */
};

/* `quiet`: nothing else of ours was under way, so that the way was as long as that. */
void link_round_trip(struct link_estimate *link, uint64_t rtt_us, bool quiet, uint64_t now_us);
/* The first of some transfers begins, the last ends: time without any is not
 * counted as slowness. */
void link_busy(struct link_estimate *link, uint64_t now_us);
void link_idle(struct link_estimate *link, uint64_t now_us);
/* Gives the rate if that ended a sample, else 0. */
uint64_t link_received(struct link_estimate *link, uint64_t bytes, uint64_t now_us);
/* Too little is under way to fill the link: a rate that is measured now is at least what the link gives. */
void link_limited(struct link_estimate *link);
uint64_t link_bandwidth(const struct link_estimate *link); /* bytes a second; 0: not known */

#endif
