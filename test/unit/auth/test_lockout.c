/* Who is locked, for how long, and who must not be. The clock is the test's. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../cmocka_all.h"
#include "auth/lockout.h"

#define SECOND 1000u
#define MINUTE (60 * SECOND)

static struct lockout *lockout;
static uint64_t now;

static int setup(void **state)
{
    (void)state;
    const struct lockout_options defaults = {0};
    lockout = lockout_new(&defaults);
    now = 1000000;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lockout_free(lockout);
    return 0;
}

static int admitted(const char *name, const char *peer)
{
    uint64_t retry_ms;
    return lockout_admit(lockout, now, name, peer, false, &retry_ms);
}

static uint64_t retry(const char *name, const char *peer)
{
    uint64_t retry_ms;
    lockout_admit(lockout, now, name, peer, false, &retry_ms);
    return retry_ms;
}

static struct lockout_result try(const char *name, const char *peer, bool matched)
{
    assert_int_equal(admitted(name, peer), 0);
    lockout_begin(lockout, now, name, peer);
    return lockout_end(lockout, now, name, peer, matched);
}

static void fail_times(unsigned times, const char *name, const char *peer)
{
    for (unsigned i = 0; i < times; i++)
        try(name, peer, false);
}

static void five_failures_lock_for_a_time_that_doubles(void **state)
{
    (void)state;
    for (uint64_t length = 30 * SECOND; length <= 2 * MINUTE; length *= 2) {
        fail_times(4, "admin", "192.0.2.1");
        assert_int_equal(admitted("admin", "192.0.2.1"), 0);
        assert_int_equal(try("admin", "192.0.2.1", false).account_ms, length);
        assert_int_equal(admitted("admin", "192.0.2.1"), -EAGAIN);
        now += length - 1;
        assert_int_equal(retry("admin", "192.0.2.1"), 1);
        now += 1;
        assert_int_equal(admitted("admin", "192.0.2.1"), 0);
    }
}

static void a_lock_is_never_longer_than_the_bound(void **state)
{
    (void)state;
    uint64_t longest = 0;
    for (int i = 0; i < 200; i++) {
        struct lockout_result r = try("admin", "192.0.2.1", false);
        longest = r.account_ms > longest ? r.account_ms : longest;
        longest = r.address_ms > longest ? r.address_ms : longest;
        now += retry("admin", "192.0.2.1");
        assert_int_equal(admitted("admin", "192.0.2.1"), 0); /* every lock ends */
    }
    assert_int_equal(longest, 15 * MINUTE);
}

static void a_refused_try_prolongs_nothing(void **state)
{
    (void)state;
    fail_times(5, "admin", "192.0.2.1");
    for (int i = 0; i < 29; i++) {
        now += SECOND;
        assert_int_equal(admitted("admin", "192.0.2.1"), -EAGAIN);
    }
    now += SECOND;
    assert_int_equal(admitted("admin", "192.0.2.1"), 0);
}

static void a_lock_is_for_its_address_only(void **state)
{
    (void)state;
    fail_times(5, "admin", "192.0.2.1");
    assert_int_equal(admitted("admin", "192.0.2.2"), 0);
    assert_int_equal(admitted("bob", "192.0.2.1"), 0);
    try("admin", "192.0.2.2", true);
    assert_int_equal(admitted("admin", "192.0.2.1"), -EAGAIN); /* another's success opens nothing */
}

static void success_clears_the_account(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        fail_times(i < 4 ? 4 : 0, "admin", "192.0.2.1");
        try("admin", "192.0.2.1", true);
    }
    fail_times(3, "admin", "192.0.2.1");
    lockout_clear(lockout, now, "admin", "192.0.2.1");
    assert_int_equal(admitted("admin", "192.0.2.1"), 0);
}

/* Who has an account can't buy guesses at others with it. */
static void many_names_lock_the_address(void **state)
{
    (void)state;
    char name[16];
    struct lockout_result r = {0};
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "user%d", i);
        assert_int_equal(r.address_ms, 0);
        r = try(name, "192.0.2.1", false);
        if (i < 19)
            try("mine", "192.0.2.1", true);
    }
    assert_int_equal(r.address_ms, 30 * SECOND);
    assert_int_equal(r.account_ms, 0);
    assert_int_equal(admitted("another", "192.0.2.1"), -EAGAIN);
    assert_int_equal(admitted("another", "192.0.2.2"), 0);
}

/* Behind one address with somebody who guesses. */
static void who_is_at_home_is_not_shut_out_by_others(void **state)
{
    (void)state;
    uint64_t retry_ms;
    char name[16];
    try("admin", "192.0.2.1", true);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "user%d", i);
        try(name, "192.0.2.1", false);
    }
    assert_int_equal(admitted("bob", "192.0.2.1"), -EAGAIN);
    assert_int_equal(lockout_admit(lockout, now, "bob", "192.0.2.1", true, &retry_ms), 0); /* he has a session */
    fail_times(4, "admin", "192.0.2.1");
    try("admin", "192.0.2.1", true);
    fail_times(5, "admin", "192.0.2.1"); /* its own failures count there as ever */
    assert_int_equal(admitted("admin", "192.0.2.1"), -EAGAIN);
    assert_int_equal(lockout_admit(lockout, now, "admin", "192.0.2.1", true, &retry_ms), -EAGAIN);
    now += 15 * MINUTE;
    assert_int_equal(admitted("admin", "192.0.2.1"), 0);
}

static void a_home_is_one_for_five_minutes_and_one_address(void **state)
{
    (void)state;
    char name[16];
    try("admin", "192.0.2.1", true);
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "user%d", i);
        try(name, i % 2 ? "192.0.2.1" : "192.0.2.2", false);
    }
    assert_int_equal(admitted("admin", "192.0.2.1"), 0);
    assert_int_equal(admitted("admin", "192.0.2.2"), -EAGAIN);
    now += 5 * MINUTE;
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "other%d", i);
        try(name, "192.0.2.1", false);
    }
    assert_int_equal(admitted("admin", "192.0.2.1"), -EAGAIN);
}

static void at_home_nobody_is_guarded(void **state)
{
    (void)state;
    char peer[32];
    try("admin", "192.0.2.1", true);
    for (int i = 0; i < 5; i++) {
        snprintf(peer, sizeof peer, "198.51.100.%d", i);
        fail_times(4, "admin", peer);
    }
    fail_times(4, "admin", "192.0.2.1");
    assert_int_equal(admitted("admin", "192.0.2.1"), 0);
}

/* Who mistypes now and then, and is right in the end, adds nothing to what his address may fail. */
static void success_takes_its_share_back(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        fail_times(4, "admin", "192.0.2.1");
        try("admin", "192.0.2.1", true);
        if (i < 19)
            assert_int_equal(try("bob", "192.0.2.1", false).address_ms, 0);
        if (i % 4 == 3)
            now += 31 * SECOND; /* bob's own lock */
        if (i % 4 == 3)
            lockout_clear(lockout, now, "bob", "192.0.2.1");
    }
    assert_int_equal(admitted("carl", "192.0.2.1"), 0);
}

/* An attacker with a thousand addresses fails in the administrator's name for a day:
 * the administrator's first try from anywhere else is heard at any time. */
static void nobody_locks_the_administrator_out(void **state)
{
    (void)state;
    char peer[32];
    unsigned tries = 0;
    for (int minute = 0; minute < 24 * 60; minute += 5) {
        for (int i = 0; i < 100; i++) {
            snprintf(peer, sizeof peer, "198.51.100.%d", i);
            while (admitted("admin", peer) == 0) {
                try("admin", peer, false);
                tries++;
            }
        }
        assert_int_equal(admitted("admin", "192.0.2.77"), 0);
        if (minute % 60 == 0)
            try("admin", "192.0.2.77", true);
        now += 5 * MINUTE;
    }
    /* 100 addresses, at most about one try a quarter of an hour each, and the first ones. */
    assert_true(tries > 100 && tries < 100 * (24 * 4 + 12));
}

static void a_guarded_account_allows_one_try(void **state)
{
    (void)state;
    char peer[32];
    for (int i = 0; i < 5; i++) {
        snprintf(peer, sizeof peer, "198.51.100.%d", i);
        fail_times(4, "admin", peer);
    }
    assert_int_equal(try("admin", "203.0.113.1", false).account_ms, 30 * SECOND);
    assert_int_equal(try("bob", "203.0.113.2", false).account_ms, 0); /* he is not */
    now += 30 * MINUTE;
    assert_int_equal(try("admin", "203.0.113.3", false).account_ms, 0); /* it is over */
}

static void ipv6_counts_by_network_and_mapped_ipv4_as_ipv4(void **state)
{
    (void)state;
    char peer[64];
    for (int i = 0; i < 5; i++) {
        snprintf(peer, sizeof peer, "2001:db8:1:2:%x::%x", i, i + 1);
        try("admin", peer, false);
    }
    assert_int_equal(admitted("admin", "2001:db8:1:2:ffff::1"), -EAGAIN);
    assert_int_equal(admitted("admin", "2001:db8:1:3::1"), 0);
    fail_times(3, "bob", "192.0.2.1");
    fail_times(2, "bob", "::ffff:192.0.2.1");
    assert_int_equal(admitted("bob", "192.0.2.1"), -EAGAIN);
    assert_int_equal(admitted("bob", "::ffff:192.0.2.2"), 0);
    fail_times(5, "carl", "fe80::1%eth0");
    assert_int_equal(admitted("carl", "fe80::2%eth1"), -EAGAIN);
    fail_times(5, "dora", "unix");
    assert_int_equal(admitted("dora", "unix"), -EAGAIN);
}

/* Tries at the same time are no way round the count. */
static void tries_under_way_count(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(admitted("admin", "192.0.2.1"), 0);
        lockout_begin(lockout, now, "admin", "192.0.2.1");
    }
    assert_int_equal(admitted("admin", "192.0.2.1"), -EBUSY);
    lockout_end(lockout, now, "admin", "192.0.2.1", true);
    assert_int_equal(admitted("admin", "192.0.2.1"), 0);
    for (int i = 0; i < 4; i++)
        lockout_end(lockout, now, "admin", "192.0.2.1", false);
    assert_int_equal(admitted("admin", "192.0.2.1"), 0);
    assert_int_equal(try("admin", "192.0.2.1", false).account_ms, 30 * SECOND);
    char name[16];
    for (int i = 0; i < LOCKOUT_ADDRESS_PENDING; i++) {
        snprintf(name, sizeof name, "u%d", i);
        assert_int_equal(admitted(name, "192.0.2.9"), 0);
        lockout_begin(lockout, now, name, "192.0.2.9");
    }
    assert_int_equal(admitted("another", "192.0.2.9"), -EBUSY);
    assert_int_equal(admitted("another", "192.0.2.8"), 0);
}

static void it_forgets(void **state)
{
    (void)state;
    fail_times(4, "admin", "192.0.2.1");
    now += 30 * MINUTE;
    fail_times(4, "admin", "192.0.2.1");
    assert_int_equal(try("admin", "192.0.2.1", false).account_ms, 30 * SECOND);
    now += 30 * SECOND + 30 * MINUTE - 1;
    fail_times(4, "admin", "192.0.2.1");
    assert_int_equal(try("admin", "192.0.2.1", false).account_ms, 60 * SECOND); /* not quite forgotten */
    now += 60 * SECOND + 30 * MINUTE;
    fail_times(4, "admin", "192.0.2.1");
    assert_int_equal(try("admin", "192.0.2.1", false).account_ms, 30 * SECOND);
}

/* More peers than it can count: a lock that is on stays for as long as newer ones
 * have less to be remembered for. */
static void the_table_is_bounded(void **state)
{
    (void)state;
    char peer[32];
    fail_times(5, "admin", "192.0.2.1");
    for (int i = 0; i < 4 * LOCKOUT_ENTRIES; i++) {
        snprintf(peer, sizeof peer, "10.%d.%d.1", i / 250, i % 250);
        try("eve", peer, false);
    }
    assert_int_equal(admitted("admin", "192.0.2.1"), -EAGAIN);
    assert_int_equal(admitted("eve", "10.0.0.1"), 0); /* long forgotten */
    try("bob", "192.0.2.1", true);
    for (int i = 0; i < LOCKOUT_ENTRIES; i++) {
        snprintf(peer, sizeof peer, "u%d", i);
        lockout_begin(lockout, now, peer, "10.0.0.2");
        lockout_end(lockout, now, peer, "10.0.0.2", false);
    }
    for (int i = 0; i < 20; i++) {
        lockout_begin(lockout, now, "x", "192.0.2.1");
        lockout_end(lockout, now, "x", "192.0.2.1", false);
    }
    assert_int_equal(admitted("carl", "192.0.2.1"), -EAGAIN);
    assert_int_equal(admitted("bob", "192.0.2.1"), 0); /* invented names took nobody's home */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(five_failures_lock_for_a_time_that_doubles, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lock_is_never_longer_than_the_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_try_prolongs_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lock_is_for_its_address_only, setup, teardown),
        cmocka_unit_test_setup_teardown(success_clears_the_account, setup, teardown),
        cmocka_unit_test_setup_teardown(many_names_lock_the_address, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_at_home_is_not_shut_out_by_others, setup, teardown),
        cmocka_unit_test_setup_teardown(a_home_is_one_for_five_minutes_and_one_address, setup, teardown),
        cmocka_unit_test_setup_teardown(at_home_nobody_is_guarded, setup, teardown),
        cmocka_unit_test_setup_teardown(success_takes_its_share_back, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_locks_the_administrator_out, setup, teardown),
        cmocka_unit_test_setup_teardown(a_guarded_account_allows_one_try, setup, teardown),
        cmocka_unit_test_setup_teardown(ipv6_counts_by_network_and_mapped_ipv4_as_ipv4, setup, teardown),
        cmocka_unit_test_setup_teardown(tries_under_way_count, setup, teardown),
        cmocka_unit_test_setup_teardown(it_forgets, setup, teardown),
        cmocka_unit_test_setup_teardown(the_table_is_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
