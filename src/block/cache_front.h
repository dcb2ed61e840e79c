/*
 * A cache source's inside, for its own files: cache_source.c (life, and what goes down as it is), cache_read.c (reads:
 * what the owner above asked), cache_fetch.c (fetches: ranges asked of the source below, on demand and ahead) and
 * cache_boot.c (what a boot reads, and how that goes).
 *
 * A read is cut into parts: some are there at once, the others wait, each for one fetch. Many parts may wait for one
 * fetch, of other slots' reads too; as soon as one does, the fetch is demand. When a fetch fails that began as a
 * speculative one or is another slot's, each part that waited asks again by itself, for what is left of its read's
 * time.
 */
#ifndef BLOCK_CACHE_FRONT_H
#define BLOCK_CACHE_FRONT_H

#include "block/cache_image.h"
#include "block/profile_plan.h"
#include "block/readahead.h"

struct cache_front {
    struct source source;
    struct cache *cache;
    struct source *lower;
    struct cache_image *image; /* from opened to closed */
    bool want_readahead;
    bool align; /* see fetch_end() */
    struct readahead readahead;
    struct profile_recorder *recorder; /* NULL: nothing is recorded */
    struct profile *profile;           /* what a boot from the image read before; NULL: not known */
    struct profile_plan plan;          /* by it */
    struct boot_report report;
    uint64_t left_unread; /* of what was read ahead, when the image was given back; bytes */
    unsigned in_flight;   /* fetches */
    unsigned connections; /* the most of them that there were, as far as the lower source has so many at a time */
    unsigned prefetches;  /* fetches in flight that nobody waits for, */
    uint64_t prefetching; /* and their bytes */
    struct link reads;    /* struct cache_read: waiting for a fetch */
    struct link fetches;  /* struct cache_fetch */
    struct link passes;   /* struct cache_pass */
};

struct cache_fetch {
    struct cache_entry entry;
    struct cache_front *front;
    struct link link;    /* in front->fetches */
    struct link waiting; /* struct cache_part, of this front's reads and of others' on the image */
    bool prefetch;       /* nobody waited for the fetch when it began */
    bool ahead;          /* nobody has waited for it yet: it counts in front->prefetches */
    uint64_t wanted;     /* bytes that parts waited for; those of several parts count for each */
    bool doomed;         /* a write overtook the fetch: what it brings goes to `waiting`, and is not kept */
    struct io io;
};

static inline struct cache_front *cache_front_of(struct source *source)
{
    return container_of(source, struct cache_front, source);
}

static inline uint64_t cache_least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* cache_source.c: takes over the lower source's counters, and its error if `status` is one. */
void cache_front_learn(struct cache_front *front, int status);

/* --- cache_read.c --- */

/* Answers an IO_READ: from the image, or when the fetches that it waits for are done. One that is IO_PREFETCH is no
 * host's: it counts nowhere, and fails when a fetch does. */
void cache_read_submit(struct cache_front *front, struct io *io);
/* Closing: all reads that wait end with -ECANCELED. The fetches end with the lower source. */
void cache_read_cancel_all(struct cache_front *front);
/* The first `ready` bytes of the fetch are in `data`, for good: fills the parts that need no more, and sets the
 * fetch's io.part_at for the others. Ends reads, whose owners may submit others from inside. */
void cache_read_filled(struct cache_fetch *fetch, const struct slices *data, uint32_t ready);
/* The fetch is done, and mapped no more: each part that waits gets the data, or the error, or another try. Ends reads
 * as above. No part waits for the fetch after that. */
void cache_read_answer(struct cache_fetch *fetch);

/* --- cache_fetch.c --- */

/* Starts the fetch of the blocks that are missing from `at` on, to `end` at most, rounded out as fetch_demand_chunk()
 * says. The fetch has the block of `at` in any case, whatever memory there is. `since`: when the host asked (as in
 * struct io). */
struct cache_fetch *cache_fetch_demand(struct cache_front *front, uint64_t at, uint64_t end, uint64_t since);
/* A part of `length` bytes, of a read that the host asked for at `since`, waits for the fetch's first `end` bytes. The
 * fetch is demand from now on; with `since` 0 (nobody waits for the read) it stays what it is. `waiting`: the part's
 * link. */
void cache_fetch_join(struct cache_fetch *fetch, struct link *waiting, uint32_t length, uint32_t end, uint64_t since);
/* Fetches ahead what is missing of the range; `fetched`: how many bytes. False: there is no memory for all of it. */
bool cache_fetch_missing(struct cache_front *front, uint64_t offset, uint64_t end, uint64_t *fetched);
/* Fetches ahead what block/readahead.h says, as far as requests and memory allow. */
void cache_fetch_ahead(struct cache_front *front);
void cache_fetch_closed(struct cache_front *front); /* the lower source has closed: so have its connections */
/* What the range held is stale, and so is what is being fetched, since a write may overtake the fetch. For the start of
 * a write, and again for its end. */
void cache_fetch_invalidate(struct cache_front *front, uint64_t offset, uint64_t length);

/* --- cache_boot.c --- */

void cache_boot_opened(struct cache_front *front);
/* A read comes. True: it is by the profile that is followed, and nothing else needs to be read ahead for it. */
bool cache_boot_read(struct cache_front *front, const struct io *io);
void cache_boot_answer(struct cache_front *front, const struct io *io, int status, uint64_t waited_ms);
/* Fetches ahead by the profile, `most` requests at a time. False: there is no memory for more. */
bool cache_boot_ahead(struct cache_front *front, const struct readahead_limits *limits, unsigned most);
void cache_boot_closed(struct cache_front *front); /* the image is still there */
void cache_boot_free(struct cache_front *front);

#endif
