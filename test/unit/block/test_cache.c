/* The cache: the contract, a model with random delays and errors, its memory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "base/text.h"
#include "block/cache.h"
#include "block/trace.h"
#include "contract.h"
#include "fake_source.h"

#define SIZE (3u * 1024 * 1024 + 1234) /* not a multiple of anything */

static unsigned char *content, *pristine;
static struct fake_stats fake_stats;

static int make_content(void **state)
{
    (void)state;
    content = malloc(SIZE);
    pristine = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        content[i] = (unsigned char)random();
    memcpy(pristine, content, SIZE);
    return 0;
}

static int free_content(void **state)
{
    (void)state;
    free(content);
    free(pristine);
    return 0;
}

static void restore(void *arg)
{
    (void)arg;
    memcpy(content, pristine, SIZE);
}

/* --- the contract --- */

enum stack { BARE, CACHED, TRACED };

struct contract_arg {
    struct fake_options options;
    enum stack stack;
    struct cache *cache;
};

static struct source *make_source(uv_loop_t *loop, void *context, void *arg)
{
    struct contract_arg *a = arg;
    struct source *fake = fake_source_new(loop, &a->options, &fake_stats);
    if (a->stack == TRACED)
        return trace_source_new(fake);
    return a->stack == CACHED ? cache_source_new(context, fake, true) : fake;
}

static void *begin_cache(uv_loop_t *loop, void *arg)
{
    (void)loop;
    struct contract_arg *a = arg;
    return a->stack == CACHED ? cache_new(1 << 20, 64 << 10) : NULL;
}

static void end_cache(void *context, void *arg)
{
    (void)arg;
    if (context)
        cache_free(context);
}

static void check(enum stack stack, bool writable)
{
    struct contract_arg arg = {.options = {content, SIZE, writable, 5, 0, NULL, 8, false}, .stack = stack};
    struct contract contract = {
        .content = pristine,
        .size = SIZE,
        .writable = writable,
        .begin = begin_cache,
        .end = end_cache,
        .make = make_source,
        .restore = restore,
        .arg = &arg,
    };
    contract_check(&contract);
}

static void fake_keeps_the_contract(void **state)
{
    (void)state;
    check(BARE, false);
    check(BARE, true);
}

static void cache_keeps_the_contract(void **state)
{
    (void)state;
    check(CACHED, false);
    check(CACHED, true);
}

static void trace_keeps_the_contract(void **state)
{
    (void)state;
    check(TRACED, false);
    check(TRACED, true);
}

/* --- a rig of cached sources --- */

#define FRONTS 3

struct rig {
    uv_loop_t loop;
    struct cache *cache;
    struct source *fronts[FRONTS];
    struct source *fakes[FRONTS];
    bool open[FRONTS], closed[FRONTS];
};

struct model_io {
    struct io io;
    struct rig *rig;
    unsigned front;
    bool done;
    bool may_fail;
};

static struct rig *the_rig;

static unsigned front_index(struct source *source)
{
    for (unsigned i = 0; i < FRONTS; i++)
        if (the_rig->fronts[i] == source)
            return i;
    fail();
    return 0;
}

static void on_opened(struct source *source, int status)
{
    assert_int_equal(status, 0);
    the_rig->open[front_index(source)] = true;
}

static void on_closed(struct source *source)
{
    unsigned i = front_index(source);
    the_rig->open[i] = false;
    the_rig->closed[i] = true;
    source_free(source);
    the_rig->fronts[i] = NULL;
}

static void front_open(struct rig *rig, unsigned i, const struct fake_options *options, bool readahead)
{
    rig->fakes[i] = fake_source_new(&rig->loop, options, &fake_stats);
    rig->fronts[i] = cache_source_new(rig->cache, rig->fakes[i], readahead);
    rig->fronts[i]->opened = on_opened;
    rig->fronts[i]->closed = on_closed;
    rig->closed[i] = false;
    source_open(rig->fronts[i]);
    while (!rig->open[i])
        uv_run(&rig->loop, UV_RUN_ONCE);
}

static void rig_begin(struct rig *rig, uint64_t limit)
{
    memset(rig, 0, sizeof *rig);
    memset(&fake_stats, 0, sizeof fake_stats);
    test_loop_begin(&rig->loop);
    rig->cache = cache_new(limit, 64 << 10);
    the_rig = rig;
}

#define OPTIONS(...) (struct fake_options){.content = content, .size = SIZE, .parallel = 8, __VA_ARGS__}

/* A cache of `limit` bytes, and `count` slots on sources that are all alike. */
static void rig_open(struct rig *rig, uint64_t limit, unsigned count, bool readahead, struct fake_options options)
{
    rig_begin(rig, limit);
    for (unsigned i = 0; i < count; i++)
        front_open(rig, i, &options, readahead);
}

static void rig_end(struct rig *rig)
{
    for (unsigned i = 0; i < FRONTS; i++)
        if (rig->fronts[i])
            source_close(rig->fronts[i]);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    cache_free(rig->cache);
    test_loop_end(&rig->loop);
}

static void on_model_done(struct io *io)
{
    struct model_io *m = container_of(io, struct model_io, io);
    m->done = true;
    if (io->status == 0 && io->op == IO_READ) {
        unsigned char *copy = malloc(io->length);
        assert_int_equal(io->data.length, io->length);
        slices_copy_out(&io->data, 0, copy, io->length);
        assert_memory_equal(copy, content + io->offset, io->length);
        free(copy);
    } else if (io->status != 0) {
        assert_true(m->may_fail);
        assert_true(io->status == -EIO || io->status == -ECANCELED || io->status == -ESHUTDOWN);
    }
    slices_clear(&io->data);
}

static void model_read(struct rig *rig, struct model_io *m, unsigned front, uint64_t offset, uint32_t length)
{
    m->rig = rig;
    m->front = front;
    m->done = false;
    io_init(&m->io, IO_READ, offset, length, on_model_done);
    source_submit(rig->fronts[front], &m->io);
}

static void run_until(struct rig *rig, struct model_io *ios, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        while (!ios[i].done)
            uv_run(&rig->loop, UV_RUN_ONCE);
}

static void random_read(struct rig *rig, struct model_io *m, unsigned front)
{
    uint64_t offset = (uint64_t)random() % SIZE;
    uint64_t most = SIZE - offset;
    uint32_t length = (uint32_t)((uint64_t)random() % (random() % 4 ? 20000 : 600000)) + 1;
    model_read(rig, m, front, offset, length < most ? length : (uint32_t)most);
}

#define MODEL_IOS 24

/* Reads of several slots on one image, random delays, a source that fails now
 * and then, slots that come and go: every byte that arrives is right, and the
 * budget is kept but for demand. */
static void random_reads_equal_the_model(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 12; seed++) {
        struct rig rig;
        struct model_io ios[MODEL_IOS];
        srandom(seed);
        rig_begin(&rig, 512 << 10);
        for (unsigned i = 0; i < MODEL_IOS; i++) {
            ios[i].done = true;
            ios[i].may_fail = true;
        }
        for (unsigned step = 0; step < 400; step++) {
            unsigned front = (unsigned)random() % FRONTS;
            struct fake_options options = {content, SIZE, false, 6, seed % 3 ? 0 : 10, "same", 8, seed % 2};
            if (!rig.fronts[front])
                front_open(&rig, front, &options, random() % 2);
            if (random() % 40 == 0)
                source_close(rig.fronts[front]);
            else
                for (unsigned i = 0; i < MODEL_IOS; i++)
                    if (ios[i].done) {
                        random_read(&rig, &ios[i], front);
                        break;
                    }
            for (int turns = (int)(random() % 4); turns > 0; turns--)
                uv_run(&rig.loop, UV_RUN_NOWAIT);
            struct cache_stats stats;
            cache_get_stats(rig.cache, &stats);
            assert_true(stats.live + stats.fetching <= stats.limit + (MODEL_IOS + 1ull) * (600000 + 131072));
        }
        run_until(&rig, ios, MODEL_IOS);
        rig_end(&rig);
        assert_int_equal(fake_stats.outstanding, 0);
    }
}

static void equal_reads_join(void **state)
{
    (void)state;
    struct rig rig;
    struct model_io ios[10] = {0};
    rig_open(&rig, 4 << 20, 2, false, OPTIONS(.delay_max = 3, .identity = "same"));
    for (unsigned i = 0; i < 10; i++)
        model_read(&rig, &ios[i], i % 2, 100, 5000);
    run_until(&rig, ios, 10);
    assert_int_equal(fake_stats.reads, 1);
    model_read(&rig, &ios[0], 1, 0, 8192);
    run_until(&rig, ios, 1);
    assert_int_equal(fake_stats.reads, 1);
    rig_end(&rig);
}

/* Whoever reads the beginning of what is being fetched does not wait for the rest; nor does it matter to him how that ends. */
static void the_beginning_does_not_wait_for_the_end(void **state)
{
    (void)state;
    struct rig rig;
    struct model_io ios[3] = {0};
    rig_open(&rig, 4 << 20, 2, false, OPTIONS(.identity = "same"));
    fake_source_hold(rig.fakes[0], true);
    ios[0].may_fail = true;
    model_read(&rig, &ios[0], 0, 0, 300000);
    model_read(&rig, &ios[1], 1, 5000, 5000);
    model_read(&rig, &ios[2], 0, 9000, 4000);
    fake_source_give(rig.fakes[0], 9999);
    assert_false(ios[0].done || ios[1].done || ios[2].done);
    fake_source_give(rig.fakes[0], 10000);
    assert_true(!ios[0].done && ios[1].done && !ios[2].done);
    fake_source_give(rig.fakes[0], 20000);
    assert_true(!ios[0].done && ios[2].done);
    fake_source_fail(rig.fakes[0], 100);
    fake_source_hold(rig.fakes[0], false);
    run_until(&rig, ios, 3);
    assert_int_equal(ios[0].io.status, -EIO);
    assert_true(ios[1].io.status == 0 && ios[2].io.status == 0);
    assert_int_equal(fake_stats.reads, 1);
    rig_end(&rig);
}

/* The other slot's fetch goes with its slot; the reader asks again by itself. */
static void a_read_survives_the_slot_whose_fetch_it_joined(void **state)
{
    (void)state;
    struct rig rig;
    struct model_io ios[2] = {0};
    rig_open(&rig, 4 << 20, 2, false, OPTIONS(.delay_max = 3, .identity = "same"));
    fake_source_hold(rig.fakes[0], true);
    ios[0].may_fail = true;
    model_read(&rig, &ios[0], 0, 0, 300000);
    model_read(&rig, &ios[1], 1, 100, 200000);
    source_close(rig.fronts[0]);
    run_until(&rig, ios, 2);
    assert_int_equal(ios[0].io.status, -ECANCELED);
    assert_int_equal(ios[1].io.status, 0);
    rig_end(&rig);
}

static void errors_are_not_cached(void **state)
{
    (void)state;
    struct rig rig;
    struct model_io io = {.may_fail = true};
    rig_open(&rig, 4 << 20, 1, false, OPTIONS(.delay_max = 3, .fail_percent = 100));
    model_read(&rig, &io, 0, 0, 4096);
    run_until(&rig, &io, 1);
    assert_int_equal(io.io.status, -EIO);
    fake_source_fail(rig.fakes[0], 0);
    model_read(&rig, &io, 0, 0, 4096);
    run_until(&rig, &io, 1);
    assert_int_equal(io.io.status, 0);
    rig_end(&rig);
}

/* A speculative fetch that fails must not fail the read that joined it. */
static void a_failed_prefetch_is_asked_again(void **state)
{
    (void)state;
    struct rig rig;
    struct model_io ios[3] = {0};
    rig_open(&rig, 4 << 20, 1, true, OPTIONS(.delay_max = 1));
    model_read(&rig, &ios[0], 0, 0, 65536);
    run_until(&rig, ios, 1);
    fake_source_hold(rig.fakes[0], true);
    model_read(&rig, &ios[0], 0, 65536, 65536);
    assert_true(fake_stats.prefetch_reads > 0);
    model_read(&rig, &ios[1], 0, 131072, 1000);
    model_read(&rig, &ios[2], 0, 300000, 1000);
    fake_source_fail(rig.fakes[0], 100);
    ios[0].may_fail = ios[1].may_fail = ios[2].may_fail = true;
    fake_source_hold(rig.fakes[0], false);
    unsigned before = fake_stats.reads;
    run_until(&rig, ios, 3);
    assert_true(fake_stats.reads > before);
    rig_end(&rig);
}

/* A read that nobody waits for: its bytes stay, it counts for no reader, and its failure is not tried again. */
static void a_look_is_no_readers(void **state)
{
    (void)state;
    struct rig rig;
    struct model_io looks[2] = {0}, io = {0};
    rig_open(&rig, 4 << 20, 1, true, OPTIONS(.delay_max = 2));
    for (unsigned i = 0; i < 2; i++) {
        looks[i].may_fail = i > 0;
        fake_source_fail(rig.fakes[0], looks[i].may_fail ? 100 : 0);
        io_init(&looks[i].io, IO_READ, i << 20, 8192, on_model_done);
        looks[i].io.flags = IO_PREFETCH;
        source_submit(rig.fronts[0], &looks[i].io);
        run_until(&rig, &looks[i], 1);
    }
    assert_int_equal(looks[0].io.status, 0);
    assert_int_equal(looks[1].io.status, -EIO);
    assert_int_equal(fake_stats.reads, 2);
    assert_int_equal(fake_stats.prefetch_reads, 2);
    const struct source_stats *stats = &rig.fronts[0]->stats;
    assert_true(stats->hits == 0 && stats->misses == 0 && stats->errors == 0);
    assert_int_equal(cache_source_report(rig.fronts[0])->reads, 0);
    model_read(&rig, &io, 0, 0, 8192);
    run_until(&rig, &io, 1);
    assert_int_equal(stats->hits, 1);
    rig_end(&rig);
}

static void prefetch_stops_at_the_end(void **state)
{
    (void)state;
    struct rig rig;
    struct model_io io = {0};
    rig_open(&rig, 8 << 20, 1, true, OPTIONS(.delay_max = 2));
    for (uint64_t at = 0; at < SIZE; at += 65536) {
        model_read(&rig, &io, 0, at, (uint32_t)(SIZE - at < 65536 ? SIZE - at : 65536));
        run_until(&rig, &io, 1);
    }
    uv_run(&rig.loop, UV_RUN_DEFAULT);
    assert_int_equal(fake_stats.read_bytes, SIZE); /* each byte once */
    assert_true(fake_stats.prefetch_reads > 0);
    rig_end(&rig);
}

static void random_reads_are_not_amplified(void **state)
{
    (void)state;
    struct rig rig;
    struct model_io io = {0};
    rig_open(&rig, 8 << 20, 1, true, OPTIONS(.delay_max = 2));
    srandom(5);
    for (unsigned i = 0; i < 100; i++) {
        model_read(&rig, &io, 0, (uint64_t)random() % (SIZE / 4096) * 4096, 512);
        run_until(&rig, &io, 1);
    }
    uv_run(&rig.loop, UV_RUN_DEFAULT);
    assert_true(fake_stats.read_bytes <= 130 * 4096);
    rig_end(&rig);
}

static void memory_stays_in_the_budget(void **state)
{
    (void)state;
    struct rig rig;
    struct model_io io = {0};
    rig_open(&rig, 1 << 20, 1, true, OPTIONS(.delay_max = 2));
    for (unsigned round = 0; round < 3; round++)
        for (uint64_t at = 0; at + 65536 < SIZE; at += 65536) {
            struct cache_stats stats;
            model_read(&rig, &io, 0, at, 65536);
            run_until(&rig, &io, 1);
            cache_get_stats(rig.cache, &stats);
            assert_true(stats.live + stats.fetching <= stats.limit);
            assert_true(stats.table < 64 << 10);
        }
    rig_end(&rig);
}

/* Of what was read ahead a part was read: the rest may be wanted still, and what was read whole goes first. */
static void what_was_read_goes_before_what_was_not(void **state)
{
    (void)state;
    struct rig rig;
    struct model_io io = {0};
    rig_open(&rig, 1 << 20, 1, false, OPTIONS());
    io_init(&io.io, IO_CACHE, 0, 256 << 10, on_model_done);
    source_submit(rig.fronts[0], &io.io);
    run_until(&rig, &io, 1);
    while (fake_stats.outstanding > 0)
        uv_run(&rig.loop, UV_RUN_NOWAIT);
    model_read(&rig, &io, 0, 0, 4096);
    run_until(&rig, &io, 1);
    for (uint64_t at = 1 << 20; at < (2 << 20) + (400 << 10); at += 128 << 10) {
        model_read(&rig, &io, 0, at, 128 << 10);
        run_until(&rig, &io, 1);
    }
    struct cache_stats stats;
    cache_get_stats(rig.cache, &stats);
    assert_true(stats.evictions > 0);
    unsigned reads = fake_stats.reads;
    model_read(&rig, &io, 0, 4096, 252 << 10);
    run_until(&rig, &io, 1);
    assert_int_equal(fake_stats.reads, reads);
    assert_int_equal(rig.fronts[0]->stats.wasted, 0);
    rig_end(&rig);
}

/* An idle slot keeps its minimum while another reads through. */
static void an_image_keeps_its_minimum(void **state)
{
    (void)state;
    struct rig rig;
    struct model_io io = {0};
    rig_open(&rig, 1 << 20, 1, false, OPTIONS(.delay_max = 2, .identity = "a"));
    front_open(&rig, 1, &OPTIONS(.delay_max = 2, .identity = "b"), false);
    model_read(&rig, &io, 0, 0, 32768);
    run_until(&rig, &io, 1);
    for (uint64_t at = 0; at + 65536 < SIZE; at += 65536) {
        model_read(&rig, &io, 1, at, 65536);
        run_until(&rig, &io, 1);
    }
    unsigned before = fake_stats.reads;
    model_read(&rig, &io, 0, 0, 32768);
    run_until(&rig, &io, 1);
    assert_int_equal(fake_stats.reads, before);
    rig_end(&rig);
}

static void on_write_done(struct io *io)
{
    assert_int_equal(io->status, 0);
    slices_clear(&io->data);
    container_of(io, struct model_io, io)->done = true;
}

/* One writer, reads in random order before, beside and after it. */
static void a_write_is_seen_by_later_reads(void **state)
{
    (void)state;
    struct rig rig;
    srandom(9);
    rig_open(&rig, 1 << 20, 1, true, OPTIONS(.writable = true, .delay_max = 6));
    for (unsigned round = 0; round < 300; round++) {
        struct model_io write = {0}, beside = {0}, after = {0};
        uint64_t offset = (uint64_t)random() % (SIZE - 9000);
        uint32_t length = (uint32_t)(random() % 8999) + 1;
        /* Its content is not compared: the write may come before or after it. */
        io_init(&beside.io, IO_READ, offset, 1, on_write_done);
        source_submit(rig.fronts[0], &beside.io);
        io_init(&write.io, IO_WRITE, offset, length, on_write_done);
        slices_alloc(&write.io.data, length, 1000);
        for (uint32_t i = 0; i < length; i++) {
            unsigned char byte = (unsigned char)random();
            slices_copy_in(&write.io.data, i, &byte, 1);
        }
        source_submit(rig.fronts[0], &write.io);
        run_until(&rig, &write, 1);
        model_read(&rig, &after, 0, offset, length);
        run_until(&rig, &after, 1);
        run_until(&rig, &beside, 1);
    }
    rig_end(&rig);
    restore(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fake_keeps_the_contract),
        cmocka_unit_test(cache_keeps_the_contract),
        cmocka_unit_test(trace_keeps_the_contract),
        cmocka_unit_test(random_reads_equal_the_model),
        cmocka_unit_test(equal_reads_join),
        cmocka_unit_test(the_beginning_does_not_wait_for_the_end),
        cmocka_unit_test(a_read_survives_the_slot_whose_fetch_it_joined),
        cmocka_unit_test(errors_are_not_cached),
        cmocka_unit_test(a_failed_prefetch_is_asked_again),
        cmocka_unit_test(a_look_is_no_readers),
        cmocka_unit_test(prefetch_stops_at_the_end),
        cmocka_unit_test(random_reads_are_not_amplified),
        cmocka_unit_test(memory_stays_in_the_budget),
        cmocka_unit_test(what_was_read_goes_before_what_was_not),
        cmocka_unit_test(an_image_keeps_its_minimum),
        cmocka_unit_test(a_write_is_seen_by_later_reads),
    };
    return cmocka_run_group_tests(tests, make_content, free_content);
}
