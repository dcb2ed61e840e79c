#include "block/fetch_size.h"

#include "block/cache.h"

#define CHUNK_MIN (32u << 10)
#define CHUNK_UNKNOWN (32u << 10) /* before the link is measured: many connections, since each starts slowly */
#define AROUND_UNKNOWN (512u << 10) /* before the link is measured */
#define AROUND_MAX (1u << 20)
#define CHUNKS_LEAST 12            /* that fit in the window however little memory there is */
#define WINDOW_MIN (2u << 20)
#define DEMAND_CHUNK_MAX (64u << 10)
#define DEMAND_CHUNK_SLOW (16u << 10)
#define SLOW_RTT_US 5000

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

/* A chunk takes a quarter to a half of the round trip to arrive: few requests, yet
 * several in flight fill the link, and while connections are young each has more to bring
 * than TCP's window lets through at once. The window is what the link holds, with room for its
 * estimate to grow into; the rest of the memory is for what was read. */
struct readahead_limits fetch_limits(const struct source_stats *link, uint64_t memory)
{
    uint64_t bandwidth = link->bandwidth, rtt = link->rtt_us, room = memory / 4 * 3;
    uint32_t largest = power_of_two_below(clamp(room / CHUNKS_LEAST, CHUNK_MIN, FETCH_MAX));
    struct readahead_limits limits = {.chunk = CHUNK_UNKNOWN};
    if (bandwidth && rtt)
        limits.chunk = power_of_two_below(bandwidth * clamp(rtt, 10000, 1000000) / 2000000);
    limits.chunk = (uint32_t)clamp(limits.chunk, CHUNK_MIN, largest);
    uint64_t product = bandwidth / 1000 * rtt / 1000;
    limits.window = clamp(product * 4 + 4ull * limits.chunk, WINDOW_MIN, room);
    if (rtt > SLOW_RTT_US) /* nearer than that, a read costs less than what may be fetched in vain */
        limits.around = power_of_two_below(clamp(bandwidth ? product / 2 : AROUND_UNKNOWN, CHUNK_MIN, AROUND_MAX));
    return limits;
}

uint32_t fetch_demand_chunk(const struct source_stats *link)
{
    uint64_t least = link->rtt_us > SLOW_RTT_US ? DEMAND_CHUNK_SLOW : CACHE_BLOCK;
    return power_of_two_below(clamp(link->bandwidth / 1000 * link->rtt_us / 20000, least, DEMAND_CHUNK_MAX));
}
