#include "link/estimate.h"

#include <stdlib.h>
#include <string.h>

static int link_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

uint64_t link_quiet_round_trip(const struct link_estimate *link)
{
    uint64_t sorted[LINK_SAMPLES];
    unsigned count = link->quiets < LINK_SAMPLES ? link->quiets : LINK_SAMPLES;
    memcpy(sorted, link->quiet_us, sizeof sorted);
    qsort(sorted, count, sizeof *sorted, link_compare);
    return count ? sorted[count / 2] : 0;
}

void link_round_trip(struct link_estimate *link, uint64_t rtt_us, bool quiet, uint64_t now_us)
{
    uint64_t keep = quiet ? LINK_RTT_QUIET_US : LINK_RTT_KEEP_US;
    if (rtt_us == 0)
        rtt_us = 1;
    if (quiet)
        link->quiet_us[link->quiets++ % LINK_SAMPLES] = rtt_us;
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
