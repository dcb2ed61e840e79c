#include "link/gain.h"

#define LATE_LEAST_US 5000 /* beyond the round trip and a quarter of it: more than this is a queue's */

unsigned link_gain(const struct link_gain *gain)
{
    return gain->gain ? gain->gain : LINK_GAIN_MOST;
}

void link_gain_late(struct link_gain *gain, uint64_t late_us)
{
    gain->late_us = gain->late_us ? (3 * gain->late_us + late_us) / 4 : late_us;
}

static void gain_set(struct link_gain *gain, unsigned to)
{
    gain->gain = to < LINK_GAIN_LEAST ? LINK_GAIN_LEAST : to > LINK_GAIN_MOST ? LINK_GAIN_MOST : to;
}

static bool gain_met_a_queue(const struct link_gain *gain, uint64_t rtt_us)
{
    return gain->late_us > rtt_us + rtt_us / 4 + LATE_LEAST_US;
}

/* Takes the last step down back if it cost throughput. */
static bool gain_judge(struct link_gain *gain, uint64_t now_us)
{
    bool costly = gain->rate_before > 0 && gain->rate < gain->rate_before - gain->rate_before / 8;
    gain->rate_before = 0;
    if (!costly)
        return false;
    gain_set(gain, link_gain(gain) * 3 / 2);
    gain->hold_until_us = now_us + LINK_GAIN_HOLD_US;
    return true;
}

static void gain_step(struct link_gain *gain, uint64_t rtt_us, uint64_t now_us)
{
    if (!gain_met_a_queue(gain, rtt_us)) {
        gain_set(gain, link_gain(gain) * 9 / 8);
    } else if (now_us >= gain->hold_until_us && link_gain(gain) > LINK_GAIN_LEAST) {
        gain->rate_before = gain->rate;
        gain_set(gain, link_gain(gain) * 4 / 5);
    }
}

void link_gain_rate(struct link_gain *gain, uint64_t rate, bool limited, uint64_t rtt_us, uint64_t now_us)
{
    if (rate > gain->rate) /* the link gives at least that, whatever limited the rate */
        gain->rate = rate;
    if (limited || now_us < gain->step_at_us)
        return;
    if (!gain_judge(gain, now_us))
        gain_step(gain, rtt_us, now_us);
    gain->step_at_us = now_us + LINK_GAIN_STEP_RTTS * rtt_us;
    gain->rate = 0;
}
