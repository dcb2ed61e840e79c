/* Boot profiles: what is recorded, which are taken for good, what is fetched ahead by them; and how a boot went. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "block/boot_report.h"
#include "block/profile.h"
#include "block/profile_plan.h"

#define CLUSTER PROFILE_CLUSTER_MIN
#define SIZE    (1024ull * CLUSTER)

static struct profile_recorder recorder;
static struct profile_plan plan;
static const struct profile_plan_limits plenty = {.ahead = SIZE, .second = 1ull << 30, .chunk = 8 * CLUSTER};

static void record_begin(uint64_t size)
{
    profile_recorder_init(&recorder, size);
}

static void record_clusters(uint64_t first, uint32_t count, uint64_t now_ms)
{
    profile_recorder_read(&recorder, first * CLUSTER, count * CLUSTER, now_ms);
}

static void assert_run(unsigned index, uint32_t first, uint32_t count, uint32_t at_ms)
{
    assert_true(index < recorder.profile.count);
    const struct profile_run *run = &recorder.profile.runs[index];
    assert_int_equal(run->first, first);
    assert_int_equal(run->count, count);
    assert_int_equal(run->at_ms, at_ms);
}

/* --- recorded --- */

static void clusters_are_as_small_as_the_image_allows(void **state)
{
    (void)state;
    assert_int_equal(profile_cluster(0), 0);
    assert_int_equal(profile_cluster(1), PROFILE_CLUSTER_MIN);
    assert_int_equal(profile_cluster(4ull << 30), PROFILE_CLUSTER_MIN);
    assert_int_equal(profile_cluster(8ull << 30), 2 * PROFILE_CLUSTER_MIN);
    assert_int_equal(profile_cluster((128ull << 30) - 1), PROFILE_CLUSTER_MAX);
    assert_int_equal(profile_cluster(128ull << 30), 0);
    assert_int_equal(profile_cluster(UINT64_MAX), 0);
}

static void what_is_read_is_recorded_once_in_its_order(void **state)
{
    (void)state;
    record_begin(SIZE - 5);
    profile_recorder_read(&recorder, 10 * CLUSTER + 100, 50, 5000);
    profile_recorder_read(&recorder, 11 * CLUSTER - 1, 2, 5010); /* both sides of an edge */
    record_clusters(3, 1, 5020);
    record_clusters(9, 4, 5030); /* 9, and 12 behind 10 and 11, which are known */
    profile_recorder_read(&recorder, SIZE - 6, 1, 5040);
    profile_recorder_read(&recorder, 0, 0, 5050);
    assert_int_equal(recorder.profile.count, 5);
    assert_run(0, 10, 2, 0);
    assert_run(1, 3, 1, 20);
    assert_run(2, 9, 1, 30);
    assert_run(3, 12, 1, 30);
    assert_run(4, 1023, 1, 40);
    assert_true(profile_is_valid(&recorder.profile));
    assert_int_equal(profile_bytes(&recorder.profile), 6 * CLUSTER);
}

static void a_record_has_bounds(void **state)
{
    (void)state;
    record_begin(SIZE);
    record_clusters(0, 1, 0);
    record_clusters(2, 1, PROFILE_MS_MAX + 1);
    record_clusters(4, 1, 5); /* it has ended */
    assert_int_equal(recorder.profile.count, 1);
    record_begin(4000ull * CLUSTER);
    for (uint32_t i = 0; i < 2000; i++)
        record_clusters(2 * i, 1, i);
    assert_int_equal(recorder.profile.count, PROFILE_RUNS_MAX);
    assert_true(profile_is_valid(&recorder.profile));
    record_begin(1ull << 40); /* too large for any */
    record_clusters(0, 1, 0);
    assert_int_equal(recorder.profile.count, 0);
    record_begin(4ull << 30);
    for (uint64_t at = 0; at < (4ull << 30) / CLUSTER; at += 64)
        record_clusters(at, 64, 0);
    assert_int_equal(profile_bytes(&recorder.profile), PROFILE_BYTES_MAX);
}

static void an_image_that_was_read_in_order_is_no_boot(void **state)
{
    (void)state;
    record_begin(SIZE);
    assert_false(profile_is_useful(&recorder.profile));
    record_clusters(0, 500, 0);
    record_clusters(1000, 20, 1);
    assert_false(profile_is_useful(&recorder.profile));
    record_clusters(700, 100, 2);
    assert_true(profile_is_useful(&recorder.profile));
}

static void only_a_profile_that_can_be_is_valid(void **state)
{
    (void)state;
    const struct profile good = {.size = SIZE, .cluster = CLUSTER, .count = 2, .runs = {{5, 2, 0}, {1023, 1, 9}}};
    struct profile bad;
    assert_true(profile_is_valid(&good));
    bad = good, bad.cluster = 0;
    assert_false(profile_is_valid(&bad));
    bad = good, bad.cluster = 2 * CLUSTER;
    assert_false(profile_is_valid(&bad));
    bad = good, bad.size = 0;
    assert_false(profile_is_valid(&bad));
    bad = good, bad.size = SIZE - CLUSTER; /* the last run is behind the end */
    assert_false(profile_is_valid(&bad));
    bad = good, bad.runs[1].count = 2;
    assert_false(profile_is_valid(&bad));
    bad = good, bad.runs[1].count = 0;
    assert_false(profile_is_valid(&bad));
    bad = good, bad.runs[1] = (struct profile_run){6, 1, 9}; /* twice */
    assert_false(profile_is_valid(&bad));
    bad = good, bad.runs[0].at_ms = 10; /* backwards */
    assert_false(profile_is_valid(&bad));
    bad = good, bad.runs[1] = (struct profile_run){UINT32_MAX, UINT32_MAX, 9};
    assert_false(profile_is_valid(&bad));
    bad = good, bad.count = PROFILE_RUNS_MAX + 1;
    assert_false(profile_is_valid(&bad));
}

/* --- followed --- */

static const struct profile known = {
    .size = SIZE, .cluster = CLUSTER, .count = 3, .runs = {{100, 20, 0}, {10, 3, 5}, {1000, 24, 9}}};

static bool next_is(const struct profile_plan_limits *limits, uint64_t first, uint32_t count)
{
    uint64_t offset;
    uint32_t length;
    return profile_plan_next(&plan, limits, &offset, &length) && offset == first * CLUSTER && length == count * CLUSTER;
}

static bool nothing_next(const struct profile_plan_limits *limits)
{
    uint64_t offset;
    uint32_t length;
    return !profile_plan_next(&plan, limits, &offset, &length);
}

static bool read_clusters(uint64_t first, uint32_t count)
{
    return profile_plan_read(&plan, first * CLUSTER, count * CLUSTER);
}

static void without_a_profile_nothing_is_told(void **state)
{
    (void)state;
    memset(&plan, 0, sizeof plan);
    assert_true(nothing_next(&plenty));
    assert_false(profile_plan_read(&plan, 0, 4096));
}

static void the_plan_is_fetched_in_its_order(void **state)
{
    (void)state;
    profile_plan_init(&plan, &known);
    assert_true(next_is(&plenty, 100, 8));
    assert_true(next_is(&plenty, 108, 8));
    assert_true(next_is(&plenty, 116, 4));
    assert_true(next_is(&plenty, 10, 3));
    assert_true(next_is(&plenty, 1000, 8));
    assert_true(next_is(&plenty, 1008, 8));
    assert_true(next_is(&plenty, 1016, 8));
    assert_true(nothing_next(&plenty));
}

static void it_is_so_far_ahead_of_the_reader_and_no_farther(void **state)
{
    (void)state;
    const struct profile_plan_limits little = {.ahead = 10 * CLUSTER, .second = 1ull << 30, .chunk = 8 * CLUSTER};
    profile_plan_init(&plan, &known);
    assert_true(next_is(&little, 100, 8));
    assert_true(next_is(&little, 108, 2));
    assert_true(nothing_next(&little));
    assert_true(read_clusters(103, 1));
    assert_true(next_is(&little, 110, 3));
    assert_true(nothing_next(&little));
    assert_true(read_clusters(101, 1)); /* out of turn: the reader does not go back */
    assert_true(nothing_next(&little));
}

static void until_the_reader_bears_it_out_half_a_second_is_risked(void **state)
{
    (void)state;
    const struct profile_plan_limits thin = {.ahead = SIZE, .second = 24 * CLUSTER, .chunk = 8 * CLUSTER};
    profile_plan_init(&plan, &known);
    assert_false(read_clusters(500, 1));
    assert_true(next_is(&thin, 100, 8));
    assert_true(next_is(&thin, 108, 4));
    assert_true(nothing_next(&thin));
    assert_true(read_clusters(100, 1));
    assert_true(next_is(&thin, 112, PROFILE_PLAN_EARNED));
    assert_true(nothing_next(&thin));
}

static void before_anybody_reads_only_memory_bounds_it(void **state)
{
    (void)state;
    const struct profile_plan_limits thin = {.ahead = 17 * CLUSTER, .second = 24 * CLUSTER, .chunk = 8 * CLUSTER};
    profile_plan_init(&plan, &known);
    assert_true(next_is(&thin, 100, 8));
    assert_true(next_is(&thin, 108, 8));
    assert_true(next_is(&thin, 116, 1));
    assert_true(nothing_next(&thin));
}

static void a_reader_that_is_elsewhere_puts_it_to_rest(void **state)
{
    (void)state;
    profile_plan_init(&plan, &known);
    assert_true(read_clusters(100, 1));
    for (unsigned i = 0; i < PROFILE_PLAN_TRUST; i++) {
        assert_false(plan.rests);
        assert_false(read_clusters(500 + 3 * i, 1));
    }
    assert_true(nothing_next(&plenty));
    for (unsigned i = 1; i < PROFILE_PLAN_RESUME; i++)
        assert_false(read_clusters(100 + i, 1));
    assert_true(nothing_next(&plenty));
    assert_true(read_clusters(109, 1));
    assert_false(nothing_next(&plenty));
}

static void a_reader_that_is_ahead_is_followed(void **state)
{
    (void)state;
    profile_plan_init(&plan, &known);
    assert_true(next_is(&plenty, 100, 8));
    for (unsigned i = 1; i < PROFILE_PLAN_BEYOND; i++)
        assert_true(read_clusters(1000 + i, 1));
    assert_true(next_is(&plenty, 108, 8)); /* it may have been out of turn */
    assert_true(read_clusters(1004, 1));
    assert_true(next_is(&plenty, 1004, 8));
}

static void what_was_not_fetched_is_told_again(void **state)
{
    (void)state;
    profile_plan_init(&plan, &known);
    assert_true(next_is(&plenty, 100, 8));
    assert_true(next_is(&plenty, 108, 8));
    assert_true(read_clusters(115, 1));
    profile_plan_untell(&plan, 108 * CLUSTER);
    assert_true(next_is(&plenty, 108, 8));
    profile_plan_untell(&plan, 5 * CLUSTER); /* not in it */
    assert_true(next_is(&plenty, 116, 4));
}

static void the_last_cluster_ends_with_the_image(void **state)
{
    (void)state;
    const struct profile odd = {.size = SIZE - 5, .cluster = CLUSTER, .count = 1, .runs = {{1023, 1, 0}}};
    uint64_t offset;
    uint32_t length;
    profile_plan_init(&plan, &odd);
    assert_true(profile_plan_next(&plan, &plenty, &offset, &length));
    assert_int_equal(offset + length, SIZE - 5);
}

/* --- how it went --- */

static void a_report_has_marks_and_the_longest_waits(void **state)
{
    (void)state;
    struct boot_report report = {0};
    boot_report_answer(&report, 0, 1 << 20, 0, 1100, 100);
    for (unsigned i = 1; i <= 20; i++)
        boot_report_answer(&report, i << 20, 1 << 19, 0, 1100 + 10 * i, 20 + i);
    boot_report_answer(&report, 7, 512, -EIO, 1400, 300);
    assert_int_equal(report.reads, 22);
    assert_int_equal(report.failures, 1);
    assert_int_equal(report.bytes, 11 << 20);
    assert_int_equal(report.last_ms, 400);
    assert_int_equal(report.stalls, 21);
    assert_int_equal(report.stalled_ms, 100 + 20 * 20 + 210);
    assert_int_equal(report.worst_count, BOOT_REPORT_WORST);
    assert_int_equal(report.worst[0].waited_ms, 100);
    for (unsigned i = 1; i < BOOT_REPORT_WORST; i++)
        assert_int_equal(report.worst[i].waited_ms, 41 - i);
    assert_int_equal(report.worst[1].offset, 20 << 20);
    assert_int_equal(report.worst[1].at_ms, 100 + 200 - 40);
    assert_int_equal(report.mark_count, 4); /* 1, 2, 4 and 8 MiB */
    assert_int_equal(report.marks[0], 100);
    assert_int_equal(report.marks[1], 120);
    assert_int_equal(report.marks[3], 240);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clusters_are_as_small_as_the_image_allows),
        cmocka_unit_test(what_is_read_is_recorded_once_in_its_order),
        cmocka_unit_test(a_record_has_bounds),
        cmocka_unit_test(an_image_that_was_read_in_order_is_no_boot),
        cmocka_unit_test(only_a_profile_that_can_be_is_valid),
        cmocka_unit_test(without_a_profile_nothing_is_told),
        cmocka_unit_test(the_plan_is_fetched_in_its_order),
        cmocka_unit_test(it_is_so_far_ahead_of_the_reader_and_no_farther),
        cmocka_unit_test(until_the_reader_bears_it_out_half_a_second_is_risked),
        cmocka_unit_test(before_anybody_reads_only_memory_bounds_it),
        cmocka_unit_test(a_reader_that_is_elsewhere_puts_it_to_rest),
        cmocka_unit_test(a_reader_that_is_ahead_is_followed),
        cmocka_unit_test(what_was_not_fetched_is_told_again),
        cmocka_unit_test(the_last_cluster_ends_with_the_image),
        cmocka_unit_test(a_report_has_marks_and_the_longest_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
