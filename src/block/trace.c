#include "block/trace.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"

struct trace {
    struct source source;
    struct source *lower;
    bool on;
    struct heat heat;
};

struct traced_io {
    struct io io;
    struct io *upper;
    struct trace *trace;
    uint64_t began; /* uv_hrtime() */
};

static struct trace *trace_of(struct source *source)
{
    return container_of(source, struct trace, source);
}

static const char *op_name(enum io_op op)
{
    static const char *const names[] = {"read", "write", "flush", "trim", "zero", "cache", "extents"};
    return names[op];
}

static void on_traced_done(struct io *io)
{
    struct traced_io *traced = container_of(io, struct traced_io, io);
    struct io *upper = traced->upper;
    log_info(traced->trace->source.who, "trace: %s %" PRIu64 "+%" PRIu32 " in %" PRIu64 " us: %s", op_name(io->op),
             io->offset, io->length, (uv_hrtime() - traced->began) / 1000, io->status ? strerror(-io->status) : "ok");
    int status = io->status;
    upper->extent_count = io->extent_count;
    if (io->op == IO_READ)
        slices_take(&upper->data, &io->data);
    slices_clear(&io->data);
    mem_free(traced);
    io_finish(upper, status);
}

static void trace_submit(struct source *source, struct io *upper)
{
    struct trace *trace = trace_of(source);
    if (upper->op == IO_READ)
        heat_add(&trace->heat, upper->offset, upper->length);
    if (!trace->on) {
        source_submit(trace->lower, upper);
        return;
    }
    struct traced_io *traced = mem_alloc(sizeof *traced);
    io_init(&traced->io, upper->op, upper->offset, upper->length, on_traced_done);
    traced->io.flags = upper->flags;
    traced->io.since = upper->since;
    traced->io.extents = upper->extents;
    traced->io.extent_capacity = upper->extent_capacity;
    slices_take(&traced->io.data, &upper->data);
    traced->upper = upper;
    traced->trace = trace;
    traced->began = uv_hrtime();
    source_submit(trace->lower, &traced->io);
}

static void trace_lower_opened(struct source *lower, int status)
{
    struct source *source = lower->owner;
    source_copy_facts(source, lower);
    heat_init(&trace_of(source)->heat, source->size);
    if (source->state == SOURCE_OPENING) /* else closing reports `opened` */
        source_report_opened(source, status);
}

static void trace_lower_died(struct source *lower, int status)
{
    struct source *source = lower->owner;
    memcpy(source->error, lower->error, sizeof source->error);
    if (source->died)
        source->died(source, status);
}

static void trace_lower_closed(struct source *lower)
{
    source_report_closed(lower->owner);
}

static void trace_open(struct source *source)
{
    struct source *lower = trace_of(source)->lower;
    lower->owner = source;
    lower->opened = trace_lower_opened;
    lower->died = trace_lower_died;
    lower->closed = trace_lower_closed;
    source_open(lower);
}

static void trace_close(struct source *source)
{
    source_close(trace_of(source)->lower);
}

static void trace_free(struct source *source)
{
    struct trace *trace = trace_of(source);
    source_free(trace->lower);
    mem_free(trace);
}

struct source *trace_source_new(struct source *lower)
{
    static const struct source_ops ops = {"trace", trace_open, trace_submit, trace_close, trace_free, NULL};
    struct trace *trace = mem_alloc(sizeof *trace);
    source_init(&trace->source, &ops, lower->loop, lower->who);
    trace->lower = lower;
    return &trace->source;
}

void trace_source_set(struct source *source, bool on)
{
    trace_of(source)->on = on;
}

const struct heat *trace_source_heat(struct source *source)
{
    return &trace_of(source)->heat;
}

struct source *trace_source_lower(struct source *source)
{
    return trace_of(source)->lower;
}
