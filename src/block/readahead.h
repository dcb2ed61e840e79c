/*
 * What to read before it is asked for. Pure policy: readahead_access() is told
 * each read, readahead_next() says which range to fetch next, if any.
 *
 * A read that continues one before it makes a stream; the window ahead of a
 * stream grows with what it has already read in a row (so at most
 * READAHEAD_GAIN times that is ever fetched in vain) up to what the link needs.
 * Several streams may interleave. Reads at a constant distance (forwards or
 * backwards) make a strided stream. Anything else is random and fetches nothing.
 */
#ifndef BLOCK_READAHEAD_H
#define BLOCK_READAHEAD_H

#include <stdbool.h>
#include <stdint.h>

#define READAHEAD_STREAMS 16
#define READAHEAD_HISTORY 8      /* reads that belong to no stream, kept to find strides */
#define READAHEAD_GAIN 4         /* window / bytes read in a row */
#define READAHEAD_STRIDES_MAX 32 /* records ahead of a strided stream */
#define READAHEAD_STRIDE_MAX (64ll << 20)
#define READAHEAD_ACTIVE 64      /* a stream untouched for that many reads has ended */

struct readahead_stream {
    bool used;
    uint64_t touched; /* the number of the last read in it */
    uint64_t run;     /* bytes read in a row */
    unsigned reads;
    uint64_t next;    /* where the stream goes on */
    uint64_t ahead;   /* fetched, or told to be, up to here */
    /* strided streams only (stride != 0) */
    int64_t stride;
    uint32_t length;
    unsigned strides_ahead; /* records told to be fetched beyond `next` */
};

struct readahead_past {
    uint64_t offset;
    uint32_t length;
};

struct readahead {
    uint64_t size; /* of the image, bytes */
    uint64_t reads;
    struct readahead_stream streams[READAHEAD_STREAMS];
    struct readahead_past history[READAHEAD_HISTORY];
    unsigned history_next;
};

/* What the link and the memory allow now, in bytes. */
struct readahead_limits {
    uint64_t window; /* ahead of all streams together */
    uint32_t chunk;  /* the size of one fetch, a power of two */
};

void readahead_init(struct readahead *ra, uint64_t size);
void readahead_access(struct readahead *ra, uint64_t offset, uint32_t length);
/* What was fetched ahead is gone at `offset` (evicted or failed): the stream
 * that reads there starts again from it. */
void readahead_missed(struct readahead *ra, uint64_t offset);
/* The next range worth fetching; false when there is none now. It counts as
 * fetched from then on. */
bool readahead_next(struct readahead *ra, const struct readahead_limits *limits, uint64_t *offset, uint32_t *length);

#endif
