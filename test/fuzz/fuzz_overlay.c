/*
 * The store of an overlay as it may be found: it is refused in words, or each block is what the index says: that of its slot,
 * or the image's. The first byte: bit 0: the header is in the input as it is, else made whole from the next bytes;
 * bit 1: the machine was not started since. Then the header, then the index; slots are filled with their number.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/memory.h"
#include "block/overlay.h"
#include "block/overlay_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SLOTS  16u
#define BLOCKS 32u /* of the image */
#define IMAGE  (BLOCKS * OVERLAY_BLOCK)

static uv_loop_t loop;
static unsigned opened, closed, done;
static int opened_status, done_status;

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void on_opened(struct source *source, int status)
{
    (void)source;
    opened++;
    opened_status = status;
}

static void on_closed(struct source *source)
{
    (void)source;
    closed++;
}

static void on_died(struct source *source, int status)
{
    (void)source;
    (void)status;
    abort(); /* memory doesn't */
}

static void on_done(struct io *io)
{
    done++;
    done_status = io->status;
}

/* --- the store: bytes that are there already --- */

static uint8_t bytes[OVERLAY_HEADER + OVERLAY_BLOCK + SLOTS * OVERLAY_BLOCK];

static void stored_open(struct source *source)
{
    source->size = sizeof bytes;
    source->can_flush = true;
    source_report_opened_later(source, 0);
}

static void stored_submit(struct source *source, struct io *io)
{
    if (io->op == IO_READ) {
        slices_alloc(&io->data, io->length, BYTES_PIECE);
        slices_copy_in(&io->data, 0, bytes + io->offset, io->length);
    } else if (io->op == IO_WRITE) {
        slices_copy_out(&io->data, 0, bytes + io->offset, io->length);
    }
    io_finish_later(source->loop, io, 0);
}

static void stored_close(struct source *source)
{
    source_report_closed(source);
}

static void stored_free(struct source *source)
{
    free(source);
}

static struct source *stored_new(void)
{
    static const struct source_ops ops = {"stored", stored_open, stored_submit, stored_close, stored_free, NULL};
    struct source *source = calloc(1, sizeof *source);
    must(source != NULL);
    source_init(source, &ops, &loop, "fuzz");
    return source;
}

/* --- the overlay on it --- */

static void open_and_wait(struct source *source)
{
    opened = 0;
    source->opened = on_opened;
    source->died = on_died;
    source->closed = on_closed;
    source_open(source);
    while (opened == 0)
        uv_run(&loop, UV_RUN_NOWAIT);
}

static int run_io(struct source *source, struct io *io)
{
    done = 0;
    source_submit(source, io);
    while (done == 0)
        uv_run(&loop, UV_RUN_NOWAIT);
    must(done == 1);
    return done_status;
}

static int write_block(struct source *source, uint64_t offset, const uint8_t *data, uint32_t length)
{
    struct io io = {0};
    io_init(&io, IO_WRITE, offset, length, on_done);
    slices_alloc(&io.data, length, BYTES_PIECE);
    slices_copy_in(&io.data, 0, data, length);
    int status = run_io(source, &io);
    slices_clear(&io.data);
    return status;
}

static int read_block(struct source *source, unsigned block)
{
    uint8_t read[OVERLAY_BLOCK];
    struct io io = {0};
    io_init(&io, IO_READ, (uint64_t)block * OVERLAY_BLOCK, OVERLAY_BLOCK, on_done);
    must(run_io(source, &io) == 0);
    slices_copy_out(&io.data, 0, read, sizeof read);
    slices_clear(&io.data);
    must(memcmp(read, read + 1, sizeof read - 1) == 0);
    return read[0];
}

static void close_and_free(struct source *source)
{
    closed = 0;
    source_close(source);
    while (closed == 0)
        uv_run(&loop, UV_RUN_NOWAIT);
    source_free(source);
}

/* Gives the length of what it took of the input; the index is behind. */
static size_t make_header(const uint8_t *data, size_t size)
{
    struct overlay_header header = {.image_size = IMAGE, .capacity = SLOTS, .boot_id = "then"};
    size_t used = size < OVERLAY_HEADER ? size : OVERLAY_HEADER;
    if (data[0] & 1) {
        memcpy(bytes, data + 1, used - 1);
        return used;
    }
    if (size >= 4) {
        header.capacity = data[1];
        header.synced = data[2] | (uint32_t)data[3] << 8;
        used = 4;
    }
    overlay_format_encode(&header, bytes);
    return used;
}

static void make_store(const uint8_t *data, size_t size)
{
    memset(bytes, 0, sizeof bytes);
    size_t used = make_header(data, size), index = size - used;
    memcpy(bytes + OVERLAY_HEADER, data + used, index < SLOTS * 8 ? index : SLOTS * 8);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        memset(bytes + overlay_format_data(SLOTS) + slot * OVERLAY_BLOCK, (int)slot + 1, OVERLAY_BLOCK);
}

/* What the blocks of the overlay must be: by the index, read as simply as can be. */
static void expect(uint8_t blocks[BLOCKS], bool same_boot)
{
    struct overlay_header header;
    memset(blocks, 0, BLOCKS);
    if (overlay_format_decode(bytes, &header) != OVERLAY_GOOD)
        return;
    for (uint32_t slot = 0; slot < header.capacity && slot < SLOTS; slot++) {
        uint64_t entry;
        memcpy(&entry, bytes + overlay_format_index(slot), sizeof entry);
        if (entry != 0 && overlay_entry_block(entry) < BLOCKS && (same_boot || overlay_entry_epoch(entry) <= header.synced))
            blocks[overlay_entry_block(entry)] = (uint8_t)(slot + 1);
    }
}

static void use(struct source *overlay, const uint8_t blocks[BLOCKS])
{
    static const uint8_t zeroes[OVERLAY_BLOCK];
    for (unsigned block = 0; block < BLOCKS; block++)
        must(read_block(overlay, block) == blocks[block]);
    int status = write_block(overlay, 3 * OVERLAY_BLOCK, zeroes, sizeof zeroes);
    must(status == 0 || status == -ENOSPC);
    must(read_block(overlay, 3) == (status == 0 ? 0 : blocks[3]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool started;
    uint8_t blocks[BLOCKS];
    if (size == 0)
        return 0;
    if (!started) {
        uv_loop_init(&loop);
        defer_init(&loop);
        started = true;
    }
    make_store(data, size);
    bool same_boot = data[0] & 2;
    expect(blocks, same_boot);
    struct overlay_options options = {.store_name = "fuzz", .boot_id = same_boot ? "then" : "now"};
    struct source *overlay = overlay_source_new(memory_source_new(&loop, "fuzz", IMAGE), stored_new(), &options);
    open_and_wait(overlay);
    if (opened_status == 0)
        use(overlay, blocks);
    else
        must(*overlay->error);
    close_and_free(overlay);
    return 0;
}
