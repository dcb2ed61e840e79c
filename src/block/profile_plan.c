#include "block/profile_plan.h"

#include <stdlib.h>
#include <string.h>

#define NOWHERE UINT32_MAX

static uint32_t plan_least_count(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint64_t plan_least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* --- places --- */

static int compare_places(const void *a, const void *b, void *profile)
{
    const struct profile_run *runs = ((const struct profile *)profile)->runs;
    uint32_t x = runs[*(const uint16_t *)a].first, y = runs[*(const uint16_t *)b].first;
    return (x > y) - (x < y);
}

void profile_plan_init(struct profile_plan *plan, const struct profile *profile)
{
    memset(plan, 0, sizeof *plan);
    plan->profile = profile;
    plan->trust = PROFILE_PLAN_TRUST;
    for (uint32_t i = 0; i < profile->count; i++) {
        plan->before[i] = plan->clusters;
        plan->by_place[i] = (uint16_t)i;
        plan->clusters += profile->runs[i].count;
    }
    qsort_r(plan->by_place, profile->count, sizeof *plan->by_place, compare_places, (void *)profile);
}

/* Where in the plan the image's cluster is; NOWHERE: the profile does not have it. */
static uint32_t position_of(const struct profile_plan *plan, uint64_t cluster)
{
    const struct profile *profile = plan->profile;
    uint32_t low = 0, high = profile->count;
    while (low < high) { /* the first run in the image's order that begins behind the cluster */
        uint32_t middle = (low + high) / 2;
        if (profile->runs[plan->by_place[middle]].first <= cluster)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NOWHERE;
    uint32_t run = plan->by_place[low - 1];
    uint64_t into = cluster - profile->runs[run].first;
    return into < profile->runs[run].count ? plan->before[run] + (uint32_t)into : NOWHERE;
}

/* --- the reader --- */

static void trust(struct profile_plan *plan, int more)
{
    int trust = plan->trust + more;
    plan->trust = trust < 0 ? 0 : trust > PROFILE_PLAN_TRUST ? PROFILE_PLAN_TRUST : trust;
    plan->rests = plan->trust == 0 || (plan->rests && plan->trust < PROFILE_PLAN_RESUME);
}

/* One read far ahead of what was fetched may be out of turn; some in a row are not. */
static void reader_moves(struct profile_plan *plan, uint32_t position)
{
    plan->beyond = position < plan->told ? 0 : plan->beyond + 1;
    if (plan->beyond >= PROFILE_PLAN_BEYOND)
        plan->told = position;
    if (position <= plan->told && position > plan->reader)
        plan->reader = position;
}

bool profile_plan_read(struct profile_plan *plan, uint64_t offset, uint32_t length)
{
    if (!plan->profile || length == 0)
        return false;
    uint32_t position = position_of(plan, (offset + length - 1) / plan->profile->cluster);
    plan->read = true;
    if (position == NOWHERE) {
        trust(plan, -1);
        return false;
    }
    trust(plan, 1);
    plan->matched += length;
    reader_moves(plan, position);
    return !plan->rests;
}

/* --- what is fetched --- */

static uint64_t ahead_now(const struct profile_plan *plan, const struct profile_plan_limits *limits)
{
    uint64_t first = limits->second / 2 > PROFILE_PLAN_FIRST ? limits->second / 2 : PROFILE_PLAN_FIRST;
    uint64_t earned = first + PROFILE_PLAN_EARNED * plan->matched;
    return plan->read ? plan_least(limits->ahead, earned) : limits->ahead;
}

static uint32_t run_at(const struct profile_plan *plan, uint32_t position)
{
    uint32_t low = 0, high = plan->profile->count;
    while (low + 1 < high) {
        uint32_t middle = (low + high) / 2;
        if (plan->before[middle] <= position)
            low = middle;
        else
            high = middle;
    }
    return low;
}

bool profile_plan_next(struct profile_plan *plan, const struct profile_plan_limits *limits, uint64_t *offset,
                       uint32_t *length)
{
    const struct profile *profile = plan->profile;
    if (!profile || plan->rests || plan->told >= plan->clusters)
        return false;
    uint64_t ahead = (uint64_t)(plan->told - plan->reader) * profile->cluster, most = ahead_now(plan, limits);
    if (ahead + profile->cluster > most)
        return false;
    uint32_t run = run_at(plan, plan->told), into = plan->told - plan->before[run];
    uint32_t chunk = limits->chunk > profile->cluster ? limits->chunk / profile->cluster : 1;
    uint32_t count =
        plan_least_count(profile->runs[run].count - into, plan_least_count(chunk, (uint32_t)((most - ahead) / profile->cluster)));
    *offset = ((uint64_t)profile->runs[run].first + into) * profile->cluster;
    *length = (uint32_t)plan_least((uint64_t)count * profile->cluster, profile->size - *offset);
    plan->told += count;
    return true;
}

void profile_plan_untell(struct profile_plan *plan, uint64_t offset)
{
    uint32_t position = position_of(plan, offset / plan->profile->cluster);
    if (position == NOWHERE || position >= plan->told)
        return;
    plan->told = position;
    plan->reader = plan_least_count(plan->reader, position);
}
