/* The pure parts of the remote source: how many requests at a time, and which of them are too slow. */
#include "../cmocka_all.h"
#include "remote/pace.h"
#include "remote/parallel.h"

/* --- parallel --- */

struct server {
    unsigned room, active, refusals, served;
};

/* A second of requests of 100 ms each: as many as may be, of which `room` are served. */
static void serve(struct parallel *parallel, struct server *server, uint64_t now)
{
    for (unsigned round = 0; round < 10; round++, now += 100) {
        unsigned active = parallel->limit;
        for (; active > server->room; server->refusals++)
            parallel_refused(parallel, --active, now);
        for (; active > 0; active--, server->served++)
            parallel_succeeded(parallel, now + 100);
    }
}

static void a_server_of_two_is_asked_for_two(void **state)
{
    (void)state;
    struct parallel parallel;
    struct server server = {.room = 2};
    parallel_init(&parallel, 15);
    serve(&parallel, &server, 0);
    assert_int_equal(parallel.limit, 2);
    assert_int_equal(server.refusals, 13);
    server.refusals = server.served = 0;
    for (uint64_t second = 1; second <= 600; second++)
        serve(&parallel, &server, second * 1000);
    assert_in_range(server.refusals, 1, 30); /* in ten minutes */
    assert_in_range(server.served, 600 * 10 * 2 - 60, 600 * 10 * 2);
}

static void room_that_comes_back_is_used_again(void **state)
{
    (void)state;
    struct parallel parallel;
    struct server server = {.room = 2};
    parallel_init(&parallel, 8);
    serve(&parallel, &server, 0);
    server.room = 100;
    for (uint64_t second = 1; second <= 60; second++)
        serve(&parallel, &server, second * 1000);
    assert_int_equal(parallel.limit, 8);
}

static void an_outage_says_nothing_of_the_room(void **state)
{
    (void)state;
    struct parallel parallel;
    parallel_init(&parallel, 8);
    parallel_succeeded(&parallel, 0);
    for (unsigned others = 7; others > 0; others--)
        assert_true(parallel_refused(&parallel, others, 10));
    assert_false(parallel_refused(&parallel, 0, 10));
    assert_int_equal(parallel.limit, 1);
    parallel_down(&parallel);
    assert_int_equal(parallel.limit, 8);
}

/* --- pace --- */

static bool late_at(uint64_t bytes_a_second, uint64_t rest, uint64_t left_ms, struct pace_link link, unsigned ticks)
{
    struct pace pace;
    pace_begin(&pace);
    for (unsigned i = 1; i <= ticks; i++)
        pace_tick(&pace, bytes_a_second * i * PACE_TICK_MS / 1000);
    if (link.gained == 0)
        link.gained = pace_gained(&pace);
    return pace_is_late(&pace, rest, left_ms, &link);
}

static void a_drip_is_late_and_a_thin_link_is_not(void **state)
{
    (void)state;
    const struct pace_link alone = {.requests = 1}, fast = {.requests = 2, .bandwidth = 10000000};
    const struct pace_link busy = {.requests = 8, .gained = 25000 * 3, .bandwidth = 25000};
    assert_true(late_at(20, 65536, 20000, alone, PACE_WINDOW));
    assert_false(late_at(20, 65536, 20000, alone, PACE_WINDOW - 1)); /* too early to say */
    assert_false(late_at(20, 100, 20000, alone, PACE_WINDOW));       /* it is done in 5 s */
    assert_false(late_at(2000, 65536, 20000, alone, PACE_WINDOW));   /* nothing says that the link can do more */
    assert_true(late_at(2000, 65536, 20000, fast, PACE_WINDOW));
    assert_false(late_at(3000, 65536, 20000, busy, PACE_WINDOW));    /* it has its share */
}

static void silence_is_late_sooner_where_all_is_silent(void **state)
{
    (void)state;
    const struct pace_link silent = {.requests = 3}, busy = {.requests = 3, .gained = 100000};
    assert_true(late_at(0, 4096, 20000, silent, PACE_WINDOW));
    assert_false(late_at(0, 4096, 20000, busy, PACE_WINDOW));
    assert_true(late_at(0, 4096, 20000, busy, PACE_PATIENCE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_of_two_is_asked_for_two),
        cmocka_unit_test(room_that_comes_back_is_used_again),
        cmocka_unit_test(an_outage_says_nothing_of_the_room),
        cmocka_unit_test(a_drip_is_late_and_a_thin_link_is_not),
        cmocka_unit_test(silence_is_late_sooner_where_all_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
