/*
 * Flushes: a round flushes the store, then writes its header with the epoch that is stable now, then flushes again. An
 * entry is written after its data, and gets the current epoch; a round first ends the epoch, then flushes. So the data
 * of each entry of an epoch that the header calls stable was flushed, and writes need not wait for a flush, nor a flush
 * for writes.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "block/overlay_internal.h"

static struct overlay_request *waiting_request(struct link *l)
{
    return container_of(l, struct overlay_request, waiting);
}

static void sync_end(struct overlay *overlay, int status)
{
    struct overlay_sync *sync = &overlay->sync;
    struct link ended;
    sync->busy = false;
    slices_clear(&sync->io.data);
    list_init(&ended);
    list_move_all(&ended, &sync->now);
    for (struct link *l = list_pop(&ended); l; l = list_pop(&ended))
        overlay_request_synced(waiting_request(l), status);
    if (!list_empty(&sync->later))
        overlay_sync_start(overlay);
    overlay_settle(overlay);
}

static struct io *sync_prepare(struct overlay *overlay, enum io_op op, uint32_t length, void (*done)(struct io *))
{
    struct io *io = &overlay->sync.io;
    slices_clear(&io->data);
    io_init(io, op, 0, length, done);
    return io;
}

/* After a failed flush the kernel may have forgotten which pages were not written (fsync(2)): a later flush that
 * succeeds would prove nothing. */
static int flush_status(struct overlay *overlay, const struct io *io)
{
    struct overlay_sync *sync = &overlay->sync;
    if (io->status == 0)
        return 0;
    overlay_learn(overlay, overlay->store);
    if (io->status != -ECANCELED && !sync->failed) {
        log_error(overlay->source.who, "overlay: %s: could not be flushed (%s): every later flush fails too",
                  overlay->store_name, strerror(-io->status));
        sync->failed = io->status;
    }
    return io->status;
}

static void on_header_flushed(struct io *io)
{
    struct overlay *overlay = container_of(io, struct overlay, sync.io);
    int status = flush_status(overlay, io);
    if (status == 0)
        overlay->sync.header.synced = overlay->sync.target;
    sync_end(overlay, status);
}

static void on_header_written(struct io *io)
{
    struct overlay *overlay = container_of(io, struct overlay, sync.io);
    if (io->status == 0) {
        source_submit(overlay->store, sync_prepare(overlay, IO_FLUSH, 0, on_header_flushed));
        return;
    }
    overlay_learn(overlay, overlay->store);
    sync_end(overlay, io->status);
}

static void write_header(struct overlay *overlay)
{
    struct overlay_sync *sync = &overlay->sync;
    struct overlay_header header = sync->header;
    header.synced = sync->target;
    overlay_format_encode(&header, sync->block);
    struct io *io = sync_prepare(overlay, IO_WRITE, OVERLAY_HEADER, on_header_written);
    slices_alloc(&io->data, OVERLAY_HEADER, OVERLAY_HEADER);
    slices_copy_in(&io->data, 0, sync->block, OVERLAY_HEADER);
    source_submit(overlay->store, io);
}

static void on_data_flushed(struct io *io)
{
    struct overlay *overlay = container_of(io, struct overlay, sync.io);
    int status = flush_status(overlay, io);
    if (status == 0 && overlay->sync.target > overlay->sync.header.synced)
        write_header(overlay);
    else
        sync_end(overlay, status);
}

/* What is written from now on belongs to the next round. */
static void end_epoch(struct overlay *overlay)
{
    struct overlay_sync *sync = &overlay->sync;
    sync->target = sync->newest;
    if (sync->newest < sync->epoch)
        return;
    sync->epoch++;
    if (sync->epoch == OVERLAY_EPOCH_MAX) {
        log_error(overlay->source.who, "overlay: %s: was flushed too often; start over with a new one",
                  overlay->store_name);
        sync->failed = -EOVERFLOW;
    }
}

void overlay_sync_start(struct overlay *overlay)
{
    struct overlay_sync *sync = &overlay->sync;
    if (sync->busy)
        return;
    sync->busy = true;
    sync->dirty = false;
    list_for_each (l, &sync->later)
        waiting_request(l)->syncing = true;
    list_move_all(&sync->now, &sync->later);
    end_epoch(overlay);
    if (sync->failed)
        sync_end(overlay, sync->failed);
    else
        source_submit(overlay->store, sync_prepare(overlay, IO_FLUSH, 0, on_data_flushed));
}

void overlay_sync_add(struct overlay *overlay, struct overlay_request *request)
{
    list_append(&overlay->sync.later, &request->waiting);
    overlay_sync_start(overlay);
}

void overlay_sync_init(struct overlay *overlay)
{
    struct overlay_sync *sync = &overlay->sync;
    list_init(&sync->now);
    list_init(&sync->later);
    slices_init(&sync->io.data);
    sync->block = mem_alloc(OVERLAY_HEADER);
}
