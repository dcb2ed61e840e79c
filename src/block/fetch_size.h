/*
 * How much the cache asks of a source at a time: pure policy, from what is measured
 * of the link (round trip, bandwidth) and the cache's memory.
 */
#ifndef BLOCK_FETCH_SIZE_H
#define BLOCK_FETCH_SIZE_H

#include "block/readahead.h"
#include "block/source.h"

#define FETCH_MAX (16u << 20) /* bytes of one fetch */

/* Of reading ahead, by a source that bears `parallel` requests at a time, for a cache of `memory` bytes. */
struct readahead_limits fetch_limits(const struct source_stats *link, unsigned parallel, uint64_t memory);
/* How many of those requests may be for what nobody waits for yet. */
unsigned fetch_ahead_requests(unsigned parallel);
/* How far a small read may be rounded out: bytes that cost a twentieth of the round
 * trip, so that reads at random are not slowed by what they don't need. */
uint32_t fetch_demand_chunk(const struct source_stats *link);

#endif
