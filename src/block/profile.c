#include "block/profile.h"

#include <string.h>

#include "base/text.h"

#define IN_ORDER 10 /* of so many clusters one lies elsewhere: the rest was read in order */

uint32_t profile_cluster(uint64_t size)
{
    uint32_t cluster = PROFILE_CLUSTER_MIN;
    while (cluster <= PROFILE_CLUSTER_MAX && size / cluster >= PROFILE_CLUSTERS_MAX)
        cluster *= 2;
    return size > 0 && cluster <= PROFILE_CLUSTER_MAX ? cluster : 0;
}

static uint64_t clusters_of(const struct profile *profile)
{
    return (profile->size + profile->cluster - 1) / profile->cluster;
}

/* False: it was marked already. */
static bool mark(uint8_t *seen, uint64_t cluster)
{
    uint8_t bit = (uint8_t)(1u << cluster % 8);
    if (seen[cluster / 8] & bit)
        return false;
    seen[cluster / 8] |= bit;
    return true;
}

static bool run_is_valid(const struct profile *profile, const struct profile_run *run, uint8_t *seen)
{
    uint64_t end = (uint64_t)run->first + run->count;
    if (run->count == 0 || end > clusters_of(profile) || run->at_ms > PROFILE_MS_MAX)
        return false;
    for (uint64_t cluster = run->first; cluster < end; cluster++)
        if (!mark(seen, cluster))
            return false;
    return true;
}

bool profile_is_valid(const struct profile *profile)
{
    if (profile->cluster == 0 || profile->cluster != profile_cluster(profile->size) ||
        profile->count > PROFILE_RUNS_MAX)
        return false;
    uint8_t *seen = mem_alloc(PROFILE_CLUSTERS_MAX / 8);
    bool valid = true;
    for (uint32_t i = 0; i < profile->count && valid; i++)
        valid = run_is_valid(profile, &profile->runs[i], seen) &&
                (i == 0 || profile->runs[i].at_ms >= profile->runs[i - 1].at_ms);
    mem_free(seen);
    return valid;
}

static uint64_t clusters_in(const struct profile *profile)
{
    uint64_t clusters = 0;
    for (uint32_t i = 0; i < profile->count; i++)
        clusters += profile->runs[i].count;
    return clusters;
}

uint64_t profile_bytes(const struct profile *profile)
{
    return clusters_in(profile) * profile->cluster;
}

bool profile_is_useful(const struct profile *profile)
{
    uint64_t longest = 0, clusters = clusters_in(profile);
    for (uint32_t i = 0; i < profile->count; i++)
        longest = profile->runs[i].count > longest ? profile->runs[i].count : longest;
    return profile->count > 1 && (clusters - longest) * IN_ORDER > clusters;
}

void profile_recorder_init(struct profile_recorder *recorder, uint64_t size)
{
    memset(recorder, 0, sizeof *recorder);
    recorder->profile.size = size;
    recorder->profile.cluster = profile_cluster(size);
    recorder->full = recorder->profile.cluster == 0;
}

static void profile_record(struct profile_recorder *recorder, uint32_t cluster, uint32_t at_ms)
{
    struct profile *profile = &recorder->profile;
    struct profile_run *last = profile->count > 0 ? &profile->runs[profile->count - 1] : NULL;
    recorder->clusters++;
    if (last && last->first + last->count == cluster)
        last->count++;
    else
        profile->runs[profile->count++] = (struct profile_run){cluster, 1, at_ms};
    recorder->full = profile->count == PROFILE_RUNS_MAX || recorder->clusters * profile->cluster >= PROFILE_BYTES_MAX;
}

void profile_recorder_read(struct profile_recorder *recorder, uint64_t offset, uint32_t length, uint64_t now_ms)
{
    uint32_t cluster = recorder->profile.cluster;
    if (recorder->full || length == 0)
        return;
    if (!recorder->began) {
        recorder->began = true;
        recorder->began_ms = now_ms;
    }
    recorder->full = now_ms - recorder->began_ms > PROFILE_MS_MAX;
    for (uint64_t at = offset / cluster; at <= (offset + length - 1) / cluster && !recorder->full; at++)
        if (mark(recorder->seen, at))
            profile_record(recorder, (uint32_t)at, (uint32_t)(now_ms - recorder->began_ms));
}
