/* Replaced pieces: the contract, a model, and that what lies outside them is asked of the source below as it is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "base/text.h"
#include "block/cache.h"
#include "block/inject.h"
#include "by_hand.h"
#include "contract.h"
#include "fake_source.h"

#define SIZE   (300u * 1024)
#define LARGER (306u * 1024)
#define PIECES 5

static unsigned char *content, *changed; /* SIZE and LARGER bytes */
static struct fake_stats stats;

/* Offsets and lengths: the beginning, two that touch, a large one, and one behind the image's end. */
static const struct {
    uint64_t offset;
    uint32_t length;
} places[PIECES] = {{0, 16}, {4096, 512}, {4608, 1000}, {100000, 70000}, {SIZE + 2048, 4096}};

/* Reads a byte of the image before it knows what is to be changed. */
struct test_planner {
    struct inject_planner planner;
    struct io io;
    int status;
};

static void on_read(struct io *io)
{
    struct test_planner *test = container_of(io, struct test_planner, io);
    slices_clear(&io->data);
    test->planner.planned(&test->planner, io->status ? io->status : test->status);
}

static void planner_begin(struct inject_planner *planner, struct source *lower)
{
    struct test_planner *test = container_of(planner, struct test_planner, planner);
    io_init(&test->io, IO_READ, 1, 1, on_read);
    source_submit(lower, &test->io);
}

static void planner_free(struct inject_planner *planner)
{
    for (unsigned i = 0; i < planner->count; i++)
        bytes_unref(planner->pieces[i].bytes);
    mem_free(planner->pieces);
    mem_free(container_of(planner, struct test_planner, planner));
}

static struct inject_planner *planner_new(int status)
{
    static const struct inject_planner_ops ops = {planner_begin, NULL, planner_free};
    struct test_planner *test = mem_alloc(sizeof *test);
    test->planner.ops = &ops;
    test->planner.pieces = mem_alloc(PIECES * sizeof *test->planner.pieces);
    test->planner.count = PIECES;
    test->planner.size = LARGER;
    test->status = status;
    strcpy(test->planner.error, "nothing is to be changed");
    for (unsigned i = 0; i < PIECES; i++) {
        struct inject_piece *piece = &test->planner.pieces[i];
        piece->offset = places[i].offset;
        piece->bytes = bytes_new(places[i].length);
        memcpy(piece->bytes->data, changed + places[i].offset, places[i].length);
    }
    return &test->planner;
}

static int make_content(void **state)
{
    (void)state;
    content = malloc(SIZE);
    changed = calloc(1, LARGER);
    for (uint32_t i = 0; i < SIZE; i++)
        content[i] = (unsigned char)random();
    memcpy(changed, content, SIZE);
    for (unsigned i = 0; i < PIECES; i++)
        for (uint32_t j = 0; j < places[i].length; j++)
            changed[places[i].offset + j] ^= (unsigned char)(j | 1);
    return 0;
}

static int free_content(void **state)
{
    (void)state;
    free(content);
    free(changed);
    return 0;
}

static struct source *fake(uv_loop_t *loop, unsigned delay)
{
    struct fake_options options = {content, SIZE, true, delay, 0, "it", 8, false};
    return fake_source_new(loop, &options, &stats);
}

static struct source *make_inject(uv_loop_t *loop, void *context, void *arg)
{
    (void)arg;
    struct source *lower = fake(loop, 5);
    return inject_source_new(context ? cache_source_new(context, lower, true) : lower, planner_new(0));
}

static void *begin_cache(uv_loop_t *loop, void *arg)
{
    (void)loop;
    return arg ? cache_new(1 << 20, 64 << 10) : NULL;
}

static void end_cache(void *context, void *arg)
{
    (void)arg;
    if (context)
        cache_free(context); /* asserts that no memory is counted any more */
}

static void inject_keeps_the_contract(void **state)
{
    (void)state;
    for (int cached = 0; cached < 2; cached++) {
        struct contract contract = {.content = changed,
                                    .size = LARGER,
                                    .begin = begin_cache,
                                    .end = end_cache,
                                    .make = make_inject,
                                    .arg = cached ? &stats : NULL};
        contract_check(&contract);
    }
}

/* --- one at a time --- */

static struct source *open_it(uv_loop_t *loop, struct inject_planner *planner, int status)
{
    memset(&stats, 0, sizeof stats);
    test_loop_begin(loop);
    struct source *source = inject_source_new(fake(loop, 3), planner);
    assert_int_equal(by_hand_open(loop, source), status);
    return source;
}

static void any_read_is_that_of_the_changed_image(void **state)
{
    (void)state;
    uv_loop_t loop;
    unsigned char *copy = malloc(LARGER);
    struct source *source = open_it(&loop, planner_new(0), 0);
    assert_int_equal(source->size, LARGER);
    for (int i = 0; i < 2000; i++) {
        struct io io;
        uint64_t offset = (uint64_t)random() % LARGER;
        if (i % 3 == 0)
            offset = places[i % PIECES].offset + (uint64_t)random() % 3;
        uint32_t length = 1 + (uint32_t)((uint64_t)random() % (i % 2 ? 3000 : LARGER));
        length = length < LARGER - offset ? length : (uint32_t)(LARGER - offset);
        by_hand_io(&io, IO_READ, offset, length);
        assert_int_equal(by_hand_ask(&loop, source, &io), 0);
        assert_int_equal(io.data.length, length);
        slices_copy_out(&io.data, 0, copy, length);
        assert_memory_equal(copy, changed + offset, length);
        slices_clear(&io.data);
    }
    assert_int_equal(stats.past_end, 0);
    source_close(source);
    test_loop_end(&loop);
    free(copy);
}

static void a_piece_is_not_asked_of_the_source_below(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct io io;
    struct source *source = open_it(&loop, planner_new(0), 0);
    unsigned before = stats.reads;
    by_hand_io(&io, IO_READ, 110000, 5000);
    assert_int_equal(by_hand_ask(&loop, source, &io), 0);
    slices_clear(&io.data);
    assert_int_equal(stats.reads, before);
    source_close(source);
    test_loop_end(&loop);
}

static void it_takes_no_writes_and_is_another_image(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct io io;
    struct source *source = open_it(&loop, planner_new(0), 0);
    assert_true(source->read_only);
    assert_string_not_equal(source->identity, "it");
    assert_int_equal(strncmp(source->identity, "it changed to ", 14), 0);
    by_hand_io(&io, IO_WRITE, 200000, 4);
    slices_add_copy(&io.data, "data", 4);
    assert_int_equal(by_hand_ask(&loop, source, &io), -EPERM);
    slices_clear(&io.data);
    source_close(source);
    test_loop_end(&loop);
}

static void extents_with_a_piece_are_data(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct io io;
    struct io_extent extents[4];
    struct source *source = open_it(&loop, planner_new(0), 0);
    by_hand_io(&io, IO_EXTENTS, 90000, 100000);
    io.extents = extents;
    io.extent_capacity = 4;
    assert_int_equal(by_hand_ask(&loop, source, &io), 0);
    assert_int_equal(io.extent_count, 1);
    assert_int_equal(extents[0].length, 100000);
    assert_int_equal(extents[0].flags, 0);
    source_close(source);
    test_loop_end(&loop);
}

static void a_plan_that_fails_is_why_it_does_not_open(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct source *source = open_it(&loop, planner_new(-EINVAL), -EINVAL);
    assert_string_equal(source->error, "nothing is to be changed");
    source_close(source);
    test_loop_end(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inject_keeps_the_contract),
        cmocka_unit_test(any_read_is_that_of_the_changed_image),
        cmocka_unit_test(a_piece_is_not_asked_of_the_source_below),
        cmocka_unit_test(it_takes_no_writes_and_is_another_image),
        cmocka_unit_test(extents_with_a_piece_are_data),
        cmocka_unit_test(a_plan_that_fails_is_why_it_does_not_open),
    };
    return cmocka_run_group_tests(tests, make_content, free_content);
}
