/*
 * The chunk cache: a source on a source. One `struct cache` holds the memory budget of the whole process;
 * cache_source_new() puts a slot's source behind it. Slots whose lower sources are read-only and have the same identity
 * share blocks.
 *
 * Memory is charged by live bytes: a block that was evicted while a reply still holds it counts until that reply has
 * gone. Bytes that are being fetched count too. What was read longest ago is evicted first; what was read ahead stays
 * until it was read, or is too old to be of use. An image that has no more than its minimum loses extents only when no
 * other image has any to lose. Errors are never cached. A write goes through to the lower source and drops the blocks
 * that it touches.
 */
#ifndef BLOCK_CACHE_H
#define BLOCK_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "block/boot_report.h"
#include "block/profile.h"
#include "block/source.h"

#define CACHE_BLOCK 4096u /* bytes: the unit that is looked up */

struct cache;

struct cache_stats {
    uint64_t limit, live, fetching; /* bytes: the budget, those held, those on their way */
    uint64_t hits, misses, evictions; /* reads answered without and with a fetch; extents */
    unsigned images;
    uint64_t table; /* bytes of the block tables */
};

/* Bytes: `limit` for all images, `image_minimum` that each keeps while others have more. */
struct cache *cache_new(uint64_t limit, uint64_t image_minimum);
void cache_resize(struct cache *cache, uint64_t limit, uint64_t image_minimum);
void cache_get_stats(const struct cache *cache, struct cache_stats *stats);
/* All sources on the cache must be freed, and all bytes given back. */
void cache_free(struct cache *cache);

/* A source that answers from the cache and fetches from `lower`, which it owns. With `readahead` off it fetches only
 * what is asked for, rounded out (block/fetch_size.h). */
struct source *cache_source_new(struct cache *cache, struct source *lower, bool readahead);
/* Before the source is opened: no fetch crosses a multiple of FETCH_ALIGN (block/fetch_size.h), where many requests can be
 * under way. */
void cache_source_align(struct source *source);
/* Before the source is opened: what is read of it is recorded. */
void cache_source_record(struct source *source);
/* Valid as long as the source is, once it is open; NULL: nothing is recorded. */
const struct profile *cache_source_recorded(const struct source *source);
/* What a boot from the image read before is fetched in that order, ahead of the reader. Once, while the source is open;
 * false: the profile is of no use for it. */
bool cache_source_follow(struct source *source, const struct profile *profile);
/* The profile that is followed, NULL: none; valid as long as the source is. `fits`: the reader reads what it has. */
const struct profile *cache_source_followed(const struct source *source, bool *fits);
/* How the reads went; valid as long as the source is. */
const struct boot_report *cache_source_report(const struct source *source);
/* Bytes that were read ahead and that nobody has wanted yet, whether they are still here or not. */
uint64_t cache_source_in_vain(const struct source *source);
struct source *cache_source_lower(const struct source *source);
/* Bytes that the cache holds of this source's image. */
uint64_t cache_source_cached(const struct source *source);

#endif
