/*
 * Writes to blocks that have no data in the store yet. A copy gets the blocks slots, reads what the write leaves out of
 * the first and the last block from the lower source, writes the slots, then their entries in the index. Another write
 * that comes to one of these blocks waits until the copy has ended.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "block/overlay_internal.h"

struct overlay_copy {
    struct link link; /* in overlay->copies */
    struct overlay_request *request;
    uint64_t offset, end;  /* of the image: the part of the request that is copied */
    uint32_t first, count; /* the copy's slots */
    struct link waiting;   /* struct overlay_request */
    struct io fills[2];    /* the first and the last block, as they are in the lower source */
    unsigned filling; /* fills under way */
    int status;
    struct io io; /* writes the data, then the entries */
};

static void copy_end(struct overlay_copy *copy, int status)
{
    struct overlay_request *request = copy->request;
    struct overlay *overlay = request->overlay;
    struct link waiting;
    for (uint32_t i = 0; i < copy->count; i++)
        overlay_map_set(&overlay->map, copy->first + i, status == 0 ? SLOT_VALID : SLOT_RESERVED);
    list_init(&waiting);
    list_move_all(&waiting, &copy->waiting);
    slices_clear(&copy->fills[0].data);
    slices_clear(&copy->fills[1].data);
    slices_clear(&copy->io.data);
    list_remove(&copy->link);
    mem_free(copy);
    request->pending--;
    overlay_request_pump(request);
    for (struct link *l = list_pop(&waiting); l; l = list_pop(&waiting))
        overlay_request_pump(container_of(l, struct overlay_request, waiting));
}

static void copy_store_failed(struct overlay_copy *copy, int status)
{
    overlay_store_failed(copy->request->overlay, status);
    overlay_request_failed(copy->request, status, copy->request->overlay->store);
    copy_end(copy, status);
}

static void on_entries_written(struct io *io)
{
    struct overlay_copy *copy = container_of(io, struct overlay_copy, io);
    if (io->status == 0)
        copy_end(copy, 0);
    else
        copy_store_failed(copy, io->status);
}

static void copy_write_entries(struct overlay_copy *copy)
{
    struct overlay *overlay = copy->request->overlay;
    struct io *io = &copy->io;
    uint32_t length = copy->count * (uint32_t)sizeof(uint64_t);
    slices_clear(&io->data);
    io_init(io, IO_WRITE, overlay_format_index(copy->first), length, on_entries_written);
    slices_alloc(&io->data, length, BYTES_PIECE);
    overlay->sync.newest = overlay->sync.epoch;
    overlay->sync.dirty = true;
    for (uint32_t i = 0; i < copy->count; i++) {
        uint64_t entry = overlay_format_entry(overlay_map_block(&overlay->map, copy->first + i), overlay->sync.epoch);
        slices_copy_in(&io->data, i * sizeof entry, &entry, sizeof entry);
    }
    source_submit(overlay->store, io);
}

static void on_data_written(struct io *io)
{
    struct overlay_copy *copy = container_of(io, struct overlay_copy, io);
    if (io->status == 0)
        copy_write_entries(copy);
    else
        copy_store_failed(copy, io->status);
}

/* Writes the first block's beginning, the request's bytes, and the last block's end. */
static void copy_write_data(struct overlay_copy *copy)
{
    struct overlay_request *request = copy->request;
    struct overlay *overlay = request->overlay;
    uint64_t head = copy->offset % OVERLAY_BLOCK;
    uint64_t begin = copy->offset - head, end = overlay_block_end(overlay, copy->end - 1);
    const struct slices *last = &copy->fills[copy->fills[1].length > 0].data;
    struct io *io = &copy->io;
    io_init(io, IO_WRITE, overlay_slot_offset(overlay, copy->first), (uint32_t)(end - begin), on_data_written);
    slices_add_part(&io->data, &copy->fills[0].data, 0, head);
    overlay_request_data(request, &io->data, copy->offset, copy->end);
    slices_add_part(&io->data, last, last->length - (end - copy->end), end - copy->end);
    overlay->sync.dirty = true;
    source_submit(overlay->store, io);
}

static void copy_filled(struct overlay_copy *copy, const struct io *io)
{
    if (io->status != 0 && copy->status == 0) {
        copy->status = io->status;
        overlay_request_failed(copy->request, io->status, copy->request->overlay->lower);
    }
    if (--copy->filling > 0)
        return;
    if (copy->status == 0)
        copy_write_data(copy);
    else
        copy_end(copy, copy->status);
}

static void on_first_filled(struct io *io)
{
    copy_filled(container_of(io, struct overlay_copy, fills[0]), io);
}

static void on_last_filled(struct io *io)
{
    copy_filled(container_of(io, struct overlay_copy, fills[1]), io);
}

static void copy_fill(struct overlay_copy *copy, struct io *io, uint64_t at, void (*done)(struct io *))
{
    struct overlay *overlay = copy->request->overlay;
    uint64_t begin = at / OVERLAY_BLOCK * OVERLAY_BLOCK;
    io_init(io, IO_READ, begin, (uint32_t)(overlay_block_end(overlay, at) - begin), done);
    io->since = copy->request->io->since;
    copy->filling++;
    source_submit(overlay->lower, io);
}

static void copy_begin(struct overlay_copy *copy)
{
    const struct overlay *overlay = copy->request->overlay;
    uint64_t last = copy->end - 1;
    bool head = copy->offset % OVERLAY_BLOCK != 0, tail = copy->end != overlay_block_end(overlay, last);
    bool one_block = copy->count == 1;
    if (head || (tail && one_block))
        copy_fill(copy, &copy->fills[0], copy->offset, on_first_filled);
    if (tail && !one_block)
        copy_fill(copy, &copy->fills[1], last, on_last_filled);
    if (copy->filling == 0)
        copy_write_data(copy);
}

/* The slot that a block without data has, or would get. */
static uint32_t slot_for(struct overlay *overlay, uint64_t block)
{
    uint32_t slot = overlay_map_find(&overlay->map, block);
    return slot != OVERLAY_NO_SLOT ? slot : overlay_map_next(&overlay->map);
}

static bool take_slot(struct overlay *overlay, uint64_t block, uint32_t slot)
{
    enum slot_state state = overlay_map_state(&overlay->map, slot);
    if (slot == OVERLAY_NO_SLOT || state == SLOT_COPYING || state == SLOT_VALID)
        return false;
    if (state == SLOT_FREE)
        overlay_map_give(&overlay->map, slot, block);
    overlay_map_set(&overlay->map, slot, SLOT_COPYING);
    return true;
}

static void overlay_full(struct overlay *overlay)
{
    char size[TEXT_SIZE_MAX];
    if (overlay->full_logged)
        return;
    overlay->full_logged = true;
    text_human_size((uint64_t)overlay->map.capacity * OVERLAY_BLOCK, size);
    log_warning(overlay->source.who, "overlay: %s: full with %s of changes: what is new can't be written any more",
                overlay->store_name, size);
}

/* Blocks without data whose slots lie one after the other are copied together. */
uint64_t overlay_copy_next(struct overlay_request *request)
{
    struct overlay *overlay = request->overlay;
    uint64_t at = request->next, limit = overlay_part_limit(request);
    uint32_t first = slot_for(overlay, overlay_block(at)), count = 0;
    if (first == OVERLAY_NO_SLOT) {
        overlay_full(overlay);
        source_set_error(&overlay->source, "overlay: %.400s: full", overlay->store_name);
        request->status = -ENOSPC;
        return at;
    }
    while (at < limit && slot_for(overlay, overlay_block(at)) == first + count &&
           take_slot(overlay, overlay_block(at), first + count)) {
        at = overlay_least(overlay_block_end(overlay, at), limit);
        count++;
    }
    struct overlay_copy *copy = mem_alloc(sizeof *copy);
    copy->request = request;
    copy->offset = request->next;
    copy->end = at;
    copy->first = first;
    copy->count = count;
    list_init(&copy->waiting);
    slices_init(&copy->fills[0].data);
    slices_init(&copy->fills[1].data);
    slices_init(&copy->io.data);
    list_append(&overlay->copies, &copy->link);
    request->pending++;
    copy_begin(copy);
    return at;
}

void overlay_copy_wait(struct overlay_request *request, uint32_t slot)
{
    list_for_each (l, &request->overlay->copies) {
        struct overlay_copy *copy = container_of(l, struct overlay_copy, link);
        if (slot < copy->first || slot - copy->first >= copy->count)
            continue;
        list_append(&copy->waiting, &request->waiting);
        return;
    }
    assert(false);
}
