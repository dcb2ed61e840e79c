#include "block/io.h"

#include <assert.h>
#include <string.h>

static void on_io_deferred(struct defer *defer)
{
    struct io *io = container_of(defer, struct io, defer);
    io->done(io);
}

void io_init(struct io *io, enum io_op op, uint64_t offset, uint32_t length, void (*done)(struct io *io))
{
    memset(io, 0, sizeof *io);
    io->op = op;
    io->offset = offset;
    io->length = length;
    io->done = done;
    slices_init(&io->data);
    list_init(&io->link);
    defer_setup(&io->defer, on_io_deferred);
}

void io_promote(struct io *io)
{
    if (io->flags & IO_PREFETCH)
        io->flags = (io->flags & ~(unsigned)IO_PREFETCH) | IO_PROMOTED;
}

static void io_settle(struct io *io, int status)
{
    assert(status <= 0);
    assert(status != 0 || io->op != IO_READ || io->data.length == io->length);
    io->status = status;
    if (status != 0 && io->op == IO_READ)
        slices_clear(&io->data);
    list_remove(&io->link);
}

void io_finish(struct io *io, int status)
{
    io_settle(io, status);
    io->done(io);
}

void io_finish_later(uv_loop_t *loop, struct io *io, int status)
{
    io_settle(io, status);
    defer_schedule(loop, &io->defer);
}
