/* A cache source: its life, and what goes down to the lower source as it is. See block/cache_front.h. */
#include <assert.h>
#include <errno.h>

#include "base/text.h"
#include "block/cache_front.h"

/* Anything but a read, handed down. */
struct cache_pass {
    struct link link;
    struct cache_front *front;
    struct io *upper;
    struct io io;
};

void cache_front_learn(struct cache_front *front, int status)
{
    const struct source *lower = front->lower;
    struct source_stats *stats = &front->source.stats;
    stats->requests = lower->stats.requests;
    stats->bytes = lower->stats.bytes;
    stats->retries = lower->stats.retries;
    stats->rtt_us = lower->stats.rtt_us;
    stats->bandwidth = lower->stats.bandwidth;
    stats->gain = lower->stats.gain;
    stats->quiet_rtt_us = lower->stats.quiet_rtt_us;
    stats->ranges = lower->stats.ranges;
    stats->sharers = lower->stats.sharers;
    if (status != 0 && *lower->error)
        source_set_error(&front->source, "%s", lower->error);
}

/* --- everything but reads goes down --- */

static bool cache_source_op_changes(enum io_op op)
{
    return op == IO_WRITE || op == IO_TRIM || op == IO_ZERO;
}

static void cache_pass_done(struct io *io)
{
    struct cache_pass *pass = container_of(io, struct cache_pass, io);
    struct io *upper = pass->upper;
    int status = io->status;
    if (cache_source_op_changes(io->op))
        cache_fetch_invalidate(pass->front, io->offset, io->length);
    upper->extent_count = io->extent_count;
    cache_front_learn(pass->front, status == -ENOTSUP ? 0 : status);
    slices_clear(&io->data);
    list_remove(&pass->link);
    mem_free(pass);
    io_finish(upper, status);
}

static void cache_front_pass(struct cache_front *front, struct io *upper)
{
    struct cache_pass *pass = mem_alloc(sizeof *pass);
    pass->front = front;
    pass->upper = upper;
    list_append(&front->passes, &pass->link);
    io_init(&pass->io, upper->op, upper->offset, upper->length, cache_pass_done);
    pass->io.flags = upper->flags;
    pass->io.since = upper->since;
    pass->io.extents = upper->extents;
    pass->io.extent_capacity = upper->extent_capacity;
    slices_take(&pass->io.data, &upper->data);
    if (cache_source_op_changes(upper->op))
        cache_fetch_invalidate(front, upper->offset, upper->length);
    source_submit(front->lower, &pass->io);
}

/* NBD_CMD_CACHE (doc/proto.md): the answer needn't wait for the data. */
static void cache_front_hint(struct cache_front *front, struct io *io)
{
    uint64_t most = front->cache->limit / 4;
    uint64_t end = io->offset + (io->length < most ? io->length : most), fetched;
    cache_fetch_missing(front, io->offset, end, &fetched);
    io_finish_later(front->source.loop, io, 0);
}

static void cache_front_submit(struct source *source, struct io *io)
{
    struct cache_front *front = cache_front_of(source);
    if (io->op == IO_READ)
        cache_read_submit(front, io);
    else if (io->op == IO_CACHE)
        cache_front_hint(front, io);
    else
        cache_front_pass(front, io);
}

/* --- life --- */

static void cache_source_lower_opened(struct source *lower, int status)
{
    struct cache_front *front = lower->owner;
    struct source *source = &front->source;
    cache_front_learn(front, status);
    if (status != 0 || source->state == SOURCE_CLOSING) {
        if (source->state != SOURCE_CLOSING)
            source_report_opened(source, status);
        return;
    }
    source_copy_facts(source, lower);
    /* A writable image is not shared: what one slot writes would be stale in another one's blocks. */
    front->image = cache_image_get(front->cache, lower->read_only ? lower->identity : "", lower->size);
    front->image->wasted_in = &source->stats;
    readahead_init(&front->readahead, lower->size);
    cache_boot_opened(front);
    source_report_opened(source, 0);
    cache_fetch_ahead(front);
}

static void cache_source_lower_died(struct source *lower, int status)
{
    struct cache_front *front = lower->owner;
    cache_front_learn(front, status);
    if (front->source.state == SOURCE_OPEN && front->source.died)
        front->source.died(&front->source, status);
}

static void cache_source_lower_closed(struct source *lower)
{
    struct cache_front *front = lower->owner;
    cache_fetch_closed(front);
    assert(list_empty(&front->fetches) && list_empty(&front->passes) && list_empty(&front->reads));
    if (front->image) {
        if (front->image->wasted_in == &front->source.stats)
            front->image->wasted_in = NULL;
        cache_boot_closed(front);
        cache_image_unref(front->image);
        front->image = NULL;
    }
    source_report_closed(&front->source);
}

static void cache_front_open(struct source *source)
{
    struct cache_front *front = cache_front_of(source);
    front->lower->owner = front;
    front->lower->opened = cache_source_lower_opened;
    front->lower->died = cache_source_lower_died;
    front->lower->closed = cache_source_lower_closed;
    source_open(front->lower);
}

static void cache_front_close(struct source *source)
{
    struct cache_front *front = cache_front_of(source);
    cache_read_cancel_all(front);
    source_close(front->lower);
}

static void cache_front_free(struct source *source)
{
    struct cache_front *front = cache_front_of(source);
    source_free(front->lower);
    cache_boot_free(front);
    mem_free(front);
}

struct source *cache_source_new(struct cache *cache, struct source *lower, bool readahead)
{
    static const struct source_ops ops = {"cache",           cache_front_open, cache_front_submit,
                                          cache_front_close, cache_front_free, NULL};
    struct cache_front *front = mem_alloc(sizeof *front);
    source_init(&front->source, &ops, lower->loop, lower->who);
    front->cache = cache;
    front->lower = lower;
    front->want_readahead = readahead;
    list_init(&front->reads);
    list_init(&front->fetches);
    list_init(&front->passes);
    return &front->source;
}

void cache_source_align(struct source *source)
{
    cache_front_of(source)->align = true;
}

struct source *cache_source_lower(const struct source *source)
{
    return container_of(source, const struct cache_front, source)->lower;
}

uint64_t cache_source_cached(const struct source *source)
{
    const struct cache_front *front = container_of(source, const struct cache_front, source);
    return front->image ? front->image->held : 0;
}
