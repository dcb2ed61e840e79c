/* What a cache source knows of boots: it records what is read, fetches ahead by what was recorded before, and says how
 * the reads went. See block/cache_front.h. */
#include <errno.h>

#include "base/text.h"
#include "block/cache_front.h"

void cache_boot_opened(struct cache_front *front)
{
    if (front->recorder)
        profile_recorder_init(front->recorder, front->source.size);
}

bool cache_boot_read(struct cache_front *front, const struct io *io)
{
    if (front->recorder && !(io->flags & IO_ASIDE))
        profile_recorder_read(front->recorder, io->offset, io->length, uv_now(front->source.loop));
    return profile_plan_read(&front->plan, io->offset, io->length);
}

void cache_boot_answer(struct cache_front *front, const struct io *io, int status, uint64_t waited_ms)
{
    if (status != -ECANCELED && !(io->flags & IO_ASIDE))
        boot_report_answer(&front->report, io->offset, io->length, status, uv_now(front->source.loop), waited_ms);
}

bool cache_boot_ahead(struct cache_front *front, const struct readahead_limits *limits, unsigned most)
{
    struct profile_plan_limits plan = {
        .ahead = front->cache->limit / 2, .second = front->lower->stats.bandwidth, .chunk = limits->chunk};
    uint64_t offset, fetched;
    uint32_t length;
    /* In flight as for a stream: more than the link holds would only wait. */
    while (front->prefetches < most && front->prefetching < limits->window &&
           profile_plan_next(&front->plan, &plan, &offset, &length)) {
        if (cache_fetch_missing(front, offset, offset + length, &fetched))
            continue;
        profile_plan_untell(&front->plan, offset);
        return false;
    }
    return true;
}

void cache_boot_closed(struct cache_front *front)
{
    front->left_unread = cache_image_unread(front->image);
}

void cache_boot_free(struct cache_front *front)
{
    mem_free(front->recorder);
    mem_free(front->profile);
}

/* --- block/cache.h --- */

void cache_source_record(struct source *source)
{
    struct cache_front *front = cache_front_of(source);
    front->recorder = mem_alloc(sizeof *front->recorder);
}

const struct profile *cache_source_recorded(const struct source *source)
{
    const struct cache_front *front = container_of(source, const struct cache_front, source);
    return front->recorder ? &front->recorder->profile : NULL;
}

bool cache_source_follow(struct source *source, const struct profile *profile)
{
    struct cache_front *front = cache_front_of(source);
    if (source->state != SOURCE_OPEN || front->profile || profile->size != source->size || !profile_is_valid(profile))
        return false;
    front->profile = mem_alloc(sizeof *profile);
    *front->profile = *profile;
    profile_plan_init(&front->plan, front->profile);
    cache_fetch_ahead(front);
    return true;
}

const struct profile *cache_source_followed(const struct source *source, bool *fits)
{
    const struct cache_front *front = container_of(source, const struct cache_front, source);
    *fits = front->profile && !front->plan.rests;
    return front->profile;
}

const struct boot_report *cache_source_report(const struct source *source)
{
    return &container_of(source, const struct cache_front, source)->report;
}

uint64_t cache_source_in_vain(const struct source *source)
{
    const struct cache_front *front = container_of(source, const struct cache_front, source);
    return source->stats.wasted + (front->image ? cache_image_unread(front->image) : front->left_unread);
}
