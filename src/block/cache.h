/*
 * The chunk cache: a source on a source. One `struct cache` holds the memory
 * budget of the whole process; cache_source_new() puts a slot's source behind
 * it. Slots whose lower sources have the same identity share blocks.
 *
 * Memory is charged by live bytes: a block that was evicted while a reply still
 * holds it counts until that reply has gone. What is being fetched counts too.
 * The least recently used extent goes first, but an image under the minimum
 * keeps what it has. Errors are never cached. A write goes through to the lower
 * source and drops the blocks it touches.
 */
#ifndef BLOCK_CACHE_H
#define BLOCK_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "block/source.h"

#define CACHE_BLOCK 4096u /* bytes: what is looked up */

struct cache;

struct cache_stats {
    uint64_t limit, live, fetching; /* bytes: budget, held, on their way */
    uint64_t hits, misses, evictions;
    unsigned images;
    uint64_t table; /* bytes of the block tables */
};

struct cache *cache_new(uint64_t limit, uint64_t image_minimum);
void cache_resize(struct cache *cache, uint64_t limit, uint64_t image_minimum);
void cache_get_stats(const struct cache *cache, struct cache_stats *stats);
/* All sources on it must be freed, and all bytes given back. */
void cache_free(struct cache *cache);

/* A source that answers from the cache and fetches from `lower`, which it owns.
 * With `readahead` off only what is asked for is fetched. */
struct source *cache_source_new(struct cache *cache, struct source *lower, bool readahead);
struct source *cache_source_lower(const struct source *source);
/* Bytes that the cache holds of this source's image. */
uint64_t cache_source_cached(const struct source *source);

#endif
