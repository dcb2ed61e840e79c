#include "fake_source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/closing.h"
#include "base/text.h"

struct fake {
    struct source source;
    struct fake_options options;
    struct fake_stats *stats;
    struct link waiting; /* ios; io->failures: turns left */
    uv_idle_t idle;      /* counts turns while anything waits */
    bool hold;
    struct closing closing;
};

static struct fake *fake_of(struct source *source)
{
    return container_of(source, struct fake, source);
}

static void answer(struct fake *fake, struct io *io)
{
    int status = 0;
    fake->stats->outstanding--;
    if (io->op == IO_READ && (unsigned)random() % 100 < fake->options.fail_percent)
        status = -EIO;
    else if (io->op == IO_READ) {
        slices_alloc(&io->data, io->length, BYTES_PIECE);
        slices_copy_in(&io->data, 0, fake->options.content + io->offset, io->length);
    } else if (io->op == IO_WRITE) {
        slices_copy_out(&io->data, 0, fake->options.content + io->offset, io->length);
    } else if (io->op == IO_TRIM || io->op == IO_ZERO) {
        memset(fake->options.content + io->offset, 0, io->length);
    } else if (io->op == IO_EXTENTS) {
        status = -ENOTSUP;
    }
    io_finish(io, status);
}

/* What is not there yet is something else. */
static void give(struct fake *fake, struct io *io, uint32_t ready)
{
    struct slices data;
    slices_init(&data);
    slices_alloc(&data, io->length, BYTES_PIECE);
    for (uint32_t i = 0; i < data.count; i++)
        memset(slice_data(&data.v[i]), 0xee, data.v[i].length);
    slices_copy_in(&data, 0, fake->options.content + io->offset, ready);
    io->part(io, &data, ready);
    slices_clear(&data);
}

/* Of one at a time: whoever gets it may close the source. */
static void give_now_and_then(struct fake *fake)
{
    list_for_each (l, &fake->waiting) {
        struct io *io = container_of(l, struct io, link);
        uint32_t rest = io->length - io->part_at;
        if (io->op != IO_READ || io->part_at == 0 || random() % 2)
            continue;
        give(fake, io, io->part_at + (uint32_t)random() % (rest + 1));
        return;
    }
}

static void on_idle(uv_idle_t *idle)
{
    struct fake *fake = idle->data;
    if (fake->options.parts)
        give_now_and_then(fake);
    if (fake->hold)
        return;
    struct link due;
    list_init(&due);
    list_for_each (l, &fake->waiting) {
        struct io *io = container_of(l, struct io, link);
        if (io->failures-- > 0)
            continue;
        list_remove(l);
        list_append(&due, l);
    }
    /* Taken one by one: an answer may close the source, which takes the rest. */
    while (!list_empty(&due)) {
        struct io *io = container_of(list_pop(&due), struct io, link);
        if (fake->source.state == SOURCE_CLOSING) {
            fake->stats->outstanding--;
            io_finish(io, -ECANCELED);
        } else {
            answer(fake, io);
        }
    }
    if (list_empty(&fake->waiting) && !uv_is_closing((uv_handle_t *)&fake->idle))
        uv_idle_stop(&fake->idle);
}

static void fake_open(struct source *source)
{
    struct fake *fake = fake_of(source);
    uv_idle_init(source->loop, &fake->idle);
    fake->idle.data = fake;
    source->size = fake->options.size;
    source->read_only = !fake->options.writable;
    source->can_flush = source->can_trim = source->can_zero = fake->options.writable;
    source->parallel = fake->options.parallel ? fake->options.parallel : 8;
    if (fake->options.identity)
        strcpy(source->identity, fake->options.identity);
    source_report_opened_later(source, 0);
}

static void fake_submit(struct source *source, struct io *io)
{
    struct fake *fake = fake_of(source);
    io->failures = fake->options.delay_max ? (unsigned)random() % fake->options.delay_max : 0;
    fake->stats->outstanding++;
    if (io->op == IO_READ) {
        fake->stats->reads++;
        fake->stats->prefetch_reads += io->flags & IO_PREFETCH ? 1 : 0;
        fake->stats->read_bytes += io->length;
    }
    list_append(&fake->waiting, &io->link);
    uv_idle_start(&fake->idle, on_idle);
}

static void on_closed(struct closing *closing)
{
    source_report_closed(&container_of(closing, struct fake, closing)->source);
}

static void fake_close(struct source *source)
{
    struct fake *fake = fake_of(source);
    for (struct link *l = list_pop(&fake->waiting); l; l = list_pop(&fake->waiting)) {
        fake->stats->outstanding--;
        io_finish_later(source->loop, container_of(l, struct io, link), -ECANCELED);
    }
    closing_begin(&fake->closing, source->loop, on_closed);
    uv_idle_stop(&fake->idle);
    closing_add(&fake->closing, (uv_handle_t *)&fake->idle);
    closing_end(&fake->closing);
}

static void fake_free(struct source *source)
{
    mem_free(fake_of(source));
}

struct source *fake_source_new(uv_loop_t *loop, const struct fake_options *options, struct fake_stats *stats)
{
    static const struct source_ops ops = {"fake", fake_open, fake_submit, fake_close, fake_free, NULL};
    struct fake *fake = mem_alloc(sizeof *fake);
    source_init(&fake->source, &ops, loop, "fake");
    fake->options = *options;
    fake->stats = stats;
    list_init(&fake->waiting);
    return &fake->source;
}

void fake_source_hold(struct source *source, bool hold)
{
    fake_of(source)->hold = hold;
}

void fake_source_give(struct source *source, uint32_t ready)
{
    struct fake *fake = fake_of(source);
    list_for_each (l, &fake->waiting) {
        struct io *io = container_of(l, struct io, link);
        if (io->part_at > 0 && ready >= io->part_at && ready <= io->length)
            give(fake, io, ready);
    }
}

void fake_source_fail(struct source *source, unsigned percent)
{
    fake_of(source)->options.fail_percent = percent;
}
