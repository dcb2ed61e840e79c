/* The fetches of a cache source: on demand, with what is around, and ahead. See block/cache_front.h. */
#include <errno.h>

#include "base/text.h"
#include "block/cache_front.h"
#include "block/fetch_size.h"

static uint64_t cache_blocks_up(uint64_t offset)
{
    return (offset + CACHE_BLOCK - 1) / CACHE_BLOCK * CACHE_BLOCK;
}

static uint64_t cache_blocks_down(uint64_t offset)
{
    return offset / CACHE_BLOCK * CACHE_BLOCK;
}

/* The end of the run of blocks from `at` that are neither here nor on their way. */
static uint64_t cache_missing_until(const struct cache_image *image, uint64_t at, uint64_t end)
{
    while (at < end && !cache_image_find(image, at))
        at = cache_blocks_down(at) + CACHE_BLOCK;
    return at < end ? at : end;
}

/* --- the end of a fetch --- */

static unsigned cache_front_idle(const struct cache_front *front)
{
    return front->connections > front->in_flight ? front->connections - front->in_flight : 0;
}

/* A fetch begins (`more` is 1) or ends (-1). Its connection stays open. */
static void cache_fetch_count(struct cache_front *front, int more)
{
    struct cache *cache = front->cache;
    cache->idle -= cache_front_idle(front);
    front->in_flight += (unsigned)more;
    cache->overhead += (uint64_t)((int64_t)CACHE_CONNECTION * more);
    if (front->in_flight > front->connections && front->connections < front->lower->parallel)
        front->connections = front->in_flight;
    cache->idle += cache_front_idle(front);
}

void cache_fetch_closed(struct cache_front *front)
{
    front->cache->idle -= cache_front_idle(front);
    front->connections = 0;
}

/* The fetch is for nobody (`more` is 1), or no longer (-1). */
static void cache_fetch_count_ahead(struct cache_fetch *fetch, int more)
{
    if (!fetch->ahead)
        return;
    fetch->front->prefetches += (unsigned)more;
    fetch->front->prefetching += (uint64_t)((int64_t)fetch->entry.length * more);
    fetch->ahead = more > 0;
}

static void on_cache_fetch_part(struct io *io, const struct slices *data, uint32_t ready)
{
    cache_read_filled(container_of(io, struct cache_fetch, io), data, ready);
}

/* Blocks are looked up at multiples of their size, so slices must be cut there: else the data is copied. */
static void cache_fetch_align(struct slices *data)
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

static void cache_fetch_keep(struct cache_fetch *fetch)
{
    struct cache_front *front = fetch->front;
    cache_fetch_align(&fetch->io.data);
    bool all_wanted = !fetch->prefetch || fetch->wanted >= fetch->entry.length;
    if (!fetch->doomed)
        cache_image_insert(front->image, fetch->entry.offset, &fetch->io.data,
                           all_wanted ? 0 : fetch->entry.length - fetch->wanted);
    if (fetch->prefetch)
        front->source.stats.prefetched += fetch->entry.length;
}

static void on_cache_fetch_done(struct io *io)
{
    struct cache_fetch *fetch = container_of(io, struct cache_fetch, io);
    struct cache_front *front = fetch->front;
    int status = io->status;
    bool put_off = fetch->prefetch && status == -EAGAIN; /* the source waits for its browser: no failure */
    cache_front_learn(front, put_off ? 0 : status);
    front->cache->fetching -= fetch->entry.length;
    cache_fetch_count(front, -1);
    cache_fetch_count_ahead(fetch, -1);
    cache_image_unmap(front->image, &fetch->entry);
    list_remove(&fetch->link);
    if (status == 0)
        cache_fetch_keep(fetch);
    else if (fetch->prefetch)
        readahead_missed(&front->readahead, fetch->entry.offset);
    cache_read_answer(fetch);
    slices_clear(&fetch->io.data);
    mem_free(fetch);
    if (status == 0)
        cache_fetch_ahead(front);
}

/* --- its start --- */

static uint64_t cache_fetch_end(const struct cache_front *front, uint64_t at, uint64_t end)
{
    return fetch_end(at, end, front->align, front->lower->parallel);
}

/* `since`: when the host asked (as in struct io); 0: nobody did, and the fetch is speculative. */
static struct cache_fetch *cache_fetch_start(struct cache_front *front, uint64_t offset, uint64_t end, uint64_t since)
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
    cache_fetch_count(front, 1);
    cache_fetch_count_ahead(fetch, 1);
    io_init(&fetch->io, IO_READ, offset, length, on_cache_fetch_done);
    fetch->io.flags = prefetch ? IO_PREFETCH : 0;
    fetch->io.since = since;
    fetch->io.part = on_cache_fetch_part;
    source_submit(front->lower, &fetch->io);
    return fetch;
}

struct cache_fetch *cache_fetch_demand(struct cache_front *front, uint64_t at, uint64_t end, uint64_t since)
{
    const struct cache_image *image = front->image;
    uint64_t low = cache_blocks_down(at);
    uint64_t high = cache_missing_until(image, low, cache_least(cache_blocks_up(end), image->size));
    high = cache_fetch_end(front, low, high);
    uint32_t chunk = fetch_demand_chunk(&front->lower->stats);
    uint64_t wide_low = low / chunk * chunk, wide_high = (high + chunk - 1) / chunk * chunk;
    while (wide_low < low && cache_missing_until(image, wide_low, low) < low)
        wide_low += CACHE_BLOCK;
    wide_high = cache_fetch_end(front, wide_low, cache_missing_until(image, low, cache_least(wide_high, image->size)));
    if (wide_high - wide_low <= FETCH_MAX && cache_make_room(front->cache, wide_high - wide_low))
        return cache_fetch_start(front, wide_low, wide_high, since);
    /* Demand always goes on: what it takes beyond the budget is bounded by what the NBD server admits. */
    cache_make_room(front->cache, high - low);
    return cache_fetch_start(front, low, high, since);
}

void cache_fetch_join(struct cache_fetch *fetch, struct link *waiting, uint32_t length, uint32_t end, uint64_t since)
{
    list_append(&fetch->waiting, waiting);
    fetch->wanted += length;
    if (fetch->io.part_at == 0 || end < fetch->io.part_at)
        fetch->io.part_at = end;
    if (since == 0)
        return;
    cache_fetch_count_ahead(fetch, -1);
    source_promote(fetch->front->lower, &fetch->io, since);
}

/* --- ahead --- */

bool cache_fetch_missing(struct cache_front *front, uint64_t offset, uint64_t end, uint64_t *fetched)
{
    *fetched = 0;
    for (uint64_t at = cache_blocks_down(offset); at < end;) {
        if (cache_image_find(front->image, at)) {
            at += CACHE_BLOCK;
            continue;
        }
        uint64_t until = cache_missing_until(front->image, at, cache_least(cache_blocks_up(end), front->image->size));
        until = cache_fetch_end(front, at, until);
        if (!cache_make_room(front->cache, until - at))
            return false;
        cache_fetch_start(front, at, until, 0);
        *fetched += until - at;
        at = until;
    }
    return true;
}

void cache_fetch_ahead(struct cache_front *front)
{
    if (!front->want_readahead || front->source.state != SOURCE_OPEN || front->lower->failing)
        return;
    unsigned most = fetch_ahead_requests(&front->lower->stats, front->lower->parallel);
    struct readahead_limits limits =
        fetch_limits(&front->lower->stats, front->lower->parallel, front->cache->limit, front->align);
    uint64_t offset, fetched;
    uint32_t length;
    bool room = cache_boot_ahead(front, &limits, most);
    while (room && front->prefetches < most && readahead_next(&front->readahead, &limits, &offset, &length)) {
        room = cache_fetch_missing(front, offset, offset + length, &fetched);
        readahead_fetched(&front->readahead, &limits, fetched);
        if (!room)
            readahead_missed(&front->readahead, offset);
    }
}

/* --- writes --- */

void cache_fetch_invalidate(struct cache_front *front, uint64_t offset, uint64_t length)
{
    cache_image_drop(front->image, offset, length);
    for (uint64_t at = cache_blocks_down(offset); at < offset + length; at += CACHE_BLOCK) {
        struct cache_entry *entry = cache_image_find(front->image, at);
        if (!entry)
            continue;
        struct cache_fetch *fetch = (struct cache_fetch *)entry;
        fetch->doomed = true;
        cache_image_unmap(front->image, entry);
    }
}
