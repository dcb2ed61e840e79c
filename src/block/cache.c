#include "block/cache.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "block/cache_image.h"

#define CACHE_ASIDE   32 /* a part of the limit: see cache_used() */
#define CACHE_RESTING 8  /* likewise: see cache_resting() */

struct cache *cache_new(uint64_t limit, uint64_t image_minimum)
{
    struct cache *cache = mem_alloc(sizeof *cache);
    cache->limit = limit;
    cache->image_minimum = image_minimum;
    list_init(&cache->images);
    return cache;
}

void cache_resize(struct cache *cache, uint64_t limit, uint64_t image_minimum)
{
    cache->limit = limit;
    cache->image_minimum = image_minimum;
    cache_make_room(cache, 0);
}

void cache_get_stats(const struct cache *cache, struct cache_stats *stats)
{
    *stats = (struct cache_stats){
        .limit = cache->limit,
        .live = cache->budget.live,
        .fetching = cache->fetching,
        .hits = cache->hits,
        .misses = cache->misses,
        .evictions = cache->evictions,
    };
    list_for_each (l, &cache->images) {
        stats->images++;
        stats->table += block_table_memory(&container_of(l, struct cache_image, link)->blocks);
    }
}

void cache_free(struct cache *cache)
{
    assert(list_empty(&cache->images) && cache->budget.live == 0 && cache->fetching == 0);
    mem_free(cache);
}

/* --- images --- */

static struct cache_image *image_find(struct cache *cache, const char *identity, uint64_t size)
{
    if (!*identity)
        return NULL;
    list_for_each (l, &cache->images) {
        struct cache_image *image = container_of(l, struct cache_image, link);
        if (image->size == size && strcmp(image->identity, identity) == 0)
            return image;
    }
    return NULL;
}

struct cache_image *cache_image_get(struct cache *cache, const char *identity, uint64_t size)
{
    struct cache_image *image = image_find(cache, identity, size);
    if (image) {
        image->refs++;
        return image;
    }
    image = mem_alloc(sizeof *image);
    image->cache = cache;
    image->identity = mem_strdup(identity);
    image->refs = 1;
    image->size = size;
    block_table_init(&image->blocks);
    list_init(&image->extents);
    list_init(&image->unread);
    list_append(&cache->images, &image->link);
    return image;
}

/* What an extent costs beside its bytes. Uncounted, small extents would take much more memory than the budget says,
 * since malloc()'s heap breaks up (a third more was seen). Bytes that are mapped begin a page for their header, and a
 * table has room for two to four times its entries. */
static uint64_t extent_overhead(const struct cache_extent *extent)
{
    uint64_t blocks = (extent->entry.length + CACHE_BLOCK - 1) / CACHE_BLOCK;
    uint64_t waste = extent->bytes->length >= BYTES_MAPPED ? 4096 : extent->bytes->length / 2;
    return sizeof *extent + waste + 3 * blocks * sizeof(struct block_entry);
}

static void extent_forget(struct cache_image *image, struct cache_extent *extent)
{
    cache_image_unmap(image, &extent->entry);
    list_remove(&extent->link);
    image->held -= extent->entry.length;
    image->cache->overhead -= extent_overhead(extent);
    bytes_unref(extent->bytes);
    mem_free(extent);
}

static void forget_all(struct cache_image *image, struct link *list)
{
    list_for_each (l, list)
        extent_forget(image, container_of(l, struct cache_extent, link));
}

void cache_image_unref(struct cache_image *image)
{
    if (--image->refs > 0)
        return;
    forget_all(image, &image->extents);
    forget_all(image, &image->unread);
    assert(image->blocks.count == 0);
    bytes_keep_spare(0);
    list_remove(&image->link);
    block_table_free(&image->blocks);
    mem_free(image->identity);
    mem_free(image);
}

struct cache_entry *cache_image_find(const struct cache_image *image, uint64_t offset)
{
    return block_table_get(&image->blocks, offset / CACHE_BLOCK);
}

void cache_image_map(struct cache_image *image, struct cache_entry *entry)
{
    assert(entry->offset % CACHE_BLOCK == 0 && entry->length > 0);
    for (uint64_t at = entry->offset; at < entry->offset + entry->length; at += CACHE_BLOCK)
        block_table_set(&image->blocks, at / CACHE_BLOCK, entry);
}

void cache_image_unmap(struct cache_image *image, struct cache_entry *entry)
{
    for (uint64_t at = entry->offset; at < entry->offset + entry->length; at += CACHE_BLOCK)
        if (cache_image_find(image, at) == entry)
            block_table_remove(&image->blocks, at / CACHE_BLOCK);
}

void cache_image_insert(struct cache_image *image, uint64_t offset, const struct slices *data, uint64_t unread)
{
    uint64_t behind = data->length; /* bytes of the slices after this one */
    for (uint32_t i = 0; i < data->count; i++) {
        const struct slice *slice = &data->v[i];
        struct cache_extent *extent = mem_alloc(sizeof *extent);
        extent->entry = (struct cache_entry){CACHE_EXTENT, offset, slice->length};
        extent->bytes = bytes_ref(slice->bytes);
        extent->start = slice->offset;
        behind -= slice->length;
        extent->unread = unread <= behind                  ? 0
                         : unread - behind < slice->length ? (uint32_t)(unread - behind)
                                                           : slice->length;
        extent->used = ++image->cache->clock;
        extent->inserted = image->cache->inserted += slice->length;
        if (!extent->bytes->budget)
            bytes_charge(extent->bytes, &image->cache->budget);
        cache_image_map(image, &extent->entry);
        list_append(extent->unread ? &image->unread : &image->extents, &extent->link);
        image->held += slice->length;
        image->cache->overhead += extent_overhead(extent);
        offset += slice->length;
    }
}

void cache_image_touch(struct cache_image *image, struct cache_extent *extent, uint32_t wanted)
{
    extent->used = ++image->cache->clock;
    extent->inserted = image->cache->inserted;
    extent->unread -= wanted < extent->unread ? wanted : extent->unread;
    list_remove(&extent->link);
    list_append(extent->unread ? &image->unread : &image->extents, &extent->link);
}

uint64_t cache_image_unread(const struct cache_image *image)
{
    uint64_t bytes = 0;
    list_for_each (l, &image->unread)
        bytes += container_of(l, struct cache_extent, link)->unread;
    return bytes;
}

void cache_image_drop(struct cache_image *image, uint64_t offset, uint64_t length)
{
    for (uint64_t at = offset - offset % CACHE_BLOCK; at < offset + length;) {
        struct cache_entry *entry = cache_image_find(image, at);
        if (!entry || entry->kind != CACHE_EXTENT) {
            at += CACHE_BLOCK;
            continue;
        }
        at = entry->offset + (entry->length + CACHE_BLOCK - 1) / CACHE_BLOCK * CACHE_BLOCK;
        extent_forget(image, (struct cache_extent *)entry);
    }
}

/* --- memory --- */

/* The first extent whose bytes nothing else refers to: to evict bytes that a reply holds would free no memory. */
static struct cache_extent *first_free(struct link *list)
{
    list_for_each (l, list) {
        struct cache_extent *extent = container_of(l, struct cache_extent, link);
        if (extent->bytes->refs == 1)
            return extent;
    }
    return NULL;
}

/* The extent to go first: the one that was read longest ago. What was read ahead stays until it is wanted, or until
 * nobody is likely to want it any more: twice the cache's limit was inserted since. */
static struct cache_extent *image_oldest(struct cache_image *image)
{
    const struct cache *cache = image->cache;
    struct cache_extent *ahead = first_free(&image->unread);
    if (ahead && cache->inserted - ahead->inserted > 2 * cache->limit)
        return ahead;
    struct cache_extent *read = first_free(&image->extents);
    return read ? read : ahead;
}

/* `spare`: images that have no more than their minimum are left alone. False: there is nothing to evict. */
static bool evict_one(struct cache *cache, bool spare)
{
    struct cache_image *from = NULL;
    struct cache_extent *oldest = NULL;
    list_for_each (l, &cache->images) {
        struct cache_image *image = container_of(l, struct cache_image, link);
        struct cache_extent *extent = image_oldest(image);
        if (!extent || (spare && image->held <= cache->image_minimum))
            continue;
        if (!oldest || extent->used < oldest->used) {
            oldest = extent;
            from = image;
        }
    }
    if (!oldest)
        return false;
    if (oldest->unread && from->wasted_in)
        from->wasted_in->wasted += oldest->unread;
    cache->evictions++;
    extent_forget(from, oldest);
    return true;
}

/* Connections that rest, as far as a part of the limit: a small cache must have room for its blocks, too. */
static uint64_t cache_resting(const struct cache *cache)
{
    uint64_t bytes = cache->idle * CACHE_CONNECTION, most = cache->limit / CACHE_RESTING;
    return bytes < most ? bytes : most;
}

/* Adds a part of the limit for what the heap takes beside all that is counted. */
static uint64_t cache_used(const struct cache *cache)
{
    return cache->budget.live + cache->fetching + cache->overhead + cache_resting(cache) + cache->limit / CACHE_ASIDE;
}

bool cache_make_room(struct cache *cache, uint64_t length)
{
    while (cache_used(cache) + length > cache->limit)
        if (!evict_one(cache, true) && !evict_one(cache, false))
            return false;
    /* Pieces that were evicted are kept for the fetch to fill, unless it is smaller than a piece. */
    uint64_t small = length < BYTES_PIECE ? length : 0;
    bytes_keep_spare((cache->limit - cache_used(cache) - small) / BYTES_PIECE);
    return true;
}
