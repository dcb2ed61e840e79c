/* The reads of a cache source: hits, misses, and parts that wait for a fetch. See block/cache_front.h. */
#include <assert.h>
#include <errno.h>

#include "base/text.h"
#include "block/cache_front.h"

struct cache_part {
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

/* --- a read and its parts --- */

static void cache_read_free(struct cache_read *read)
{
    list_for_each (l, &read->parts) {
        struct cache_part *part = container_of(l, struct cache_part, link);
        list_remove(&part->waiting);
        slices_clear(&part->data);
        mem_free(part);
    }
    list_remove(&read->link);
    mem_free(read);
}

/* Nobody waits for what is read: it counts as read ahead. */
static bool cache_read_is_ahead(const struct io *io)
{
    return io->flags & IO_PREFETCH;
}

/* Ends the read and answers its io, at once or (`later`) deferred. */
static void cache_read_end(struct cache_read *read, int status, bool later)
{
    struct io *io = read->io;
    uv_loop_t *loop = read->front->source.loop;
    if (!cache_read_is_ahead(io))
        cache_boot_answer(read->front, io, status, uv_now(loop) - io->since);
    if (status == 0)
        list_for_each (l, &read->parts)
            slices_take(&io->data, &container_of(l, struct cache_part, link)->data);
    else if (!cache_read_is_ahead(io))
        read->front->source.stats.errors += status != -ECANCELED;
    cache_read_free(read);
    if (later)
        io_finish_later(loop, io, status);
    else
        io_finish(io, status);
}

static struct cache_part *cache_read_add_part(struct cache_read *read, uint64_t offset, uint64_t end)
{
    struct cache_part *part = mem_alloc(sizeof *part);
    part->read = read;
    part->offset = offset;
    part->length = (uint32_t)(end - offset);
    slices_init(&part->data);
    list_init(&part->waiting);
    list_append(&read->parts, &part->link);
    return part;
}

/* --- what the owner above asks --- */

static uint64_t cache_entry_end(const struct cache_entry *entry)
{
    return entry->offset + entry->length;
}

static void cache_read_extent(struct cache_front *front, struct cache_extent *extent, struct slices *to, uint64_t at,
                              uint64_t end)
{
    cache_image_touch(front->image, extent, (uint32_t)(end - at));
    slices_add(to, extent->bytes, extent->start + (uint32_t)(at - extent->entry.offset), (uint32_t)(end - at));
}

/* Answers the whole range from extents; false (and the io has no data): a part of it is in none. */
static bool cache_read_hit(struct cache_front *front, struct io *io)
{
    uint64_t end = io->offset + io->length;
    for (uint64_t at = io->offset; at < end;) {
        struct cache_entry *entry = cache_image_find(front->image, at);
        if (!entry || entry->kind != CACHE_EXTENT) {
            slices_clear(&io->data);
            return false;
        }
        uint64_t until = cache_least(cache_entry_end(entry), end);
        cache_read_extent(front, (struct cache_extent *)entry, &io->data, at, until);
        at = until;
    }
    return true;
}

/* How many bytes of the fetch, from its beginning, must be there to fill the part. */
static uint32_t cache_part_end(const struct cache_part *part, const struct cache_fetch *fetch)
{
    return (uint32_t)(part->offset + part->length - fetch->entry.offset);
}

/* Whichever slot began the fetch, a host waits for it now. */
static void cache_part_wait(struct cache_part *part, struct cache_fetch *fetch)
{
    cache_fetch_join(fetch, &part->waiting, part->length, cache_part_end(part, fetch), part->read->io->since);
}

/* Makes the read's part that begins at `at`; gives where the part ends. */
static uint64_t cache_read_next_part(struct cache_read *read, uint64_t at, uint64_t end)
{
    struct cache_front *front = read->front;
    struct cache_entry *entry = cache_image_find(front->image, at);
    if (!entry) {
        readahead_missed(&front->readahead, at);
        entry = &cache_fetch_demand(front, at, end, read->io->since)->entry;
    }
    uint64_t until = cache_least(cache_entry_end(entry), end);
    struct cache_part *part = cache_read_add_part(read, at, until);
    if (entry->kind == CACHE_EXTENT) {
        cache_read_extent(front, (struct cache_extent *)entry, &part->data, at, until);
    } else {
        struct cache_fetch *fetch = (struct cache_fetch *)entry;
        if (fetch->prefetch && !cache_read_is_ahead(read->io))
            readahead_was_here(&front->readahead, part->length);
        cache_part_wait(part, fetch);
        read->pending++;
    }
    return until;
}

static void cache_read_start(struct cache_front *front, struct io *io)
{
    struct cache_read *read = mem_alloc(sizeof *read);
    read->front = front;
    read->io = io;
    list_init(&read->parts);
    list_append(&front->reads, &read->link);
    for (uint64_t at = io->offset; at < io->offset + io->length;)
        at = cache_read_next_part(read, at, io->offset + io->length);
    assert(read->pending > 0);
}

static void cache_read_count(struct cache_front *front, const struct io *io, bool hit)
{
    if (hit) {
        cache_boot_answer(front, io, 0, 0);
        readahead_was_here(&front->readahead, io->length);
    }
    *(hit ? &front->cache->hits : &front->cache->misses) += 1;
    *(hit ? &front->source.stats.hits : &front->source.stats.misses) += 1;
}

void cache_read_submit(struct cache_front *front, struct io *io)
{
    bool ahead = cache_read_is_ahead(io);
    if (!ahead && !cache_boot_read(front, io))
        readahead_access(&front->readahead, io->offset, io->length);
    bool hit = cache_read_hit(front, io);
    if (!ahead)
        cache_read_count(front, io, hit);
    if (hit)
        io_finish_later(front->source.loop, io, 0);
    else
        cache_read_start(front, io);
    cache_fetch_ahead(front);
}

/* --- what the fetches bring --- */

/* The part's fetch has failed: asks again, by the part's own slot. */
static void cache_part_retry(struct cache_part *part)
{
    struct cache_front *front = part->read->front;
    struct cache_entry *entry = cache_image_find(front->image, part->offset);
    uint64_t end = part->offset + part->length;
    if (!entry)
        entry = &cache_fetch_demand(front, part->offset, end, part->read->io->since)->entry;
    uint64_t until = cache_least(cache_entry_end(entry), end);
    if (until < end) { /* the rest becomes a part of its own, behind `part` */
        struct cache_part *rest = cache_read_add_part(part->read, until, end);
        list_remove(&rest->link);
        list_prepend(&part->link, &rest->link);
        part->read->pending++;
        part->length = (uint32_t)(until - part->offset);
        cache_part_retry(rest);
    }
    if (entry->kind == CACHE_FETCH) {
        cache_part_wait(part, (struct cache_fetch *)entry);
        return;
    }
    cache_read_extent(front, (struct cache_extent *)entry, &part->data, part->offset, until);
    part->read->pending--;
}

static void cache_part_filled(struct cache_part *part, const struct cache_fetch *fetch, const struct slices *data)
{
    slices_add_part(&part->data, data, part->offset - fetch->entry.offset, part->length);
    part->read->pending--;
}

/* Complete reads are gathered before they end: their owners may submit new reads at once. */
static void cache_read_gather(struct cache_read *read, struct link *finished)
{
    if (read->pending > 0)
        return;
    list_remove(&read->link);
    list_append(finished, &read->link);
}

static void cache_reads_end(struct link *finished)
{
    for (struct link *l = list_pop(finished); l; l = list_pop(finished))
        cache_read_end(container_of(l, struct cache_read, link), 0, false);
}

void cache_read_filled(struct cache_fetch *fetch, const struct slices *data, uint32_t ready)
{
    struct io *io = &fetch->io;
    struct link finished;
    list_init(&finished);
    io->part_at = 0;
    list_for_each (l, &fetch->waiting) {
        struct cache_part *part = container_of(l, struct cache_part, waiting);
        uint32_t end = cache_part_end(part, fetch);
        if (end <= ready) {
            list_remove(&part->waiting);
            cache_part_filled(part, fetch, data);
            cache_read_gather(part->read, &finished);
        } else if (io->part_at == 0 || end < io->part_at) {
            io->part_at = end;
        }
    }
    cache_reads_end(&finished);
}

void cache_read_answer(struct cache_fetch *fetch)
{
    int status = fetch->io.status;
    struct link finished;
    list_init(&finished);
    for (struct link *l = list_pop(&fetch->waiting); l; l = list_pop(&fetch->waiting)) {
        struct cache_part *part = container_of(l, struct cache_part, waiting);
        struct cache_read *read = part->read;
        bool again = !cache_read_is_ahead(read->io) && (fetch->prefetch || read->front != fetch->front) &&
                     read->front->source.state == SOURCE_OPEN;
        if (status != 0 && !again) {
            cache_read_end(read, status, true);
            continue;
        }
        if (status == 0)
            cache_part_filled(part, fetch, &fetch->io.data);
        else
            cache_part_retry(part);
        cache_read_gather(read, &finished);
    }
    cache_reads_end(&finished);
}

void cache_read_cancel_all(struct cache_front *front)
{
    list_for_each (l, &front->reads)
        cache_read_end(container_of(l, struct cache_read, link), -ECANCELED, true);
}
