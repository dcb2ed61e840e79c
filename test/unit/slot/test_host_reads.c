/* What is known of a host's reads. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "../cmocka_all.h"
#include "slot/host_reads.h"

static struct host_reads reads;

static int begin(void **state)
{
    (void)state;
    memset(&reads, 0, sizeof reads);
    return 0;
}

static void answer(uint64_t offset, uint64_t waited_us, int status, bool away, uint64_t now)
{
    const struct host_read read = {offset, 4096, waited_us, status, away, status == -EIO ? "http://h/x: no answer" : ""};
    host_reads_answer(&reads, &read, now, "slot0");
}

static void those_that_waited_are_counted(void **state)
{
    (void)state;
    answer(0, 50, 0, false, 1);
    answer(0, HOST_READS_SLOW_US, 0, false, 1);
    answer(0, HOST_READS_SLOW_US + 1, 0, false, 1);
    assert_int_equal(reads.count, 3);
    assert_int_equal(reads.slow, 1);
    assert_int_equal(reads.bytes, 3 * 4096);
    assert_int_equal(reads.failed.count, 0);
    assert_int_equal(reads.latency.count, 3);
    assert_int_equal(reads.latency.sum_us, 50 + 2 * HOST_READS_SLOW_US + 1);
    assert_int_equal(reads.latency.at[0], 1);
}

static void the_last_that_failed_is_known(void **state)
{
    (void)state;
    answer(512, 25000000, -EIO, true, 1);
    answer(1024, 30000001, -EIO, false, 2);
    answer(9 << 20, 10, -EINVAL, false, 3);
    assert_int_equal(reads.failures[HOST_READ_AWAY], 1);
    assert_int_equal(reads.failures[HOST_READ_UNREADABLE], 1);
    assert_int_equal(reads.failures[HOST_READ_INVALID], 1);
    assert_int_equal(reads.failed.count, 3);
    assert_int_equal(reads.failed.offset, 9 << 20);
    assert_string_equal(reads.failed.why, strerror(EINVAL)); /* it has no words of its own */
    assert_int_equal(reads.latency.at[LATENCY_STEPS], 1);
}

static void what_an_eject_ends_is_no_trouble(void **state)
{
    (void)state;
    answer(0, 10, -ECANCELED, false, 1);
    answer(0, 10, -ESHUTDOWN, false, 1);
    assert_int_equal(reads.failures[HOST_READ_EJECTED], 2);
    assert_int_equal(reads.failed.count, 0);
}

static void it_is_told_until_somebody_takes_note(void **state)
{
    (void)state;
    answer(0, 10, -EIO, true, 1);
    answer(0, 10, -EIO, true, 1);
    assert_int_equal(host_reads_unseen(&reads), 2);
    host_reads_dismiss(&reads);
    assert_int_equal(host_reads_unseen(&reads), 0);
    answer(0, 10, -EIO, true, 1);
    assert_int_equal(host_reads_unseen(&reads), 1);
    assert_int_equal(reads.failed.count, 3);
    host_reads_begin(&reads);
    assert_int_equal(host_reads_unseen(&reads), 0);
    assert_int_equal(reads.failures[HOST_READ_AWAY], 3); /* of the slot */
}

/* The log's lines while `count` reads fail at `now`. */
static unsigned lines_of(unsigned count, uint64_t now, char *text, size_t size)
{
    char path[] = "/tmp/test_host_reads.XXXXXX";
    int file = mkstemp(path), before = dup(2);
    assert_true(file >= 0 && before >= 0);
    unlink(path);
    dup2(file, 2);
    for (unsigned i = 0; i < count; i++)
        answer(i, 10, -EIO, true, now);
    dup2(before, 2);
    close(before);
    ssize_t got = pread(file, text, size - 1, 0);
    close(file);
    assert_true(got >= 0);
    text[got] = '\0';
    unsigned lines = 0;
    for (const char *p = text; (p = strchr(p, '\n')); p++)
        lines++;
    return lines;
}

static void thousands_are_few_lines(void **state)
{
    static char text[16384];
    (void)state;
    log_setup(LOG_TO_STDERR, LOG_LEVEL_NOTICE);
    assert_int_equal(lines_of(3, 1000, text, sizeof text), 3);
    assert_non_null(strstr(text, "a read of the host failed: 4096 bytes at 2, after 0.0 s: http://h/x: no answer\n"));
    assert_int_equal(lines_of(5000, 1500, text, sizeof text), HOST_READS_LINES - 3);
    assert_int_equal(lines_of(1, 1000 + HOST_READS_LINES_MS, text, sizeof text), 1);
    assert_non_null(strstr(text, "(and 4993 more before)\n"));
    assert_int_equal(lines_of(20, 1000 + HOST_READS_LINES_MS, text, sizeof text), HOST_READS_LINES - 1);
}

static void times_are_sorted_by_their_steps(void **state)
{
    struct latency one = {0}, two = {0};
    (void)state;
    for (unsigned i = 0; i < LATENCY_STEPS; i++) {
        assert_true(i == 0 || latency_bounds_us[i] > latency_bounds_us[i - 1]);
        latency_add(&one, latency_bounds_us[i]);
        latency_add(&one, latency_bounds_us[i] + 1);
    }
    assert_int_equal(one.at[0], 1);
    assert_int_equal(one.at[1], 2);
    assert_int_equal(one.at[LATENCY_STEPS], 1);
    latency_merge(&two, &one);
    latency_merge(&two, &one);
    assert_int_equal(two.count, 4 * LATENCY_STEPS);
    assert_int_equal(two.at[1], 4);
    assert_int_equal(two.sum_us, 2 * one.sum_us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(those_that_waited_are_counted, begin),
        cmocka_unit_test_setup(the_last_that_failed_is_known, begin),
        cmocka_unit_test_setup(what_an_eject_ends_is_no_trouble, begin),
        cmocka_unit_test_setup(it_is_told_until_somebody_takes_note, begin),
        cmocka_unit_test_setup(thousands_are_few_lines, begin),
        cmocka_unit_test(times_are_sorted_by_their_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
