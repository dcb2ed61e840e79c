/* What is measured of a link. */
#include "../cmocka_all.h"
#include "link/estimate.h"

static void the_link_is_estimated(void **state)
{
    (void)state;
    struct link_estimate link = {0};
    uint64_t now = 1000000;
    link_round_trip(&link, 65000, false, now);
    assert_int_equal(link_quiet_round_trip(&link), 0);
    link_round_trip(&link, 60000, true, now);
    link_round_trip(&link, 50000, true, now);
    link_round_trip(&link, 70000, true, now);
    assert_int_equal(link.rtt_us, 50000);
    link_busy(&link, now);
    for (unsigned i = 0; i < 100; i++)
        link_received(&link, 1000000, now += 10000); /* 100 MB/s */
    assert_true(link_bandwidth(&link) > 90000000 && link_bandwidth(&link) < 110000000);
    link_idle(&link, now);
    now += 100000000; /* idle time is not slowness */
    link_busy(&link, now);
    for (unsigned i = 0; i < 100; i++)
        link_received(&link, 1000000, now += 10000);
    assert_true(link_bandwidth(&link) > 90000000);
    link_round_trip(&link, 90000, false, now);
    assert_int_equal(link.rtt_us, 50000); /* it may have met a queue of ours */
    link_round_trip(&link, 80000, true, now);
    assert_int_equal(link.rtt_us, 80000); /* the way is longer than it was */
    link_round_trip(&link, 90000, false, now + LINK_RTT_KEEP_US + 1);
    assert_int_equal(link.rtt_us, 90000); /* the old one is too old */
    assert_int_equal(link_quiet_round_trip(&link), 70000); /* of 60, 50, 70 and 80 ms, which met no queue of ours */
    link_round_trip(&link, 10, true, now);
    assert_int_equal(link_quiet_round_trip(&link), 60000);
    for (unsigned i = 0; i < LINK_SAMPLES; i++)
        link_round_trip(&link, 1000, true, now);
    assert_int_equal(link_quiet_round_trip(&link), 1000);
}

static void a_rate_that_demand_limits_is_no_slower_link(void **state)
{
    (void)state;
    struct link_estimate link = {0};
    uint64_t now = 1000000;
    link_busy(&link, now);
    for (unsigned i = 0; i < 10; i++)
        link_received(&link, 1000000, now += 100000); /* 10 MB/s */
    for (unsigned i = 0; i < 100; i++) {
        link_limited(&link);
        link_received(&link, 1000, now += 100000);
    }
    assert_in_range(link_bandwidth(&link), 9000000, 11000000);
    for (unsigned i = 0; i < LINK_SAMPLES; i++)
        link_received(&link, 100000, now += 100000); /* the link has really become slower */
    assert_in_range(link_bandwidth(&link), 900000, 1100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_link_is_estimated),
        cmocka_unit_test(a_rate_that_demand_limits_is_no_slower_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
