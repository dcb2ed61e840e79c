/* Names become addresses that allow-local permits, and nothing else. Numeric hosts: no name server is asked. */
#include <errno.h>
#include <string.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "net/resolve.h"

static struct answer {
    int calls, status;
    unsigned count;
    char first[ADDRESS_TEXT_MAX], error[RESOLVE_ERROR_MAX];
} answer;

static void on_resolved(void *owner, const struct resolve_result *result)
{
    struct answer *to = owner;
    to->calls++;
    to->status = result->status;
    to->count = result->count;
    memcpy(to->error, result->error, sizeof to->error);
    if (result->count > 0)
        address_text((const struct sockaddr *)&result->addresses[0], to->first);
}

static struct answer resolve(const char *host, enum address_local local)
{
    uv_loop_t loop;
    test_loop_begin(&loop);
    memset(&answer, 0, sizeof answer);
    resolve_start(&loop, host, local, on_resolved, &answer);
    assert_int_equal(answer.calls, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(answer.calls, 1);
    test_loop_end(&loop);
    return answer;
}

static void a_number_is_its_own_address(void **state)
{
    (void)state;
    static const char *const hosts[] = {"192.0.2.7", "2001:db8::7"};
    for (int i = 0; i < 2; i++) {
        struct answer got = resolve(hosts[i], ADDRESS_LOCAL_NONE);
        assert_int_equal(got.status, 0);
        assert_int_equal(got.count, 1);
        assert_string_equal(got.first, hosts[i]);
    }
}

static void what_the_policy_forbids_is_refused_in_words(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        enum address_local local;
        bool good;
    } cases[] = {
        {"127.0.0.1", ADDRESS_LOCAL_NONE, false},
        {"127.0.0.1", ADDRESS_LOCAL_LINK, false},
        {"127.0.0.1", ADDRESS_LOCAL_ALL, true},
        {"169.254.7.7", ADDRESS_LOCAL_NONE, false},
        {"169.254.7.7", ADDRESS_LOCAL_LINK, true},
        {"0.0.0.0", ADDRESS_LOCAL_LINK, false},
        {"::ffff:127.0.0.1", ADDRESS_LOCAL_NONE, false},
        {"224.0.0.1", ADDRESS_LOCAL_ALL, false},
        {"127.1", ADDRESS_LOCAL_NONE, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer got = resolve(cases[i].host, cases[i].local);
        assert_int_equal(got.status, cases[i].good ? 0 : -EPERM);
        assert_int_equal(got.count, cases[i].good ? 1 : 0);
        assert_true(cases[i].good || strstr(got.error, "no image may come") || strstr(got.error, "one machine"));
    }
}

static void what_is_no_host_is_not_found(void **state)
{
    (void)state;
    char longest[RESOLVE_HOST_MAX + 50];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(resolve(longest, ADDRESS_LOCAL_ALL).status, -EHOSTUNREACH);
    struct answer got = resolve("no..such..name", ADDRESS_LOCAL_ALL);
    assert_int_equal(got.status, -EHOSTUNREACH);
    assert_non_null(strstr(got.error, "host's name"));
}

static void a_cancelled_one_says_nothing(void **state)
{
    (void)state;
    uv_loop_t loop;
    char longest[RESOLVE_HOST_MAX + 50];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    test_loop_begin(&loop);
    memset(&answer, 0, sizeof answer);
    resolve_cancel(resolve_start(&loop, "192.0.2.7", ADDRESS_LOCAL_ALL, on_resolved, &answer));
    resolve_cancel(resolve_start(&loop, longest, ADDRESS_LOCAL_ALL, on_resolved, &answer));
    resolve_cancel(NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(answer.calls, 0);
    test_loop_end(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_is_its_own_address),
        cmocka_unit_test(what_the_policy_forbids_is_refused_in_words),
        cmocka_unit_test(what_is_no_host_is_not_found),
        cmocka_unit_test(a_cancelled_one_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
