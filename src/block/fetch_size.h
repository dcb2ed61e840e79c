/*
 * How much the cache asks of a source at a time: pure policy, from what is measured
 * of the link (round trip, bandwidth) and the cache's memory.
 */
#ifndef BLOCK_FETCH_SIZE_H
#define BLOCK_FETCH_SIZE_H

#include "block/readahead.h"
#include "block/source.h"

#define FETCH_MAX (4u << 20) /* bytes of one fetch */

/* Of reading ahead, for a cache of `memory` bytes. */
struct readahead_limits fetch_limits(const struct source_stats *link, uint64_t memory);
/* How far a small read may be rounded out: bytes that cost a twentieth of the round
 * trip, so that reads at random are not slowed by what they don't need. */
uint32_t fetch_demand_chunk(const struct source_stats *link);

#endif
