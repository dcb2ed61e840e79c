#include "block/readahead.h"

#include <string.h>

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void readahead_init(struct readahead *ra, uint64_t size)
{
    memset(ra, 0, sizeof *ra);
    ra->size = size;
    ra->first.end = min_u64(READAHEAD_FIRST, size);
    ra->volume = (struct readahead_part){min_u64(READAHEAD_VOLUME, size), min_u64(READAHEAD_VOLUME + READAHEAD_VOLUME_SIZE, size)};
    ra->last = (struct readahead_part){size - min_u64(READAHEAD_LAST, size), size};
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Clients with many requests in flight send them out of order: the longer a stream, the farther from its front a read
 * may lie and still belong to the stream. */
#define SLACK_MAX (4u << 20)

static bool stream_continues(const struct readahead_stream *s, uint64_t offset, uint32_t length)
{
    if (s->stride)
        return offset == s->next;
    uint64_t back = min_u64(s->run / 2, SLACK_MAX);
    uint64_t forth = min_u64(max_u64(length, s->run / 4), SLACK_MAX);
    return offset + back >= s->next && offset <= s->next + forth;
}

static struct readahead_stream *stream_find(struct readahead *ra, uint64_t offset, uint32_t length)
{
    struct readahead_stream *best = NULL;
    for (int i = 0; i < READAHEAD_STREAMS; i++) {
        struct readahead_stream *s = &ra->streams[i];
        if (s->used && stream_continues(s, offset, length) && (!best || s->touched > best->touched))
            best = s;
    }
    return best;
}

static struct readahead_stream *stream_new(struct readahead *ra)
{
    struct readahead_stream *oldest = &ra->streams[0];
    for (int i = 0; i < READAHEAD_STREAMS; i++) {
        struct readahead_stream *s = &ra->streams[i];
        if (!s->used) {
            oldest = s;
            break;
        }
        if (s->touched < oldest->touched)
            oldest = s;
    }
    memset(oldest, 0, sizeof *oldest);
    oldest->used = true;
    return oldest;
}

static void stream_advance(struct readahead *ra, struct readahead_stream *s, uint64_t offset, uint32_t length)
{
    uint64_t end = offset + length, before = ra->beginnings - s->number;
    if (before < READAHEAD_BEGINNINGS)
        ra->continued |= 1u << before;
    s->pause = max_u64(ra->reads - s->touched, s->pause / 2);
    if (s->stride) {
        s->next = offset + (uint64_t)s->stride;
        if (s->strides_ahead > 0)
            s->strides_ahead--;
    } else if (end > s->next) {
        s->run += end - s->next;
        s->next = end;
        s->ahead = max_u64(s->ahead, end);
    }
    s->reads++;
}

static bool history_has(const struct readahead *ra, uint64_t offset)
{
    for (unsigned i = 0; i < READAHEAD_HISTORY; i++)
        if (ra->history[i].length > 0 && ra->history[i].offset == offset)
            return true;
    return false;
}

/* The stride if three earlier reads lie one, two and three strides away; else 0. With fewer, reads at random on a small
 * image would often look strided. */
static int64_t history_stride(const struct readahead *ra, uint64_t offset)
{
    for (unsigned i = 0; i < READAHEAD_HISTORY; i++) {
        const struct readahead_past *past = &ra->history[i];
        uint64_t stride = offset - past->offset; /* modulo 2^64: backwards is negative */
        int64_t distance = (int64_t)stride;
        if (past->length > 0 && distance != 0 && distance < READAHEAD_STRIDE_MAX && distance > -READAHEAD_STRIDE_MAX &&
            history_has(ra, past->offset - stride) && history_has(ra, past->offset - 2 * stride))
            return distance;
    }
    return 0;
}

static void history_add(struct readahead *ra, uint64_t offset, uint32_t length)
{
    ra->history[ra->history_next] = (struct readahead_past){offset, length};
    ra->history_next = (ra->history_next + 1) % READAHEAD_HISTORY;
}

static struct readahead_stream *stream_begin(struct readahead *ra, uint64_t offset, uint32_t length)
{
    int64_t stride = history_stride(ra, offset);
    struct readahead_stream *s = stream_new(ra);
    history_add(ra, offset, length);
    s->run = length;
    s->next = s->ahead = offset + length;
    s->reads = 1;
    s->eager = ra->beginnings == 0 || (unsigned)__builtin_popcount(ra->continued) >= READAHEAD_EAGER;
    s->number = ++ra->beginnings;
    ra->continued = (ra->continued << 1) & ((1u << READAHEAD_BEGINNINGS) - 1);
    ra->lonely_due = !stride;
    ra->lonely = offset;
    if (stride) {
        s->stride = stride;
        s->length = length;
        s->next = offset + (uint64_t)stride;
        s->reads = 3;
    }
    return s;
}

void readahead_access(struct readahead *ra, uint64_t offset, uint32_t length)
{
    ra->reads++;
    struct readahead_stream *s = stream_find(ra, offset, length);
    if (s)
        stream_advance(ra, s, offset, length);
    else
        s = stream_begin(ra, offset, length);
    s->touched = ra->reads;
}

/* The cluster that `offset` lies in is here no more, and may be told again. */
static void cluster_forget(struct readahead *ra, uint64_t offset)
{
    for (unsigned i = 0; i < READAHEAD_CLUSTERS; i++)
        if (ra->clusters[i] && offset + 1 >= ra->clusters[i] && offset + 1 < ra->clusters[i] + ra->cluster)
            ra->clusters[i] = 0;
}

void readahead_missed(struct readahead *ra, uint64_t offset)
{
    cluster_forget(ra, offset);
    for (int i = 0; i < READAHEAD_STREAMS; i++) {
        struct readahead_stream *s = &ra->streams[i];
        bool reads_there = s->touched == ra->reads && offset < s->next; /* the read that was told last missed there */
        if (s->used && !s->stride && offset < s->ahead && (offset >= s->next || reads_there))
            s->ahead = max_u64(offset, s->next);
    }
}

static bool stream_active(const struct readahead *ra, const struct readahead_stream *s)
{
    uint64_t idle = ra->reads - s->touched;
    bool goes_on = idle <= READAHEAD_ACTIVE && idle <= READAHEAD_PAUSE * (s->pause + 1);
    return s->used && (s->reads >= 2 || s->eager) && goes_on;
}

static bool next_strided(const struct readahead *ra, struct readahead_stream *s, uint64_t window, uint64_t *offset,
                         uint32_t *length)
{
    uint64_t depth = min_u64(min_u64(2ull * (s->reads - 2), READAHEAD_STRIDES_MAX), max_u64(window / s->length, 1));
    if (s->strides_ahead >= depth)
        return false;
    int64_t at = (int64_t)s->next + s->stride * (int64_t)s->strides_ahead;
    if (at < 0 || (uint64_t)at >= ra->size)
        return false;
    s->strides_ahead++;
    *offset = (uint64_t)at;
    *length = (uint32_t)min_u64(s->length, ra->size - (uint64_t)at);
    return true;
}

void readahead_fetched(struct readahead *ra, const struct readahead_limits *limits, uint64_t bytes)
{
    int64_t least = -(int64_t)(READAHEAD_BALANCE * limits->budget);
    ra->balance -= (int64_t)bytes;
    if (ra->balance < least)
        ra->balance = least;
}

void readahead_was_here(struct readahead *ra, uint64_t bytes)
{
    ra->here += bytes;
}

static void strike_balance(struct readahead *ra, const struct readahead_limits *limits)
{
    int64_t most = (int64_t)(READAHEAD_BALANCE * limits->budget);
    ra->balance += (int64_t)(ra->here * READAHEAD_EARNED / 100);
    ra->here = 0;
    if (ra->balance > most)
        ra->balance = most;
}

static bool within_budget(const struct readahead *ra, const struct readahead_limits *limits)
{
    return ra->balance + (int64_t)limits->budget > 0;
}

/* How far ahead to fetch: as far as the stream has come, and while the budget lasts a small cluster or half of a large one
 * at least. */
static uint64_t stream_reach(const struct readahead *ra, const struct readahead_stream *s, const struct readahead_limits *limits)
{
    uint64_t least = max_u64(limits->cluster / 2, min_u64(limits->cluster, READAHEAD_LEAST));
    return max_u64(READAHEAD_GAIN * s->run, s->reads >= 2 && within_budget(ra, limits) ? least : 0);
}

static bool next_sequential(const struct readahead *ra, struct readahead_stream *s, uint64_t window,
                            const struct readahead_limits *limits, uint64_t *offset, uint32_t *length)
{
    uint64_t chunk = limits->chunk;
    uint64_t target = min_u64(ra->size, s->next + min_u64(window, stream_reach(ra, s, limits)));
    if (s->ahead >= target)
        return false;
    /* Up to the next multiple of the chunk, so that streams and slots ask for the same ranges. */
    uint64_t end = min_u64(target, (s->ahead / chunk + 1) * chunk);
    bool whole = end == ra->size || end % chunk == 0;
    if (!whole && s->ahead > s->next)
        return false; /* the window has room for a part of a chunk only: the chunk comes later */
    *offset = s->ahead;
    *length = (uint32_t)(end - s->ahead);
    s->ahead = end;
    return true;
}

/* The next piece of the part; pieces end at multiples of their size. */
static bool part_next(struct readahead_part *part, uint32_t piece, uint64_t *offset, uint32_t *length)
{
    if (part->begin >= part->end)
        return false;
    uint64_t end = min_u64(part->end, (part->begin / piece + 1) * piece);
    *offset = part->begin;
    *length = (uint32_t)(end - part->begin);
    part->begin = end;
    return true;
}

static bool was_in_cluster(const struct readahead *ra, uint64_t begin)
{
    for (unsigned i = 0; i < READAHEAD_CLUSTERS; i++)
        if (ra->clusters[i] == begin + 1)
            return true;
    return false;
}

static void cluster_begin(struct readahead *ra, uint64_t size)
{
    uint64_t begin = ra->lonely / size * size, end = begin + size;
    ra->cluster = size;
    if (was_in_cluster(ra, begin))
        return; /* the cluster was told already */
    if (begin > 0 && was_in_cluster(ra, begin - size))
        end += size;
    ra->forth = (struct readahead_part){ra->lonely, min_u64(end, ra->size)};
    ra->back = (struct readahead_part){begin, ra->lonely};
    ra->clusters[ra->clusters_next++ % READAHEAD_CLUSTERS] = begin + 1;
}

/* What is read next lies more often behind a read than before it. */
static bool next_of_cluster(struct readahead *ra, const struct readahead_limits *limits, uint64_t *offset, uint32_t *length)
{
    if (ra->lonely_due && limits->cluster && within_budget(ra, limits))
        cluster_begin(ra, limits->cluster);
    ra->lonely_due = false;
    return limits->cluster &&
           (part_next(&ra->forth, limits->piece, offset, length) || part_next(&ra->back, limits->piece, offset, length));
}

/* The beginning, but that the volume's descriptors come second. */
static bool next_of_first(struct readahead *ra, uint32_t piece, uint64_t *offset, uint32_t *length)
{
    uint64_t begin = ra->first.begin;
    if (begin > 0 && begin <= READAHEAD_VOLUME && part_next(&ra->volume, piece, offset, length))
        return true;
    if (begin == READAHEAD_VOLUME)
        ra->first.begin = ra->volume.end;
    return part_next(&ra->first, piece, offset, length);
}

static bool next_edge(struct readahead *ra, const struct readahead_limits *limits, uint64_t *offset, uint32_t *length)
{
    if (!limits->cluster || (ra->reads == 0 && !limits->early))
        return false;
    return next_of_first(ra, limits->edge, offset, length) || part_next(&ra->last, limits->edge, offset, length);
}

bool readahead_next(struct readahead *ra, const struct readahead_limits *limits, uint64_t *offset, uint32_t *length)
{
    unsigned active = 0;
    struct readahead_stream *order[READAHEAD_STREAMS];
    strike_balance(ra, limits);
    for (int i = 0; i < READAHEAD_STREAMS; i++) {
        struct readahead_stream *s = &ra->streams[i];
        if (!stream_active(ra, s))
            continue;
        unsigned at = active++; /* sorted, the last touched first */
        for (; at > 0 && order[at - 1]->touched < s->touched; at--)
            order[at] = order[at - 1];
        order[at] = s;
    }
    for (unsigned i = 0; i < active; i++) {
        uint64_t window = limits->window / active;
        struct readahead_stream *s = order[i];
        if (s->stride ? next_strided(ra, s, window, offset, length)
                      : next_sequential(ra, s, window, limits, offset, length))
            return true;
    }
    return next_of_cluster(ra, limits, offset, length) || next_edge(ra, limits, offset, length);
}
