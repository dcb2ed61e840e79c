/*
 * How much the cache asks of a source at a time: pure policy, from what is measured of the link (round trip, bandwidth,
 * gain, sharers) and the cache's memory.
 */
#ifndef BLOCK_FETCH_SIZE_H
#define BLOCK_FETCH_SIZE_H

#include "block/readahead.h"
#include "block/source.h"

#define FETCH_MAX          (16u << 20) /* bytes of one fetch */
#define FETCH_AHEAD_SHARED 56
#define FETCH_ALIGN        (1u << 20) /* bytes: what an HTTP cache on the way keeps as one slice */

/* Limits of reading ahead from a source that bears `parallel` requests at a time into a cache of `memory` bytes;
 * `align` as below. */
struct readahead_limits fetch_limits(const struct source_stats *link, unsigned parallel, uint64_t memory, bool align);
/* Is the source so far away that what every host reads first is fetched before it is asked for? */
bool fetch_begins_early(const struct source_stats *link);
/* How many of those requests may be for what nobody waits for yet; those that share a wide link have
 * FETCH_AHEAD_SHARED together, or a few each. */
unsigned fetch_ahead_requests(const struct source_stats *link, unsigned parallel);
/* Where a fetch from `at` to `end` ends: FETCH_MAX farther on at most; and, to `align`, where the next slice of
 * FETCH_ALIGN begins. Where few requests can be under way they must bring more than that. */
uint64_t fetch_end(uint64_t at, uint64_t end, bool align, unsigned parallel);
/* How far a small read may be rounded out (a power of two): bytes that cost about a twentieth of the round trip, so
 * that reads at random are not slowed by what they don't need. */
uint32_t fetch_demand_chunk(const struct source_stats *link);

#endif
