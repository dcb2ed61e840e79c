#include "seed/medium.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "base/wipe.h"
#include "base/work.h"
#include "seed/iso.h"

#define MEDIUM_PARALLEL 8

struct seed_medium {
    struct source source;
    struct source *lower; /* NULL: none, or it has been freed */
    struct seed_wish wish;
    struct seed_facts facts;
    struct io read;
    int status; /* of what was done so far to open */
    char *text; /* of the files; for wipe_text() */
    size_t length;
    struct bytes *image; /* NULL: not made yet */

    /* What a pool thread makes of the text. */
    struct work work;
    bool working, made;
    struct seed_files files;
    char error[SEED_ERROR_MAX];
};

static struct seed_medium *seed_medium_of(struct source *source)
{
    return container_of(source, struct seed_medium, source);
}

static void wipe_text(struct seed_medium *medium)
{
    if (medium->text)
        explicit_bzero(medium->text, medium->length); /* wipe_free() leaves a large one */
    wipe_free(medium->text);
    medium->text = NULL;
}

/* --- made of its files --- */

static void seed_medium_make(struct work *work)
{
    struct seed_medium *medium = container_of(work, struct seed_medium, work);
    medium->made = seed_files_parse(&medium->files, medium->text, medium->length, medium->error) &&
                   seed_wish_complete(&medium->wish, &medium->facts, &medium->files, medium->error);
}

static void show_facts(struct seed_medium *medium)
{
    struct source *source = &medium->source;
    source->size = medium->image->length;
    source->read_only = true;
    source->local = true;
    source->parallel = MEDIUM_PARALLEL;
}

static void on_seed_medium_made(struct work *work)
{
    struct seed_medium *medium = container_of(work, struct seed_medium, work);
    medium->working = false;
    wipe_text(medium);
    if (medium->made)
        medium->image = seed_iso_write(&medium->files, seed_wish_label(&medium->wish));
    seed_files_clear(&medium->files);
    if (medium->source.state == SOURCE_CLOSING) {
        source_report_closed(&medium->source);
        return;
    }
    if (medium->made)
        show_facts(medium);
    else
        source_set_error(&medium->source, "%s", medium->error);
    source_report_opened(&medium->source, medium->made ? 0 : medium->facts.pending ? -EAGAIN : -EINVAL);
}

static void seed_medium_begin(struct seed_medium *medium)
{
    medium->working = true;
    work_start(medium->source.loop, &medium->work, seed_medium_make, on_seed_medium_made);
}

/* --- its files are read --- */

static void seed_medium_fail(struct seed_medium *medium, int status, const char *error)
{
    medium->status = status;
    source_set_error(&medium->source, "%s", error);
}

static void take_text(struct seed_medium *medium, struct slices *data)
{
    medium->length = (size_t)data->length;
    medium->text = wipe_malloc(medium->length + 1);
    slices_copy_out(data, 0, medium->text, medium->length);
    for (uint32_t i = 0; i < data->count; i++)
        data->v[i].bytes->secret = true;
}

static void on_seed_medium_read(struct io *io)
{
    struct seed_medium *medium = container_of(io, struct seed_medium, read);
    if (io->status == 0)
        take_text(medium, &io->data);
    else
        seed_medium_fail(medium, io->status, medium->lower->error);
    slices_clear(&io->data);
    source_close(medium->lower);
}

static void seed_medium_read_lower(struct seed_medium *medium)
{
    io_init(&medium->read, IO_READ, 0, (uint32_t)medium->lower->size, on_seed_medium_read);
    source_submit(medium->lower, &medium->read);
}

static void on_seed_lower_opened(struct source *lower, int status)
{
    struct seed_medium *medium = lower->owner;
    if (status != 0)
        seed_medium_fail(medium, status, lower->error);
    else if (lower->size == 0 || lower->size > SEED_TEXT_MAX)
        seed_medium_fail(medium, -EINVAL, "the config medium's files are read from a JSON or tar of at most 2 MiB");
    else
        seed_medium_read_lower(medium);
    if (medium->status != 0)
        source_close(lower);
}

static void on_seed_lower_died(struct source *lower, int status)
{
    (void)lower;
    (void)status; /* the read has its error */
}

static void on_seed_lower_closed(struct source *lower)
{
    struct seed_medium *medium = lower->owner;
    source_free(lower);
    medium->lower = NULL;
    if (medium->source.state == SOURCE_CLOSING)
        source_report_closed(&medium->source);
    else if (medium->status != 0)
        source_report_opened(&medium->source, medium->status);
    else
        seed_medium_begin(medium);
}

/* --- as a source --- */

static void seed_medium_open(struct source *source)
{
    struct seed_medium *medium = seed_medium_of(source);
    if (!medium->lower) {
        medium->text = wipe_strdup(medium->wish.files ? medium->wish.files : "");
        medium->length = strlen(medium->text);
        seed_medium_begin(medium);
        return;
    }
    medium->lower->owner = medium;
    medium->lower->opened = on_seed_lower_opened;
    medium->lower->died = on_seed_lower_died;
    medium->lower->closed = on_seed_lower_closed;
    source_open(medium->lower);
}

/* The bytes do not change, so that a reader is given a reference. */
static void seed_medium_submit(struct source *source, struct io *io)
{
    const struct seed_medium *medium = seed_medium_of(source);
    source->stats.requests++;
    if (io->op == IO_READ) {
        slices_add(&io->data, medium->image, (uint32_t)io->offset, io->length);
        source->stats.bytes += io->length;
    }
    if (io->op == IO_EXTENTS && io->extent_capacity > 0)
        io->extents[io->extent_count++] = (struct io_extent){io->length, 0};
    io_finish_later(source->loop, io, 0);
}

static void seed_medium_close(struct source *source)
{
    struct seed_medium *medium = seed_medium_of(source);
    if (medium->lower)
        source_close(medium->lower);
    else if (!medium->working)
        source_report_closed(source);
}

static void seed_medium_free(struct source *source)
{
    struct seed_medium *medium = seed_medium_of(source);
    source_free(medium->lower);
    bytes_unref(medium->image);
    wipe_text(medium);
    seed_wish_clear(&medium->wish);
    mem_free(medium);
}

struct source *seed_medium_new(uv_loop_t *loop, const char *who, struct source *lower, const struct seed_wish *wish,
                               const struct seed_facts *facts)
{
    static const struct source_ops ops = {"config", seed_medium_open, seed_medium_submit, seed_medium_close, seed_medium_free, NULL};
    struct seed_medium *medium = mem_alloc(sizeof *medium);
    source_init(&medium->source, &ops, loop, who);
    medium->lower = lower;
    medium->wish = seed_wish_copy(wish);
    medium->facts = *facts;
    return &medium->source;
}
