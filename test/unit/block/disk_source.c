#include "disk_source.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/closing.h"
#include "base/text.h"

struct disk_source {
    struct source source;
    struct disk *disk;
    struct link waiting; /* ios; io->failures: turns left */
    uv_idle_t idle;      /* counts turns while anything waits */
    struct closing closing;
};

static struct disk_source *of(struct source *source)
{
    return container_of(source, struct disk_source, source);
}

/* --- the disk --- */

void disk_begin(struct disk *disk, uint64_t size)
{
    assert(size % DISK_SECTOR == 0);
    memset(disk, 0, sizeof *disk);
    disk->size = size;
    disk->now = calloc(1, size);
    disk->stable = calloc(1, size);
    disk->marks = calloc(1, size / DISK_SECTOR);
}

static void forget_flush(struct disk *disk)
{
    free(disk->flushing);
    free(disk->flushing_data);
    disk->flushing = NULL;
    disk->flushing_data = NULL;
    disk->flushing_count = 0;
}

void disk_end(struct disk *disk)
{
    forget_flush(disk);
    free(disk->now);
    free(disk->stable);
    free(disk->marks);
    free(disk->dirty);
}

static void mark(struct disk *disk, uint32_t sector)
{
    if (disk->marks[sector])
        return;
    if (disk->dirty_count == disk->dirty_room) {
        disk->dirty_room = disk->dirty_room ? disk->dirty_room * 2 : 64;
        disk->dirty = realloc(disk->dirty, disk->dirty_room * sizeof *disk->dirty);
    }
    disk->marks[sector] = 1;
    disk->dirty[disk->dirty_count++] = sector;
}

/* The write, or any of its sectors. */
static void apply(struct disk *disk, const struct io *io, bool whole)
{
    if (disk->off)
        return;
    uint64_t end = io->offset + io->length, until;
    for (uint64_t at = io->offset; at < end; at = until) {
        until = (at / DISK_SECTOR + 1) * DISK_SECTOR;
        until = until < end ? until : end;
        if (!whole && random() % 2)
            continue;
        if (io->op == IO_WRITE)
            slices_copy_out(&io->data, at - io->offset, disk->now + at, (size_t)(until - at));
        else
            memset(disk->now + at, 0, (size_t)(until - at));
        mark(disk, (uint32_t)(at / DISK_SECTOR));
    }
}

static unsigned char *sector_of(unsigned char *content, uint32_t sector)
{
    return content + (uint64_t)sector * DISK_SECTOR;
}

/* What was answered so far is to become stable. */
static void flush_begin(struct disk *disk)
{
    assert(!disk->flushing_data); /* one at a time */
    disk->flushes++;
    disk->flushing = disk->dirty;
    disk->flushing_count = disk->dirty_count;
    disk->flushing_data = malloc(disk->dirty_count * (size_t)DISK_SECTOR + 1);
    for (uint32_t i = 0; i < disk->dirty_count; i++) {
        memcpy(sector_of(disk->flushing_data, i), sector_of(disk->now, disk->dirty[i]), DISK_SECTOR);
        disk->marks[disk->dirty[i]] = 0;
    }
    disk->dirty = NULL;
    disk->dirty_count = disk->dirty_room = 0;
}

enum flush_end { FLUSH_GOOD, FLUSH_FAILED, FLUSH_LEFT };

/* A failed one makes any of it stable, and the system forgets the rest; one that
 * nobody waits for any more leaves the rest to be written. */
static void flush_end(struct disk *disk, enum flush_end how)
{
    for (uint32_t i = 0; i < disk->flushing_count; i++)
        if (how == FLUSH_GOOD || random() % 2)
            memcpy(sector_of(disk->stable, disk->flushing[i]), sector_of(disk->flushing_data, i), DISK_SECTOR);
        else if (how == FLUSH_LEFT)
            mark(disk, disk->flushing[i]);
    forget_flush(disk);
}

void disk_kill(struct disk *disk)
{
    if (disk->source)
        list_for_each (l, &of(disk->source)->waiting) {
            const struct io *io = container_of(l, struct io, link);
            if (io->op == IO_WRITE || io->op == IO_ZERO || io->op == IO_TRIM)
                apply(disk, io, false);
        }
    disk->off = true;
}

void disk_cut(struct disk *disk)
{
    disk_kill(disk);
    if (disk->flushing_data)
        flush_end(disk, FLUSH_LEFT);
    for (uint32_t i = 0; i < disk->dirty_count; i++) {
        if (random() % 2)
            memcpy(sector_of(disk->stable, disk->dirty[i]), sector_of(disk->now, disk->dirty[i]), DISK_SECTOR);
        disk->marks[disk->dirty[i]] = 0;
    }
    disk->dirty_count = 0;
    memcpy(disk->now, disk->stable, disk->size);
}

void disk_on(struct disk *disk)
{
    disk->off = false;
}

/* --- a source on it --- */

static bool fails(unsigned percent)
{
    return (unsigned)random() % 100 < percent;
}

static int perform(struct disk *disk, struct io *io)
{
    int status = 0;
    switch (io->op) {
    case IO_READ:
        if (disk->off || fails(disk->fail_reads))
            return -EIO;
        slices_alloc(&io->data, io->length, BYTES_PIECE);
        slices_copy_in(&io->data, 0, disk->now + io->offset, io->length);
        return 0;
    case IO_WRITE:
    case IO_ZERO:
    case IO_TRIM:
        status = disk->off || fails(disk->fail_writes) ? -EIO : 0;
        apply(disk, io, status == 0);
        return status;
    case IO_FLUSH:
        status = disk->off || fails(disk->fail_flushes) ? -EIO : 0;
        if (disk->flushing_data)
            flush_end(disk, status == 0 ? FLUSH_GOOD : disk->off ? FLUSH_LEFT : FLUSH_FAILED);
        return status;
    case IO_EXTENTS:
        return -ENOTSUP;
    case IO_CACHE:
        break;
    }
    return 0;
}

static void on_idle(uv_idle_t *idle)
{
    struct disk_source *source = idle->data;
    struct link due;
    list_init(&due);
    list_for_each (l, &source->waiting) {
        if (container_of(l, struct io, link)->failures-- > 0)
            continue;
        list_remove(l);
        list_append(&due, l);
    }
    while (!list_empty(&due)) {
        struct io *io = container_of(list_pop(&due), struct io, link);
        io_finish(io, source->source.state == SOURCE_OPEN ? perform(source->disk, io) : -ECANCELED);
    }
    if (list_empty(&source->waiting) && !uv_is_closing((uv_handle_t *)&source->idle))
        uv_idle_stop(&source->idle);
}

static void disk_open(struct source *source)
{
    struct disk_source *d = of(source);
    uv_idle_init(source->loop, &d->idle);
    d->idle.data = d;
    source->size = d->disk->size;
    source->can_flush = source->can_trim = source->can_zero = true;
    source->parallel = 8;
    source_report_opened_later(source, 0);
}

static void disk_submit(struct source *source, struct io *io)
{
    struct disk_source *d = of(source);
    io->failures = d->disk->delay_max ? (unsigned)random() % d->disk->delay_max : 0;
    d->disk->reads += io->op == IO_READ;
    d->disk->writes += io->op == IO_WRITE;
    if (io->op == IO_FLUSH && !d->disk->off)
        flush_begin(d->disk);
    list_append(&d->waiting, &io->link);
    uv_idle_start(&d->idle, on_idle);
}

static void on_closed(struct closing *closing)
{
    source_report_closed(&container_of(closing, struct disk_source, closing)->source);
}

static void disk_close(struct source *source)
{
    struct disk_source *d = of(source);
    for (struct link *l = list_pop(&d->waiting); l; l = list_pop(&d->waiting)) {
        struct io *io = container_of(l, struct io, link);
        if (io->op == IO_FLUSH && d->disk->flushing_data)
            flush_end(d->disk, FLUSH_LEFT);
        io_finish_later(source->loop, io, -ECANCELED);
    }
    closing_begin(&d->closing, source->loop, on_closed);
    uv_idle_stop(&d->idle);
    closing_add(&d->closing, (uv_handle_t *)&d->idle);
    closing_end(&d->closing);
}

static void disk_free(struct source *source)
{
    struct disk_source *d = of(source);
    if (d->disk->source == source)
        d->disk->source = NULL;
    mem_free(d);
}

struct source *disk_source_new(uv_loop_t *loop, struct disk *disk)
{
    static const struct source_ops ops = {"disk", disk_open, disk_submit, disk_close, disk_free, NULL};
    struct disk_source *d = mem_alloc(sizeof *d);
    source_init(&d->source, &ops, loop, "disk");
    d->disk = disk;
    list_init(&d->waiting);
    disk->source = &d->source;
    return &d->source;
}

void disk_source_die(struct disk *disk, int status)
{
    source_set_error(disk->source, "the disk is lost");
    disk->off = true;
    if (disk->source->died)
        disk->source->died(disk->source, status);
}
