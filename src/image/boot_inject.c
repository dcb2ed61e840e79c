#include "image/boot_inject.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wipe.h"
#include "image/boot_plan.h"

struct boot_inject {
    struct inject_planner planner;
    uv_loop_t *loop;
    char *arguments, *menu_timeout, *menu_default;
    struct boot_plan plan;
    struct file_changes *changes; /* NULL: none */
    struct boot_inject_files files;
    struct io files_read;
    struct source *lower;
    struct defer begin;
    struct boot_read {
        struct io io;
        struct boot_inject *inject;
    } reads[VIEW_MISSING_MAX];
    unsigned waiting, read_count;
    int status; /* of the reads */
};

static struct boot_inject *boot_inject_of(const struct inject_planner *planner)
{
    return container_of(planner, struct boot_inject, planner);
}

/* --- the plan --- */

static bool continues(const struct changes *changes, unsigned i)
{
    return i > 0 && changes->sectors[i].number == changes->sectors[i - 1].number + 1;
}

/* A run of sectors is one piece. */
static void add_piece_of(struct inject_planner *planner, const struct changes *changes, unsigned first, unsigned end,
                         bool files_are_given)
{
    uint64_t offset = changes->sectors[first].number * CHANGES_SECTOR, length = (uint64_t)(end - first) * CHANGES_SECTOR;
    length = length < changes->size - offset ? length : changes->size - offset;
    struct inject_piece *piece = &planner->pieces[planner->count++];
    piece->offset = offset;
    piece->bytes = bytes_new((uint32_t)length);
    piece->bytes->secret = files_are_given;
    for (unsigned i = first; i < end; i++) {
        uint64_t at = (uint64_t)(i - first) * CHANGES_SECTOR, rest = length - at;
        memcpy(piece->bytes->data + at, changes->sectors[i].bytes, rest < CHANGES_SECTOR ? rest : CHANGES_SECTOR);
    }
}

static void make_pieces(struct boot_inject *inject)
{
    const struct changes *changes = &inject->plan.changes;
    struct inject_planner *planner = &inject->planner;
    planner->size = changes->size;
    planner->pieces = mem_alloc((changes->count + 1) * sizeof *planner->pieces);
    for (unsigned first = 0, end; first < changes->count; first = end) {
        for (end = first + 1; end < changes->count && continues(changes, end); end++)
            ;
        add_piece_of(planner, changes, first, end, inject->changes != NULL);
    }
}

/* What the image says is needed no more. */
static void finish(struct boot_inject *inject, int status)
{
    if (status == 0)
        make_pieces(inject);
    else
        snprintf(inject->planner.error, sizeof inject->planner.error, "%s",
                 *inject->plan.view.error ? inject->plan.view.error : inject->lower->error);
    changes_clear(&inject->plan.changes);
    boot_files_clear(&inject->plan.found);
    view_clear(&inject->plan.view);
    inject->planner.planned(&inject->planner, status);
}

/* --- reading --- */

static void boot_inject_step(struct boot_inject *inject);

static void take_bytes(struct boot_inject *inject, struct io *io)
{
    struct view_range range = {io->offset, io->length};
    unsigned char *bytes = mem_alloc(io->length);
    slices_copy_out(&io->data, 0, bytes, io->length);
    view_add(&inject->plan.view, &range, bytes);
}

static void on_boot_inject_read(struct io *io)
{
    struct boot_inject *inject = container_of(io, struct boot_read, io)->inject;
    if (io->status == 0)
        take_bytes(inject, io);
    else if (inject->status == 0)
        inject->status = io->status;
    slices_clear(&io->data);
    if (--inject->waiting == 0)
        boot_inject_step(inject);
}

static void read_missing(struct boot_inject *inject)
{
    const struct view *view = &inject->plan.view;
    inject->waiting = view->missing_count;
    inject->read_count += view->missing_count;
    for (unsigned i = 0; i < view->missing_count; i++) {
        struct boot_read *read = &inject->reads[i];
        io_init(&read->io, IO_READ, view->missing[i].offset, view->missing[i].length, on_boot_inject_read);
        read->inject = inject;
    }
    for (unsigned i = 0, count = inject->waiting; i < count; i++)
        source_submit(inject->lower, &inject->reads[i].io);
}

static void boot_inject_step(struct boot_inject *inject)
{
    int status = inject->lower->state != SOURCE_OPEN ? -ECANCELED : inject->status;
    if (status == 0)
        status = boot_plan_run(&inject->plan);
    if (status == -EAGAIN)
        read_missing(inject);
    else
        finish(inject, status);
}

/* --- the changes of files --- */

static void files_fail(struct boot_inject *inject, int status, const char *error)
{
    inject->status = status;
    view_refuse(&inject->plan.view, "what is to be changed in files: %s", error);
}

static void take_files(struct boot_inject *inject, const struct slices *data)
{
    char error[SOURCE_ERROR_MAX] = "";
    size_t length = (size_t)data->length;
    char *text = wipe_malloc(length + 1);
    slices_copy_out(data, 0, text, data->length);
    text[length] = '\0';
    inject->changes = mem_alloc(sizeof *inject->changes);
    inject->plan.wish.files = inject->changes;
    int status = inject->files.take(inject->files.arg, text, length, inject->changes, error);
    if (status != 0)
        files_fail(inject, status, error);
    explicit_bzero(text, length);
    wipe_free(text);
}

static void on_boot_files_read(struct io *io)
{
    struct boot_inject *inject = container_of(io, struct boot_inject, files_read);
    if (io->status == 0)
        take_files(inject, &io->data);
    else
        files_fail(inject, io->status, inject->files.source->error);
    for (uint32_t i = 0; i < io->data.count; i++)
        io->data.v[i].bytes->secret = true;
    slices_clear(&io->data);
    source_close(inject->files.source);
}

static void on_boot_files_opened(struct source *source, int status)
{
    struct boot_inject *inject = source->owner;
    if (status != 0)
        files_fail(inject, status, source->error);
    else if (source->size == 0 || source->size > BOOT_INJECT_FILES_MAX)
        files_fail(inject, -EINVAL, "they are read from a JSON of at most 256 KiB");
    if (inject->status != 0) {
        source_close(source);
        return;
    }
    io_init(&inject->files_read, IO_READ, 0, (uint32_t)source->size, on_boot_files_read);
    source_submit(source, &inject->files_read);
}

static void on_boot_files_died(struct source *source, int status)
{
    (void)source;
    (void)status; /* the read has its error */
}

static void on_boot_files_closed(struct source *source)
{
    struct boot_inject *inject = source->owner;
    source_free(source);
    inject->files.source = NULL;
    boot_inject_step(inject);
}

static void open_files(struct boot_inject *inject)
{
    struct source *source = inject->files.source;
    source->owner = inject;
    source->opened = on_boot_files_opened;
    source->died = on_boot_files_died;
    source->closed = on_boot_files_closed;
    source_open(source);
}

/* --- life --- */

static void on_boot_inject_begin(struct defer *defer)
{
    boot_inject_step(container_of(defer, struct boot_inject, begin));
}

static void boot_inject_begin(struct inject_planner *planner, struct source *lower)
{
    struct boot_inject *inject = boot_inject_of(planner);
    inject->lower = lower;
    view_init(&inject->plan.view, lower->size);
    if (inject->files.source)
        open_files(inject);
    else
        defer_schedule(inject->loop, &inject->begin);
}

static void boot_inject_stop(struct inject_planner *planner)
{
    struct boot_inject *inject = boot_inject_of(planner);
    if (inject->files.source)
        source_close(inject->files.source);
}

static void boot_inject_free(struct inject_planner *planner)
{
    struct boot_inject *inject = boot_inject_of(planner);
    for (unsigned i = 0; i < planner->count; i++)
        bytes_unref(planner->pieces[i].bytes);
    mem_free(planner->pieces);
    boot_plan_clear(&inject->plan);
    source_free(inject->files.source);
    mem_free(inject->files.arg);
    if (inject->changes)
        file_changes_clear(inject->changes);
    mem_free(inject->changes);
    mem_free(inject->arguments);
    mem_free(inject->menu_timeout);
    mem_free(inject->menu_default);
    mem_free(inject);
}

struct inject_planner *boot_inject_new(uv_loop_t *loop, const struct boot_wish *wish, struct file_changes *changes,
                                       const struct boot_inject_files *files)
{
    static const struct inject_planner_ops ops = {boot_inject_begin, boot_inject_stop, boot_inject_free};
    struct boot_inject *inject = mem_alloc(sizeof *inject);
    inject->planner.ops = &ops;
    inject->loop = loop;
    inject->arguments = mem_strdup(wish->arguments);
    inject->menu_timeout = mem_strdup(wish->menu_timeout);
    inject->menu_default = mem_strdup(wish->menu_default);
    boot_plan_init(&inject->plan, 0,
                   &(struct boot_wish){inject->arguments, inject->menu_timeout, inject->menu_default, changes});
    inject->changes = changes;
    inject->files = *files;
    defer_setup(&inject->begin, on_boot_inject_begin);
    return &inject->planner;
}

void boot_inject_told(const struct inject_planner *planner, struct boot_injected *told)
{
    const struct boot_inject *inject = boot_inject_of(planner);
    *told = (struct boot_injected){
        .files = inject->plan.files,
        .kernels = inject->plan.kernels,
        .timeouts = inject->plan.timeouts,
        .defaults = inject->plan.defaults,
        .file_changes = inject->plan.file_changes,
        .reads = inject->read_count,
        .warnings = inject->plan.warnings,
        .diff = inject->plan.diff ? inject->plan.diff : "",
    };
}
