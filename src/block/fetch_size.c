#include "block/fetch_size.h"

#include "block/cache.h"

#define CHUNK_MIN         (32u << 10)
#define CHUNK_THIN_MIN    (8u << 10)
#define CHUNKS_A_SECOND   32
#define CHUNK_UNKNOWN     (32u << 10)  /* before the link is measured: many connections, since each starts slowly */
#define WINDOW_UNKNOWN    (64u << 10)  /* the same: little enough for a link of 32 KB/s */
#define CLUSTER_UNKNOWN   (256u << 10) /* before the link is measured */
#define CLUSTER_MIN       (64u << 10)
#define CLUSTER_MAX       (1u << 20)
#define CLUSTER_PIECES    8 /* of a cluster, over several connections, since each starts slowly */
#define PIECE_MIN         (32u << 10)
#define BUDGET_MIN        (512u << 10)
#define BUDGET_MAX        (4u << 20) /* between these bounds: what the link brings in a second */
#define CHUNKS_LEAST      12         /* chunks that fit in the memory, however little there is (but see CHUNK_MIN) */
#define GAIN_UNKNOWN      400        /* hundredths, of a source that measures no gain */
#define GAIN_QUEUES       200        /* below this gain the link has a queue, in which what it does not hold waits */
#define EDGE_PIECE        (8u << 10) /* with the answer's head it fits in the first window of a connection (RFC 6928) */
#define FEW_REQUESTS      4          /* a source with no more than these at a time gets larger ones */
#define FEW_PRODUCTS      4          /* all of the few requests together: times what the link holds */
#define DEMAND_CHUNK_MAX  (64u << 10)
#define DEMAND_CHUNK_SLOW (8u << 10) /* as EDGE_PIECE */
#define SLOW_RTT_US       5000       /* a longer round trip is worth bytes that may be fetched in vain */
#define EARLY_RTT_US      30000      /* so far away that a near but busy machine does not look like it */
#define WIDE              10000000   /* bytes a second: on such a link a request brings enough for few to fill it */
#define THIN              262144     /* bytes a second: on such a link bytes cost more than round trips */

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

static unsigned sharers_of(const struct source_stats *link)
{
    return link->sharers > 0 ? link->sharers : 1;
}

/* Is what is under way beyond what the link holds in the way of others (link/gain.h)? */
static bool queues(const struct source_stats *link)
{
    return link->gain > 0 && link->gain < GAIN_QUEUES;
}

/* Our share of what the link holds (its bandwidth-delay product), bytes. */
static uint64_t product_of(const struct source_stats *link)
{
    return link->bandwidth / 1000 * clamp(link->rtt_us, 10000, 1000000) / 1000 / sharers_of(link);
}

/* A chunk takes a quarter to a half of the round trip to arrive (half as long where the link has a queue): that makes
 * few requests, yet several in flight fill the link, and while connections are young each has more to bring than TCP's
 * window lets through at once. Where few requests can be in flight each brings more, since a connection that has ended
 * a request has nothing to bring for a round trip. */
static uint32_t chunk_size(const struct source_stats *link, unsigned parallel, uint64_t room)
{
    uint32_t largest = power_of_two_below(clamp(room / CHUNKS_LEAST, CHUNK_MIN, FETCH_MAX));
    if (!link->bandwidth || !link->rtt_us)
        return CHUNK_UNKNOWN < largest ? CHUNK_UNKNOWN : largest;
    uint64_t least = clamp(link->bandwidth / CHUNKS_A_SECOND, CHUNK_THIN_MIN, CHUNK_MIN);
    uint64_t product = product_of(link), size = queues(link) ? product / 4 : product / 2;
    if (parallel <= FEW_REQUESTS) {
        size = FEW_PRODUCTS * product / parallel;
        largest = power_of_two_below(clamp(room / (2 * parallel), CHUNK_MIN, FETCH_MAX));
    }
    return power_of_two_below(clamp(size, least, largest));
}

/* What the link holds, and as much more as gets in nobody's way (link/gain.h). The rest of the memory is for what was
 * read. */
static uint64_t window_size(const struct source_stats *link, unsigned parallel, uint32_t chunk, uint64_t room)
{
    unsigned chunks = parallel <= FEW_REQUESTS ? 2 * parallel : queues(link) ? 0 : 2;
    uint64_t gain = link->gain ? link->gain : GAIN_UNKNOWN;
    if (!link->bandwidth)
        return clamp(WINDOW_UNKNOWN, chunk, room);
    return clamp(product_of(link) * gain / 100 + chunks * chunk, chunk, room / sharers_of(link));
}

/* About what the link brings in a round trip, so that to fetch a cluster costs little more than to wait for one read
 * that missed in it. Nearer than SLOW_RTT_US, and on a thin link, a round trip saved is not worth the bytes that may be
 * fetched in vain: no clusters. */
static uint32_t cluster_size(const struct source_stats *link)
{
    uint64_t product = link->bandwidth / 1000 * link->rtt_us / 1000;
    if (link->rtt_us <= SLOW_RTT_US || is_thin(link))
        return 0;
    return power_of_two_below(clamp(link->bandwidth ? product * 3 / 2 : CLUSTER_UNKNOWN, CLUSTER_MIN, CLUSTER_MAX));
}

static uint32_t piece_size(unsigned parallel, uint32_t cluster)
{
    uint32_t piece = cluster / (parallel <= FEW_REQUESTS ? parallel : CLUSTER_PIECES);
    return power_of_two_below(piece < PIECE_MIN ? PIECE_MIN : piece);
}

/* Where few requests can be under way they must bring more than a slice. */
static bool keeps_to_slices(bool align, unsigned parallel)
{
    return align && parallel > FEW_REQUESTS;
}

bool fetch_begins_early(const struct source_stats *link)
{
    return link->rtt_us >= EARLY_RTT_US;
}

struct readahead_limits fetch_limits(const struct source_stats *link, unsigned parallel, uint64_t memory, bool align)
{
    uint64_t room = memory / 4 * 3;
    uint32_t chunk = chunk_size(link, parallel, room);
    if (keeps_to_slices(align, parallel) && chunk > FETCH_ALIGN)
        chunk = FETCH_ALIGN;
    uint32_t cluster = cluster_size(link);
    return (struct readahead_limits){.window = window_size(link, parallel, chunk, room),
                                     .chunk = chunk,
                                     .cluster = cluster,
                                     .piece = piece_size(parallel, cluster),
                                     .edge = parallel <= FEW_REQUESTS ? READAHEAD_FIRST : EDGE_PIECE,
                                     .early = fetch_begins_early(link),
                                     .budget = clamp(link->bandwidth, BUDGET_MIN, BUDGET_MAX)};
}

/* Of more than a few requests, an eighth is kept for reads that somebody waits for. Each has a connection, which takes
 * memory as long as it is open; but where a request brings little, many are needed. */
unsigned fetch_ahead_requests(const struct source_stats *link, unsigned parallel)
{
    unsigned most = parallel <= FEW_REQUESTS ? parallel : parallel - (parallel + 7) / 8;
    unsigned share = FETCH_AHEAD_SHARED / sharers_of(link);
    return link->bandwidth < WIDE || share >= most ? most : share < FEW_REQUESTS ? FEW_REQUESTS : share;
}

uint64_t fetch_end(uint64_t at, uint64_t end, bool align, unsigned parallel)
{
    uint64_t most = keeps_to_slices(align, parallel) ? (at / FETCH_ALIGN + 1) * FETCH_ALIGN : at + FETCH_MAX;
    return end < most ? end : most;
}

uint32_t fetch_demand_chunk(const struct source_stats *link)
{
    uint64_t least = link->rtt_us > SLOW_RTT_US && !is_thin(link) ? DEMAND_CHUNK_SLOW : CACHE_BLOCK;
    return power_of_two_below(clamp(link->bandwidth / 1000 * link->rtt_us / 20000, least, DEMAND_CHUNK_MAX));
}
