#include "link/estimate.h"

/* One that is shorter than all those without a queue of ours had none either. */
static void link_quiet_round_trip(struct link_estimate *link, uint64_t rtt_us, bool quiet, uint64_t now_us)
{
    bool old = quiet && now_us - link->quiet_at_us > LINK_RTT_QUIET_US;
    if (link->quiet_us == 0 ? !quiet : rtt_us > link->quiet_us && !old)
        return;
    link->quiet_us = rtt_us;
    link->quiet_at_us = now_us;
}

void link_round_trip(struct link_estimate *link, uint64_t rtt_us, bool quiet, uint64_t now_us)
{
    uint64_t keep = quiet ? LINK_RTT_QUIET_US : LINK_RTT_KEEP_US;
    if (rtt_us == 0)
        rtt_us = 1;
    link_quiet_round_trip(link, rtt_us, quiet, now_us);
    if (link->rtt_us == 0 || rtt_us <= link->rtt_us || now_us - link->rtt_at_us > keep) {
        link->rtt_us = rtt_us;
        link->rtt_at_us = now_us;
    }
}

/* Ends the sample if it is long enough to mean something, and returns its rate; else 0. */
static uint64_t link_sample(struct link_estimate *link, uint64_t now_us)
{
    uint64_t elapsed = link->busy_us + (link->since_us ? now_us - link->since_us : 0);
    if (elapsed < LINK_SAMPLE_MIN_US || elapsed < link->rtt_us / 2)
        return 0;
    uint64_t rate = link->bytes * 1000000 / elapsed;
    if (!link->limited || rate > link_bandwidth(link)) {
        link->rates[link->next_rate] = rate;
        link->next_rate = (link->next_rate + 1) % LINK_SAMPLES;
    }
    link->limited = false;
    if (link->since_us)
        link->since_us = now_us;
    link->busy_us = link->bytes = 0;
    return rate;
}

void link_limited(struct link_estimate *link)
{
    link->limited = true;
}

void link_busy(struct link_estimate *link, uint64_t now_us)
{
    link->since_us = now_us;
}

void link_idle(struct link_estimate *link, uint64_t now_us)
{
    link->busy_us += now_us - link->since_us;
    link->since_us = 0;
}

uint64_t link_received(struct link_estimate *link, uint64_t bytes, uint64_t now_us)
{
    link->bytes += bytes;
    return link_sample(link, now_us);
}

uint64_t link_bandwidth(const struct link_estimate *link)
{
    uint64_t best = 0;
    for (int i = 0; i < LINK_SAMPLES; i++)
        if (link->rates[i] > best)
            best = link->rates[i];
    return best;
}
