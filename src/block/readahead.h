/*
 * What to read before it is asked for. Pure policy: readahead_access() is told
 * each read, readahead_next() says which range to fetch next, if any.
 *
 * A read that continues one before it makes a stream; the window ahead of a
 * stream grows with what it has already read in a row (so at most
 * READAHEAD_GAIN times that is ever fetched in vain) up to what the link needs. When
 * most reads that began something lately were continued, the next one that does is
 * taken for a stream at once: small files are read in two or three pieces. So is the
 * first read of all: what it costs is little, and the connections open while it is under way.
 * Several streams may interleave. Reads at a constant distance (forwards or
 * backwards) make a strided stream. A read that has two others near by, as when
 * many files of one folder are read, fetches what is around it. Anything else is
 * random and fetches nothing.
 */
#ifndef BLOCK_READAHEAD_H
#define BLOCK_READAHEAD_H

#include <stdbool.h>
#include <stdint.h>

#define READAHEAD_STREAMS 16
#define READAHEAD_HISTORY 8      /* reads that belong to no stream, kept to find strides and neighbours */
#define READAHEAD_NEAR (1u << 20) /* how far a neighbour may be */
#define READAHEAD_NEIGHBOURS 2   /* of reads at random on a large image hardly one has so many */
#define READAHEAD_GAIN 4         /* window / bytes read in a row */
#define READAHEAD_STRIDES_MAX 32 /* records ahead of a strided stream */
#define READAHEAD_STRIDE_MAX (64ll << 20)
#define READAHEAD_ACTIVE 64      /* a stream untouched for that many reads has ended, or for */
#define READAHEAD_PAUSE 4        /* so many times as long as it took from one of its reads to the next */
#define READAHEAD_BEGINNINGS 8   /* the last reads that began something: how many of them */
#define READAHEAD_EAGER 5        /* were continued, for the next to be taken for a stream */

struct readahead_stream {
    bool used;
    bool eager;       /* it is taken for a stream from its first read on */
    uint64_t number;  /* counts beginnings */
    uint64_t touched; /* the number of the last read in it */
    uint64_t pause;   /* reads from one of its own to the next; the longest, lately */
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
    bool lonely_due;    /* the last read belongs to no stream, and was not looked at yet */
    uint64_t lonely;    /* where it was */
    uint64_t beginnings;
    uint32_t continued; /* bit N: the Nth beginning before the last was continued */
};

/* What the link and the memory allow now, in bytes. */
struct readahead_limits {
    uint64_t window; /* ahead of all streams together */
    uint32_t chunk;  /* the size of one fetch, a power of two */
    uint32_t around; /* how much is fetched around a read with neighbours, a power of two; 0: nothing */
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
