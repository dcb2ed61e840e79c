/*
 * What to read before it is asked for. Pure policy: readahead_access() is told each read, readahead_next() says which
 * range to fetch next, if any.
 *
 * A read that continues an earlier one makes a stream. The window ahead of a stream grows with what was already read in
 * a row (so at most as much again is ever fetched in vain) up to what the link needs; while the budget lasts, the
 * window is READAHEAD_LEAST or half a cluster at least. Reads that continue nothing are beginnings. When most of the last beginnings were
 * continued, the next one is taken for a stream at once: small files are read in two or three pieces. So is the first
 * read of all: that costs little, and the connections open meanwhile. Several streams may interleave. Reads at a
 * constant distance (forwards or backwards) make a strided stream.
 *
 * Around a lonely read (one that belongs to no stream) its cluster is fetched, a part of the image of an aligned, fixed
 * size: what a boot reads lies together. The cluster behind is fetched too when there was a lonely read in the one
 * before. The image's edges, its first and last bytes, are fetched with the first read of all, or before it: every host
 * looks there. What may turn out to have been fetched in vain has a budget, which reads at random exhaust at once, and
 * which grows with what was here already when it was read.
 */
#ifndef BLOCK_READAHEAD_H
#define BLOCK_READAHEAD_H

#include <stdbool.h>
#include <stdint.h>

#define READAHEAD_STREAMS 16
#define READAHEAD_HISTORY 8      /* reads that belong to no stream, kept to find strides */
#define READAHEAD_GAIN 1         /* window / bytes read in a row */
#define READAHEAD_EARNED 400     /* per cent of the bytes that were here when they were read: what the balance gets */
#define READAHEAD_LEAST (256u << 10) /* bytes ahead of a stream, or a cluster if that is less, or half of a larger one */
#define READAHEAD_BALANCE 4      /* budgets that can be earned, or owed */
#define READAHEAD_CLUSTERS 64    /* the last ones: behind one of these, two are fetched */
#define READAHEAD_FIRST (48u << 10) /* bytes of an edge: volume descriptors, boot records, partition tables */
#define READAHEAD_LAST (40u << 10)
#define READAHEAD_VOLUME (32u << 10) /* where an ISO 9660 or UDF volume's descriptors are: told second of the edge */
#define READAHEAD_VOLUME_SIZE (8u << 10)
#define READAHEAD_STRIDES_MAX 32 /* records ahead of a strided stream */
#define READAHEAD_STRIDE_MAX (64ll << 20) /* bytes */
#define READAHEAD_ACTIVE 64      /* a stream has ended after so many reads elsewhere, */
#define READAHEAD_PAUSE 4        /* or after so many times its own pause, if that is fewer */
#define READAHEAD_BEGINNINGS 8   /* the last beginnings that are remembered, */
#define READAHEAD_EAGER 5        /* and how many of them were continued when the next is taken for a stream */

struct readahead_stream {
    bool used;
    bool eager;       /* taken for a stream from its first read on */
    uint64_t number;  /* which beginning of all it was */
    uint64_t touched; /* the number of its last read */
    uint64_t pause;   /* reads from one of its own to the next: the longest, lately */
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

/* A part of the image that is still to be told. */
struct readahead_part {
    uint64_t begin, end;
};

struct readahead {
    uint64_t size; /* of the image, bytes */
    uint64_t reads; /* so far: numbers them */
    struct readahead_stream streams[READAHEAD_STREAMS];
    struct readahead_past history[READAHEAD_HISTORY];
    unsigned history_next;
    int64_t balance;    /* bytes that were earned, less those fetched ahead */
    uint64_t here;      /* bytes that were here when they were read, since the balance was struck */
    bool lonely_due;    /* the last lonely read was not looked at yet */
    uint64_t lonely;    /* offset of the last lonely read */
    struct readahead_part forth, back; /* what is left of that read's cluster, from the read on and before it */
    struct readahead_part first, volume, last; /* what is left of the edges */
    uint64_t clusters[READAHEAD_CLUSTERS]; /* the last that were fetched, a ring: the cluster's offset + 1; 0: none */
    unsigned clusters_next;
    uint64_t cluster; /* the size of clusters */
    uint64_t beginnings;
    uint32_t continued; /* bit N: the Nth beginning before the last was continued */
};

/* What the link and the memory allow now, in bytes. */
struct readahead_limits {
    uint64_t window; /* fetched ahead of all streams together */
    uint32_t chunk;  /* the size of one fetch, a power of two */
    uint32_t cluster; /* what lies together, a power of two; 0: nothing is fetched that may be in vain */
    uint32_t piece;  /* the size of one fetch of a cluster, a power of two */
    uint32_t edge;   /* the size of one fetch of an edge */
    bool early;      /* the edges are fetched before the first read of all */
    uint64_t budget; /* what may be fetched in vain before anything was of use */
};

void readahead_init(struct readahead *ra, uint64_t size);
/* Somebody reads this range. */
void readahead_access(struct readahead *ra, uint64_t offset, uint32_t length);
/* What was fetched ahead is not here at `offset` (evicted, or its fetch failed): the stream that reads there fetches
 * again from there, and the cluster may be fetched again. */
void readahead_missed(struct readahead *ra, uint64_t offset);
/* `bytes` are really being fetched of what readahead_next() told: those that were missing. */
void readahead_fetched(struct readahead *ra, const struct readahead_limits *limits, uint64_t bytes);
/* `bytes` were read that had been fetched, or asked for, before they were read. */
void readahead_was_here(struct readahead *ra, uint64_t bytes);
/* The next range worth fetching, which counts as fetched from then on; false: there is none now. */
bool readahead_next(struct readahead *ra, const struct readahead_limits *limits, uint64_t *offset, uint32_t *length);

#endif
