/* The connection to a bus: a dbus-daemon of the test's own, which comes and goes. */
#include "dbus/bus.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "../block/contract.h"
#include "../cmocka_all.h"

#define NAME     "org.example.Test"
#define TURNS_MS 20000

static const char config[] = "<busconfig><listen>unix:path=%s/bus</listen><auth>EXTERNAL</auth>"
                             "<policy context=\"default\"><allow send_destination=\"*\"/><allow eavesdrop=\"true\"/>"
                             "<allow own=\"*\"/></policy></busconfig>\n";

struct rig {
    uv_loop_t loop;
    char folder[32], address[64];
    pid_t daemon; /* 0: it does not run */
    struct bus *bus;
    struct bus_user user;
    sd_bus_slot *filter;
    unsigned ups, downs;
    bool closed, inside;
};

struct call {
    struct bus_call call;
    struct rig *rig;
    unsigned done;
    int status;
    bool replied;
};

/* --- the rig --- */

static void daemon_start(struct rig *rig)
{
    char file[64], option[96];
    snprintf(file, sizeof file, "%s/conf", rig->folder);
    snprintf(option, sizeof option, "--config-file=%s", file);
    FILE *out = fopen(file, "w");
    fprintf(out, config, rig->folder);
    fclose(out);
    snprintf(file, sizeof file, "%s/bus", rig->folder);
    unlink(file);
    rig->daemon = fork();
    if (rig->daemon == 0) {
        execlp("dbus-daemon", "dbus-daemon", option, "--nofork", "--nopidfile", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 500 && access(file, F_OK) != 0; i++)
        usleep(10000);
    assert_int_equal(access(file, F_OK), 0);
}

static void daemon_stop(struct rig *rig)
{
    if (rig->daemon) {
        kill(rig->daemon, SIGTERM);
        waitpid(rig->daemon, NULL, 0);
    }
    rig->daemon = 0;
}

/* Calls to NAME are swallowed, so that they stay without an answer. */
static int on_message(sd_bus_message *message, void *arg, sd_bus_error *error)
{
    (void)arg;
    (void)error;
    return sd_bus_message_is_method_call(message, NAME, "Swallow") > 0;
}

static void on_up(struct bus_user *user, sd_bus *connection)
{
    struct rig *rig = container_of(user, struct rig, user);
    assert_false(rig->inside);
    assert_ptr_equal(connection, bus_connection(rig->bus));
    assert_true(sd_bus_add_filter(connection, &rig->filter, on_message, rig) >= 0);
    rig->ups++;
}

static void on_down(struct bus_user *user)
{
    struct rig *rig = container_of(user, struct rig, user);
    assert_false(rig->inside);
    assert_null(bus_connection(rig->bus));
    rig->filter = sd_bus_slot_unref(rig->filter);
    rig->downs++;
}

static void make(struct rig *rig, const char *name)
{
    char error[256];
    struct bus_options options = {.bus = rig->address, .name = name};
    rig->bus = bus_new(&rig->loop, &options, error, sizeof error);
    assert_non_null(rig->bus);
    rig->user.up = on_up;
    rig->user.down = on_down;
    bus_add_user(rig->bus, &rig->user);
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    strcpy(rig->folder, "/tmp/np-bus-XXXXXX");
    assert_non_null(mkdtemp(rig->folder));
    snprintf(rig->address, sizeof rig->address, "unix:path=%s/bus", rig->folder);
    test_loop_begin(&rig->loop);
    *state = rig;
    return 0;
}

static void on_closed(void *arg)
{
    struct rig *rig = arg;
    assert_false(rig->inside);
    assert_false(rig->closed);
    rig->closed = true;
}

static void on_too_long(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static void run_until(struct rig *rig, const bool *flag, const unsigned *count, unsigned wanted)
{
    bool late = false;
    uv_timer_t timer;
    uv_timer_init(&rig->loop, &timer);
    timer.data = &late;
    uv_timer_start(&timer, on_too_long, TURNS_MS, 0);
    while (!late && !(flag ? *flag : *count >= wanted))
        uv_run(&rig->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&rig->loop, UV_RUN_NOWAIT);
    assert_false(late);
}

static void close_bus(struct rig *rig)
{
    rig->inside = true;
    bus_close(rig->bus, on_closed, rig);
    rig->inside = false;
    run_until(rig, &rig->closed, NULL, 0);
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    char path[64];
    test_loop_end(&rig->loop);
    daemon_stop(rig);
    static const char *const files[] = {"conf", "bus"};
    for (unsigned i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", rig->folder, files[i]);
        unlink(path);
    }
    rmdir(rig->folder);
    free(rig);
    return 0;
}

/* --- calls --- */

static void on_done(struct bus_call *base, int status, sd_bus_message *reply)
{
    struct call *call = container_of(base, struct call, call);
    assert_false(call->rig->inside);
    call->done++;
    call->status = status;
    call->replied = reply;
}

static void start(struct rig *rig, struct call *call, const char *destination, const char *interface,
                  const char *member, uint64_t timeout_ms)
{
    sd_bus_message *message = NULL;
    sd_bus *connection = bus_connection(rig->bus);
    memset(call, 0, sizeof *call);
    call->rig = rig;
    call->call.done = on_done;
    if (connection)
        assert_true(sd_bus_message_new_method_call(connection, &message, destination, "/", interface, member) >= 0);
    rig->inside = true;
    bus_call_start(rig->bus, &call->call, message, timeout_ms);
    rig->inside = false;
    sd_bus_message_unref(message);
}

static void swallowed(struct rig *rig, struct call *call, uint64_t timeout_ms)
{
    start(rig, call, NAME, NAME, "Swallow", timeout_ms);
}

static void expect(struct rig *rig, struct call *call, int status)
{
    run_until(rig, NULL, &call->done, 1);
    assert_int_equal(call->done, 1);
    assert_int_equal(call->status, status);
}

static void wait_name(struct rig *rig)
{
    struct call call;
    do {
        start(rig, &call, NAME, "org.freedesktop.DBus.Peer", "Ping", 5000);
        run_until(rig, NULL, &call.done, 1);
    } while (call.status != 0);
}

/* --- tests --- */

static void test_calls_are_answered(void **state)
{
    struct rig *rig = *state;
    struct call call;
    daemon_start(rig);
    make(rig, NAME);
    start(rig, &call, "org.freedesktop.DBus", "org.freedesktop.DBus", "GetId", 5000);
    expect(rig, &call, -ENOTCONN); /* too early */
    run_until(rig, NULL, &rig->ups, 1);
    start(rig, &call, "org.freedesktop.DBus", "org.freedesktop.DBus", "GetId", 5000);
    expect(rig, &call, 0);
    assert_true(call.replied);
    start(rig, &call, "org.example.Nobody", NAME, "Swallow", 5000);
    run_until(rig, NULL, &call.done, 1);
    assert_true(call.status < 0 && call.status != -ETIMEDOUT);
    wait_name(rig);
    swallowed(rig, &call, 50);
    expect(rig, &call, -ETIMEDOUT);
    close_bus(rig);
    assert_int_equal(rig->downs, 1);
}

static void test_a_call_is_cancelled_once(void **state)
{
    struct rig *rig = *state;
    struct call call, idle = {.done = 0};
    daemon_start(rig);
    make(rig, NAME);
    run_until(rig, NULL, &rig->ups, 1);
    wait_name(rig);
    swallowed(rig, &call, 5000);
    uv_run(&rig->loop, UV_RUN_NOWAIT);
    rig->inside = true;
    bus_call_cancel(&call.call);
    bus_call_cancel(&call.call);
    bus_call_cancel(&idle.call);
    rig->inside = false;
    expect(rig, &call, -ECANCELED);
    bus_call_cancel(&call.call);
    close_bus(rig);
    assert_int_equal(call.done, 1);
}

static void test_calls_are_bounded(void **state)
{
    struct rig *rig = *state;
    static struct call calls[BUS_CALLS_MAX + 1];
    daemon_start(rig);
    make(rig, NAME);
    run_until(rig, NULL, &rig->ups, 1);
    wait_name(rig);
    for (unsigned i = 0; i <= BUS_CALLS_MAX; i++)
        swallowed(rig, &calls[i], 10000);
    expect(rig, &calls[BUS_CALLS_MAX], -EBUSY);
    close_bus(rig);
    for (unsigned i = 0; i < BUS_CALLS_MAX; i++)
        assert_true(calls[i].done == 1 && calls[i].status == -ECANCELED);
}

static void test_closing_ends_calls_first(void **state)
{
    struct rig *rig = *state;
    struct call call;
    daemon_start(rig);
    make(rig, NAME);
    run_until(rig, NULL, &rig->ups, 1);
    wait_name(rig);
    swallowed(rig, &call, 10000);
    close_bus(rig);
    assert_true(call.done == 1 && call.status == -ECANCELED);
    assert_int_equal(rig->downs, 1);
    bus_remove_user(rig->bus, &rig->user); /* late, and harmless */
}

static void test_closing_before_the_first_turn(void **state)
{
    struct rig *rig = *state;
    make(rig, NAME);
    close_bus(rig);
    assert_true(rig->ups == 0 && rig->downs == 0);
}

static void test_closing_in_the_handshake(void **state)
{
    struct rig *rig = *state;
    daemon_start(rig);
    make(rig, "");
    uv_run(&rig->loop, UV_RUN_NOWAIT);
    close_bus(rig);
    assert_true(rig->ups == rig->downs);
}

static void test_a_bus_that_goes_and_comes_back(void **state)
{
    struct rig *rig = *state;
    struct call call;
    make(rig, NAME);
    for (int i = 0; i < 10; i++)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    daemon_start(rig);
    run_until(rig, NULL, &rig->ups, 1);
    wait_name(rig);
    swallowed(rig, &call, 10000);
    daemon_stop(rig);
    expect(rig, &call, -ENOTCONN);
    assert_int_equal(rig->downs, 1);
    daemon_start(rig);
    run_until(rig, NULL, &rig->ups, 2);
    wait_name(rig);
    close_bus(rig);
    assert_int_equal(rig->downs, 2);
}

static void test_a_user_that_comes_later_and_one_that_goes(void **state)
{
    struct rig *rig = *state;
    struct rig second = {.loop = {0}};
    daemon_start(rig);
    make(rig, "");
    run_until(rig, NULL, &rig->ups, 1);
    second.bus = rig->bus;
    second.user = rig->user;
    bus_add_user(rig->bus, &second.user);
    assert_int_equal(second.ups, 0);
    run_until(rig, NULL, &second.ups, 1);
    bus_remove_user(rig->bus, &second.user);
    second.filter = sd_bus_slot_unref(second.filter);
    close_bus(rig);
    assert_true(second.ups == 1 && second.downs == 0 && rig->ups == 1 && rig->downs == 1);
}

static void test_addresses(void **state)
{
    struct rig *rig = *state;
    static const char *const bad[] = {
        "", "none", "tcp:host=localhost,port=1", "unixexec:path=/bin/true", "unix:path=/a;unix:path=/b", "/run/bus"};
    char error[256];
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct bus_options options = {.bus = bad[i], .name = ""};
        *error = '\0';
        assert_null(bus_new(&rig->loop, &options, error, sizeof error));
        assert_true(*error);
    }
    struct bus_options options = {.bus = rig->address, .name = "no name"};
    assert_null(bus_new(&rig->loop, &options, error, sizeof error));
}

int main(void)
{
    if (access("/usr/bin/dbus-daemon", X_OK) != 0) {
        puts("dbus-daemon is not installed");
        return 77; /* automake: skipped */
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_calls_are_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_call_is_cancelled_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_calls_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closing_ends_calls_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closing_before_the_first_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closing_in_the_handshake, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_bus_that_goes_and_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_user_that_comes_later_and_one_that_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_addresses, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
