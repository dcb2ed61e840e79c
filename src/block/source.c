#include "block/source.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void on_source_opened(struct defer *defer)
{
    struct source *source = container_of(defer, struct source, opened_defer);
    source_report_opened(source, source->opened_status);
}

static void source_on_closed(struct defer *defer)
{
    struct source *source = container_of(defer, struct source, closed_defer);
    if (source->opened_due) {
        defer_cancel(&source->opened_defer);
        source_report_opened(source, -ECANCELED);
    }
    source->state = SOURCE_CLOSED;
    source->closed(source);
}

void source_init(struct source *source, const struct source_ops *ops, uv_loop_t *loop, const char *who)
{
    memset(source, 0, sizeof *source);
    source->ops = ops;
    source->loop = loop;
    source->who = who;
    source->block_preferred = 4096;
    source->parallel = 1;
    defer_setup(&source->opened_defer, on_source_opened);
    defer_setup(&source->closed_defer, source_on_closed);
}

void source_open(struct source *source)
{
    assert(source->state == SOURCE_NEW);
    source->state = SOURCE_OPENING;
    source->opened_due = true;
    source->ops->open(source);
}

static bool source_op_changes(enum io_op op)
{
    return op == IO_WRITE || op == IO_TRIM || op == IO_ZERO;
}

/* The checks that are the same for every source. */
static int source_check(const struct source *source, const struct io *io)
{
    if (source->state != SOURCE_OPEN)
        return -ESHUTDOWN;
    if (source_op_changes(io->op) && source->read_only)
        return -EPERM;
    if (io->offset > source->size || io->length > source->size - io->offset)
        return io->op == IO_WRITE || io->op == IO_ZERO ? -ENOSPC : -EINVAL;
    if ((io->op == IO_TRIM && !source->can_trim) || (io->op == IO_ZERO && !source->can_zero))
        return -ENOTSUP;
    if (io->op == IO_WRITE && io->data.length != io->length)
        return -EINVAL;
    return 0;
}

void source_submit(struct source *source, struct io *io)
{
    int status = source_check(source, io);
    if (!(io->flags & IO_PREFETCH) && io->since == 0)
        io->since = uv_now(source->loop);
    if (status == 0 && (io->length > 0 || io->op == IO_FLUSH))
        source->ops->submit(source, io);
    else
        io_finish_later(source->loop, io, status);
}

void source_promote(struct source *source, struct io *io, uint64_t since)
{
    bool sooner = io->flags & IO_PREFETCH || io->since > since;
    if (sooner)
        io->since = since;
    if (!sooner && io->part_at == 0)
        return;
    if (source->ops->promote)
        source->ops->promote(source, io);
    else
        io_promote(io);
}

void source_close(struct source *source)
{
    switch (source->state) {
    case SOURCE_CLOSING:
    case SOURCE_CLOSED:
        return;
    case SOURCE_NEW:
        source->state = SOURCE_CLOSING;
        source_report_closed(source);
        return;
    case SOURCE_OPENING:
    case SOURCE_OPEN:
        source->state = SOURCE_CLOSING;
        source->ops->close(source);
        return;
    }
}

void source_free(struct source *source)
{
    if (!source)
        return;
    assert(source->state == SOURCE_NEW || source->state == SOURCE_CLOSED);
    source->ops->free(source);
}

void source_report_opened(struct source *source, int status)
{
    assert(source->opened_due);
    source->opened_due = false;
    if (source->state == SOURCE_CLOSING)
        status = status == 0 ? -ECANCELED : status;
    else if (status == 0)
        source->state = SOURCE_OPEN;
    source->opened(source, status);
}

void source_report_opened_later(struct source *source, int status)
{
    source->opened_status = status;
    defer_schedule(source->loop, &source->opened_defer);
}

void source_report_closed(struct source *source)
{
    assert(source->state == SOURCE_CLOSING);
    defer_schedule(source->loop, &source->closed_defer);
}

void source_copy_facts(struct source *source, const struct source *lower)
{
    source->size = lower->size;
    source->block_preferred = lower->block_preferred;
    source->read_only = lower->read_only;
    source->can_trim = lower->can_trim;
    source->can_zero = lower->can_zero;
    source->can_flush = lower->can_flush;
    source->local = lower->local;
    source->parallel = lower->parallel;
    memcpy(source->identity, lower->identity, sizeof source->identity);
    memcpy(source->validator, lower->validator, sizeof source->validator);
    memcpy(source->error, lower->error, sizeof source->error);
}

void source_set_error(struct source *source, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(source->error, sizeof source->error, format, args);
    va_end(args);
    if (!source->failing || source->error_at == 0) /* while the source fails, the time when that began is kept */
        source->error_at = time(NULL);
}
