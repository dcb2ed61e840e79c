#include "block/memory.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "block/block_table.h"

#define MEMORY_PARALLEL 8

struct memory {
    struct source source;
    uint64_t size;
    struct block_table pieces; /* offset / MEMORY_PIECE -> the piece's bytes */
};

/* The part of a request that lies in one piece. */
struct span {
    uint64_t piece;
    uint32_t start, length; /* inside the piece */
};

static struct memory *memory_of(struct source *source)
{
    return container_of(source, struct memory, source);
}

static struct span span_at(uint64_t at, uint64_t end)
{
    struct span span = {at / MEMORY_PIECE, (uint32_t)(at % MEMORY_PIECE), 0};
    uint64_t left = end - at, room = MEMORY_PIECE - span.start;
    span.length = (uint32_t)(left < room ? left : room);
    return span;
}

static void memory_read(struct memory *memory, struct io *io)
{
    uint64_t end = io->offset + io->length;
    struct span span;
    slices_alloc(&io->data, io->length, BYTES_PIECE);
    for (uint64_t at = io->offset; at < end; at += span.length) {
        span = span_at(at, end);
        const unsigned char *piece = block_table_get(&memory->pieces, span.piece);
        if (piece)
            slices_copy_in(&io->data, at - io->offset, piece + span.start, span.length);
        else
            slices_zero(&io->data, at - io->offset, span.length);
    }
    memory->source.stats.bytes += io->length;
}

static void memory_write(struct memory *memory, const struct io *io)
{
    uint64_t end = io->offset + io->length;
    struct span span;
    for (uint64_t at = io->offset; at < end; at += span.length) {
        span = span_at(at, end);
        unsigned char *piece = block_table_get(&memory->pieces, span.piece);
        if (!piece) {
            piece = mem_alloc(MEMORY_PIECE);
            block_table_set(&memory->pieces, span.piece, piece);
        }
        slices_copy_out(&io->data, at - io->offset, piece + span.start, span.length);
    }
}

static void memory_zero(struct memory *memory, const struct io *io)
{
    uint64_t end = io->offset + io->length;
    struct span span;
    for (uint64_t at = io->offset; at < end; at += span.length) {
        span = span_at(at, end);
        unsigned char *piece = block_table_get(&memory->pieces, span.piece);
        bool whole = span.start == 0 && (span.length == MEMORY_PIECE || at + span.length == memory->size);
        if (piece && whole) {
            block_table_remove(&memory->pieces, span.piece);
            mem_free(piece);
        } else if (piece) {
            memset(piece + span.start, 0, span.length);
        }
    }
}

static void memory_extents(const struct memory *memory, struct io *io)
{
    uint64_t end = io->offset + io->length;
    struct span span;
    for (uint64_t at = io->offset; at < end; at += span.length) {
        span = span_at(at, end);
        uint32_t flags = block_table_get(&memory->pieces, span.piece) ? 0 : EXTENT_HOLE | EXTENT_ZERO;
        struct io_extent *last = io->extent_count > 0 ? &io->extents[io->extent_count - 1] : NULL;
        if (last && last->flags == flags)
            last->length += span.length;
        else if (io->extent_count < io->extent_capacity)
            io->extents[io->extent_count++] = (struct io_extent){span.length, flags};
        else
            break;
    }
}

static void memory_submit(struct source *source, struct io *io)
{
    struct memory *memory = memory_of(source);
    source->stats.requests++;
    switch (io->op) {
    case IO_READ:
        memory_read(memory, io);
        break;
    case IO_WRITE:
        memory_write(memory, io);
        break;
    case IO_TRIM:
    case IO_ZERO:
        memory_zero(memory, io);
        break;
    case IO_EXTENTS:
        memory_extents(memory, io);
        break;
    case IO_FLUSH:
    case IO_CACHE:
        break;
    }
    io_finish_later(source->loop, io, 0);
}

static void memory_open(struct source *source)
{
    source->size = memory_of(source)->size;
    source->can_trim = source->can_zero = source->can_flush = true;
    source->local = true;
    source->parallel = MEMORY_PARALLEL;
    source_report_opened_later(source, 0);
}

static void memory_close(struct source *source)
{
    source_report_closed(source);
}

static void memory_free(struct source *source)
{
    struct memory *memory = memory_of(source);
    for (uint32_t i = 0; memory->pieces.entries && i <= memory->pieces.mask; i++)
        mem_free(memory->pieces.entries[i].value);
    block_table_free(&memory->pieces);
    mem_free(memory);
}

struct source *memory_source_new(uv_loop_t *loop, const char *who, uint64_t size)
{
    static const struct source_ops ops = {"memory", memory_open, memory_submit, memory_close, memory_free, NULL};
    struct memory *memory = mem_alloc(sizeof *memory);
    source_init(&memory->source, &ops, loop, who);
    memory->size = size;
    block_table_init(&memory->pieces);
    return &memory->source;
}

uint64_t memory_source_held(const struct source *source)
{
    return (uint64_t)container_of(source, const struct memory, source)->pieces.count * MEMORY_PIECE;
}
