#include "remote/pace.h"

#include <string.h>

#define WINDOW_MS ((uint64_t)PACE_TICK_MS * PACE_WINDOW)

void pace_begin(struct pace *pace)
{
    memset(pace, 0, sizeof *pace);
}

void pace_tick(struct pace *pace, uint64_t received)
{
    pace->received[++pace->ticks % (PACE_WINDOW + 1)] = received;
}

static uint64_t pace_at(const struct pace *pace, unsigned tick)
{
    return pace->received[tick % (PACE_WINDOW + 1)];
}

uint64_t pace_gained(const struct pace *pace)
{
    unsigned from = pace->ticks > PACE_WINDOW ? pace->ticks - PACE_WINDOW : 0;
    return pace_at(pace, pace->ticks) - pace_at(pace, from);
}

/* A request's fair share of what the link brought in the window, or could have brought. */
static uint64_t pace_share(const struct pace_link *link)
{
    uint64_t most = link->bandwidth * WINDOW_MS / 1000;
    return (link->gained > most ? link->gained : most) / (link->requests > 0 ? link->requests : 1);
}

bool pace_is_late(const struct pace *pace, uint64_t rest, uint64_t left_ms, const struct pace_link *link)
{
    uint64_t gained = pace_gained(pace);
    if (pace->ticks < PACE_WINDOW)
        return false;
    if (gained == 0)
        return link->gained == 0 || pace->ticks >= PACE_PATIENCE;
    if (gained * left_ms >= rest * WINDOW_MS)
        return false;
    return gained < PACE_FLOOR * WINDOW_MS / 1000 || gained * PACE_UNFAIR < pace_share(link);
}
