#include "slot/slot_read.h"

#include <errno.h>

#include "slot/slot_internal.h"

static struct source *readable_of(const struct slot *slot)
{
    return slot->state == SLOT_READY && slot->opened && slot->source ? pipeline_medium(slot->source) : NULL;
}

bool slot_readable(const struct slot *slot, uint64_t *size, uint64_t *medium)
{
    const struct source *source = readable_of(slot);
    if (!source)
        return false;
    *size = source->size;
    *medium = slot_medium_id(slot);
    return true;
}

static void on_slot_read_refused(struct defer *defer)
{
    struct slot_read *read = container_of(defer, struct slot_read, defer);
    read->status = -ENODEV;
    read->done(read);
}

static void on_slot_read(struct io *io)
{
    struct slot_read *read = container_of(io, struct slot_read, io);
    read->status = io->status;
    slices_take(&read->data, &io->data);
    read->done(read);
}

void slot_read(uv_loop_t *loop, struct slot *slot, uint64_t medium, struct slot_read *read)
{
    struct source *source = slot ? readable_of(slot) : NULL;
    slices_init(&read->data);
    if (!source || slot_medium_id(slot) != medium) {
        defer_setup(&read->defer, on_slot_read_refused);
        defer_schedule(loop, &read->defer);
        return;
    }
    io_init(&read->io, IO_READ, read->offset, read->length, on_slot_read);
    read->io.flags = IO_ASIDE;
    source_submit(source, &read->io);
}
