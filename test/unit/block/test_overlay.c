/* The memory source and the overlay: the contract, a model with random delays
 * and errors, and what each kind of request asks of the two sources below. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "base/text.h"
#include "block/memory.h"
#include "block/overlay_map.h"
#include "overlay_rig.h"

#define BLOCK  4096u
#define BLOCKS ((RIG_SIZE + BLOCK - 1) / BLOCK)

/* --- the contract --- */

static unsigned char *content;
static struct fake_stats stats;

static int make_content(void **state)
{
    (void)state;
    content = malloc(RIG_SIZE);
    for (uint32_t i = 0; i < RIG_SIZE; i++)
        content[i] = (unsigned char)random();
    return 0;
}

static int free_content(void **state)
{
    (void)state;
    free(content);
    return 0;
}

static void restore(void *arg)
{
    (void)arg; /* each source is new, and what lies below has not changed */
}

static struct source *make_memory(uv_loop_t *loop, void *context, void *arg)
{
    (void)context;
    (void)arg;
    return memory_source_new(loop, "memory", RIG_SIZE);
}

static void memory_keeps_the_contract(void **state)
{
    (void)state;
    unsigned char *zeroes = calloc(1, RIG_SIZE);
    struct contract contract = {
        .content = zeroes, .size = RIG_SIZE, .writable = true, .make = make_memory, .restore = restore};
    contract_check(&contract);
    free(zeroes);
}

static struct source *make_overlay(uv_loop_t *loop, void *context, void *arg)
{
    (void)context;
    struct fake_options lower = {content, RIG_SIZE, false, 5, 0, "", 8, false};
    struct overlay_options options = {.store_name = "store", .boot_id = "boot", .sync_at_close = arg != NULL};
    struct source *store;
    if (arg) {
        struct disk *disk = arg;
        disk_end(disk);
        disk_begin(disk, overlay_store_size(RIG_SIZE));
        disk->delay_max = 4;
        store = disk_source_new(loop, disk);
    } else {
        store = memory_source_new(loop, "store", overlay_store_size(RIG_SIZE));
    }
    return overlay_source_new(fake_source_new(loop, &lower, &stats), store, &options);
}

static void overlay_keeps_the_contract(void **state)
{
    (void)state;
    struct disk disk;
    disk_begin(&disk, overlay_store_size(RIG_SIZE));
    struct contract contract = {
        .content = content, .size = RIG_SIZE, .writable = true, .make = make_overlay, .restore = restore};
    contract_check(&contract);
    contract.arg = &disk;
    contract_check(&contract);
    disk_end(&disk);
}

/* --- memory --- */

static int answer;

static void on_answer(struct io *io)
{
    answer = io->status;
}

static int memory_do(uv_loop_t *loop, struct source *source, struct io *io)
{
    answer = 1;
    source_submit(source, io);
    while (answer == 1)
        uv_run(loop, UV_RUN_ONCE);
    return answer;
}

static void on_opened(struct source *source, int status)
{
    (void)source;
    assert_int_equal(status, 0);
}

static void on_closed(struct source *source)
{
    (void)source;
}

static void memory_equals_the_model_and_frees(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct io io;
    unsigned char *model = calloc(1, RIG_SIZE), *back = malloc(RIG_SIZE);
    srandom(3);
    test_loop_begin(&loop);
    struct source *source = memory_source_new(&loop, "memory", RIG_SIZE);
    source->opened = on_opened;
    source->closed = on_closed;
    source_open(source);
    uv_run(&loop, UV_RUN_DEFAULT);
    for (int round = 0; round < 600; round++) {
        enum io_op op = (enum io_op[]){IO_READ, IO_WRITE, IO_ZERO}[random() % 3];
        uint64_t offset = (uint64_t)random() % RIG_SIZE;
        uint32_t length = 1 + (uint32_t)random() % 200000;
        length = offset + length > RIG_SIZE ? (uint32_t)(RIG_SIZE - offset) : length;
        io_init(&io, op, offset, length, on_answer);
        if (op == IO_WRITE) {
            slices_alloc(&io.data, length, 7001);
            for (uint32_t i = 0; i < length; i++)
                model[offset + i] = (unsigned char)random();
            slices_copy_in(&io.data, 0, model + offset, length);
        } else if (op == IO_ZERO) {
            memset(model + offset, 0, length);
        }
        assert_int_equal(memory_do(&loop, source, &io), 0);
        if (op == IO_READ) {
            slices_copy_out(&io.data, 0, back, length);
            assert_memory_equal(back, model + offset, length);
        }
        slices_clear(&io.data);
        assert_true(memory_source_held(source) <= RIG_SIZE + MEMORY_PIECE);
    }
    io_init(&io, IO_ZERO, 0, RIG_SIZE, on_answer);
    assert_int_equal(memory_do(&loop, source, &io), 0);
    assert_int_equal(memory_source_held(source), 0);
    struct io_extent extents[4];
    io_init(&io, IO_WRITE, 3 * MEMORY_PIECE + 5, 1, on_answer);
    slices_alloc(&io.data, 1, 1);
    slices_zero(&io.data, 0, 1);
    assert_int_equal(memory_do(&loop, source, &io), 0);
    slices_clear(&io.data);
    assert_int_equal(memory_source_held(source), MEMORY_PIECE);
    io_init(&io, IO_EXTENTS, 100, RIG_SIZE - 100, on_answer);
    io.extents = extents;
    io.extent_capacity = 4;
    assert_int_equal(memory_do(&loop, source, &io), 0);
    assert_int_equal(io.extent_count, 3);
    assert_int_equal(extents[0].length, 3 * MEMORY_PIECE - 100);
    assert_int_equal(extents[0].flags, EXTENT_HOLE | EXTENT_ZERO);
    assert_int_equal(extents[1].length, MEMORY_PIECE);
    assert_int_equal(extents[1].flags, 0);
    assert_int_equal(extents[2].length, RIG_SIZE - 4 * MEMORY_PIECE);
    source_close(source);
    uv_run(&loop, UV_RUN_DEFAULT);
    source_free(source);
    test_loop_end(&loop);
    free(model);
    free(back);
}

/* --- the model --- */

static void random_ios_equal_the_model(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 12; seed++) {
        struct rig rig;
        srandom(seed);
        rig_begin_open(&rig, BLOCKS);
        rig_run_random(&rig, 300);
        rig_check(&rig, false);
        rig_end(&rig);
    }
}

/* An error is answered, harms nothing else, and goes when its cause goes. */
static void errors_are_answered_and_nothing_is_torn(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 12; seed++) {
        struct rig rig;
        srandom(seed);
        rig_begin_open(&rig, BLOCKS);
        rig.may_fail = true;
        rig.lower_options.fail_percent = 20;
        fake_source_fail(rig.lower_source, 10);
        rig.disk.fail_reads = rig.disk.fail_writes = 10;
        rig_run_random(&rig, 250);
        rig_wait(&rig);
        assert_true(rig.failures > 0);
        fake_source_fail(rig.lower_source, 0);
        rig.disk.fail_reads = rig.disk.fail_writes = 0;
        rig.may_fail = false;
        rig_check(&rig, false);
        assert_int_equal(rig_do(&rig, IO_ZERO, IO_FUA, 0, RIG_SIZE), 0);
        rig_check(&rig, false);
        rig_end(&rig);
    }
}

static void closing_in_mid_flight_answers_everything(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 80; seed++) {
        struct rig rig;
        srandom(seed);
        rig_begin(&rig, BLOCKS);
        rig.options.sync_at_close = seed % 2;
        assert_int_equal(rig_open(&rig), 0);
        for (unsigned i = 0; i < seed % 40 + 1; i++)
            rig_submit_random(&rig);
        for (unsigned i = 0; i < seed % 13; i++)
            rig_turn(&rig);
        rig_end(&rig); /* closes, and asserts that the loop is empty */
        assert_int_equal(rig.outstanding, 0);
    }
}

/* --- what is asked of the sources below --- */

static void whole_blocks_read_nothing_below(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin_open(&rig, BLOCKS);
    rig_do(&rig, IO_WRITE, 0, 3 * BLOCK, 5 * BLOCK);
    rig_do(&rig, IO_WRITE, 0, (BLOCKS - 1) * BLOCK, RIG_SIZE - (BLOCKS - 1) * BLOCK);
    assert_int_equal(rig.lower_stats.reads, 0);
    rig_do(&rig, IO_WRITE, 0, 3 * BLOCK + 1, 4 * BLOCK); /* in place */
    assert_int_equal(rig.lower_stats.reads, 0);
    rig_do(&rig, IO_READ, 0, 3 * BLOCK, 5 * BLOCK);
    assert_int_equal(rig.lower_stats.reads, 0);
    struct overlay_usage usage;
    overlay_source_used(rig.overlay, &usage);
    assert_int_equal(usage.used, 6 * BLOCK);
    assert_int_equal(usage.bound, BLOCKS * BLOCK);
    rig_check(&rig, false);
    rig_end(&rig);
}

static void a_part_of_a_block_reads_that_block(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin_open(&rig, BLOCKS);
    rig_do(&rig, IO_WRITE, 0, 10 * BLOCK + 5, 7); /* inside one: one read */
    assert_int_equal(rig.lower_stats.reads, 1);
    assert_int_equal(rig.lower_stats.read_bytes, BLOCK);
    rig_do(&rig, IO_WRITE, 0, 20 * BLOCK + 5, 3 * BLOCK); /* the first and the last of four */
    assert_int_equal(rig.lower_stats.reads, 3);
    assert_int_equal(rig.lower_stats.read_bytes, 3 * BLOCK);
    rig_check(&rig, false);
    rig_end(&rig);
}

/* Both halves of a block are written while it is being copied. */
static void writes_to_one_block_do_not_lose_each_other(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin_open(&rig, BLOCKS);
    fake_source_hold(rig.lower_source, true);
    for (uint32_t at = 0; at < BLOCK; at += 512)
        rig_submit(&rig, IO_WRITE, 0, at, 512);
    rig_submit(&rig, IO_WRITE, 0, BLOCK - 100, BLOCK); /* begins in it, and goes on */
    for (int i = 0; i < 20; i++)
        rig_turn(&rig);
    assert_int_equal(rig.outstanding, 9);
    assert_int_equal(rig.lower_stats.reads, 1); /* the others wait for this one */
    fake_source_hold(rig.lower_source, false);
    rig_check(&rig, false);
    struct overlay_usage usage;
    overlay_source_used(rig.overlay, &usage);
    assert_int_equal(usage.used, 2 * BLOCK);
    rig_end(&rig);
}

static void closing_ends_writes_that_wait(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin_open(&rig, BLOCKS);
    fake_source_hold(rig.lower_source, true);
    for (uint32_t at = 0; at < BLOCK; at += 512)
        rig_submit(&rig, IO_WRITE, IO_FUA, at, 512);
    rig.may_fail = true;
    rig_close(&rig);
    assert_int_equal(rig.failures, 8);
    rig_end(&rig);
}

static void a_prefetch_is_passed_on(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin_open(&rig, BLOCKS);
    rig_do(&rig, IO_WRITE, 0, 4 * BLOCK, BLOCK);
    rig_do(&rig, IO_READ, IO_PREFETCH, 0, 8 * BLOCK);
    assert_int_equal(rig.lower_stats.reads, 2);
    assert_int_equal(rig.lower_stats.prefetch_reads, 2);
    assert_int_equal(rig.lower_stats.read_bytes, 7 * BLOCK);
    assert_int_equal(rig_do(&rig, IO_CACHE, 0, 0, RIG_SIZE), 0);
    assert_int_equal(rig_do(&rig, IO_TRIM, 0, 0, RIG_SIZE), 0);
    rig_check(&rig, false);
    rig_end(&rig);
}

/* Every other block: many parts, of which few are under way at a time. */
static void a_read_of_many_parts_is_put_together(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin_open(&rig, BLOCKS);
    for (uint64_t block = 0; block < BLOCKS - 1; block += 2)
        rig_submit(&rig, IO_WRITE, 0, block * BLOCK, BLOCK);
    rig_wait(&rig);
    fake_source_hold(rig.lower_source, true);
    rig_submit(&rig, IO_READ, 0, 0, RIG_SIZE);
    for (int i = 0; i < 20; i++)
        rig_turn(&rig);
    assert_in_range(rig.lower_stats.outstanding, 1, 16);
    fake_source_hold(rig.lower_source, false);
    rig_check(&rig, false);
    rig_end(&rig);
}

static void extents_say_what_was_written(void **state)
{
    (void)state;
    struct rig rig;
    struct io io;
    struct io_extent extents[2];
    rig_begin_open(&rig, BLOCKS);
    rig_do(&rig, IO_WRITE, 0, 9 * BLOCK, BLOCK); /* not in the slots' order */
    rig_do(&rig, IO_WRITE, 0, 8 * BLOCK, BLOCK);
    io_init(&io, IO_EXTENTS, 8 * BLOCK + 10, 20 * BLOCK, on_answer);
    io.extents = extents;
    io.extent_capacity = 2;
    assert_int_equal(memory_do(&rig.loop, rig.overlay, &io), 0);
    assert_int_equal(io.extent_count, 1);
    assert_int_equal(extents[0].length, 2 * BLOCK - 10);
    assert_int_equal(extents[0].flags, 0);
    io_init(&io, IO_EXTENTS, 0, RIG_SIZE, on_answer); /* the lower source does not know */
    io.extents = extents;
    io.extent_capacity = 2;
    assert_int_equal(memory_do(&rig.loop, rig.overlay, &io), -ENOTSUP);
    rig_end(&rig);
}

static void a_fast_zero_is_not_promised(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin_open(&rig, BLOCKS);
    rig.may_fail = true;
    rig_submit(&rig, IO_ZERO, IO_FAST_ZERO, 0, BLOCK);
    rig_check(&rig, false);
    assert_int_equal(rig.failures, 1);
    rig_end(&rig);
}

/* --- the bound, and death --- */

static int count_lines(int fd)
{
    char text[8192];
    ssize_t n = pread(fd, text, sizeof text, 0);
    int lines = 0;
    for (ssize_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    return lines;
}

/* Writes to new places fail, and it is said once; everything else goes on. */
static void a_full_overlay_goes_on(void **state)
{
    (void)state;
    struct rig rig;
    char name[] = "/tmp/nbd-proxy-test-XXXXXX";
    int log = mkstemp(name), saved = dup(STDERR_FILENO);
    unlink(name);
    rig_begin_open(&rig, 10);
    fflush(stderr);
    dup2(log, STDERR_FILENO);
    for (uint32_t block = 0; block < 10; block++)
        assert_int_equal(rig_do(&rig, IO_WRITE, 0, block * BLOCK, BLOCK), 0);
    rig.may_fail = true;
    for (uint32_t block = 10; block < 20; block++)
        assert_int_equal(rig_do(&rig, IO_WRITE, 0, block * BLOCK, BLOCK), -ENOSPC);
    assert_int_equal(rig_do(&rig, IO_WRITE, 0, 9 * BLOCK, 3 * BLOCK), -ENOSPC);
    dup2(saved, STDERR_FILENO);
    assert_int_equal(count_lines(log), 1);
    rig.may_fail = false;
    for (uint32_t block = 0; block < 10; block++)
        assert_int_equal(rig_do(&rig, IO_WRITE, 0, block * BLOCK + 1, 10), 0);
    assert_int_equal(rig_do(&rig, IO_FLUSH, 0, 0, 0), 0);
    rig_check(&rig, false);
    struct overlay_usage usage;
    overlay_source_used(rig.overlay, &usage);
    assert_int_equal(usage.used, usage.bound);
    assert_int_equal(usage.bound, 10 * BLOCK);
    rig_end(&rig);
    close(log);
    close(saved);
}

static void a_lost_store_is_a_death(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin_open(&rig, BLOCKS);
    rig_do(&rig, IO_WRITE, 0, 0, BLOCK);
    disk_source_die(&rig.disk, -ENODEV);
    disk_source_die(&rig.disk, -ENODEV);
    assert_int_equal(rig.died, 1);
    assert_int_equal(rig.died_status, -ENODEV);
    rig.may_fail = true;
    assert_int_equal(rig_do(&rig, IO_READ, 0, 0, BLOCK), -EIO);
    assert_int_equal(rig_do(&rig, IO_READ, 0, BLOCK, BLOCK), 0);
    rig_close(&rig);
    assert_string_equal(rig.error, "the disk is lost");
    rig_end(&rig);
}

static void a_store_that_fails_while_opening_is_told(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig, BLOCKS);
    rig.disk.fail_reads = 100;
    assert_int_equal(rig_open(&rig), -EIO);
    rig_close(&rig);
    assert_non_null(strstr(rig.error, "overlay: disk: "));
    rig.disk.fail_reads = 0;
    rig.disk.fail_flushes = 100;
    assert_int_equal(rig_open(&rig), -EIO);
    rig_end(&rig);
}

static int opening;

static void on_opening_ended(struct source *source, int status)
{
    (void)source;
    opening = status;
}

/* At each point of it: the store's header is read, looked at, written, flushed. */
static void closing_while_opening(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 30; turns++) {
        struct rig rig;
        rig_begin(&rig, BLOCKS);
        rig.lower_source = fake_source_new(&rig.loop, &rig.lower_options, &rig.lower_stats);
        struct source *overlay =
            overlay_source_new(rig.lower_source, disk_source_new(&rig.loop, &rig.disk), &rig.options);
        overlay->opened = on_opening_ended;
        overlay->closed = on_closed;
        opening = 1;
        source_open(overlay);
        for (unsigned i = 0; i < turns; i++)
            rig_turn(&rig);
        bool was_open = opening == 0;
        source_close(overlay);
        uv_run(&rig.loop, UV_RUN_DEFAULT);
        assert_int_equal(overlay->state, SOURCE_CLOSED);
        assert_int_equal(opening, was_open ? 0 : -ECANCELED);
        source_free(overlay);
        rig_end(&rig);
    }
}

/* --- the map --- */

static void the_map_is_small_and_finds_everything(void **state)
{
    (void)state;
    struct overlay_map map;
    const uint32_t count = 300000;
    uint64_t *blocks = malloc(count * sizeof *blocks);
    srandom(11);
    overlay_map_init(&map, count);
    for (uint32_t i = 0; i < count; i++) {
        /* Anywhere in 64 TiB, every one once. */
        blocks[i] = ((uint64_t)random() % 50000) * count + i;
        assert_int_equal(overlay_map_find(&map, blocks[i]), OVERLAY_NO_SLOT);
        uint32_t slot = overlay_map_next(&map);
        assert_int_equal(slot, i);
        overlay_map_give(&map, slot, blocks[i]);
        if (i > 1000)
            assert_true(overlay_map_memory(&map) <= 24ull * (i + 1));
    }
    assert_int_equal(overlay_map_next(&map), OVERLAY_NO_SLOT);
    for (uint32_t i = 0; i < count; i++) {
        overlay_map_set(&map, i, i % 2 ? SLOT_VALID : SLOT_COPYING);
        assert_int_equal(overlay_map_find(&map, blocks[i]), i);
        assert_int_equal(overlay_map_block(&map, i), blocks[i]);
        assert_int_equal(overlay_map_state(&map, i), i % 2 ? SLOT_VALID : SLOT_COPYING);
    }
    overlay_map_free(&map);
    free(blocks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_keeps_the_contract),
        cmocka_unit_test(memory_equals_the_model_and_frees),
        cmocka_unit_test(overlay_keeps_the_contract),
        cmocka_unit_test(random_ios_equal_the_model),
        cmocka_unit_test(errors_are_answered_and_nothing_is_torn),
        cmocka_unit_test(closing_in_mid_flight_answers_everything),
        cmocka_unit_test(whole_blocks_read_nothing_below),
        cmocka_unit_test(a_part_of_a_block_reads_that_block),
        cmocka_unit_test(writes_to_one_block_do_not_lose_each_other),
        cmocka_unit_test(closing_ends_writes_that_wait),
        cmocka_unit_test(a_prefetch_is_passed_on),
        cmocka_unit_test(a_read_of_many_parts_is_put_together),
        cmocka_unit_test(extents_say_what_was_written),
        cmocka_unit_test(a_fast_zero_is_not_promised),
        cmocka_unit_test(a_full_overlay_goes_on),
        cmocka_unit_test(a_lost_store_is_a_death),
        cmocka_unit_test(a_store_that_fails_while_opening_is_told),
        cmocka_unit_test(closing_while_opening),
        cmocka_unit_test(the_map_is_small_and_finds_everything),
    };
    return cmocka_run_group_tests(tests, make_content, free_content);
}
