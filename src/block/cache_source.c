/*
 * A cache source: answers reads from an image of the cache, and fetches from the lower source what is not there. See
 * block/cache.h.
 *
 * A read is cut into parts: some are there at once, the others wait, each for one fetch. Many parts may wait for one
 * fetch, of other slots' reads too; as soon as one does, the fetch is demand. When a fetch fails that began as a
 * speculative one or is another slot's, each part that waited asks again by itself, for what is left of its read's
 * time.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "block/cache.h"
#include "block/cache_image.h"
#include "block/fetch_size.h"
#include "block/readahead.h"

#define FETCH_COST (128u << 10) /* bytes of memory beside those fetched: a connection, its TLS and buffers */

struct cache_front {
    struct source source;
    struct cache *cache;
    struct source *lower;
    struct cache_image *image; /* from opened to closed */
    bool want_readahead;
    struct readahead readahead;
    unsigned prefetches; /* fetches in flight that nobody waits for */
    struct link reads;   /* struct cache_read: waiting for a fetch */
    struct link fetches; /* struct cache_fetch */
    struct link passes;  /* struct cache_pass */
};

struct cache_fetch {
    struct cache_entry entry;
    struct cache_front *front;
    struct link link;    /* in front->fetches */
    struct link waiting; /* struct read_part */
    bool prefetch;       /* nobody waited for the fetch when it began */
    bool ahead;          /* nobody has waited for it yet: it counts in front->prefetches */
    uint64_t wanted;     /* bytes that parts waited for; those of several parts count for each */
    bool doomed;         /* a write overtook the fetch: what it brings goes to `waiting`, and is not kept */
    struct io io;
};

struct read_part {
    struct link link;    /* in read->parts */
    struct link waiting; /* in fetch->waiting; alone: `data` is here */
    struct cache_read *read;
    uint64_t offset;
    uint32_t length;
    struct slices data;
};

struct cache_read {
    struct link link; /* in front->reads */
    struct cache_front *front;
    struct io *io;
    struct link parts; /* in the order of their offsets */
    unsigned pending;  /* parts that wait */
};

/* Anything but a read, handed down. */
struct cache_pass {
    struct link link;
    struct cache_front *front;
    struct io *upper;
    struct io io;
};

static void fetch_done(struct io *io);
static void fetch_part(struct io *io, const struct slices *data, uint32_t ready);

static struct cache_front *front_of(struct source *source)
{
    return container_of(source, struct cache_front, source);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* --- fetches --- */

static uint64_t blocks_up(uint64_t offset)
{
    return (offset + CACHE_BLOCK - 1) / CACHE_BLOCK * CACHE_BLOCK;
}

static uint64_t blocks_down(uint64_t offset)
{
    return offset / CACHE_BLOCK * CACHE_BLOCK;
}

/* The end of the run of blocks from `at` that are neither here nor on their way. */
static uint64_t missing_until(const struct cache_image *image, uint64_t at, uint64_t end)
{
    while (at < end && !cache_image_find(image, at))
        at = blocks_down(at) + CACHE_BLOCK;
    return at < end ? at : end;
}

/* `since`: when the host asked (as in struct io); 0: nobody did, and the fetch is speculative. */
static struct cache_fetch *fetch_start(struct cache_front *front, uint64_t offset, uint64_t end, uint64_t since)
{
    struct cache_fetch *fetch = mem_alloc(sizeof *fetch);
    uint32_t length = (uint32_t)(end - offset);
    bool prefetch = since == 0;
    fetch->entry = (struct cache_entry){CACHE_FETCH, offset, length};
    fetch->front = front;
    fetch->prefetch = fetch->ahead = prefetch;
    list_init(&fetch->waiting);
    list_append(&front->fetches, &fetch->link);
    cache_image_map(front->image, &fetch->entry);
    front->cache->fetching += length;
    front->cache->overhead += FETCH_COST;
    front->prefetches += prefetch;
    io_init(&fetch->io, IO_READ, offset, length, fetch_done);
    fetch->io.flags = prefetch ? IO_PREFETCH : 0;
    fetch->io.since = since;
    fetch->io.part = fetch_part;
    source_submit(front->lower, &fetch->io);
    return fetch;
}

/* Starts the fetch of the missing blocks at `at`, rounded out as fetch_demand_chunk() says. */
static struct cache_fetch *fetch_demand(struct cache_front *front, uint64_t at, uint64_t end, uint64_t since)
{
    const struct cache_image *image = front->image;
    uint64_t low = blocks_down(at), high = missing_until(image, low, earlier(blocks_up(end), image->size));
    if (high - low > FETCH_MAX)
        high = low + FETCH_MAX;
    uint32_t chunk = fetch_demand_chunk(&front->lower->stats);
    uint64_t wide_low = low / chunk * chunk, wide_high = (high + chunk - 1) / chunk * chunk;
    while (wide_low < low && missing_until(image, wide_low, low) < low)
        wide_low += CACHE_BLOCK;
    wide_high = missing_until(image, low, earlier(wide_high, image->size));
    if (wide_high - wide_low <= FETCH_MAX && cache_make_room(front->cache, wide_high - wide_low))
        return fetch_start(front, wide_low, wide_high, since);
    /* Demand always goes on: what it takes beyond the budget is bounded by what the NBD server admits. */
    cache_make_room(front->cache, high - low);
    return fetch_start(front, low, high, since);
}

/* Fetches what is missing of the range; `fetched` says how many bytes that is. False: there is no memory for more. */
static bool prefetch_range(struct cache_front *front, uint64_t offset, uint64_t end, uint64_t *fetched)
{
    *fetched = 0;
    for (uint64_t at = blocks_down(offset); at < end;) {
        if (cache_image_find(front->image, at)) {
            at += CACHE_BLOCK;
            continue;
        }
        uint64_t until = missing_until(front->image, at, earlier(blocks_up(end), front->image->size));
        if (until - at > FETCH_MAX)
            until = at + FETCH_MAX;
        if (!cache_make_room(front->cache, until - at))
            return false;
        fetch_start(front, at, until, 0);
        *fetched += until - at;
        at = until;
    }
    return true;
}

static void front_prefetch(struct cache_front *front)
{
    if (!front->want_readahead || front->source.state != SOURCE_OPEN || front->lower->failing)
        return;
    unsigned most = fetch_ahead_requests(front->lower->parallel);
    struct readahead_limits limits = fetch_limits(&front->lower->stats, front->lower->parallel, front->cache->limit);
    uint64_t offset, fetched;
    uint32_t length;
    bool room = true;
    while (room && front->prefetches < most && readahead_next(&front->readahead, &limits, &offset, &length)) {
        room = prefetch_range(front, offset, offset + length, &fetched);
        readahead_fetched(&front->readahead, &limits, fetched);
        if (!room)
            readahead_missed(&front->readahead, offset);
    }
}

/* --- reads --- */

static void read_free(struct cache_read *read)
{
    list_for_each (l, &read->parts) {
        struct read_part *part = container_of(l, struct read_part, link);
        list_remove(&part->waiting);
        slices_clear(&part->data);
        mem_free(part);
    }
    list_remove(&read->link);
    mem_free(read);
}

/* Ends the read and answers its io, at once or (`later`) deferred. */
static void cache_source_read_end(struct cache_read *read, int status, bool later)
{
    struct io *io = read->io;
    uv_loop_t *loop = read->front->source.loop;
    if (status == 0)
        list_for_each (l, &read->parts)
            slices_take(&io->data, &container_of(l, struct read_part, link)->data);
    else
        read->front->source.stats.errors += status != -ECANCELED;
    read_free(read);
    if (later)
        io_finish_later(loop, io, status);
    else
        io_finish(io, status);
}

static struct read_part *read_add_part(struct cache_read *read, uint64_t offset, uint64_t end)
{
    struct read_part *part = mem_alloc(sizeof *part);
    part->read = read;
    part->offset = offset;
    part->length = (uint32_t)(end - offset);
    slices_init(&part->data);
    list_init(&part->waiting);
    list_append(&read->parts, &part->link);
    return part;
}

static uint64_t entry_end(const struct cache_entry *entry)
{
    return entry->offset + entry->length;
}

static void extent_use(struct cache_front *front, struct cache_extent *extent, struct slices *to, uint64_t at,
                       uint64_t end)
{
    cache_image_touch(front->image, extent, (uint32_t)(end - at));
    slices_add(to, extent->bytes, extent->start + (uint32_t)(at - extent->entry.offset), (uint32_t)(end - at));
}

/* Answers the whole range from extents; false (and the io has no data): a part of it is in none. */
static bool read_hit(struct cache_front *front, struct io *io)
{
    uint64_t end = io->offset + io->length;
    for (uint64_t at = io->offset; at < end;) {
        struct cache_entry *entry = cache_image_find(front->image, at);
        if (!entry || entry->kind != CACHE_EXTENT) {
            slices_clear(&io->data);
            return false;
        }
        uint64_t until = earlier(entry_end(entry), end);
        extent_use(front, (struct cache_extent *)entry, &io->data, at, until);
        at = until;
    }
    return true;
}

/* How many bytes of the fetch, from its beginning, must be there to fill the part. */
static uint32_t part_end(const struct read_part *part, const struct cache_fetch *fetch)
{
    return (uint32_t)(part->offset + part->length - fetch->entry.offset);
}

/* Whichever slot began the fetch, a host waits for it now. */
static void part_wait(struct read_part *part, struct cache_fetch *fetch)
{
    uint32_t end = part_end(part, fetch);
    list_append(&fetch->waiting, &part->waiting);
    fetch->wanted += part->length;
    if (fetch->io.part_at == 0 || end < fetch->io.part_at)
        fetch->io.part_at = end;
    fetch->front->prefetches -= fetch->ahead;
    fetch->ahead = false;
    source_promote(fetch->front->lower, &fetch->io, part->read->io->since);
}

/* Makes the read's part that begins at `at`; gives where the part ends. */
static uint64_t read_next_part(struct cache_read *read, uint64_t at, uint64_t end)
{
    struct cache_front *front = read->front;
    struct cache_entry *entry = cache_image_find(front->image, at);
    if (!entry) {
        readahead_missed(&front->readahead, at);
        entry = &fetch_demand(front, at, end, read->io->since)->entry;
    }
    uint64_t until = earlier(entry_end(entry), end);
    struct read_part *part = read_add_part(read, at, until);
    if (entry->kind == CACHE_EXTENT) {
        extent_use(front, (struct cache_extent *)entry, &part->data, at, until);
    } else {
        struct cache_fetch *fetch = (struct cache_fetch *)entry;
        if (fetch->prefetch)
            readahead_was_here(&front->readahead, part->length);
        part_wait(part, fetch);
        read->pending++;
    }
    return until;
}

static void read_start(struct cache_front *front, struct io *io)
{
    struct cache_read *read = mem_alloc(sizeof *read);
    read->front = front;
    read->io = io;
    list_init(&read->parts);
    list_append(&front->reads, &read->link);
    for (uint64_t at = io->offset; at < io->offset + io->length;)
        at = read_next_part(read, at, io->offset + io->length);
    assert(read->pending > 0);
}

static void front_read(struct cache_front *front, struct io *io)
{
    readahead_access(&front->readahead, io->offset, io->length);
    if (read_hit(front, io)) {
        readahead_was_here(&front->readahead, io->length);
        front->cache->hits++;
        front->source.stats.hits++;
        io_finish_later(front->source.loop, io, 0);
    } else {
        front->cache->misses++;
        front->source.stats.misses++;
        read_start(front, io);
    }
    front_prefetch(front);
}

/* The part's fetch has failed: asks again, by the part's own slot. */
static void part_retry(struct read_part *part)
{
    struct cache_front *front = part->read->front;
    struct cache_entry *entry = cache_image_find(front->image, part->offset);
    uint64_t end = part->offset + part->length;
    if (!entry)
        entry = &fetch_demand(front, part->offset, end, part->read->io->since)->entry;
    uint64_t until = earlier(entry_end(entry), end);
    if (until < end) { /* the rest becomes a part of its own, behind `part` */
        struct read_part *rest = read_add_part(part->read, until, end);
        list_remove(&rest->link);
        list_prepend(&part->link, &rest->link);
        part->read->pending++;
        part->length = (uint32_t)(until - part->offset);
        part_retry(rest);
    }
    if (entry->kind == CACHE_FETCH) {
        part_wait(part, (struct cache_fetch *)entry);
        return;
    }
    extent_use(front, (struct cache_extent *)entry, &part->data, part->offset, until);
    part->read->pending--;
}

static void part_filled(struct read_part *part, const struct cache_fetch *fetch, const struct slices *data)
{
    slices_add_part(&part->data, data, part->offset - fetch->entry.offset, part->length);
    part->read->pending--;
}

/* Complete reads are gathered before they end: their owners may submit new reads at once. */
static void read_gather(struct cache_read *read, struct link *finished)
{
    if (read->pending > 0)
        return;
    list_remove(&read->link);
    list_append(finished, &read->link);
}

static void reads_end(struct link *finished)
{
    for (struct link *l = list_pop(finished); l; l = list_pop(finished))
        cache_source_read_end(container_of(l, struct cache_read, link), 0, false);
}

/* The fetch's first `ready` bytes are there: parts that need no more are filled. */
static void fetch_part(struct io *io, const struct slices *data, uint32_t ready)
{
    struct cache_fetch *fetch = container_of(io, struct cache_fetch, io);
    struct link finished;
    list_init(&finished);
    io->part_at = 0;
    list_for_each (l, &fetch->waiting) {
        struct read_part *part = container_of(l, struct read_part, waiting);
        uint32_t end = part_end(part, fetch);
        if (end <= ready) {
            list_remove(&part->waiting);
            part_filled(part, fetch, data);
            read_gather(part->read, &finished);
        } else if (io->part_at == 0 || end < io->part_at) {
            io->part_at = end;
        }
    }
    reads_end(&finished);
}

/* Each part that waited gets the data, or the error, or another try. */
static void fetch_answer(struct cache_fetch *fetch)
{
    int status = fetch->io.status;
    struct link finished;
    list_init(&finished);
    for (struct link *l = list_pop(&fetch->waiting); l; l = list_pop(&fetch->waiting)) {
        struct read_part *part = container_of(l, struct read_part, waiting);
        struct cache_read *read = part->read;
        bool again = (fetch->prefetch || read->front != fetch->front) && read->front->source.state == SOURCE_OPEN;
        if (status != 0 && !again) {
            cache_source_read_end(read, status, true);
            continue;
        }
        if (status == 0)
            part_filled(part, fetch, &fetch->io.data);
        else
            part_retry(part);
        read_gather(read, &finished);
    }
    reads_end(&finished);
}

static void front_learn(struct cache_front *front, int status)
{
    const struct source *lower = front->lower;
    struct source_stats *stats = &front->source.stats;
    stats->requests = lower->stats.requests;
    stats->bytes = lower->stats.bytes;
    stats->retries = lower->stats.retries;
    stats->rtt_us = lower->stats.rtt_us;
    stats->bandwidth = lower->stats.bandwidth;
    stats->gain = lower->stats.gain;
    stats->sharers = lower->stats.sharers;
    if (status != 0 && *lower->error)
        source_set_error(&front->source, "%s", lower->error);
}

/* Blocks are looked up at multiples of their size, so slices must be cut there: else the data is copied. */
static void align_pieces(struct slices *data)
{
    for (uint32_t i = 0; i + 1 < data->count; i++) {
        if (data->v[i].length % CACHE_BLOCK == 0)
            continue;
        struct slices copy;
        slices_init(&copy);
        slices_alloc(&copy, data->length, BYTES_PIECE);
        uint64_t at = 0;
        for (uint32_t j = 0; j < data->count; at += data->v[j++].length)
            slices_copy_in(&copy, at, slice_data(&data->v[j]), data->v[j].length);
        slices_clear(data);
        slices_take(data, &copy);
        return;
    }
}

static void fetch_keep(struct cache_fetch *fetch)
{
    struct cache_front *front = fetch->front;
    align_pieces(&fetch->io.data);
    bool all_wanted = !fetch->prefetch || fetch->wanted >= fetch->entry.length;
    if (!fetch->doomed)
        cache_image_insert(front->image, fetch->entry.offset, &fetch->io.data,
                           all_wanted ? 0 : fetch->entry.length - fetch->wanted);
    if (fetch->prefetch)
        front->source.stats.prefetched += fetch->entry.length;
}

static void fetch_done(struct io *io)
{
    struct cache_fetch *fetch = container_of(io, struct cache_fetch, io);
    struct cache_front *front = fetch->front;
    int status = io->status;
    bool put_off = fetch->prefetch && status == -EAGAIN; /* the source waits for its browser: no failure */
    front_learn(front, put_off ? 0 : status);
    front->cache->fetching -= fetch->entry.length;
    front->cache->overhead -= FETCH_COST;
    front->prefetches -= fetch->ahead;
    cache_image_unmap(front->image, &fetch->entry);
    list_remove(&fetch->link);
    if (status == 0)
        fetch_keep(fetch);
    else if (fetch->prefetch)
        readahead_missed(&front->readahead, fetch->entry.offset);
    fetch_answer(fetch);
    slices_clear(&fetch->io.data);
    mem_free(fetch);
    if (status == 0)
        front_prefetch(front);
}

/* --- everything else goes down --- */

/* What the range held is stale, and so is what is being fetched, since the write may overtake the fetch. Done when a
 * write starts and again when it ends. */
static void front_invalidate(struct cache_front *front, uint64_t offset, uint64_t length)
{
    cache_image_drop(front->image, offset, length);
    for (uint64_t at = blocks_down(offset); at < offset + length; at += CACHE_BLOCK) {
        struct cache_entry *entry = cache_image_find(front->image, at);
        if (!entry)
            continue;
        struct cache_fetch *fetch = (struct cache_fetch *)entry;
        fetch->doomed = true;
        cache_image_unmap(front->image, entry);
    }
}

static bool cache_source_op_changes(enum io_op op)
{
    return op == IO_WRITE || op == IO_TRIM || op == IO_ZERO;
}

static void pass_done(struct io *io)
{
    struct cache_pass *pass = container_of(io, struct cache_pass, io);
    struct io *upper = pass->upper;
    int status = io->status;
    if (cache_source_op_changes(io->op))
        front_invalidate(pass->front, io->offset, io->length);
    upper->extent_count = io->extent_count;
    front_learn(pass->front, status == -ENOTSUP ? 0 : status);
    slices_clear(&io->data);
    list_remove(&pass->link);
    mem_free(pass);
    io_finish(upper, status);
}

static void front_pass(struct cache_front *front, struct io *upper)
{
    struct cache_pass *pass = mem_alloc(sizeof *pass);
    pass->front = front;
    pass->upper = upper;
    list_append(&front->passes, &pass->link);
    io_init(&pass->io, upper->op, upper->offset, upper->length, pass_done);
    pass->io.flags = upper->flags;
    pass->io.since = upper->since;
    pass->io.extents = upper->extents;
    pass->io.extent_capacity = upper->extent_capacity;
    slices_take(&pass->io.data, &upper->data);
    if (cache_source_op_changes(upper->op))
        front_invalidate(front, upper->offset, upper->length);
    source_submit(front->lower, &pass->io);
}

/* NBD_CMD_CACHE (doc/proto.md): the answer needn't wait for the data. */
static void front_hint(struct cache_front *front, struct io *io)
{
    uint64_t most = front->cache->limit / 4;
    uint64_t end = io->offset + (io->length < most ? io->length : most), fetched;
    prefetch_range(front, io->offset, end, &fetched);
    io_finish_later(front->source.loop, io, 0);
}

static void front_submit(struct source *source, struct io *io)
{
    struct cache_front *front = front_of(source);
    if (io->op == IO_READ)
        front_read(front, io);
    else if (io->op == IO_CACHE)
        front_hint(front, io);
    else
        front_pass(front, io);
}

/* --- life --- */

static void cache_source_lower_opened(struct source *lower, int status)
{
    struct cache_front *front = lower->owner;
    struct source *source = &front->source;
    front_learn(front, status);
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
    source_report_opened(source, 0);
    front_prefetch(front);
}

static void cache_source_lower_died(struct source *lower, int status)
{
    struct cache_front *front = lower->owner;
    front_learn(front, status);
    if (front->source.state == SOURCE_OPEN && front->source.died)
        front->source.died(&front->source, status);
}

static void cache_source_lower_closed(struct source *lower)
{
    struct cache_front *front = lower->owner;
    assert(list_empty(&front->fetches) && list_empty(&front->passes) && list_empty(&front->reads));
    if (front->image) {
        if (front->image->wasted_in == &front->source.stats)
            front->image->wasted_in = NULL;
        cache_image_unref(front->image);
        front->image = NULL;
    }
    source_report_closed(&front->source);
}

static void front_open(struct source *source)
{
    struct cache_front *front = front_of(source);
    front->lower->owner = front;
    front->lower->opened = cache_source_lower_opened;
    front->lower->died = cache_source_lower_died;
    front->lower->closed = cache_source_lower_closed;
    source_open(front->lower);
}

static void front_close(struct source *source)
{
    struct cache_front *front = front_of(source);
    list_for_each (l, &front->reads)
        cache_source_read_end(container_of(l, struct cache_read, link), -ECANCELED, true);
    source_close(front->lower);
}

static void front_free(struct source *source)
{
    struct cache_front *front = front_of(source);
    source_free(front->lower);
    mem_free(front);
}

struct source *cache_source_new(struct cache *cache, struct source *lower, bool readahead)
{
    static const struct source_ops ops = {"cache", front_open, front_submit, front_close, front_free, NULL};
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

struct source *cache_source_lower(const struct source *source)
{
    return container_of(source, const struct cache_front, source)->lower;
}

uint64_t cache_source_cached(const struct source *source)
{
    const struct cache_front *front = container_of(source, const struct cache_front, source);
    return front->image ? front->image->held : 0;
}
