#include "overlay_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "base/text.h"

#define CANDIDATES 1024

struct rig_io {
    struct io io;
    struct rig *rig;
    uint32_t write; /* index in rig->writes, when it changes anything */
    uint64_t begun;
    int *status; /* or NULL */
};

static unsigned char pattern(unsigned id, uint64_t at)
{
    uint64_t x = (id * 0x9e3779b97f4a7c15ull) ^ (at * 0xd6e8feb86659fd93ull);
    return id == 0 ? 0 : (unsigned char)((x ^ x >> 32) * 0xff51afd7ed558ccdull >> 56);
}

void rig_begin(struct rig *rig, uint32_t blocks)
{
    memset(rig, 0, sizeof *rig);
    test_loop_begin(&rig->loop);
    rig->lower = calloc(1, RIG_SIZE);
    uint64_t x = (uint64_t)random() + 1; /* xorshift: quick where valgrind is slow */
    for (uint32_t i = 0; i + sizeof x <= RIG_SIZE; i += sizeof x) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        memcpy(rig->lower + i, &x, sizeof x);
    }
    rig->base = malloc(RIG_SIZE);
    memcpy(rig->base, rig->lower, RIG_SIZE);
    rig->lower_options = (struct fake_options){
        .content = rig->lower, .size = RIG_SIZE, .delay_max = 6, .identity = "lower", .parallel = 8};
    disk_begin(&rig->disk, overlay_store_size((uint64_t)blocks * 4096));
    rig->disk.delay_max = 6;
    rig->options = (struct overlay_options){.store_name = "disk", .boot_id = "boot 1"};
}

void rig_begin_open(struct rig *rig, uint32_t blocks)
{
    rig_begin(rig, blocks);
    assert_int_equal(rig_open(rig), 0);
}

void rig_end(struct rig *rig)
{
    if (rig->overlay)
        rig_close(rig);
    test_loop_end(&rig->loop);
    disk_end(&rig->disk);
    free(rig->lower);
    free(rig->base);
    free(rig->writes);
}

/* --- life --- */

static void on_opened(struct source *source, int status)
{
    struct rig *rig = source->owner;
    rig->opened++;
    rig->opened_status = status;
}

static void on_closed(struct source *source)
{
    struct rig *rig = source->owner;
    assert_int_equal(rig->outstanding, 0);
    rig->closed++;
}

static void on_died(struct source *source, int status)
{
    struct rig *rig = source->owner;
    rig->died++;
    rig->died_status = status;
}

void rig_start(struct rig *rig)
{
    assert_null(rig->overlay);
    disk_on(&rig->disk);
    rig->opened = rig->closed = rig->died = 0;
    rig->lower_source = fake_source_new(&rig->loop, &rig->lower_options, &rig->lower_stats);
    rig->overlay = overlay_source_new(rig->lower_source, disk_source_new(&rig->loop, &rig->disk), &rig->options);
    rig->overlay->owner = rig;
    rig->overlay->opened = on_opened;
    rig->overlay->died = on_died;
    rig->overlay->closed = on_closed;
    source_open(rig->overlay);
}

int rig_open(struct rig *rig)
{
    rig_start(rig);
    while (!rig->opened)
        uv_run(&rig->loop, UV_RUN_ONCE);
    assert_int_equal(rig->opened, 1);
    return rig->opened_status;
}

void rig_close(struct rig *rig)
{
    strcpy(rig->error, rig->overlay->error);
    rig->may_fail = true;
    source_close(rig->overlay);
    while (!rig->closed)
        uv_run(&rig->loop, UV_RUN_ONCE);
    assert_int_equal(rig->closed, 1);
    source_free(rig->overlay);
    rig->overlay = NULL;
    rig->may_fail = false;
}

/* What was under way may have come as far as it could. */
static void end_writes(struct rig *rig)
{
    rig->clock++;
    for (uint32_t i = 0; i < rig->count; i++)
        if (rig->writes[i].ended == RIG_NEVER)
            rig->writes[i].ended = rig->clock;
    rig_close(rig);
}

void rig_kill(struct rig *rig)
{
    disk_kill(&rig->disk);
    end_writes(rig);
}

void rig_cut(struct rig *rig)
{
    disk_cut(&rig->disk);
    end_writes(rig);
}

/* --- what may be read --- */

/* Whether somebody who began at `since` must see this write, or a later one. */
static bool must_be_seen(const struct rig_write *w, uint64_t since, bool after_cut)
{
    return w->good && (w->ended < since || (after_cut && w->stable));
}

static bool covers(const struct rig_write *w, uint64_t at)
{
    return at >= w->offset && at - w->offset < w->length;
}

/* The patterns that may be at `at`: of each write that none must have replaced. */
static unsigned candidates(const struct rig *rig, uint64_t at, uint64_t since, bool after_cut, unsigned *ids,
                           bool *base)
{
    const struct rig_write *on[CANDIDATES];
    unsigned n = 0, count = 0;
    *base = true;
    for (uint32_t i = 0; i < rig->count; i++)
        if (covers(&rig->writes[i], at)) {
            assert_true(n < CANDIDATES);
            on[n++] = &rig->writes[i];
            *base &= !must_be_seen(&rig->writes[i], since, after_cut);
        }
    for (unsigned i = 0; i < n; i++) {
        bool replaced = false;
        for (unsigned j = 0; j < n; j++)
            replaced |= must_be_seen(on[j], since, after_cut) && on[j]->begun > on[i]->ended;
        if (!replaced)
            ids[count++] = on[i]->id;
    }
    return count;
}

/* Where the set of writes may change next. */
static uint64_t next_edge(const struct rig *rig, uint64_t at, uint64_t end)
{
    for (uint32_t i = 0; i < rig->count; i++) {
        const struct rig_write *w = &rig->writes[i];
        if (w->offset > at && w->offset < end)
            end = w->offset;
        if (w->offset + w->length > at && w->offset + w->length < end)
            end = w->offset + w->length;
    }
    return end;
}

static void check_data(const struct rig *rig, const struct slices *data, uint64_t offset, uint64_t since,
                       bool after_cut)
{
    unsigned char *bytes = malloc(data->length);
    slices_copy_out(data, 0, bytes, data->length);
    for (uint64_t at = offset, edge; at < offset + data->length; at = edge) {
        unsigned ids[CANDIDATES];
        bool base;
        unsigned count = candidates(rig, at, since, after_cut, ids, &base);
        edge = next_edge(rig, at, offset + data->length);
        for (uint64_t i = at; i < edge; i++) {
            bool good = base && bytes[i - offset] == rig->base[i];
            for (unsigned c = 0; c < count && !good; c++)
                good = bytes[i - offset] == pattern(ids[c], i);
            if (!good)
                fail_msg("byte %llu is none of %u", (unsigned long long)i, count + base);
        }
    }
    free(bytes);
}

/* --- ios --- */

static bool changes(enum io_op op)
{
    return op == IO_WRITE || op == IO_ZERO;
}

static void on_done(struct io *io)
{
    struct rig_io *r = container_of(io, struct rig_io, io);
    struct rig *rig = r->rig;
    rig->outstanding--;
    rig->clock++;
    rig->failures += io->status != 0;
    if (io->status != 0 && !rig->may_fail)
        fail_msg("an io of kind %d failed with %d", io->op, io->status);
    if (changes(io->op) && rig->writes[r->write].ended == RIG_NEVER) {
        struct rig_write *w = &rig->writes[r->write];
        w->ended = rig->clock;
        w->good = io->status == 0;
        w->stable = w->good && io->flags & IO_FUA;
    }
    if (io->op == IO_READ && io->status == 0)
        check_data(rig, &io->data, io->offset, r->begun, false);
    if (io->op == IO_FLUSH && io->status == 0 && !rig->disk.off && r->begun > rig->flushed)
        rig->flushed = r->begun;
    if (r->status)
        *r->status = io->status;
    slices_clear(&io->data);
    mem_free(r);
}

static uint32_t record(struct rig *rig, const struct io *io)
{
    if (rig->count == rig->room) {
        rig->room = rig->room ? 2 * rig->room : 64;
        rig->writes = realloc(rig->writes, rig->room * sizeof *rig->writes);
    }
    static unsigned id;
    rig->writes[rig->count] =
        (struct rig_write){.offset = io->offset, .length = io->length, .begun = rig->clock, .ended = RIG_NEVER};
    if (io->op == IO_WRITE)
        rig->writes[rig->count].id = ++id;
    return rig->count++;
}

static void fill(struct io *io, unsigned id)
{
    unsigned char *bytes = malloc(io->length);
    for (uint32_t i = 0; i < io->length; i++)
        bytes[i] = pattern(id, io->offset + i);
    slices_alloc(&io->data, io->length, 1000 + (uint32_t)random() % 9000);
    slices_copy_in(&io->data, 0, bytes, io->length);
    free(bytes);
}

static void submit(struct rig *rig, enum io_op op, unsigned flags, uint64_t offset, uint32_t length, int *status)
{
    struct rig_io *r = mem_alloc(sizeof *r);
    io_init(&r->io, op, offset, length, on_done);
    r->io.flags = flags;
    r->rig = rig;
    r->status = status;
    r->begun = ++rig->clock;
    if (changes(op))
        r->write = record(rig, &r->io);
    if (op == IO_WRITE)
        fill(&r->io, rig->writes[r->write].id);
    rig->outstanding++;
    source_submit(rig->overlay, &r->io);
}

void rig_submit(struct rig *rig, enum io_op op, unsigned flags, uint64_t offset, uint32_t length)
{
    submit(rig, op, flags, offset, length, NULL);
}

/* Half of them in a small part of the image, so that they meet. */
void rig_submit_random(struct rig *rig)
{
    static const enum io_op ops[] = {IO_READ,  IO_READ, IO_READ, IO_WRITE, IO_WRITE, IO_WRITE,
                                     IO_WRITE, IO_ZERO, IO_TRIM, IO_FLUSH, IO_CACHE};
    enum io_op op = ops[(unsigned)random() % (sizeof ops / sizeof ops[0])];
    uint64_t within = random() % 2 ? 40000 : RIG_SIZE;
    uint64_t offset = (uint64_t)random() % within;
    uint32_t length = 1 + (uint32_t)random() % (random() % 4 ? 9000 : 120000);
    if (random() % 4 == 0) {
        offset = offset / 4096 * 4096;
        length = (length + 4095) / 4096 * 4096;
    }
    if (random() % 16 == 0)
        offset = RIG_SIZE - length; /* the last block, which is short */
    if (offset + length > RIG_SIZE)
        length = (uint32_t)(RIG_SIZE - offset);
    if (op == IO_FLUSH)
        rig_submit(rig, IO_FLUSH, 0, 0, 0);
    else
        rig_submit(rig, op, changes(op) && random() % 8 == 0 ? IO_FUA : 0, offset, length);
}

void rig_run_random(struct rig *rig, int ios)
{
    for (int i = 0; i < ios; i++) {
        rig_submit_random(rig);
        while (rig->outstanding > 12 || random() % 3 == 0)
            rig_turn(rig);
    }
}

void rig_turn(struct rig *rig)
{
    uv_run(&rig->loop, UV_RUN_NOWAIT);
}

void rig_wait(struct rig *rig)
{
    while (rig->outstanding > 0)
        uv_run(&rig->loop, UV_RUN_ONCE);
}

int rig_do(struct rig *rig, enum io_op op, unsigned flags, uint64_t offset, uint32_t length)
{
    int status = 1;
    submit(rig, op, flags, offset, length, &status);
    while (status == 1)
        uv_run(&rig->loop, UV_RUN_ONCE);
    return status;
}

/* --- all of it --- */

static void on_checked(struct io *io)
{
    *(bool *)io->extents = true; /* of no other use in a READ */
}

/* What was there after the loss of power is the new beginning. */
static void rebase(struct rig *rig, const struct slices *data)
{
    slices_copy_out(data, 0, rig->base, RIG_SIZE);
    rig->count = 0;
    rig->flushed = 0;
}

void rig_check(struct rig *rig, bool after_cut)
{
    struct io io;
    bool done = false;
    rig_wait(rig);
    io_init(&io, IO_READ, 0, RIG_SIZE, on_checked);
    io.extents = (void *)&done;
    source_submit(rig->overlay, &io);
    while (!done)
        uv_run(&rig->loop, UV_RUN_ONCE);
    assert_int_equal(io.status, 0);
    check_data(rig, &io.data, 0, after_cut ? rig->flushed : RIG_NEVER, after_cut);
    if (after_cut)
        rebase(rig, &io.data);
    slices_clear(&io.data);
}
