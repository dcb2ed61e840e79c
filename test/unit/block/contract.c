#include "contract.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "base/defer.h"

#define READS 64

struct probe {
    struct source *source;
    bool inside; /* a call on the source is under way: no callback may come */
    int opened, opened_status, closed, dones;
    bool close_when_opened, close_when_done;
    const struct contract *contract;
    bool keep_data; /* else what is read is compared and dropped at once */
};

struct probe_io {
    struct io io;
    struct probe *probe;
    int done;
    bool before_closed;
};

void test_loop_begin(uv_loop_t *loop)
{
    assert_int_equal(uv_loop_init(loop), 0);
    defer_init(loop);
}

void test_loop_end(uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_DEFAULT);
    defer_close(loop);
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}

void test_loop_turns(uv_loop_t *loop, int count)
{
    for (int i = 0; i < count; i++)
        uv_run(loop, UV_RUN_NOWAIT);
}

void test_loop_wait(uv_loop_t *loop, unsigned ms)
{
    uint64_t until = uv_hrtime() + ms * 1000000ull;
    while (uv_hrtime() < until)
        uv_run(loop, UV_RUN_NOWAIT);
}

void test_loop_until(uv_loop_t *loop, const int *count, int least)
{
    while (*count < least) {
        bool alive = uv_run(loop, UV_RUN_ONCE);
        assert_true(alive || *count >= least);
    }
}

static void close_source(struct probe *probe)
{
    bool was = probe->inside;
    probe->inside = true;
    source_close(probe->source);
    probe->inside = was;
}

static void on_opened(struct source *source, int status)
{
    struct probe *probe = source->owner;
    assert_false(probe->inside);
    assert_int_equal(probe->closed, 0);
    probe->opened++;
    probe->opened_status = status;
    if (probe->close_when_opened)
        close_source(probe);
}

static void on_closed(struct source *source)
{
    struct probe *probe = source->owner;
    assert_false(probe->inside);
    probe->closed++;
}

static void assert_content(const struct contract *contract, struct io *io)
{
    unsigned char *copy = malloc(io->length ? io->length : 1);
    assert_int_equal(io->status, 0);
    assert_int_equal(io->data.length, io->length);
    slices_copy_out(&io->data, 0, copy, io->length);
    assert_memory_equal(copy, contract->content + io->offset, io->length);
    free(copy);
    slices_clear(&io->data);
}

static void on_done(struct io *io)
{
    struct probe_io *p = container_of(io, struct probe_io, io);
    assert_false(p->probe->inside);
    p->done++;
    p->probe->dones++;
    p->before_closed = p->probe->closed == 0;
    if (io->op == IO_READ && io->status == 0 && !p->probe->keep_data)
        assert_content(p->probe->contract, io);
    if (p->probe->close_when_done)
        close_source(p->probe);
}

static void submit(struct probe *probe, struct probe_io *p, enum io_op op, uint64_t offset, uint32_t length)
{
    io_init(&p->io, op, offset, length, on_done);
    p->probe = probe;
    p->done = 0;
    probe->inside = true;
    source_submit(probe->source, &p->io);
    probe->inside = false;
}

struct rig {
    const struct contract *contract;
    uv_loop_t loop;
    void *context;
    struct probe probe;
};

static void rig_begin(struct rig *rig, const struct contract *contract)
{
    memset(rig, 0, sizeof *rig);
    rig->contract = rig->probe.contract = contract;
    test_loop_begin(&rig->loop);
    rig->context = contract->begin ? contract->begin(&rig->loop, contract->arg) : NULL;
    rig->probe.source = contract->make(&rig->loop, rig->context, contract->arg);
    rig->probe.source->owner = &rig->probe;
    rig->probe.source->opened = on_opened;
    rig->probe.source->closed = on_closed;
}

static void rig_open(struct rig *rig)
{
    rig->probe.inside = true;
    source_open(rig->probe.source);
    rig->probe.inside = false;
    while (!rig->probe.opened && uv_run(&rig->loop, UV_RUN_ONCE))
        ;
    assert_int_equal(rig->probe.opened, 1);
    assert_int_equal(rig->probe.opened_status, 0);
}

static void run_until_done(struct rig *rig, int dones)
{
    while (rig->probe.dones < dones && uv_run(&rig->loop, UV_RUN_ONCE))
        ;
    assert_int_equal(rig->probe.dones, dones);
}

/* Closes, asserts that `closed` comes once, and that the loop is empty then. */
static void rig_end(struct rig *rig)
{
    close_source(&rig->probe);
    close_source(&rig->probe); /* idempotent */
    while (!rig->probe.closed && uv_run(&rig->loop, UV_RUN_ONCE))
        ;
    assert_int_equal(rig->probe.closed, 1);
    source_free(rig->probe.source);
    if (rig->contract->end)
        rig->contract->end(rig->context, rig->contract->arg);
    test_loop_end(&rig->loop);
    assert_int_equal(rig->probe.closed, 1);
}

static void random_range(const struct contract *contract, uint64_t *offset, uint32_t *length)
{
    *offset = (uint64_t)random() % contract->size;
    uint64_t most = contract->size - *offset < 200000 ? contract->size - *offset : 200000;
    *length = (uint32_t)((uint64_t)random() % most + 1);
}

static void reads_give_the_content(const struct contract *contract)
{
    struct rig rig;
    struct probe_io ios[READS];
    rig_begin(&rig, contract);
    rig_open(&rig);
    assert_int_equal(rig.probe.source->size, contract->size);
    for (int i = 0; i < READS; i++) {
        uint64_t offset;
        uint32_t length;
        random_range(contract, &offset, &length);
        submit(&rig.probe, &ios[i], IO_READ, offset, length);
    }
    run_until_done(&rig, READS);
    for (int i = 0; i < READS; i++) {
        assert_int_equal(ios[i].done, 1);
        assert_int_equal(ios[i].io.status, 0);
    }
    rig_end(&rig);
}

static void bad_requests_are_refused(const struct contract *contract)
{
    struct rig rig;
    struct probe_io ios[5];
    rig_begin(&rig, contract);
    rig_open(&rig);
    submit(&rig.probe, &ios[0], IO_READ, contract->size, 1);
    submit(&rig.probe, &ios[1], IO_READ, UINT64_MAX, 2);
    submit(&rig.probe, &ios[2], IO_READ, contract->size, 0);
    submit(&rig.probe, &ios[3], IO_FLUSH, 0, 0);
    submit(&rig.probe, &ios[4], IO_TRIM, 0, contract->writable ? 0 : 1);
    run_until_done(&rig, 5);
    assert_int_equal(ios[0].io.status, -EINVAL);
    assert_int_equal(ios[1].io.status, -EINVAL);
    assert_int_equal(ios[2].io.status, 0);
    assert_int_equal(ios[3].io.status, 0);
    if (!contract->writable)
        assert_int_equal(ios[4].io.status, -EPERM);
    rig_end(&rig);
}

static void close_before_open(const struct contract *contract)
{
    struct rig rig;
    rig_begin(&rig, contract);
    rig_end(&rig);
    assert_int_equal(rig.probe.opened, 0);
}

static void close_while_opening(const struct contract *contract, int turns)
{
    struct rig rig;
    rig_begin(&rig, contract);
    source_open(rig.probe.source);
    for (int i = 0; i < turns; i++)
        uv_run(&rig.loop, UV_RUN_NOWAIT);
    bool was_open = rig.probe.opened;
    rig_end(&rig);
    assert_int_equal(rig.probe.opened, 1);
    if (!was_open)
        assert_int_equal(rig.probe.opened_status, -ECANCELED);
}

static void close_in_opened(const struct contract *contract)
{
    struct rig rig;
    rig_begin(&rig, contract);
    rig.probe.close_when_opened = true;
    rig_open(&rig);
    rig_end(&rig);
}

/* Every io is answered once, before `closed`; later ones get ESHUTDOWN. */
static void close_with_reads_outstanding(const struct contract *contract, int turns)
{
    struct rig rig;
    struct probe_io ios[READS], late;
    rig_begin(&rig, contract);
    rig_open(&rig);
    for (int i = 0; i < READS; i++) {
        uint64_t offset;
        uint32_t length;
        random_range(contract, &offset, &length);
        submit(&rig.probe, &ios[i], IO_READ, offset, length);
    }
    for (int i = 0; i < turns; i++)
        uv_run(&rig.loop, UV_RUN_NOWAIT);
    close_source(&rig.probe);
    submit(&rig.probe, &late, IO_READ, 0, 1);
    rig_end(&rig);
    assert_int_equal(late.io.status, -ESHUTDOWN);
    for (int i = 0; i < READS; i++) {
        assert_int_equal(ios[i].done, 1);
        assert_true(ios[i].before_closed);
        assert_true(ios[i].io.status == 0 || ios[i].io.status == -ECANCELED);
    }
}

/* Closes in a certain round of the deferral queue, which libuv's closing of handles follows. */
struct closer {
    uv_async_t start;
    struct defer again;
    int rounds;
    struct probe *probe;
};

static void on_closer_start(uv_async_t *async)
{
    defer_schedule(async->loop, &container_of(async, struct closer, start)->again);
}

static void on_closer_again(struct defer *defer)
{
    struct closer *closer = container_of(defer, struct closer, again);
    if (--closer->rounds > 0) {
        defer_schedule(closer->start.loop, defer);
        return;
    }
    close_source(closer->probe);
    uv_close((uv_handle_t *)&closer->start, NULL);
}

static void close_in_round(const struct contract *contract, int rounds)
{
    struct rig rig;
    struct probe_io ios[READS];
    struct closer closer = {.rounds = rounds, .probe = &rig.probe};
    rig_begin(&rig, contract);
    rig_open(&rig);
    for (int i = 0; i < READS; i++) {
        uint64_t offset;
        uint32_t length;
        random_range(contract, &offset, &length);
        submit(&rig.probe, &ios[i], IO_READ, offset, length);
    }
    defer_setup(&closer.again, on_closer_again);
    uv_async_init(&rig.loop, &closer.start, on_closer_start);
    uv_async_send(&closer.start);
    while (closer.rounds > 0)
        uv_run(&rig.loop, UV_RUN_ONCE);
    rig_end(&rig);
    for (int i = 0; i < READS; i++) {
        assert_int_equal(ios[i].done, 1);
        assert_true(ios[i].before_closed);
    }
}

static void close_in_done(const struct contract *contract)
{
    struct rig rig;
    struct probe_io ios[READS];
    rig_begin(&rig, contract);
    rig_open(&rig);
    rig.probe.close_when_done = true;
    for (int i = 0; i < READS; i++)
        submit(&rig.probe, &ios[i], IO_READ, (uint64_t)i * 512 % contract->size, 1);
    run_until_done(&rig, READS);
    rig_end(&rig);
    for (int i = 0; i < READS; i++)
        assert_int_equal(ios[i].done, 1);
}

static void writes_are_read_back(const struct contract *contract)
{
    struct rig rig;
    struct probe_io io;
    static const char text[] = "written across a block's edge";
    rig_begin(&rig, contract);
    rig_open(&rig);
    uint64_t offset = contract->size > 4096 ? 4090 : 0;
    submit(&rig.probe, &io, IO_READ, 0, (uint32_t)(contract->size < 65536 ? contract->size : 65536));
    run_until_done(&rig, 1);
    rig.probe.keep_data = true;
    io_init(&io.io, IO_WRITE, offset, sizeof text, on_done);
    io.io.flags = IO_FUA;
    slices_alloc(&io.io.data, sizeof text, 4096);
    slices_copy_in(&io.io.data, 0, text, sizeof text);
    source_submit(rig.probe.source, &io.io);
    run_until_done(&rig, 2);
    assert_int_equal(io.io.status, 0);
    slices_clear(&io.io.data);
    submit(&rig.probe, &io, IO_READ, offset, sizeof text);
    run_until_done(&rig, 3);
    char back[sizeof text];
    slices_copy_out(&io.io.data, 0, back, sizeof back);
    assert_memory_equal(back, text, sizeof text);
    slices_clear(&io.io.data);
    rig_end(&rig);
    contract->restore(contract->arg);
}

void contract_check(const struct contract *contract)
{
    reads_give_the_content(contract);
    bad_requests_are_refused(contract);
    close_before_open(contract);
    for (int turns = 0; turns < 4; turns++)
        close_while_opening(contract, turns);
    close_in_opened(contract);
    for (int turns = 0; turns < 6; turns++)
        close_with_reads_outstanding(contract, turns);
    for (int rounds = DEFER_ROUNDS - 1; rounds <= DEFER_ROUNDS + 1; rounds++)
        close_in_round(contract, rounds);
    close_in_done(contract);
    if (contract->writable)
        writes_are_read_back(contract);
}
