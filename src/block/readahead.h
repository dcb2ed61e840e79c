/*
 * What to read before it is asked for. Pure policy: readahead_access() is told
 * each read, readahead_next() says which range to fetch next, if any.
 *
 * A read that continues one before it makes a stream; the window ahead of a
 * stream grows with what it has already read in a row (so at most
 * as much again is ever fetched in vain) up to what the link needs; what is next to it is fetched in any case, while
 * the budget lasts. When most reads that began something lately were continued, the next one that does is
 * taken for a stream at once: small files are read in two or three pieces. So is the
 * first read of all: what it costs is little, and the connections open while it is under way.
 * Several streams may interleave. Reads at a constant distance (forwards or
 * backwards) make a strided stream.
 *
 * Around a read that belongs to nothing its cluster is fetched (a part of the image of an aligned, fixed size): what a
 * boot reads lies together; and the one behind it too, when there was such a read in the one before. The first and the last of the image are fetched with the first read of all, or before it: every host looks there.
 * What may turn out to have been in vain has a budget, which reads at random exhaust at once, and which grows with
 * what was read and was here already.
 */
#ifndef BLOCK_READAHEAD_H
#define BLOCK_READAHEAD_H

#include <stdbool.h>
#include <stdint.h>

#define READAHEAD_STREAMS 16
#define READAHEAD_HISTORY 8      /* reads that belong to no stream, kept to find strides */
#define READAHEAD_GAIN 1         /* window / bytes read in a row */
#define READAHEAD_EARNED 250     /* per cent of what was here when it was read */
#define READAHEAD_BALANCE 4      /* budgets that can be earned, or owed */
#define READAHEAD_CLUSTERS 64    /* the last ones: when one follows on one of them, so may the next */
#define READAHEAD_FIRST (48u << 10) /* of the image: volume descriptors, boot records, partition tables */
#define READAHEAD_LAST (40u << 10)
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

/* Of the image, still to be told. */
struct readahead_part {
    uint64_t begin, end;
};

struct readahead {
    uint64_t size; /* of the image, bytes */
    uint64_t reads;
    struct readahead_stream streams[READAHEAD_STREAMS];
    struct readahead_past history[READAHEAD_HISTORY];
    unsigned history_next;
    int64_t balance;    /* bytes: earned less fetched, */
    uint64_t here;      /* and what was here since the balance was struck */
    bool lonely_due;    /* the last read belongs to no stream, and was not looked at yet */
    uint64_t lonely;    /* where it was */
    struct readahead_part forth, back; /* what is left of its cluster, from the read on and before it */
    struct readahead_part first, last;
    uint64_t clusters[READAHEAD_CLUSTERS]; /* where lonely reads were lately, a ring; offset + 1 of the cluster, 0: none */
    unsigned clusters_next;
    uint64_t cluster; /* their size */
    uint64_t beginnings;
    uint32_t continued; /* bit N: the Nth beginning before the last was continued */
};

/* What the link and the memory allow now, in bytes. */
struct readahead_limits {
    uint64_t window; /* ahead of all streams together */
    uint32_t chunk;  /* the size of one fetch, a power of two */
    uint32_t cluster; /* what lies together, a power of two; 0: nothing is fetched that may be in vain */
    uint32_t piece;  /* the size of one fetch of a cluster, a power of two */
    uint32_t edge;   /* the same of the image's first and last */
    bool early;      /* which are fetched before the first read of all */
    uint64_t budget; /* what may be fetched in vain before anything was of use */
};

void readahead_init(struct readahead *ra, uint64_t size);
void readahead_access(struct readahead *ra, uint64_t offset, uint32_t length);
/* What was fetched ahead is gone at `offset` (evicted or failed): the stream
 * that reads there starts again from it. */
void readahead_missed(struct readahead *ra, uint64_t offset);
/* So much is really being fetched of what readahead_next() told. */
void readahead_fetched(struct readahead *ra, const struct readahead_limits *limits, uint64_t bytes);
/* So much was read that had been fetched before it was asked for. */
void readahead_was_here(struct readahead *ra, uint64_t bytes);
/* The next range worth fetching; false when there is none now. It counts as
 * fetched from then on. */
bool readahead_next(struct readahead *ra, const struct readahead_limits *limits, uint64_t *offset, uint32_t *length);

#endif
