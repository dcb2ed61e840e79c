#include "block/exchange.h"

#include <string.h>

#include "base/text.h"

struct exchange {
    struct source source;
    struct source *lower;
    unsigned lowers;           /* lower sources that are not closed yet, this one and those before */
    struct source_stats past;  /* counters of the lower sources before this one */
    struct link ios;           /* struct exchanged_io */
};

struct exchanged_io {
    struct link link;
    struct exchange *exchange;
    struct source *lower; /* the one that `io` was submitted to */
    struct io *upper;
    struct io io;
};

static void exchange_ask(struct exchanged_io *exchanged);

static struct exchange *exchange_exchange_of(const struct source *source)
{
    return container_of(source, struct exchange, source);
}

/* --- ios --- */

static void exchange_learn(struct exchange *exchange)
{
    const struct source *lower = exchange->lower;
    struct source_stats *stats = &exchange->source.stats;
    *stats = lower->stats;
    stats->requests += exchange->past.requests;
    stats->bytes += exchange->past.bytes;
    stats->errors += exchange->past.errors;
    stats->retries += exchange->past.retries;
    latency_merge(&stats->ranges, &exchange->past.ranges);
    exchange->source.parallel = lower->parallel;
    exchange->source.failing = lower->failing;
    exchange->source.error_at = lower->error_at;
    memcpy(exchange->source.error, lower->error, sizeof lower->error);
}

static void exchange_answer(struct exchanged_io *exchanged)
{
    struct io *io = &exchanged->io, *upper = exchanged->upper;
    int status = io->status;
    upper->extent_count = io->extent_count;
    if (io->op == IO_READ)
        slices_take(&upper->data, &io->data);
    slices_clear(&io->data);
    list_remove(&exchanged->link);
    mem_free(exchanged);
    io_finish(upper, status);
}

static void on_exchanged_done(struct io *io)
{
    struct exchanged_io *exchanged = container_of(io, struct exchanged_io, io);
    struct exchange *exchange = exchanged->exchange;
    bool of_before = exchanged->lower != exchange->lower;
    exchange_learn(exchange);
    if (io->status == 0 || !of_before || exchange->source.state != SOURCE_OPEN) {
        exchange_answer(exchanged);
        return;
    }
    slices_clear(&io->data);
    exchange_ask(exchanged);
}

/* How much the upper io wants may change at any time, so it is looked at whenever there is more. */
static void on_exchanged_part(struct io *io, const struct slices *data, uint32_t ready)
{
    struct io *upper = container_of(io, struct exchanged_io, io)->upper;
    if (upper->part_at > 0 && ready >= upper->part_at)
        upper->part(upper, data, ready);
}

static void exchange_ask(struct exchanged_io *exchanged)
{
    const struct io *upper = exchanged->upper;
    struct io *io = &exchanged->io;
    io_init(io, upper->op, upper->offset, upper->length, on_exchanged_done);
    io->flags = upper->flags;
    io->since = upper->since;
    io->part_at = upper->part ? 1 : 0;
    io->part = on_exchanged_part;
    io->extents = upper->extents;
    io->extent_capacity = upper->extent_capacity;
    if (upper->op == IO_WRITE)
        slices_add_part(&io->data, &upper->data, 0, upper->length);
    exchanged->lower = exchanged->exchange->lower;
    source_submit(exchanged->lower, io);
}

static void exchange_submit(struct source *source, struct io *upper)
{
    struct exchange *exchange = exchange_exchange_of(source);
    struct exchanged_io *exchanged = mem_alloc(sizeof *exchanged);
    exchanged->exchange = exchange;
    exchanged->upper = upper;
    list_append(&exchange->ios, &exchanged->link);
    exchange_ask(exchanged);
}

static void exchange_promote(struct source *source, struct io *upper)
{
    io_promote(upper);
    list_for_each (l, &exchange_exchange_of(source)->ios) {
        struct exchanged_io *exchanged = container_of(l, struct exchanged_io, link);
        if (exchanged->upper == upper)
            source_promote(exchanged->lower, &exchanged->io, upper->since);
    }
}

/* --- the lower ones --- */

static void on_lower_opened(struct source *lower, int status)
{
    struct exchange *exchange = lower->owner;
    source_copy_facts(&exchange->source, lower);
    exchange_learn(exchange);
    if (exchange->source.state == SOURCE_OPENING) /* else closing reports `opened` */
        source_report_opened(&exchange->source, status);
}

static void on_lower_died(struct source *lower, int status)
{
    struct exchange *exchange = lower->owner;
    exchange_learn(exchange);
    if (lower == exchange->lower && exchange->source.died)
        exchange->source.died(&exchange->source, status);
}

static void on_lower_closed(struct source *lower)
{
    struct exchange *exchange = lower->owner;
    exchange->lowers--;
    if (lower != exchange->lower)
        source_free(lower);
    if (exchange->lowers == 0)
        source_report_closed(&exchange->source);
}

static void exchange_own(struct exchange *exchange, struct source *lower)
{
    lower->owner = exchange;
    lower->opened = on_lower_opened;
    lower->died = on_lower_died;
    lower->closed = on_lower_closed;
    exchange->lower = lower;
    exchange->lowers++;
}

bool exchange_source_set(struct source *source, struct source *lower)
{
    struct exchange *exchange = exchange_exchange_of(source);
    struct source *before = exchange->lower;
    if (source->state != SOURCE_OPEN)
        return false;
    exchange_learn(exchange);
    exchange->past = source->stats;
    exchange_own(exchange, lower);
    exchange_learn(exchange);
    source_close(before);
    return true;
}

struct source *exchange_source_lower(const struct source *source)
{
    return exchange_exchange_of(source)->lower;
}

/* --- life --- */

static void exchange_open(struct source *source)
{
    struct exchange *exchange = exchange_exchange_of(source);
    exchange_own(exchange, exchange->lower);
    source_open(exchange->lower);
}

static void exchange_close(struct source *source)
{
    source_close(exchange_exchange_of(source)->lower);
}

static void exchange_exchange_free(struct source *source)
{
    source_free(exchange_exchange_of(source)->lower);
    mem_free(exchange_exchange_of(source));
}

struct source *exchange_source_new(struct source *lower)
{
    static const struct source_ops ops = {"exchange",     exchange_open,          exchange_submit,
                                          exchange_close, exchange_exchange_free, exchange_promote};
    struct exchange *exchange = mem_alloc(sizeof *exchange);
    source_init(&exchange->source, &ops, lower->loop, lower->who);
    exchange->lower = lower;
    list_init(&exchange->ios);
    return &exchange->source;
}
