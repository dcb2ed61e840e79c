#include "block/pad.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "block/zeroes.h"

struct pad {
    struct source source;
    struct source *lower;
    uint32_t multiple;
    uint64_t minimum;
};

/* The part of a request that lies before the lower source's end. */
struct clipped_io {
    struct io io;
    struct io *upper;
    struct pad *pad;
};

static struct pad *pad_of(struct source *source)
{
    return container_of(source, struct pad, source);
}

static void pad_learn(struct pad *pad)
{
    pad->source.stats = pad->lower->stats;
    memcpy(pad->source.error, pad->lower->error, sizeof pad->source.error);
}

static void on_clipped_done(struct io *io)
{
    struct clipped_io *clipped = container_of(io, struct clipped_io, io);
    struct io *upper = clipped->upper;
    int status = io->status;
    pad_learn(clipped->pad);
    upper->extent_count = io->extent_count;
    if (io->op == IO_READ && status == 0) {
        slices_take(&upper->data, &io->data);
        zeroes_add(&upper->data, upper->length - io->length);
    }
    slices_clear(&io->data);
    mem_free(clipped);
    io_finish(upper, status);
}

static void submit_clipped(struct pad *pad, struct io *upper, uint32_t length)
{
    struct clipped_io *clipped = mem_alloc(sizeof *clipped);
    io_init(&clipped->io, upper->op, upper->offset, length, on_clipped_done);
    clipped->io.flags = upper->flags;
    clipped->io.since = upper->since;
    clipped->io.extents = upper->extents;
    clipped->io.extent_capacity = upper->extent_capacity;
    if (upper->op == IO_WRITE)
        slices_add_part(&clipped->io.data, &upper->data, 0, length);
    clipped->upper = upper;
    clipped->pad = pad;
    source_submit(pad->lower, &clipped->io);
}

static void answer_padding(struct pad *pad, struct io *io)
{
    if (io->op == IO_READ)
        zeroes_add(&io->data, io->length);
    if (io->op == IO_EXTENTS && io->extent_capacity > 0)
        io->extents[io->extent_count++] = (struct io_extent){io->length, EXTENT_HOLE | EXTENT_ZERO};
    io_finish_later(pad->source.loop, io, 0);
}

/* Looks at the list from `offset` to its end. */
static bool pad_all_zeroes(const struct slices *list, uint64_t offset)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct slice *s = &list->v[i];
        for (; offset < s->length; offset++)
            if (slice_data(s)[offset] != 0)
                return false;
        offset -= s->length;
    }
    return true;
}

static void pad_submit(struct source *source, struct io *io)
{
    struct pad *pad = pad_of(source);
    uint64_t end = pad->lower->size;
    uint64_t inside = io->offset < end ? end - io->offset : 0;
    pad_learn(pad);
    if (io->length <= inside || io->op == IO_FLUSH)
        source_submit(pad->lower, io);
    else if (io->op == IO_WRITE && !pad_all_zeroes(&io->data, inside))
        io_finish_later(source->loop, io, -ENOSPC);
    else if (inside > 0)
        submit_clipped(pad, io, (uint32_t)inside);
    else
        answer_padding(pad, io);
}

/* --- life --- */

static uint64_t padded_size(const struct pad *pad)
{
    uint64_t size = pad->lower->size < pad->minimum ? pad->minimum : pad->lower->size;
    uint64_t over = size % pad->multiple;
    return over == 0 || size > UINT64_MAX - pad->multiple ? size : size + (pad->multiple - over);
}

/* Padded bytes are other bytes, with another identity, or none if there's no room for one. */
static void pad_identity(struct pad *pad)
{
    struct source *source = &pad->source;
    size_t used = strlen(source->identity), room = sizeof source->identity - used;
    if (used == 0 || source->size == pad->lower->size)
        return;
    int n = snprintf(source->identity + used, room, " padded to %" PRIu64, source->size);
    if (n < 0 || (size_t)n >= room)
        source->identity[0] = '\0';
}

static void pad_lower_opened(struct source *lower, int status)
{
    struct pad *pad = lower->owner;
    source_copy_facts(&pad->source, lower);
    pad->source.size = padded_size(pad);
    pad_identity(pad);
    pad_learn(pad);
    if (pad->source.state == SOURCE_OPENING) /* else closing reports `opened` */
        source_report_opened(&pad->source, status);
}

static void pad_lower_died(struct source *lower, int status)
{
    struct pad *pad = lower->owner;
    pad_learn(pad);
    if (pad->source.state == SOURCE_OPEN && pad->source.died)
        pad->source.died(&pad->source, status);
}

static void pad_lower_closed(struct source *lower)
{
    struct pad *pad = lower->owner;
    source_report_closed(&pad->source);
}

static void pad_open(struct source *source)
{
    struct pad *pad = pad_of(source);
    pad->lower->owner = pad;
    pad->lower->opened = pad_lower_opened;
    pad->lower->died = pad_lower_died;
    pad->lower->closed = pad_lower_closed;
    source_open(pad->lower);
}

static void pad_close(struct source *source)
{
    source_close(pad_of(source)->lower);
}

static void pad_free(struct source *source)
{
    struct pad *pad = pad_of(source);
    source_free(pad->lower);
    mem_free(pad);
}

struct source *pad_source_new(struct source *lower, uint32_t multiple, uint64_t minimum)
{
    static const struct source_ops ops = {"pad", pad_open, pad_submit, pad_close, pad_free, NULL};
    assert(multiple > 0);
    struct pad *pad = mem_alloc(sizeof *pad);
    source_init(&pad->source, &ops, lower->loop, lower->who);
    pad->lower = lower;
    pad->multiple = multiple;
    pad->minimum = minimum;
    return &pad->source;
}

struct source *pad_source_lower(struct source *source)
{
    return pad_of(source)->lower;
}
