/*
 * The store at opening: is it empty, ours, sound? Its index is read into the map. Entries of writes that were never
 * flushed, which a loss of power left behind, are cleared before the header gets the new boot id: under that id they
 * would count.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "block/overlay_internal.h"

#define LOAD_PIECE   (256u << 10) /* bytes of the index at a time */
#define LOAD_ENTRIES (LOAD_PIECE / sizeof(uint64_t))
#define EMPTY_MIN    (1u << 20) /* a store counts as empty if its first so many bytes, and its index, are zeroes */

__attribute__((format(printf, 3, 4))) static void refuse(struct overlay *overlay, int status, const char *format, ...)
{
    char words[SOURCE_ERROR_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    source_set_error(&overlay->source, "overlay: %.150s: %.300s", overlay->store_name, words);
    overlay_opened(overlay, status);
}

/* --- one thing after the other --- */

static void on_overlay_load_done(struct io *io)
{
    struct overlay *overlay = container_of(io, struct overlay, load.io);
    overlay->load.busy = false;
    if (overlay->source.state == SOURCE_CLOSING)
        overlay_settle(overlay);
    else if (io->status != 0)
        refuse(overlay, io->status, "%s", *overlay->store->error ? overlay->store->error : strerror(-io->status));
    else
        overlay->load.next(overlay);
}

static struct io *load_prepare(struct overlay *overlay, enum io_op op, uint64_t offset, uint32_t length,
                               void (*next)(struct overlay *))
{
    struct overlay_load *load = &overlay->load;
    assert(!load->busy);
    slices_clear(&load->io.data);
    io_init(&load->io, op, offset, length, on_overlay_load_done);
    load->next = next;
    load->busy = true;
    return &load->io;
}

static void load_read(struct overlay *overlay, uint64_t offset, uint32_t length, void (*next)(struct overlay *))
{
    source_submit(overlay->store, load_prepare(overlay, IO_READ, offset, length, next));
}

static void load_flush(struct overlay *overlay, void (*next)(struct overlay *))
{
    source_submit(overlay->store, load_prepare(overlay, IO_FLUSH, 0, 0, next));
}

static void load_write(struct overlay *overlay, uint64_t offset, const void *data, uint32_t length,
                       void (*next)(struct overlay *))
{
    struct io *io = load_prepare(overlay, IO_WRITE, offset, length, next);
    slices_alloc(&io->data, length, BYTES_PIECE);
    slices_copy_in(&io->data, 0, data, length);
    source_submit(overlay->store, io);
}

/* --- the end --- */

static void load_end(struct overlay *overlay)
{
    struct overlay_sync *sync = &overlay->sync;
    slices_clear(&overlay->load.io.data);
    sync->epoch = (sync->newest > sync->header.synced ? sync->newest : sync->header.synced) + 1;
    overlay->loaded = true;
    if (overlay->early_death)
        refuse(overlay, overlay->early_death, "a part of it was lost while it opened");
    else
        overlay_opened(overlay, 0);
}

/* The header must be stable before there are entries: zeroes in its place with entries behind them would be taken for a
 * foreign store. */
static void load_header_written(struct overlay *overlay)
{
    load_flush(overlay, load_end);
}

static void load_write_header(struct overlay *overlay)
{
    struct overlay_sync *sync = &overlay->sync;
    memcpy(sync->header.boot_id, overlay->boot_id, sizeof sync->header.boot_id);
    overlay_format_encode(&sync->header, sync->block);
    load_write(overlay, 0, sync->block, OVERLAY_HEADER, load_header_written);
}

/* --- what is not valid any more --- */

/* Writes the index again from the map, piece by piece, up to the last entry that must not stay. */
static void load_clear(struct overlay *overlay)
{
    struct overlay_load *load = &overlay->load;
    uint32_t first = load->slot, count = load->stale_end - first;
    if (count == 0) {
        load_write_header(overlay);
        return;
    }
    count = count < LOAD_ENTRIES ? count : (uint32_t)LOAD_ENTRIES;
    uint64_t *entries = mem_alloc(count * sizeof *entries);
    for (uint32_t i = 0; i < count; i++)
        if (overlay_map_state(&overlay->map, first + i) != SLOT_FREE)
            entries[i] = overlay_format_entry(overlay_map_block(&overlay->map, first + i), overlay->sync.header.synced);
    load->slot += count;
    load_write(overlay, overlay_format_index(first), entries, (uint32_t)(count * sizeof *entries), load_clear);
    mem_free(entries);
}

/* --- the index --- */

static bool same_boot(const struct overlay *overlay)
{
    return *overlay->boot_id && strcmp(overlay->boot_id, overlay->sync.header.boot_id) == 0;
}

/* False: the entry shows that the store is damaged. */
static bool overlay_load_load_entry(struct overlay *overlay, uint32_t slot, uint64_t entry)
{
    struct overlay_sync *sync = &overlay->sync;
    uint64_t block = overlay_entry_block(entry);
    uint32_t epoch = overlay_entry_epoch(entry);
    if (entry == 0)
        return true;
    if (epoch > sync->header.synced && !same_boot(overlay)) {
        overlay->load.stale_end = slot + 1;
        return true;
    }
    if (epoch == 0 || epoch == OVERLAY_EPOCH_MAX || block > (overlay->lower->size - 1) / OVERLAY_BLOCK ||
        overlay_map_find(&overlay->map, block) != OVERLAY_NO_SLOT)
        return false;
    overlay_map_give(&overlay->map, slot, block);
    overlay_map_set(&overlay->map, slot, SLOT_VALID);
    sync->newest = epoch > sync->newest ? epoch : sync->newest;
    return true;
}

static void load_index(struct overlay *overlay);

static void load_index_piece(struct overlay *overlay)
{
    struct overlay_load *load = &overlay->load;
    uint32_t count = load->io.length / (uint32_t)sizeof(uint64_t);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t entry;
        slices_copy_out(&load->io.data, i * sizeof entry, &entry, sizeof entry);
        if (!overlay_load_load_entry(overlay, load->slot + i, entry)) {
            refuse(overlay, -EUCLEAN,
                   "it is damaged (entry %" PRIu32 " of its index is not possible); "
                   "remove it to start over without its changes",
                   load->slot + i);
            return;
        }
    }
    load->slot += count;
    load_index(overlay);
}

static void load_index(struct overlay *overlay)
{
    struct overlay_load *load = &overlay->load;
    uint32_t left = overlay->map.capacity - load->slot;
    if (left > 0) {
        uint32_t count = left < LOAD_ENTRIES ? left : (uint32_t)LOAD_ENTRIES;
        load_read(overlay, overlay_format_index(load->slot), count * (uint32_t)sizeof(uint64_t), load_index_piece);
    } else if (same_boot(overlay)) {
        load_end(overlay);
    } else {
        load->slot = 0;
        load_clear(overlay);
    }
}

/* --- an empty store --- */

static bool overlay_load_all_zeroes(const struct slices *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const unsigned char *data = slice_data(&list->v[i]);
        if (data[0] != 0 || memcmp(data, data + 1, list->v[i].length - 1) != 0)
            return false;
    }
    return true;
}

static void load_look(struct overlay *overlay);

static void load_looked(struct overlay *overlay)
{
    if (overlay_load_all_zeroes(&overlay->load.io.data))
        load_look(overlay);
    else
        refuse(overlay, -EEXIST,
               "it is not empty, and not an overlay; give another file, or remove it if nobody needs it");
}

/* Looks on for anything but zeroes: a disk image given as the store may begin with them, and must not be written to. */
static void load_look(struct overlay *overlay)
{
    struct overlay_load *load = &overlay->load;
    uint64_t left = load->end - load->at;
    if (left == 0) {
        load_write_header(overlay);
        return;
    }
    uint32_t length = left < LOAD_PIECE ? (uint32_t)left : LOAD_PIECE;
    load->at += length;
    load_read(overlay, load->at - length, length, load_looked);
}

static uint64_t lower_identity(const struct overlay *overlay)
{
    const char *identity = overlay->lower->identity;
    uint64_t hash = overlay_format_hash(identity, strlen(identity));
    return *identity ? (hash ? hash : 1) : 0;
}

static void load_begin_empty(struct overlay *overlay, uint32_t capacity)
{
    struct overlay_load *load = &overlay->load;
    overlay->sync.header = (struct overlay_header){
        .image_size = overlay->lower->size, .identity = lower_identity(overlay), .capacity = capacity};
    overlay_map_init(&overlay->map, capacity);
    overlay->data = overlay_format_data(capacity);
    load->at = OVERLAY_HEADER;
    load->end = overlay->data > EMPTY_MIN ? overlay->data : EMPTY_MIN;
    load->end = load->end < overlay->store->size ? load->end : overlay->store->size;
    load_look(overlay);
}

/* --- the header --- */

static void load_continue(struct overlay *overlay, const struct overlay_header *header)
{
    if (header->image_size != overlay->lower->size)
        refuse(overlay, -EEXIST,
               "it has the changes of another image (of %" PRIu64 " bytes, this one has %" PRIu64
               "); insert that image, or remove the overlay to start over without its changes",
               header->image_size, overlay->lower->size);
    else if (header->identity != lower_identity(overlay))
        refuse(overlay, -EEXIST,
               "it has the changes of another image, or the image was changed since; insert that "
               "image, or remove the overlay to start over without its changes");
    else if (overlay_format_size(header->capacity) > overlay->store->size)
        refuse(overlay, -EUCLEAN, "it is damaged (cut short); remove it to start over without its changes");
    else {
        overlay->sync.header = *header;
        overlay_map_init(&overlay->map, header->capacity);
        overlay->data = overlay_format_data(header->capacity);
        load_index(overlay);
    }
}

static void load_header(struct overlay *overlay)
{
    struct overlay_header header;
    slices_copy_out(&overlay->load.io.data, 0, overlay->sync.block, OVERLAY_HEADER);
    switch (overlay_format_decode(overlay->sync.block, &header)) {
    case OVERLAY_GOOD:
        load_continue(overlay, &header);
        break;
    case OVERLAY_EMPTY:
        load_begin_empty(overlay, overlay_format_capacity(overlay->store->size));
        break;
    case OVERLAY_FOREIGN:
        refuse(overlay, -EEXIST, "it is not an overlay; give another file, or remove it if nobody needs it");
        break;
    case OVERLAY_VERSION:
        refuse(overlay, -EUCLEAN,
               "it is an overlay of another version, or damaged; remove it to start over without its changes");
        break;
    case OVERLAY_DAMAGED:
        refuse(overlay, -EUCLEAN,
               "it is damaged (the header's check sum is wrong); remove it to start over without its changes");
        break;
    }
}

void overlay_load_start(struct overlay *overlay)
{
    if (overlay->lower->size == 0 || overlay->lower->size > OVERLAY_IMAGE_MAX)
        refuse(overlay, -EFBIG, "an image of %" PRIu64 " bytes can't have an overlay", overlay->lower->size);
    else if (overlay->store->read_only)
        refuse(overlay, -EROFS, "it can't be written to");
    else if (overlay_format_capacity(overlay->store->size) == 0)
        refuse(overlay, -ENOSPC, "it is too small for an overlay");
    else
        load_read(overlay, 0, OVERLAY_HEADER, load_header);
}
