/*
 * Ios on an overlay. A request is cut at the places where its blocks change from the lower source to the store, or from
 * one place of the store to another; at most OVERLAY_PARTS of its parts are under way beside each other. A read's parts
 * are put together in order. Writes to blocks that have no data in the store yet are copies (overlay_copy.c).
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "block/overlay_internal.h"
#include "block/zeroes.h"

#define OVERLAY_PARTS      16           /* of one request, under way */
#define OVERLAY_EXTENT_MAX (256u << 20) /* bytes looked at for one EXTENTS */
#define OVERLAY_HINT_MAX   (64u << 20)  /* bytes of one CACHE */

struct overlay_part {
    struct link link; /* READ: in request->parts */
    struct overlay_request *request;
    struct source *target;
    bool done;
    struct io io;
};

/* The slot that holds the block's data; OVERLAY_NO_SLOT: none does. */
static uint32_t valid_slot(const struct overlay *overlay, uint64_t block)
{
    uint32_t slot = overlay_map_find(&overlay->map, block);
    bool valid = slot != OVERLAY_NO_SLOT && overlay_map_state(&overlay->map, slot) == SLOT_VALID;
    return valid ? slot : OVERLAY_NO_SLOT;
}

/* The end of the run of blocks from `at` that are in the store, in slots one after the other from `*slot` on, or all
 * in the lower source (`*slot` is OVERLAY_NO_SLOT). */
static uint64_t run_until(const struct overlay *overlay, uint64_t at, uint64_t end, uint32_t *slot)
{
    uint32_t first = valid_slot(overlay, overlay_block(at));
    uint32_t next = first;
    *slot = first;
    do {
        at = overlay_block_end(overlay, at);
        next += first != OVERLAY_NO_SLOT;
    } while (at < end && valid_slot(overlay, overlay_block(at)) == next);
    return overlay_least(at, end);
}

/* --- requests --- */

static struct overlay_request *overlay_request_request_new(struct overlay *overlay, struct io *io)
{
    struct overlay_request *request = mem_alloc(sizeof *request);
    request->overlay = overlay;
    request->io = io;
    request->next = io->offset;
    request->end = io->offset + io->length;
    list_init(&request->parts);
    list_init(&request->waiting);
    list_append(&overlay->requests, &request->link);
    return request;
}

static void part_free(struct overlay_part *part)
{
    list_remove(&part->link);
    slices_clear(&part->io.data);
    mem_free(part);
}

/* The answer is deferred, since this may be called from inside submit. */
static void overlay_request_request_end(struct overlay_request *request, int status)
{
    struct overlay *overlay = request->overlay;
    assert(request->pending == 0 && list_empty(&request->waiting));
    list_for_each (l, &request->parts)
        part_free(container_of(l, struct overlay_part, link));
    list_remove(&request->link);
    io_finish_later(overlay->source.loop, request->io, status);
    mem_free(request);
    overlay_settle(overlay);
}

static bool overlay_request_op_changes(enum io_op op)
{
    return op == IO_WRITE || op == IO_TRIM || op == IO_ZERO;
}

static bool wants_sync(const struct io *io)
{
    return io->op == IO_FLUSH || (io->flags & IO_FUA && overlay_request_op_changes(io->op));
}

static void request_complete(struct overlay_request *request)
{
    if (request->status == 0 && wants_sync(request->io))
        overlay_sync_add(request->overlay, request);
    else
        overlay_request_request_end(request, request->status);
}

void overlay_request_synced(struct overlay_request *request, int status)
{
    request->syncing = false;
    overlay_request_request_end(request, status);
}

void overlay_request_failed(struct overlay_request *request, int status, const struct source *target)
{
    overlay_learn(request->overlay, target);
    if (request->status == 0)
        request->status = status;
}

void overlay_cancel_requests(struct overlay *overlay)
{
    list_for_each (l, &overlay->requests) {
        struct overlay_request *request = container_of(l, struct overlay_request, link);
        if (request->syncing)
            continue; /* the flush that the request waits for is under way */
        if (request->status == 0)
            request->status = -ECANCELED;
        list_remove(&request->waiting);
        overlay_request_pump(request);
    }
}

void overlay_request_data(const struct overlay_request *request, struct slices *to, uint64_t at, uint64_t end)
{
    if (request->io->op == IO_ZERO)
        zeroes_add(to, end - at);
    else
        slices_add_part(to, &request->io->data, at - request->io->offset, end - at);
}

/* --- parts --- */

/* Adds parts to the read's data, in order, up to the first that is not done. */
static void read_gather(struct overlay_request *request)
{
    while (!list_empty(&request->parts)) {
        struct overlay_part *part = container_of(request->parts.next, struct overlay_part, link);
        if (!part->done)
            return;
        slices_take(&request->io->data, &part->io.data);
        part_free(part);
    }
}

static void on_part_done(struct io *io)
{
    struct overlay_part *part = container_of(io, struct overlay_part, io);
    struct overlay_request *request = part->request;
    struct overlay *overlay = request->overlay;
    part->done = true;
    request->pending--;
    request->io->extent_count = io->extent_count;
    if (io->status != 0 && overlay_request_op_changes(io->op))
        overlay_store_failed(overlay, io->status);
    if (io->status != 0)
        overlay_request_failed(request, io->status, io->status == -ENOTSUP ? NULL : part->target);
    else
        overlay_learn(overlay, NULL);
    if (io->op != IO_READ)
        part_free(part);
    else if (request->status == 0)
        read_gather(request);
    overlay_request_pump(request);
}

static struct overlay_part *part_new(struct overlay_request *request, struct source *target, enum io_op op,
                                     uint64_t offset, uint64_t length)
{
    struct overlay_part *part = mem_alloc(sizeof *part);
    part->request = request;
    part->target = target;
    list_init(&part->link);
    io_init(&part->io, op, offset, (uint32_t)length, on_part_done);
    part->io.flags = request->io->flags & (IO_PREFETCH | IO_ASIDE);
    part->io.since = request->io->since;
    return part;
}

static void part_submit(struct overlay_part *part)
{
    part->request->pending++;
    source_submit(part->target, &part->io);
}

static uint64_t store_offset(const struct overlay *overlay, uint32_t slot, uint64_t at)
{
    return overlay_slot_offset(overlay, slot) + at % OVERLAY_BLOCK;
}

/* --- what reads --- */

static uint64_t read_next(struct overlay_request *request)
{
    struct overlay *overlay = request->overlay;
    uint64_t at = request->next;
    uint32_t slot;
    uint64_t until = run_until(overlay, at, overlay_part_limit(request), &slot);
    bool below = slot == OVERLAY_NO_SLOT;
    struct overlay_part *part = part_new(request, below ? overlay->lower : overlay->store, IO_READ,
                                         below ? at : store_offset(overlay, slot, at), until - at);
    list_append(&request->parts, &part->link);
    part_submit(part);
    return until;
}

/* Hands a hint on for what is in the lower source; the store has no use for it. */
static uint64_t hint_next(struct overlay_request *request)
{
    struct overlay *overlay = request->overlay;
    uint64_t at = request->next;
    uint32_t slot;
    uint64_t until = run_until(overlay, at, overlay_part_limit(request), &slot);
    if (slot == OVERLAY_NO_SLOT)
        part_submit(part_new(request, overlay->lower, IO_CACHE, at, until - at));
    return until;
}

/* What was written is allocated; for the rest the lower source answers. One run is enough: the answer need not cover
 * the range (doc/proto.md, NBD_CMD_BLOCK_STATUS). */
static uint64_t extents_next(struct overlay_request *request)
{
    struct overlay *overlay = request->overlay;
    struct io *io = request->io;
    uint64_t end = overlay_least(request->end, io->offset + OVERLAY_EXTENT_MAX);
    uint32_t slot;
    uint64_t until = run_until(overlay, io->offset, end, &slot);
    if (slot == OVERLAY_NO_SLOT) {
        struct overlay_part *part = part_new(request, overlay->lower, IO_EXTENTS, io->offset, until - io->offset);
        part->io.extents = io->extents;
        part->io.extent_capacity = io->extent_capacity;
        part_submit(part);
        return request->end;
    }
    while (until < end && valid_slot(overlay, overlay_block(until)) != OVERLAY_NO_SLOT)
        until = overlay_least(overlay_block_end(overlay, until), end);
    if (io->extent_capacity > 0)
        io->extents[io->extent_count++] = (struct io_extent){(uint32_t)(until - io->offset), 0};
    return request->end;
}

/* --- what writes --- */

static uint64_t rewrite_next(struct overlay_request *request)
{
    struct overlay *overlay = request->overlay;
    uint64_t at = request->next;
    uint32_t slot;
    uint64_t until = run_until(overlay, at, overlay_part_limit(request), &slot);
    struct overlay_part *part =
        part_new(request, overlay->store, IO_WRITE, store_offset(overlay, slot, at), until - at);
    overlay_request_data(request, &part->io.data, at, until);
    overlay->sync.dirty = true;
    part_submit(part);
    return until;
}

static uint64_t overlay_request_write_next(struct overlay_request *request)
{
    struct overlay *overlay = request->overlay;
    uint32_t slot = overlay_map_find(&overlay->map, overlay_block(request->next));
    switch (slot == OVERLAY_NO_SLOT ? SLOT_FREE : overlay_map_state(&overlay->map, slot)) {
    case SLOT_VALID:
        return rewrite_next(request);
    case SLOT_COPYING:
        overlay_copy_wait(request, slot);
        return request->next;
    case SLOT_FREE:
    case SLOT_RESERVED:
        break;
    }
    return overlay_copy_next(request);
}

/* --- all of them --- */

static uint64_t request_next(struct overlay_request *request)
{
    switch (request->io->op) {
    case IO_READ:
        return read_next(request);
    case IO_WRITE:
    case IO_ZERO:
        return overlay_request_write_next(request);
    case IO_CACHE:
        return hint_next(request);
    case IO_EXTENTS:
        return extents_next(request);
    case IO_TRIM: /* what the range holds after that is unspecified: so the data stays */
    case IO_FLUSH:
        break;
    }
    return request->end;
}

void overlay_request_pump(struct overlay_request *request)
{
    while (request->status == 0 && request->next < request->end && request->pending < OVERLAY_PARTS &&
           list_empty(&request->waiting))
        request->next = request_next(request);
    if (request->pending == 0 && list_empty(&request->waiting))
        request_complete(request);
}

void overlay_submit(struct source *source, struct io *io)
{
    struct overlay *overlay = container_of(source, struct overlay, source);
    if (io->op == IO_ZERO && io->flags & IO_FAST_ZERO) {
        io_finish_later(source->loop, io, -ENOTSUP);
        return;
    }
    struct overlay_request *request = overlay_request_request_new(overlay, io);
    if (io->op == IO_CACHE)
        request->end = overlay_least(request->end, request->next + OVERLAY_HINT_MAX);
    overlay_request_pump(request);
}
