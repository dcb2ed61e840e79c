/* The pure parts of the block layer: readahead, fetch sizes, block table, io queue. */
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "block/block_table.h"
#include "block/fetch_size.h"
#include "block/heat.h"
#include "block/io_queue.h"
#include "block/readahead.h"

#define MIB (1024 * 1024ull)

static const struct readahead_limits wide = {.window = 8 * MIB, .chunk = 256 << 10};
static const struct readahead_limits far = {.window = 8 * MIB,
                                            .chunk = MIB,
                                            .cluster = MIB,
                                            .piece = 128 << 10,
                                            .edge = 8 << 10,
                                            .early = true,
                                            .budget = 4 * MIB};

/* Takes every range offered; returns the bytes, and the end of the last. */
static uint64_t drain(struct readahead *ra, const struct readahead_limits *limits, uint64_t *last_end)
{
    uint64_t total = 0, offset;
    uint32_t length;
    while (readahead_next(ra, limits, &offset, &length)) {
        assert_true(length > 0 && offset + length <= ra->size);
        total += length;
        readahead_fetched(ra, limits, length);
        *last_end = offset + length;
        assert_true(total < 64 * MIB);
    }
    return total;
}

/* Of a medium on which something was read already: the first read of all is another matter. */
static void init_used(struct readahead *ra, uint64_t size)
{
    uint64_t end;
    readahead_init(ra, size);
    readahead_access(ra, size / 2, 512);
    drain(ra, &far, &end);
}

static void the_first_read_is_taken_for_a_stream(void **state)
{
    (void)state;
    struct readahead ra;
    uint64_t end = 0;
    readahead_init(&ra, 100 * MIB);
    readahead_access(&ra, 0, 65536);
    assert_int_equal(drain(&ra, &wide, &end), 65536);
}

static void one_read_fetches_nothing(void **state)
{
    (void)state;
    struct readahead ra;
    uint64_t end = 0;
    init_used(&ra, 100 * MIB);
    readahead_access(&ra, 0, 65536);
    assert_int_equal(drain(&ra, &wide, &end), 0);
}

static void a_sequence_opens_the_window_as_it_goes_on(void **state)
{
    (void)state;
    struct readahead ra;
    uint64_t end = 0, ahead = 0;
    init_used(&ra, 100 * MIB);
    for (unsigned i = 0; i < 200; i++) {
        uint64_t next = (i + 1) * 65536ull;
        readahead_access(&ra, i * 65536ull, 65536);
        ahead += drain(&ra, &wide, &end);
        if (end) {
            assert_true(end - next <= wide.window);
            assert_true(end - next <= READAHEAD_GAIN * next + 65536);
        }
    }
    assert_true(end >= 200 * 65536 + wide.window - wide.chunk);
    assert_int_equal(ahead, end - 2 * 65536); /* each byte once, without a gap */
}

static void it_stops_at_the_end(void **state)
{
    (void)state;
    struct readahead ra;
    uint64_t end = 0;
    readahead_init(&ra, MIB + 100);
    for (unsigned i = 0; i < 10; i++) {
        readahead_access(&ra, i * 65536ull, 65536);
        drain(&ra, &wide, &end);
    }
    assert_int_equal(end, MIB + 100);
}

static void interleaved_streams_are_told_apart(void **state)
{
    (void)state;
    struct readahead ra;
    static const uint64_t starts[] = {0, 11 * MIB, 40 * MIB, 90 * MIB}; /* at no equal distances */
    uint64_t offset, ends[4] = {0};
    uint32_t length;
    readahead_init(&ra, 110 * MIB);
    for (unsigned i = 0; i < 64; i++)
        for (unsigned s = 0; s < 4; s++) {
            readahead_access(&ra, starts[s] + i * 16384ull, 16384);
            while (readahead_next(&ra, &wide, &offset, &length))
                ends[offset < starts[1] ? 0 : offset < starts[2] ? 1 : offset < starts[3] ? 2 : 3] = offset + length;
        }
    for (unsigned s = 0; s < 4; s++)
        assert_true(ends[s] > starts[s] + 64 * 16384ull);
}

static void strides_are_recognised(int64_t stride)
{
    struct readahead ra;
    uint64_t offset, at = 50 * MIB;
    uint32_t length;
    bool told[64] = {0};
    unsigned hits = 0;
    init_used(&ra, 100 * MIB);
    for (int i = 0; i < 32; i++, at += (uint64_t)stride) {
        hits += told[i];
        readahead_access(&ra, at, 4096);
        while (readahead_next(&ra, &wide, &offset, &length)) {
            int64_t k = ((int64_t)offset - (int64_t)(50 * MIB)) / stride;
            if (k >= 0 && k < 64)
                told[k] = true;
            assert_int_equal(length, 4096);
        }
    }
    assert_true(hits >= 25);
}

static void strides_forwards_and_backwards(void **state)
{
    (void)state;
    strides_are_recognised(1000 * 1000);
    strides_are_recognised(-1000 * 1000);
    strides_are_recognised(-4096);
}

static void random_reads_fetch_next_to_nothing(void **state)
{
    (void)state;
    struct readahead ra;
    uint64_t end = 0, total = 0;
    srandom(3);
    readahead_init(&ra, 1024 * MIB);
    for (unsigned i = 0; i < 5000; i++) {
        readahead_access(&ra, (uint64_t)random() % (1024 * 256) * 4096, 4096);
        total += drain(&ra, &far, &end);
    }
    assert_true(total < far.budget + 3 * far.cluster);
}

/* What was of use pays for what may not be. */
static void what_was_here_pays_for_more(void **state)
{
    (void)state;
    struct readahead ra;
    uint64_t end = 0, total = 0;
    srandom(3);
    readahead_init(&ra, 1024 * MIB);
    for (unsigned i = 0; i < 100; i++) {
        readahead_access(&ra, (uint64_t)random() % 1024 * MIB, 4096);
        total += drain(&ra, &far, &end);
        readahead_was_here(&ra, MIB / 2);
    }
    assert_true(total > 80 * MIB);
}

/* All of it, and the next one too if there was such a read in the one before. */
static void around_a_lonely_read_its_cluster_is_fetched(void **state)
{
    (void)state;
    struct readahead ra;
    uint64_t end = 0;
    init_used(&ra, 1024 * MIB);
    readahead_access(&ra, 100 * MIB + 5000, 4096);
    assert_int_equal(drain(&ra, &far, &end), MIB);
    readahead_access(&ra, 101 * MIB + 70000, 4096);
    assert_int_equal(drain(&ra, &far, &end), 2 * MIB);
}

static void the_edges_are_fetched_at_once(void **state)
{
    (void)state;
    struct readahead ra;
    uint64_t end = 0;
    readahead_init(&ra, 100 * MIB);
    assert_int_equal(drain(&ra, &wide, &end), 0); /* not where it is near */
    const uint64_t order[] = {0, READAHEAD_VOLUME, far.edge}; /* what an insert looks at comes first */
    for (unsigned i = 0; i < 3; i++) {
        uint64_t offset;
        uint32_t length;
        assert_true(readahead_next(&ra, &far, &offset, &length));
        assert_int_equal(offset, order[i]);
    }
    readahead_init(&ra, 100 * MIB);
    assert_int_equal(drain(&ra, &far, &end), READAHEAD_FIRST + READAHEAD_LAST);
    assert_int_equal(end, 100 * MIB);
    readahead_init(&ra, 1000);
    drain(&ra, &far, &end);
    assert_int_equal(end, 1000);
    struct readahead_limits near = far;
    near.early = false;
    readahead_init(&ra, 100 * MIB);
    assert_int_equal(drain(&ra, &near, &end), 0);
    readahead_access(&ra, 50 * MIB, 4096);
    assert_true(drain(&ra, &near, &end) >= READAHEAD_FIRST + READAHEAD_LAST);
}

/* As a boot loader reads its modules: 32 KiB each, here and there in two MiB. */
static void what_is_around_many_small_files_is_fetched(void **state)
{
    (void)state;
    struct readahead ra;
    bool here[64] = {false};
    unsigned waits = 0;
    srandom(5);
    readahead_init(&ra, 1024 * MIB);
    for (unsigned i = 0; i < 32; i++) {
        unsigned piece = (unsigned)random() % 64;
        uint64_t offset;
        uint32_t length;
        waits += !here[piece];
        here[piece] = true;
        readahead_access(&ra, 100 * MIB + piece * 32768ull, 32768);
        while (readahead_next(&ra, &far, &offset, &length))
            for (uint64_t at = offset; at + 32768 <= offset + length; at += 32768)
                if (at >= 100 * MIB && at < 102 * MIB)
                    here[(at - 100 * MIB) / 32768] = true;
    }
    assert_true(waits <= 6);
}

/* Small files here and there, each read in two pieces: soon the second piece is there. */
static void two_pieces_each_are_learnt(void **state)
{
    (void)state;
    struct readahead ra;
    unsigned ahead = 0;
    srandom(7);
    readahead_init(&ra, 4096 * MIB);
    for (unsigned i = 0; i < 32; i++) {
        uint64_t at = (uint64_t)random() % 4000 * MIB, offset;
        uint32_t length;
        bool fetched = false;
        readahead_access(&ra, at, 16384);
        while (readahead_next(&ra, &far, &offset, &length)) {
            readahead_fetched(&ra, &far, length);
            fetched = fetched || (offset <= at + 16384 && offset + length >= at + 32768);
        }
        ahead += fetched;
        readahead_access(&ra, at + 16384, 16384);
        while (readahead_next(&ra, &far, &offset, &length))
            readahead_fetched(&ra, &far, length);
    }
    assert_true(ahead >= 24);
}

/* Streams that have ended take nothing of a new one's window. */
static void the_window_is_for_those_who_go_on(void **state)
{
    (void)state;
    struct readahead ra;
    uint64_t end = 0;
    readahead_init(&ra, 4096 * MIB);
    for (unsigned i = 0; i < 16; i++)
        for (unsigned j = 0; j < 2; j++)
            readahead_access(&ra, i * 100ull * MIB + j * 16384, 16384);
    for (unsigned i = 0; i < 160; i++) {
        readahead_access(&ra, 3000 * MIB + i * 65536ull, 65536);
        drain(&ra, &wide, &end);
    }
    assert_true(end >= 3000 * MIB + 160 * 65536 + 7 * MIB);
}

static void one_place_read_again_and_again_fetches_no_more(void **state)
{
    (void)state;
    struct readahead ra;
    uint64_t end = 0;
    init_used(&ra, 1024 * MIB);
    for (unsigned i = 0; i < 20; i++) {
        readahead_access(&ra, (i % 2) * 500 * MIB, 2048);
        assert_int_equal(drain(&ra, &far, &end), i < 2 ? MIB : 0);
    }
}

static void out_of_order_reads_are_one_stream(void **state)
{
    (void)state;
    struct readahead ra;
    uint64_t end = 0;
    srandom(4);
    readahead_init(&ra, 100 * MIB);
    for (unsigned i = 0; i < 800; i += 4) {
        static const unsigned order[] = {1, 0, 3, 2};
        for (unsigned j = 0; j < 4; j++)
            readahead_access(&ra, (i + order[j]) * 65536ull, 65536);
        drain(&ra, &wide, &end);
    }
    assert_true(end >= 800 * 65536ull);
}

static void what_was_lost_is_fetched_again(void **state)
{
    (void)state;
    struct readahead ra;
    uint64_t end = 0, offset = 0;
    uint32_t length;
    readahead_init(&ra, 100 * MIB);
    for (unsigned i = 0; i < 64; i++)
        readahead_access(&ra, i * 65536ull, 65536);
    drain(&ra, &wide, &end);
    readahead_missed(&ra, 64 * 65536);
    assert_true(readahead_next(&ra, &wide, &offset, &length));
    assert_int_equal(offset, 64 * 65536);
    drain(&ra, &wide, &end);
    readahead_access(&ra, 64 * 65536ull, 65536);
    readahead_missed(&ra, 64 * 65536ull); /* that read itself */
    assert_true(readahead_next(&ra, &wide, &offset, &length));
    assert_int_equal(offset, 65 * 65536);
}

/* A read of 64 KiB behind all that may be read ahead, on links of these bytes a second. */
static void demand_does_not_wait_long_behind_what_is_read_ahead(void **state)
{
    (void)state;
    static const uint64_t rates[] = {25000, 32768, 40000, 100000, 250000, 1000000};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        for (uint64_t rtt = 20000; rtt <= 640000; rtt *= 2) {
            const struct source_stats link = {.bandwidth = rates[i], .rtt_us = rtt};
            struct readahead_limits limits = fetch_limits(&link, 16, 64 * MIB, false);
            assert_true(limits.window + 65536 <= 5 * (rates[i] < 32768 ? 32768 : rates[i]));
            assert_true(limits.window >= rates[i] * rtt / 1000000); /* and the link is full */
            assert_true(limits.chunk <= limits.window);
        }
    const struct source_stats unknown = {.rtt_us = 80000};
    assert_true(fetch_limits(&unknown, 16, 64 * MIB, false).window + 65536 <= 5 * 32768);
    const struct source_stats fast = {.bandwidth = 125000000, .rtt_us = 50000};
    assert_true(fetch_limits(&fast, 16, 64 * MIB, false).window >= 2 * 125000000ull / 20);
}

static void fetches_keep_to_slices_where_many_can_be_under_way(void **state)
{
    (void)state;
    assert_true(fetch_end(5, 4 * MIB, true, 16) == MIB);
    assert_true(fetch_end(MIB, 4 * MIB, true, 16) == 2 * MIB);
    assert_true(fetch_end(MIB - 1, MIB, true, 16) == MIB);
    assert_true(fetch_end(MIB, MIB + 100, true, 16) == MIB + 100);
    assert_true(fetch_end(5, 100ull * MIB, false, 16) == 5 + FETCH_MAX);
    assert_true(fetch_end(5, 4 * MIB, true, 4) == 4 * MIB);
    const struct source_stats distant = {.bandwidth = 125000000, .rtt_us = 200000};
    assert_true(fetch_limits(&distant, 16, 256 * MIB, false).chunk > FETCH_ALIGN);
    assert_true(fetch_limits(&distant, 16, 256 * MIB, true).chunk == FETCH_ALIGN);
    assert_true(fetch_limits(&distant, 4, 256 * MIB, true).chunk > FETCH_ALIGN);
}

static void those_who_share_a_wide_link_have_fewer_requests_each(void **state)
{
    (void)state;
    struct source_stats link = {.bandwidth = 125000000, .rtt_us = 50000, .sharers = 1};
    assert_int_equal(fetch_ahead_requests(&link, 16), 14);
    assert_int_equal(fetch_ahead_requests(&link, 4), 4);
    link.sharers = 8;
    assert_int_equal(fetch_ahead_requests(&link, 16), FETCH_AHEAD_SHARED / 8);
    assert_int_equal(fetch_ahead_requests(&link, 2), 2);
    link.sharers = 100;
    assert_int_equal(fetch_ahead_requests(&link, 16), 4);
    link.bandwidth = 2500000;
    assert_int_equal(fetch_ahead_requests(&link, 16), 14);
}

/* Against a plain array. */
static void the_table_equals_a_model(void **state)
{
    (void)state;
    static void *model[2000];
    struct block_table table;
    srandom(7);
    block_table_init(&table);
    assert_int_equal(block_table_memory(&table), 0);
    for (unsigned i = 0; i < 200000; i++) {
        unsigned block = (unsigned)random() % 2000;
        if (random() % 2) {
            model[block] = &model[random() % 2000];
            block_table_set(&table, block * 1000003ull, model[block]);
        } else {
            model[block] = NULL;
            block_table_remove(&table, block * 1000003ull);
        }
        unsigned look = (unsigned)random() % 2000;
        assert_ptr_equal(block_table_get(&table, look * 1000003ull), model[look]);
    }
    assert_true(block_table_memory(&table) <= 8192 * 16);
    block_table_free(&table);
}

static void demand_overtakes_prefetch(void **state)
{
    (void)state;
    struct io_queue queue;
    struct io ios[IO_QUEUE_PREFETCH + 2];
    io_queue_init(&queue);
    for (unsigned i = 0; i < IO_QUEUE_PREFETCH + 1; i++) {
        io_init(&ios[i], IO_READ, i, 1, NULL);
        ios[i].flags = IO_PREFETCH;
        assert_int_equal(io_queue_push(&queue, &ios[i]), i < IO_QUEUE_PREFETCH);
    }
    struct io *demand = &ios[IO_QUEUE_PREFETCH + 1];
    io_init(demand, IO_READ, 0, 1, NULL);
    io_queue_push(&queue, demand);
    io_queue_promote(&queue, &ios[4]);
    assert_ptr_equal(io_queue_pop(&queue, false), demand);
    assert_ptr_equal(io_queue_pop(&queue, true), &ios[4]);
    assert_int_equal(ios[4].flags, IO_PROMOTED);
    assert_null(io_queue_pop(&queue, true));
    assert_ptr_equal(io_queue_pop(&queue, false), &ios[0]);
    io_queue_remove(&queue, &ios[1]);
    assert_ptr_equal(io_queue_pop(&queue, false), &ios[2]);
    assert_int_equal(queue.prefetches, IO_QUEUE_PREFETCH - 4);
}

/* Every byte is in one part, whatever the size. */
static void heat_counts_every_byte_once(void **state)
{
    static const uint64_t sizes[] = {1, 255, 256, 257, 2048, 1000003, 5ull << 30, UINT64_MAX / 2};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct heat heat;
        uint64_t step = sizes[i] / 97 + 1, sum = 0;
        uint8_t levels[HEAT_BUCKETS];
        heat_init(&heat, sizes[i]);
        for (uint64_t at = 0; at < sizes[i]; at += step)
            heat_add(&heat, at, step < sizes[i] - at ? step : sizes[i] - at);
        for (unsigned b = 0; b < HEAT_BUCKETS; b++)
            sum += heat.read[b];
        assert_true(sum == sizes[i]);
        heat_get(&heat, levels);
        for (unsigned b = 0; b < HEAT_BUCKETS; b++)
            assert_true(levels[b] == 255 || heat.read[b] == 0);
    }
}

static void heat_is_where_it_was_read(void **state)
{
    struct heat heat;
    uint8_t levels[HEAT_BUCKETS];
    (void)state;
    heat_init(&heat, 256ull << 20);
    heat_add(&heat, 10 << 20, 1);
    heat_add(&heat, 20 << 20, 512 << 10);
    heat_add(&heat, 255 << 20, 1 << 20);
    heat_add(&heat, 256ull << 20, 1); /* past the end: nothing */
    heat_get(&heat, levels);
    assert_int_equal(levels[10], 1);
    assert_in_range(levels[20], 120, 135);
    assert_int_equal(levels[255], 255);
    assert_int_equal(levels[0] + levels[9] + levels[11] + levels[21], 0);
}

/* With 64-bit arithmetic: a part of the largest sizes times 256, or what was read of one times 253, is near 2^64. */
static void heat_of_the_largest_sizes(void **state)
{
    static const uint64_t sizes[] = {INT64_MAX, UINT64_MAX - 255, UINT64_MAX - 1, UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const uint64_t part = sizes[i] / HEAT_BUCKETS; /* the first byte of part b: part * b and at most b */
        struct heat heat;
        uint8_t levels[HEAT_BUCKETS];
        heat_init(&heat, sizes[i]);
        heat_add(&heat, 0, part / 2);
        heat_add(&heat, 100 * part + part / 2, part);
        heat_add(&heat, sizes[i] - part + 1, part - 1); /* all of the last but one byte or two */
        heat_get(&heat, levels);
        assert_in_range(levels[0], 126, 127);
        assert_in_range(levels[100], 126, 128);
        assert_in_range(levels[101], 126, 128);
        assert_in_range(levels[255], 253, 254);
        for (unsigned b = 1; b < 255; b++)
            assert_true(b == 100 || b == 101 || levels[b] == 0);
        assert_true(heat.read[100] + heat.read[101] == part);
        assert_true(heat.read[255] == part - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_read_is_taken_for_a_stream),
        cmocka_unit_test(one_read_fetches_nothing),
        cmocka_unit_test(a_sequence_opens_the_window_as_it_goes_on),
        cmocka_unit_test(it_stops_at_the_end),
        cmocka_unit_test(interleaved_streams_are_told_apart),
        cmocka_unit_test(strides_forwards_and_backwards),
        cmocka_unit_test(random_reads_fetch_next_to_nothing),
        cmocka_unit_test(what_is_around_many_small_files_is_fetched),
        cmocka_unit_test(what_was_here_pays_for_more),
        cmocka_unit_test(around_a_lonely_read_its_cluster_is_fetched),
        cmocka_unit_test(the_edges_are_fetched_at_once),
        cmocka_unit_test(two_pieces_each_are_learnt),
        cmocka_unit_test(the_window_is_for_those_who_go_on),
        cmocka_unit_test(one_place_read_again_and_again_fetches_no_more),
        cmocka_unit_test(out_of_order_reads_are_one_stream),
        cmocka_unit_test(what_was_lost_is_fetched_again),
        cmocka_unit_test(heat_counts_every_byte_once),
        cmocka_unit_test(heat_is_where_it_was_read),
        cmocka_unit_test(heat_of_the_largest_sizes),
        cmocka_unit_test(demand_does_not_wait_long_behind_what_is_read_ahead),
        cmocka_unit_test(fetches_keep_to_slices_where_many_can_be_under_way),
        cmocka_unit_test(those_who_share_a_wide_link_have_fewer_requests_each),
        cmocka_unit_test(the_table_equals_a_model),
        cmocka_unit_test(demand_overtakes_prefetch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
