/*
 * The overlay's inside, for its own files: overlay.c (life), overlay_load.c (the store at opening), overlay_request.c
 * (ios), overlay_copy.c (writes to blocks that get their slots), overlay_sync.c (flushes).
 */
#ifndef BLOCK_OVERLAY_INTERNAL_H
#define BLOCK_OVERLAY_INTERNAL_H

#include "base/list.h"
#include "block/overlay.h"
#include "block/overlay_format.h"
#include "block/overlay_map.h"

struct overlay;

#define OVERLAY_PART_MAX (4u << 20) /* bytes that are read, written or copied at a time */

/* Opening asks the store for one thing after the other. */
struct overlay_load {
    struct io io;
    bool busy;
    void (*next)(struct overlay *overlay);
    uint32_t slot, stale_end; /* the index's next slot; the one behind the last that must be cleared */
    uint64_t at, end;         /* the rest of what must be zeroes for the store to be empty */
};

/* Flushes, one round at a time; a request that comes during a round waits for the next round. */
struct overlay_sync {
    struct io io;
    bool busy;                    /* a round is under way */
    int failed;                   /* the store's flush failed: nothing is known to be stable any more */
    struct link now, later;       /* struct overlay_request by `waiting` */
    uint32_t epoch, newest;       /* epochs: the one that new entries get; the newest entry's */
    uint32_t target;              /* the round makes all entries up to this epoch stable */
    bool dirty;                   /* the store was written to since the last round began */
    struct overlay_header header; /* as it is in the store */
    uint8_t *block;               /* room to encode the header, which is too large for the stack */
};

struct overlay {
    struct source source;
    struct source *lower, *store;
    char *store_name;
    char boot_id[OVERLAY_BOOT_ID];
    bool sync_at_close, synced_at_close;
    bool loaded; /* the map is valid, the store is ours to write */
    bool died, lower_closed, store_closed;
    int early_death; /* the status of a lower source or store that died while opening */
    bool full_logged, failure_logged;
    struct overlay_map map;
    uint64_t data; /* offset of slot 0 in the store */
    struct overlay_load load;
    struct overlay_sync sync;
    struct link requests; /* struct overlay_request: all that are not answered */
    struct link copies;   /* struct overlay_copy */
};

/* One io from above. */
struct overlay_request {
    struct link link; /* in overlay->requests */
    struct overlay *overlay;
    struct io *io;
    uint64_t next, end;  /* of the image: the rest that has not been started */
    unsigned pending;    /* parts on their way */
    struct link parts;   /* READ: struct overlay_part by offset */
    struct link waiting; /* for a copy of a block, or in sync.now or later */
    bool syncing;        /* in sync.now */
    int status;
};

static inline uint64_t overlay_least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t overlay_block(uint64_t offset)
{
    return offset / OVERLAY_BLOCK;
}

/* Where the block of this offset ends; the image's last block may be short. */
static inline uint64_t overlay_block_end(const struct overlay *overlay, uint64_t offset)
{
    return overlay_least((overlay_block(offset) + 1) * OVERLAY_BLOCK, overlay->lower->size);
}

static inline uint64_t overlay_slot_offset(const struct overlay *overlay, uint32_t slot)
{
    return overlay->data + (uint64_t)slot * OVERLAY_BLOCK;
}

/* The furthest end of the request's next part: only the request's last part ends inside a block. */
static inline uint64_t overlay_part_limit(const struct overlay_request *request)
{
    return overlay_least(request->end, overlay_block(request->next) * OVERLAY_BLOCK + OVERLAY_PART_MAX);
}

/* overlay.c: goes on with closing, if nothing is outstanding. */
void overlay_settle(struct overlay *overlay);
/* Opening is over; `status` is reported unless closing does that. */
void overlay_opened(struct overlay *overlay, int status);
/* Takes over the lower source's counters, and the error of `failed` unless that is NULL. */
void overlay_learn(struct overlay *overlay, const struct source *failed);
/* Logs that a write to the store failed: once, since the reason seldom goes by itself. */
void overlay_store_failed(struct overlay *overlay, int status);

/* overlay_load.c: ends in overlay_opened(). */
void overlay_load_start(struct overlay *overlay);

/* overlay_request.c */
void overlay_submit(struct source *source, struct io *io);
void overlay_cancel_requests(struct overlay *overlay); /* closing: what has not been started */
/* The sync that the request waited for has ended. */
void overlay_request_synced(struct overlay_request *request, int status);

/* Starts what may start; ends the request when there's nothing left of it. */
void overlay_request_pump(struct overlay_request *request);
/* `target` failed a part of the request; NULL: no error is taken over. Nothing more of the request is started. */
void overlay_request_failed(struct overlay_request *request, int status, const struct source *target);
/* Adds to `to` what the request writes from `at` to `end`. */
void overlay_request_data(const struct overlay_request *request, struct slices *to, uint64_t at, uint64_t end);

/* overlay_copy.c: starts to copy the request's next blocks; gives where they end. The first of them has no data in the
 * store, and is not being copied. If the store is full the request's status says so, and its `next` is returned. */
uint64_t overlay_copy_next(struct overlay_request *request);
/* The request waits until the copy that fills this slot has ended. */
void overlay_copy_wait(struct overlay_request *request, uint32_t slot);

/* overlay_sync.c */
void overlay_sync_init(struct overlay *overlay);
/* The request waits for a round that begins from now on; overlay_request_synced() ends it. */
void overlay_sync_add(struct overlay *overlay, struct overlay_request *request);
/* Begins a round, unless one is under way. */
void overlay_sync_start(struct overlay *overlay);

#endif
