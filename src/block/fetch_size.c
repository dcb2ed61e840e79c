#include "block/fetch_size.h"

#include "block/cache.h"

#define CHUNK_MIN (32u << 10)
#define CHUNK_THIN_MIN (8u << 10)
#define CHUNK_UNKNOWN (32u << 10) /* before the link is measured: many connections, since each starts slowly */
#define WINDOW_UNKNOWN (64u << 10) /* the same: little enough for a link of 32 KB/s */
#define AROUND_UNKNOWN (512u << 10) /* before the link is measured */
#define AROUND_MAX (1u << 20)
#define CHUNKS_LEAST 12            /* that fit in the window however little memory there is */
#define WINDOW_MIN (2u << 20)
#define WINDOW_MS 1500             /* but not more than the link brings in so long: demand may have to wait for it */
#define DEMAND_CHUNK_MAX (64u << 10)
#define DEMAND_CHUNK_SLOW (16u << 10)
#define SLOW_RTT_US 5000
#define THIN 262144 /* bytes a second: on such a link bytes cost more than round trips */

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static uint32_t power_of_two_below(uint64_t value)
{
    uint32_t power = CACHE_BLOCK;
    while (power < (1u << 30) && power * 2ull <= value)
        power *= 2;
    return power;
}

static bool is_thin(const struct source_stats *link)
{
    return link->bandwidth > 0 && link->bandwidth < THIN;
}

/* A chunk takes a quarter to a half of the round trip to arrive: few requests, yet
 * several in flight fill the link, and while connections are young each has more to bring
 * than TCP's window lets through at once. */
static uint32_t chunk_size(const struct source_stats *link, uint64_t room)
{
    uint32_t largest = power_of_two_below(clamp(room / CHUNKS_LEAST, CHUNK_MIN, FETCH_MAX));
    if (!link->bandwidth || !link->rtt_us)
        return CHUNK_UNKNOWN < largest ? CHUNK_UNKNOWN : largest;
    uint64_t least = is_thin(link) ? clamp(link->bandwidth / 8, CHUNK_THIN_MIN, CHUNK_MIN) : CHUNK_MIN;
    uint64_t size = link->bandwidth * clamp(link->rtt_us, 10000, 1000000) / 2000000;
    return power_of_two_below(clamp(size, least, largest));
}

/* What the link holds, with room for its estimate to grow into; the rest of the memory is for what was read. */
static uint64_t window_size(const struct source_stats *link, uint32_t chunk, uint64_t room)
{
    uint64_t product = link->bandwidth / 1000 * link->rtt_us / 1000, brought = link->bandwidth / 1000 * WINDOW_MS;
    if (!link->bandwidth)
        return clamp(WINDOW_UNKNOWN, chunk, room);
    return clamp(product * (is_thin(link) ? 2 : 4) + 4ull * chunk, brought < WINDOW_MIN ? brought : WINDOW_MIN, room);
}

/* Around a read that belongs to others; nearer than SLOW_RTT_US a read costs less than what may be fetched in vain. */
static uint32_t around_size(const struct source_stats *link)
{
    uint64_t half = link->bandwidth / 1000 * link->rtt_us / 2000;
    if (link->rtt_us <= SLOW_RTT_US || is_thin(link))
        return 0;
    return power_of_two_below(clamp(link->bandwidth ? half : AROUND_UNKNOWN, CHUNK_MIN, AROUND_MAX));
}

struct readahead_limits fetch_limits(const struct source_stats *link, uint64_t memory)
{
    uint64_t room = memory / 4 * 3;
    uint32_t chunk = chunk_size(link, room);
    return (struct readahead_limits){
        .window = window_size(link, chunk, room), .chunk = chunk, .around = around_size(link)};
}

uint32_t fetch_demand_chunk(const struct source_stats *link)
{
    uint64_t least = link->rtt_us > SLOW_RTT_US && !is_thin(link) ? DEMAND_CHUNK_SLOW : CACHE_BLOCK;
    return power_of_two_below(clamp(link->bandwidth / 1000 * link->rtt_us / 20000, least, DEMAND_CHUNK_MAX));
}
