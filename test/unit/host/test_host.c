/* The host's requests: whose turn it is, what is remembered, what is refused, and the end. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "base/log.h"
#include "host_rig.h"

#define CAN "ResetTypes On ForceOff GracefulShutdown ForceRestart\nBootTargets None Cd Usb\nBootModes UEFI Legacy\n"
/* It tells what the file "state" has, once the file "hold" is gone. */
#define HOOK "while test -e hold; do sleep 0.02; done\ntest \"$1\" != get || cat state"

static void put(struct rig *rig, const char *name, const char *text)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", rig->folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void start(struct rig *rig)
{
    rig_hook(rig, HOOK);
    rig_start(rig, 20000, true);
    rig_remove(rig, "calls");
}

static const struct host_request get = {.verb = HOST_GET};
static const struct host_request restart = {.verb = HOST_RESET, .reset = HOST_RESET_FORCE_RESTART};

static void expect_boot(struct rig *rig, const char *wanted)
{
    char text[64];
    assert_int_equal(rig_get(rig), 0);
    host_boot_text(&host_get_state(rig->host)->boot, text, sizeof text);
    assert_string_equal(text, wanted);
}

/* --- turns --- */

static void changes_run_one_at_a_time_in_their_order(void **state)
{
    struct rig *rig = *state;
    struct asked asked[HOST_CHANGES_MAX];
    put(rig, "state", CAN);
    start(rig);
    rig_hook(rig, "test ! -e busy || echo two at a time >>calls\n>busy\nsleep 0.05\nrm busy");
    static const enum host_reset order[] = {HOST_RESET_ON, HOST_RESET_FORCE_OFF, HOST_RESET_GRACEFUL_SHUTDOWN};
    for (unsigned i = 0; i < 3; i++)
        rig_ask(rig, &asked[i], &(struct host_request){.verb = HOST_RESET, .reset = order[i]});
    rig_wait(rig, &asked[2].done, 1);
    assert_int_equal(asked[0].done + asked[1].done + asked[2].done, 3);
    rig_expect_file(rig, "calls", "reset On\nreset ForceOff\nreset GracefulShutdown\n");
}

/* Who asks for the same twice, and for the same reason, as a client does that has waited for too long, gets it once. */
static void a_change_for_one_occasion_is_made_once(void **state)
{
    struct rig *rig = *state;
    struct asked asked[HOST_CHANGES_MAX + 3], other[3];
    struct host_request boot = {.verb = HOST_BOOT, .occasion = 7, .boot = {HOST_TARGET_CD, HOST_ONCE, HOST_MODE_UEFI}};
    struct host_request reset = {.verb = HOST_RESET, .occasion = 7, .reset = HOST_RESET_FORCE_RESTART};
    put(rig, "state", CAN);
    start(rig);
    put(rig, "hold", "");
    rig_ask(rig, &asked[0], &boot);
    rig_pass(rig, 20); /* it runs: the others wait */
    rig_ask(rig, &other[0], &reset);
    reset.occasion = 8;
    rig_ask(rig, &other[1], &reset);
    for (unsigned i = 1; i < HOST_CHANGES_MAX + 3; i++)
        rig_ask(rig, &asked[i], &boot);
    reset.occasion = 7;
    rig_ask(rig, &other[2], &reset);
    rig_remove(rig, "hold");
    for (unsigned i = 0; i < HOST_CHANGES_MAX + 3; i++) {
        rig_wait(rig, &asked[i].done, 1);
        assert_int_equal(asked[i].request.status, 0);
    }
    for (unsigned i = 0; i < 3; i++)
        rig_wait(rig, &other[i].done, 1);
    rig_expect_file(rig, "calls", "boot Cd Once UEFI\nreset ForceRestart\nreset ForceRestart\n");
    put(rig, "hold", "");
    rig_ask(rig, &asked[0], &boot);
    rig_ask(rig, &asked[1], &boot);
    rig_remove(rig, "hold");
    rig_hook(rig, "exit 1"); /* what fails fails for both */
    rig_wait(rig, &asked[0].done, 1);
    rig_wait(rig, &asked[1].done, 1);
    assert_true(asked[0].request.status < 0);
    assert_int_equal(asked[0].request.status, asked[1].request.status);
    assert_string_equal(asked[0].request.error, asked[1].request.error);
}

static void on_joined(struct host_request *request)
{
    container_of(request, struct asked, request)->done++;
}

/* Who comes while the second of two changes runs has had the first made already, if it is the same. */
static void a_reset_is_joined_with_the_boot_source_that_it_follows(void **state)
{
    struct rig *rig = *state;
    struct asked first, joined[HOST_TWINS_MAX + 1];
    struct host_request reset = {.verb = HOST_RESET, .occasion = 7, .reset = HOST_RESET_FORCE_RESTART, .boot = {.target = HOST_TARGET_CD}},
                        other = reset;
    put(rig, "state", CAN);
    start(rig);
    put(rig, "hold", "");
    assert_false(host_join(rig->host, &reset));
    rig_ask(rig, &first, &reset);
    other.boot.target = HOST_TARGET_USB;
    assert_false(host_join(rig->host, &other));
    for (unsigned i = 0; i < HOST_TWINS_MAX + 1; i++) {
        joined[i] = (struct asked){.request = reset};
        joined[i].request.done = on_joined;
        assert_true(host_join(rig->host, &joined[i].request));
    }
    rig_wait(rig, &joined[HOST_TWINS_MAX].done, 1); /* one too many */
    assert_int_equal(joined[HOST_TWINS_MAX].request.status, -EBUSY);
    rig_remove(rig, "hold");
    for (unsigned i = 0; i < HOST_TWINS_MAX; i++) {
        rig_wait(rig, &joined[i].done, 1);
        assert_int_equal(joined[i].request.status, 0);
    }
    assert_int_equal(first.done, 1);
    rig_expect_file(rig, "calls", "reset ForceRestart\n");
}

static void too_many_changes_are_refused(void **state)
{
    struct rig *rig = *state;
    struct asked asked[HOST_CHANGES_MAX + 3];
    unsigned refused = 0;
    put(rig, "state", CAN);
    start(rig);
    put(rig, "hold", "");
    rig_ask(rig, &asked[0], &restart);
    rig_pass(rig, 20); /* it runs: the others wait */
    for (unsigned i = 1; i < HOST_CHANGES_MAX + 3; i++)
        rig_ask(rig, &asked[i], &restart);
    rig_remove(rig, "hold");
    for (unsigned i = 0; i < HOST_CHANGES_MAX + 3; i++) {
        rig_wait(rig, &asked[i].done, 1);
        refused += asked[i].request.status == -EBUSY;
        assert_true(asked[i].request.status == 0 || i > HOST_CHANGES_MAX);
    }
    assert_int_equal(refused, 2);
}

static void readers_share_an_answer_and_do_not_wait_for_all_changes(void **state)
{
    struct rig *rig = *state;
    struct asked readers[5], changes[2];
    put(rig, "state", CAN);
    start(rig);
    put(rig, "hold", "");
    rig_ask(rig, &changes[0], &restart);
    rig_ask(rig, &changes[1], &restart);
    rig_pass(rig, 20);
    for (unsigned i = 0; i < 5; i++)
        rig_ask(rig, &readers[i], &get);
    rig_remove(rig, "hold");
    rig_wait(rig, &readers[4].done, 1);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(readers[i].done, 1);
    rig_wait(rig, &changes[1].done, 1);
    rig_expect_file(rig, "calls", "reset ForceRestart\nget\nreset ForceRestart\n"); /* the readers' one comes first */
}

static void too_many_readers_are_refused(void **state)
{
    struct rig *rig = *state;
    static struct asked asked[HOST_READERS_MAX + 1];
    put(rig, "state", CAN);
    start(rig);
    assert_int_equal(rig_reset(rig, HOST_RESET_ON), 0);
    for (unsigned i = 0; i <= HOST_READERS_MAX; i++)
        rig_ask(rig, &asked[i], &get);
    for (unsigned i = 0; i <= HOST_READERS_MAX; i++)
        rig_wait(rig, &asked[i].done, 1);
    assert_int_equal(asked[HOST_READERS_MAX - 1].request.status, 0);
    assert_int_equal(asked[HOST_READERS_MAX].request.status, -EBUSY);
}

static void an_answer_serves_for_a_while(void **state)
{
    struct rig *rig = *state;
    put(rig, "state", CAN "PowerState On\n");
    start(rig);
    put(rig, "state", CAN "PowerState Off\n");
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig_get(rig), 0);
    assert_int_equal(host_get_state(rig->host)->power, HOST_POWER_ON);
    rig_expect_file(rig, "calls", "");
    rig_pass(rig, HOST_FRESH_MS + 100);
    assert_int_equal(rig_get(rig), 0);
    assert_int_equal(host_get_state(rig->host)->power, HOST_POWER_OFF);
    put(rig, "state", CAN "PowerState PoweringOn\n");
    assert_int_equal(rig_reset(rig, HOST_RESET_ON), 0); /* makes it old at once */
    assert_int_equal(rig_get(rig), 0);
    assert_int_equal(host_get_state(rig->host)->power, HOST_POWER_POWERING_ON);
    rig_expect_file(rig, "calls", "get\nreset On\nget\n");
}

static void a_failure_serves_for_a_while_too(void **state)
{
    struct rig *rig = *state;
    put(rig, "state", CAN "PowerState On\n");
    start(rig);
    put(rig, "state", "PowerState Broken\n");
    rig_pass(rig, HOST_FRESH_MS + 100);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig_get(rig), -EPROTO);
    rig_expect_file(rig, "calls", "get\n");
    const struct host_state *now = host_get_state(rig->host);
    assert_int_equal(now->status, -EPROTO);
    assert_non_null(strstr(now->error, "Broken"));
    assert_int_equal(now->power, HOST_POWER_UNKNOWN);
    assert_true(now->known && now->resets && now->targets); /* what it can do stays */
}

static void the_platform_is_asked_at_the_start(void **state)
{
    struct rig *rig = *state;
    put(rig, "state", CAN "PowerState On\n");
    rig_hook(rig, HOOK);
    rig_start(rig, 20000, false);
    assert_false(host_get_state(rig->host)->known);
    for (int i = 0; i < 200 && !host_get_state(rig->host)->known; i++)
        rig_pass(rig, 20);
    assert_int_equal(host_get_state(rig->host)->power, HOST_POWER_ON);
}

/* --- the boot override --- */

static void one_is_remembered_for_a_platform_that_does_not_tell(void **state)
{
    struct rig *rig = *state;
    put(rig, "state", CAN);
    start(rig);
    expect_boot(rig, "None Disabled");
    assert_int_equal(rig_boot(rig, HOST_TARGET_CD, HOST_ONCE), 0);
    expect_boot(rig, "Cd Once");
    assert_int_equal(rig_reset(rig, HOST_RESET_FORCE_OFF), 0);
    expect_boot(rig, "Cd Once"); /* it has not booted */
    assert_int_equal(rig_reset(rig, HOST_RESET_ON), 0);
    expect_boot(rig, "None Disabled");
    assert_int_equal(rig_boot(rig, HOST_TARGET_USB, HOST_CONTINUOUS), 0);
    assert_int_equal(rig_reset(rig, HOST_RESET_FORCE_RESTART), 0);
    expect_boot(rig, "Usb Continuous");
    rig_hook(rig, HOOK "\nexit 1");
    assert_int_equal(rig_boot(rig, HOST_TARGET_CD, HOST_ONCE), -EIO);
    rig_hook(rig, HOOK);
    expect_boot(rig, "Usb Continuous");
}

static void what_the_platform_tells_is_so(void **state)
{
    struct rig *rig = *state;
    put(rig, "state", CAN "Boot Usb Once Legacy\n");
    start(rig);
    expect_boot(rig, "Usb Once Legacy");
    assert_int_equal(rig_boot(rig, HOST_TARGET_CD, HOST_CONTINUOUS), 0);
    expect_boot(rig, "Usb Once Legacy");
    assert_int_equal(rig_reset(rig, HOST_RESET_ON), 0);
    expect_boot(rig, "Usb Once Legacy");
}

static void what_the_platform_can_not_do_is_refused(void **state)
{
    struct rig *rig = *state;
    struct asked asked;
    char error[HOST_ERROR_MAX];
    struct host_request legacy = {.verb = HOST_BOOT, .boot = {HOST_TARGET_CD, HOST_ONCE, HOST_MODE_LEGACY}};
    put(rig, "state", "ResetTypes On\nBootTargets Cd\nBootModes UEFI\n");
    start(rig);
    assert_int_equal(rig_do(rig, &asked, &restart), -ENOTSUP);
    assert_string_equal(asked.request.error, "the platform does not offer reset ForceRestart");
    assert_true(host_problem(rig->host, &restart, error));
    assert_string_equal(error, asked.request.error);
    assert_int_equal(rig_boot(rig, HOST_TARGET_USB, HOST_ONCE), -ENOTSUP);
    assert_int_equal(rig_do(rig, &asked, &legacy), -ENOTSUP);
    assert_string_equal(asked.request.error, "the platform does not offer boot Legacy");
    rig_expect_file(rig, "calls", "");
    legacy.boot.mode = HOST_MODE_UEFI;
    assert_int_equal(rig_do(rig, &asked, &legacy), 0);
    rig_expect_file(rig, "calls", "boot Cd Once UEFI\n");
}

/* --- other options --- */

static void without_a_platform_nothing_can_be_done(void **state)
{
    struct rig *rig = *state;
    struct host_options none = {.hook = "", .dbus = "", .timeout_ms = 1000};
    struct asked asked;
    char error[HOST_ERROR_MAX];
    assert_true(host_check(&none, error));
    rig->host = host_new(&rig->loop, &none);
    assert_false(host_is_configured(rig->host));
    assert_int_equal(rig_get(rig), -ENODEV);
    assert_int_equal(rig_do(rig, &asked, &restart), -ENODEV);
    assert_non_null(strstr(asked.request.error, "set hook or dbus in section [host]"));
    assert_true(host_problem(rig->host, &restart, error));
}

static void options_that_are_wrong_are_told(void **state)
{
    (void)state;
    static const struct {
        struct host_options options;
        const char *words;
    } bad[] = {{{"/bin/sh", "system", 1000, NULL}, "exclude each other"},
               {{"hook", "", 1000, NULL}, "hook: hook is not absolute (give an absolute path)"},
               {{"", "tcp:host=x", 1000, NULL}, "dbus:"},
               {{"", "unix:path=/x;unix:path=/y", 1000, NULL}, "dbus:"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char error[HOST_ERROR_MAX] = "";
        assert_false(host_check(&bad[i].options, error));
        assert_non_null(strstr(error, bad[i].words));
    }
}

static void other_options_hold_after_what_runs(void **state)
{
    struct rig *rig = *state;
    struct asked running, waiting;
    char other[120];
    put(rig, "state", CAN "PowerState On\n");
    start(rig);
    put(rig, "hold", "");
    rig_ask(rig, &running, &restart);
    rig_pass(rig, 20);
    snprintf(other, sizeof other, "%s/other", rig->folder);
    assert_int_equal(link(rig->hook, other), 0);
    host_reload(rig->host, &(struct host_options){.hook = other, .dbus = "", .timeout_ms = 20000});
    rig_ask(rig, &waiting, &restart);
    rig_remove(rig, "hold");
    rig_wait(rig, &waiting.done, 1);
    assert_int_equal(running.done, 1);
    assert_int_equal(running.request.status, 0);
    assert_int_equal(waiting.request.status, 0);
    host_reload(rig->host, &(struct host_options){.hook = "", .dbus = "", .timeout_ms = 20000});
    assert_int_equal(rig_get(rig), -ENODEV);
    assert_false(host_get_state(rig->host)->known);
    host_reload(rig->host, &(struct host_options){.hook = other, .dbus = "", .timeout_ms = 20000});
    assert_int_equal(rig_get(rig), 0);
    assert_int_equal(host_get_state(rig->host)->power, HOST_POWER_ON);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(changes_run_one_at_a_time_in_their_order),
        TEST(a_change_for_one_occasion_is_made_once),
        TEST(a_reset_is_joined_with_the_boot_source_that_it_follows),
        TEST(too_many_changes_are_refused),
        TEST(readers_share_an_answer_and_do_not_wait_for_all_changes),
        TEST(too_many_readers_are_refused),
        TEST(an_answer_serves_for_a_while),
        TEST(a_failure_serves_for_a_while_too),
        TEST(the_platform_is_asked_at_the_start),
        TEST(one_is_remembered_for_a_platform_that_does_not_tell),
        TEST(what_the_platform_tells_is_so),
        TEST(what_the_platform_can_not_do_is_refused),
        TEST(without_a_platform_nothing_can_be_done),
        TEST(options_that_are_wrong_are_told),
        TEST(other_options_hold_after_what_runs),
    };
    log_setup(LOG_TO_STDERR, LOG_LEVEL_ERROR - 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
