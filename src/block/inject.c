#include "block/inject.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "block/zeroes.h"

struct inject {
    struct source source;
    struct source *lower;
    struct inject_planner *planner;
    bool planning, lower_closed;
};

/* A request of which something lies in a piece, or behind the lower source's end: what the lower one has of it. */
struct inject_io {
    struct io io;
    struct io *upper;
    struct inject *inject;
};

static struct inject *inject_of(const struct source *source)
{
    return container_of(source, struct inject, source);
}

static void inject_learn(struct inject *inject)
{
    inject->source.stats = inject->lower->stats;
    memcpy(inject->source.error, inject->lower->error, sizeof inject->source.error);
    inject->source.error_at = inject->lower->error_at;
}

/* --- the pieces --- */

static uint64_t piece_end(const struct inject_piece *piece)
{
    return piece->offset + piece->bytes->length;
}

/* The first piece that ends behind `offset`; the count if there is none. */
static unsigned piece_behind(const struct inject_planner *plan, uint64_t offset)
{
    unsigned low = 0, high = plan->count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (piece_end(&plan->pieces[middle]) > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static bool is_changed(const struct inject *inject, const struct io *io)
{
    const struct inject_planner *plan = inject->planner;
    unsigned i = piece_behind(plan, io->offset);
    return io->offset + io->length > inject->lower->size ||
           (i < plan->count && plan->pieces[i].offset < io->offset + io->length);
}

/* Appends the image's own bytes from `offset` to `end`: `data` has those from `start` on, and behind it are zeroes. */
static void inject_add_image(struct slices *to, const struct slices *data, uint64_t start, uint64_t offset, uint64_t end)
{
    uint64_t there = start + data->length, until = end < there ? end : there;
    if (offset < until)
        slices_add_part(to, data, offset - start, until - offset);
    uint64_t from = offset > there ? offset : there;
    if (from < end)
        zeroes_add(to, (uint32_t)(end - from));
}

static void inject_add_piece(struct slices *to, const struct inject_piece *piece, uint64_t offset, uint64_t end)
{
    slices_add(to, piece->bytes, (uint32_t)(offset - piece->offset), (uint32_t)(end - offset));
}

/* Fills a read from what the lower source gave of it, and the pieces. */
static void compose(const struct inject *inject, struct io *upper, const struct slices *data)
{
    const struct inject_planner *plan = inject->planner;
    uint64_t at = upper->offset, end = upper->offset + upper->length;
    for (unsigned i = piece_behind(plan, at); i < plan->count && plan->pieces[i].offset < end; i++) {
        const struct inject_piece *piece = &plan->pieces[i];
        uint64_t begin = piece->offset > at ? piece->offset : at, stop = piece_end(piece) < end ? piece_end(piece) : end;
        inject_add_image(&upper->data, data, upper->offset, at, begin);
        inject_add_piece(&upper->data, piece, begin, stop);
        at = stop;
    }
    inject_add_image(&upper->data, data, upper->offset, at, end);
}

/* --- requests --- */

static void on_inject_io(struct io *io)
{
    struct inject_io *request = container_of(io, struct inject_io, io);
    struct io *upper = request->upper;
    int status = io->status;
    inject_learn(request->inject);
    if (io->op == IO_READ && status == 0)
        compose(request->inject, upper, &io->data);
    slices_clear(&io->data);
    mem_free(request);
    io_finish(upper, status);
}

static void submit_below(struct inject *inject, struct io *upper, uint32_t length)
{
    struct inject_io *request = mem_alloc(sizeof *request);
    io_init(&request->io, upper->op, upper->offset, length, on_inject_io);
    request->io.flags = upper->flags;
    request->io.since = upper->since;
    request->upper = upper;
    request->inject = inject;
    source_submit(inject->lower, &request->io);
}

/* True: a piece has all of it. */
static bool is_covered(const struct inject *inject, const struct io *io)
{
    const struct inject_planner *plan = inject->planner;
    unsigned i = piece_behind(plan, io->offset);
    return i < plan->count && plan->pieces[i].offset <= io->offset &&
           piece_end(&plan->pieces[i]) >= io->offset + io->length;
}

static void answer_here(struct inject *inject, struct io *io)
{
    static const struct slices nothing = {0};
    if (io->op == IO_READ)
        compose(inject, io, &nothing);
    io_finish_later(inject->source.loop, io, 0);
}

static void submit_changed(struct inject *inject, struct io *io)
{
    uint64_t end = inject->lower->size, inside = io->offset < end ? end - io->offset : 0;
    if (io->op == IO_EXTENTS) { /* all of it is data */
        if (io->extent_capacity > 0)
            io->extents[io->extent_count++] = (struct io_extent){io->length, 0};
        io_finish_later(inject->source.loop, io, 0);
    } else if (inside == 0 || is_covered(inject, io)) {
        answer_here(inject, io);
    } else {
        submit_below(inject, io, inside < io->length ? (uint32_t)inside : io->length);
    }
}

static void inject_submit(struct source *source, struct io *io)
{
    struct inject *inject = inject_of(source);
    inject_learn(inject);
    if (io->op == IO_FLUSH || !is_changed(inject, io))
        source_submit(inject->lower, io);
    else
        submit_changed(inject, io);
}

/* --- life --- */

static uint64_t hash_pieces(const struct inject_planner *plan)
{
    uint64_t hash = text_hash(TEXT_HASH_START, &plan->size, sizeof plan->size);
    for (unsigned i = 0; i < plan->count; i++) {
        const struct inject_piece *piece = &plan->pieces[i];
        hash = text_hash(hash, &piece->offset, sizeof piece->offset);
        hash = text_hash(hash, piece->bytes->data, piece->bytes->length);
    }
    return hash;
}

/* Other bytes have another identity, or none if there's no room for it. */
static void inject_identity(struct inject *inject)
{
    struct source *source = &inject->source;
    size_t used = strlen(source->identity), room = sizeof source->identity - used;
    if (used == 0)
        return;
    int n = snprintf(source->identity + used, room, " changed to %016" PRIx64, hash_pieces(inject->planner));
    if (n < 0 || (size_t)n >= room)
        source->identity[0] = '\0';
}

static void on_planned(struct inject_planner *planner, int status)
{
    struct inject *inject = planner->owner;
    struct source *source = &inject->source;
    inject->planning = false;
    if (inject->lower_closed)
        source_report_closed(source);
    if (source->state != SOURCE_OPENING)
        return; /* closing reports it */
    if (status == 0) {
        source->size = planner->size;
        inject_identity(inject);
    } else {
        source_set_error(source, "%s", *planner->error ? planner->error : strerror(-status));
    }
    source_report_opened(source, status);
}

static void inject_lower_opened(struct source *lower, int status)
{
    struct inject *inject = lower->owner;
    struct source *source = &inject->source;
    source_copy_facts(source, lower);
    source->read_only = true;
    source->can_trim = source->can_zero = false;
    inject_learn(inject);
    if (source->state != SOURCE_OPENING)
        return; /* closing reports it */
    inject->planning = status == 0;
    if (status == 0)
        inject->planner->ops->begin(inject->planner, lower);
    else
        source_report_opened(source, status);
}

static void inject_lower_died(struct source *lower, int status)
{
    struct inject *inject = lower->owner;
    inject_learn(inject);
    if (inject->source.state == SOURCE_OPEN && inject->source.died)
        inject->source.died(&inject->source, status);
}

static void inject_lower_closed(struct source *lower)
{
    struct inject *inject = lower->owner;
    inject->lower_closed = true;
    if (!inject->planning)
        source_report_closed(&inject->source);
}

static void inject_open(struct source *source)
{
    struct inject *inject = inject_of(source);
    inject->lower->owner = inject;
    inject->lower->opened = inject_lower_opened;
    inject->lower->died = inject_lower_died;
    inject->lower->closed = inject_lower_closed;
    source_open(inject->lower);
}

static void inject_close(struct source *source)
{
    struct inject *inject = inject_of(source);
    if (inject->planning && inject->planner->ops->stop)
        inject->planner->ops->stop(inject->planner);
    source_close(inject->lower);
}

static void inject_free(struct source *source)
{
    struct inject *inject = inject_of(source);
    source_free(inject->lower);
    inject->planner->ops->free(inject->planner);
    mem_free(inject);
}

struct source *inject_source_new(struct source *lower, struct inject_planner *planner)
{
    static const struct source_ops ops = {"inject", inject_open, inject_submit, inject_close, inject_free, NULL};
    struct inject *inject = mem_alloc(sizeof *inject);
    source_init(&inject->source, &ops, lower->loop, lower->who);
    inject->lower = lower;
    inject->planner = planner;
    planner->planned = on_planned;
    planner->owner = inject;
    return &inject->source;
}

struct source *inject_source_lower(const struct source *source)
{
    return inject_of(source)->lower;
}

struct inject_planner *inject_source_planner(const struct source *source)
{
    return inject_of(source)->planner;
}
