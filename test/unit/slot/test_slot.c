/*
 * The slot's debts, with a fake kernel: from each state, each event ends where it
 * should, and nothing is left: no device, no gadget, no handle.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "base/log.h"
#include "base/text.h"
#include "base/work.h"
#include "fake_kernel.h"
#include "slot/slot_internal.h"

#define IMAGE_SIZE (1u << 20)
#define TURNS 20000

static char folder[] = "/tmp/test_slot_XXXXXX";
static char image[64], other_image[64];

struct rig {
    uv_loop_t loop;
    struct config config;
    uv_timer_t timer;
    struct slots *slots;
    int inserted, ejected; /* -1: not answered, else -errno as positive */
    bool closed;
};

/* --- running --- */

static void on_wake(uv_timer_t *timer)
{
    (void)timer;
}

/* One turn of the loop, of 1 ms at most. */
static void turn(struct rig *rig)
{
    uv_run(&rig->loop, UV_RUN_ONCE);
}

#define until(rig, condition)                                                                                          \
    do {                                                                                                               \
        int turns = 0;                                                                                                 \
        while (!(condition) && turns++ < TURNS)                                                                        \
            turn(rig);                                                                                                 \
        assert_true(condition);                                                                                        \
    } while (0)

static struct slot *slot_of(struct rig *rig)
{
    return slots_get(rig->slots, 0);
}

static enum slot_state state(struct rig *rig)
{
    return slot_of(rig)->state;
}

static bool settled(struct rig *rig)
{
    return state(rig) == SLOT_EMPTY && !slot_of(rig)->device.running;
}

static void on_inserted(void *arg, int status, const char *error)
{
    (void)error;
    ((struct rig *)arg)->inserted = -status;
}

static void on_ejected(void *arg, int status, const char *error)
{
    (void)error;
    ((struct rig *)arg)->ejected = -status;
}

static void insert(struct rig *rig, const char *path)
{
    struct slot_insert_options options = {.verify = -1, .writable = -1};
    rig->inserted = -1;
    slot_insert(slot_of(rig), path, &options, on_inserted, rig);
}

static void eject(struct rig *rig)
{
    rig->ejected = -1;
    slot_eject(slot_of(rig), on_ejected, rig);
}

static void set(struct rig *rig, const char *assignment)
{
    char error[CONFIG_ERROR_MAX];
    if (config_set(&rig->config, assignment, error) != 0)
        fail_msg("%s", error);
}

static void start(struct rig *rig, unsigned slots)
{
    char error[CONFIG_ERROR_MAX], text[128];
    memset(rig, 0, sizeof *rig);
    uv_loop_init(&rig->loop);
    defer_init(&rig->loop);
    uv_timer_init(&rig->loop, &rig->timer);
    uv_timer_start(&rig->timer, on_wake, 1, 1);
    assert_int_equal(config_parse(&rig->config, "test", "[slot s0]\nattach = usb\n", error), 0);
    for (unsigned i = 1; i < slots; i++) {
        snprintf(text, sizeof text, "slot.s%u.attach=usb", i);
        set(rig, text);
    }
    snprintf(text, sizeof text, "daemon.runtime-dir=%s", folder);
    set(rig, text);
    set(rig, "daemon.step-timeout=1s");
    set(rig, "daemon.cache-slot-minimum=0");
}

static void run(struct rig *rig)
{
    char error[CONFIG_ERROR_MAX];
    rig->slots = slots_new(&rig->loop, &rig->config, &fake_kernel, error);
    if (!rig->slots)
        fail_msg("%s", error);
}

/* One slot, and a kernel that knows of nothing. */
static void start_fresh(struct rig *rig)
{
    fake_kernel_reset();
    start(rig, 1);
    run(rig);
}

static void on_closed(void *arg)
{
    ((struct rig *)arg)->closed = true;
}

static void begin_shutdown(struct rig *rig)
{
    slots_close(rig->slots, on_closed, rig);
}

static void on_left_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        fail_msg("a handle of type %s was left", uv_handle_type_name(handle->type));
}

/* All is closed, the loop is empty, the kernel has nothing. */
static void finish(struct rig *rig)
{
    until(rig, rig->closed);
    uv_close((uv_handle_t *)&rig->timer, NULL);
    defer_close(&rig->loop);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    uv_walk(&rig->loop, on_left_handle, NULL);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    assert_string_equal(fake_kernel_left(), "");
    config_free(&rig->config);
}

static void stop(struct rig *rig)
{
    begin_shutdown(rig);
    finish(rig);
}

/* --- every state, every event --- */

enum event { EVENT_INSERT, EVENT_EJECT, EVENT_LOST, EVENT_FAILS, EVENT_HANGS, EVENT_SHUTDOWN, EVENT_RELOAD, EVENTS };
static const char *const event_names[] = {"insert", "eject", "source lost", "step fails", "step hangs", "shutdown", "reload"};

/* The call in which the kernel waits, for states that have one. */
static enum fake_call call_of(enum slot_state state)
{
    static const enum fake_call calls[] = {
        [SLOT_ATTACHING] = FAKE_CONNECT, [SLOT_BINDING] = FAKE_INSERT, [SLOT_UNBINDING] = FAKE_EJECT, [SLOT_DETACHING] = FAKE_DISCONNECT};
    return state < sizeof calls / sizeof calls[0] ? calls[state] : FAKE_NONE;
}

static bool goes_left(enum slot_state state)
{
    return state >= SLOT_UNBINDING;
}

static void bring_to(struct rig *rig, enum slot_state wanted)
{
    until(rig, settled(rig));
    if (wanted == SLOT_EMPTY)
        return;
    if (!goes_left(wanted))
        fake_kernel_hold(call_of(wanted));
    insert(rig, image);
    if (goes_left(wanted)) {
        until(rig, state(rig) == SLOT_READY);
        fake_kernel_hold(call_of(wanted));
        eject(rig);
    }
    until(rig, state(rig) == wanted && (call_of(wanted) == FAKE_NONE || fake_kernel_held()));
}

static void reload(struct rig *rig)
{
    char error[CONFIG_ERROR_MAX];
    set(rig, "slot.s0.usb-product=Another");
    assert_int_equal(slots_reload(rig->slots, &rig->config, error), 0);
}

static void fire(struct rig *rig, enum event event, enum slot_state at)
{
    switch (event) {
    case EVENT_INSERT:
        insert(rig, other_image);
        break;
    case EVENT_EJECT:
        eject(rig);
        break;
    case EVENT_LOST: {
        struct source *source = slot_of(rig)->source;
        if (source)
            source->died(source, -EIO);
        break;
    }
    case EVENT_FAILS:
        fake_kernel_fail(call_of(at));
        break;
    case EVENT_HANGS:
        if (call_of(at) != FAKE_NONE) {
            until(rig, slot_of(rig)->device.forced > 0);
            assert_true(slot_of(rig)->source->state >= SOURCE_CLOSING);
        }
        break;
    case EVENT_SHUTDOWN:
        begin_shutdown(rig);
        break;
    case EVENT_RELOAD:
        reload(rig);
        break;
    case EVENTS:
        break;
    }
}

/* Where the slot comes to rest: true for READY. */
static bool ends_ready(enum slot_state at, enum event event)
{
    bool has_call = call_of(at) != FAKE_NONE;
    if (at == SLOT_EMPTY)
        return event == EVENT_INSERT;
    if (goes_left(at) || event == EVENT_EJECT || event == EVENT_LOST || event == EVENT_SHUTDOWN || event == EVENT_RELOAD)
        return false;
    return event == EVENT_INSERT || !has_call;
}

static void check_answers(struct rig *rig, enum slot_state at, enum event event)
{
    if (event == EVENT_INSERT)
        assert_int_equal(rig->inserted, at == SLOT_EMPTY ? 0 : at < SLOT_READY ? rig->inserted : EBUSY);
    else if (at == SLOT_EMPTY)
        return;
    else
        assert_true(rig->inserted >= 0); /* nobody waits for ever */
    if (event == EVENT_EJECT || goes_left(at))
        assert_int_equal(rig->ejected, 0);
}

static void one_case(enum slot_state at, enum event event)
{
    struct rig rig;
    start_fresh(&rig);
    bring_to(&rig, at);
    fire(&rig, event, at);
    fake_kernel_release();
    if (event != EVENT_SHUTDOWN) {
        bool ready = ends_ready(at, event);
        until(&rig, ready ? state(&rig) == SLOT_READY : settled(&rig));
        until(&rig, at == SLOT_EMPTY || rig.inserted >= 0);
        check_answers(&rig, at, event);
        assert_int_equal(fake_kernel_medium("nbd-proxy-s0"), ready);
        fake_kernel_fail(FAKE_NONE);
        stop(&rig);
    } else {
        finish(&rig);
    }
}

static void each_event_in_each_state_ends_where_it_should(void **unused)
{
    (void)unused;
    for (enum slot_state at = SLOT_EMPTY; at <= SLOT_CLOSING; at++)
        for (enum event event = 0; event < EVENTS; event++) {
            print_message("%s: %s\n", slot_state_name(at), event_names[event]);
            one_case(at, event);
        }
}

/* --- particular ones --- */

static void a_medium_that_can_not_be_taken_out_is_swept_before_the_next(void **unused)
{
    (void)unused;
    struct rig rig;
    start_fresh(&rig);
    bring_to(&rig, SLOT_READY);
    fake_kernel_fail(FAKE_DISCONNECT);
    eject(&rig);
    until(&rig, settled(&rig));
    assert_true(fake_kernel_connected(0));
    fake_kernel_fail(FAKE_NONE);
    insert(&rig, image);
    until(&rig, rig.inserted >= 0);
    assert_int_equal(rig.inserted, 0);
    stop(&rig);
}

static void a_failure_says_what_the_kernel_said(void **unused)
{
    (void)unused;
    struct rig rig;
    struct slot_status status;
    start_fresh(&rig);
    until(&rig, settled(&rig));
    fake_kernel_fail(FAKE_INSERT);
    insert(&rig, image);
    until(&rig, rig.inserted >= 0);
    assert_int_equal(rig.inserted, EIO);
    slot_get_status(slot_of(&rig), &status);
    assert_string_equal(status.error, "the kernel fails");
    assert_int_equal(status.state, SLOT_EMPTY);
    assert_false(fake_kernel_connected(0));
    stop(&rig);
}

/* Each attach job holds a thread until a read of a file source has had another. */
static void attaching_many_slots_that_read_does_not_deadlock(void **unused)
{
    (void)unused;
    struct rig rig;
    struct slot_insert_options options = {.verify = -1, .writable = -1};
    fake_kernel_reset();
    fake_kernel_read_at_connect(true);
    start(&rig, CONFIG_SLOTS_MAX);
    run(&rig);
    for (unsigned i = 0; i < CONFIG_SLOTS_MAX; i++)
        slot_insert(slots_get(rig.slots, i), image, &options, slot_ignore_done, NULL);
    for (unsigned i = 0; i < CONFIG_SLOTS_MAX; i++)
        until(&rig, slots_get(rig.slots, i)->state == SLOT_READY);
    assert_int_equal(fake_kernel_reads(), CONFIG_SLOTS_MAX);
    stop(&rig);
}

static void devices_of_before_are_swept_and_of_others_are_not(void **unused)
{
    (void)unused;
    struct rig rig;
    fake_kernel_reset();
    fake_kernel_connect_as(0, "nbd-proxy:s0");
    fake_kernel_connect_as(5, "somebody");
    start(&rig, 1);
    run(&rig);
    until(&rig, settled(&rig));
    assert_false(fake_kernel_connected(0));
    assert_true(fake_kernel_connected(5));
    fake_kernel_connect_as(5, "");
    stop(&rig);
}

static void write_state(const char *text)
{
    char path[96];
    snprintf(path, sizeof path, "%s/state.json", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static char *read_state(void)
{
    static char text[4096];
    char path[96];
    snprintf(path, sizeof path, "%s/state.json", folder);
    FILE *file = fopen(path, "r");
    size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    text[n] = '\0';
    return text;
}

/* What was in before the restart: the image, or what will be beside it by a name that ends so. */
static void write_medium(const char *end, unsigned size)
{
    char text[512];
    snprintf(text, sizeof text, "{\"version\": 1, \"slots\": [{\"slot\": \"s0\", \"device\": 0, \"url\": \"%s%s\", "
             "\"identity\": \"\", \"verify\": -1, \"writable\": -1, \"size\": %u}]}", image, end, size);
    write_state(text);
}

static void a_medium_of_before_a_restart_goes_on(void **unused)
{
    (void)unused;
    struct rig rig;
    write_medium("", IMAGE_SIZE);
    fake_kernel_reset();
    fake_kernel_connect_as(0, "nbd-proxy:s0");
    fake_kernel_fail(FAKE_CONNECT); /* only reconnecting will do */
    start(&rig, 1);
    run(&rig);
    until(&rig, state(&rig) == SLOT_READY);
    assert_true(fake_kernel_connected(0));
    stop(&rig);
}

static void a_connection_that_died_is_replaced(void **unused)
{
    (void)unused;
    struct rig rig;
    start_fresh(&rig);
    bring_to(&rig, SLOT_READY);
    slot_of(&rig)->device.lost = 1; /* as the kernel's news would have it */
    fake_kernel_hold(FAKE_RECONNECT);
    slot_step(slot_of(&rig));
    until(&rig, fake_kernel_held());
    assert_int_equal(state(&rig), SLOT_READY);
    eject(&rig);
    fake_kernel_release();
    until(&rig, settled(&rig));
    assert_int_equal(rig.ejected, 0);
    stop(&rig);
}

static void a_device_that_is_gone_is_made_anew(void **unused)
{
    (void)unused;
    struct rig rig;
    write_medium("", IMAGE_SIZE);
    start_fresh(&rig);
    until(&rig, state(&rig) == SLOT_READY);
    assert_true(fake_kernel_connected(0));
    stop(&rig);
}

static void a_medium_that_is_still_to_go_on_stays_in_the_file(void **unused)
{
    (void)unused;
    struct rig rig;
    char late[80], error[SLOT_ERROR_MAX];
    write_medium("-late", IMAGE_SIZE);
    fake_kernel_reset();
    fake_kernel_connect_as(0, "nbd-proxy:s0");
    start(&rig, 1);
    run(&rig);
    until(&rig, settled(&rig) && slot_of(&rig)->restoring); /* the image is not there yet */
    until(&rig, strstr(read_state(), "-late") && !strstr(read_state(), "lost"));
    assert_true(fake_kernel_connected(0));
    assert_int_equal(slot_browser_problem(slot_of(&rig), "", error), 0); /* a question decides nothing */
    snprintf(late, sizeof late, "%s-late", image);
    assert_int_equal(symlink(image, late), 0);
    until(&rig, state(&rig) == SLOT_READY);
    unlink(late);
    stop(&rig);
}

static void another_image_does_not_go_on(void **unused)
{
    (void)unused;
    struct rig rig;
    write_medium("", 77);
    fake_kernel_reset();
    fake_kernel_connect_as(0, "nbd-proxy:s0");
    start(&rig, 1);
    run(&rig);
    until(&rig, settled(&rig) && !slot_of(&rig)->restoring);
    assert_false(fake_kernel_connected(0));
    stop(&rig);
}

static void a_damaged_state_file_is_no_reason_to_fail(void **unused)
{
    (void)unused;
    static const char *const texts[] = {"", "{", "[]", "{\"version\": 1}", "{\"version\": 1, \"slots\": [1, {}, {\"slot\": 3}]}",
                                        "{\"version\": 9, \"slots\": [{\"slot\": \"s0\", \"url\": \"/x\"}]}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct rig rig;
        write_state(texts[i]);
        start_fresh(&rig);
        until(&rig, settled(&rig));
        stop(&rig);
    }
}

static void the_state_file_has_what_is_in_and_no_secrets(void **unused)
{
    (void)unused;
    struct rig rig;
    struct slot_insert_options options = {.user = "u", .password = "CANARY", .verify = -1, .writable = -1};
    struct stat st;
    char path[96];
    start_fresh(&rig);
    until(&rig, settled(&rig));
    insert(&rig, image);
    until(&rig, strstr(read_state(), image));
    snprintf(path, sizeof path, "%s/state.json", folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    eject(&rig);
    until(&rig, !strstr(read_state(), image));
    slot_insert(slot_of(&rig), image, &options, on_inserted, &rig);
    until(&rig, strstr(read_state(), "secret"));
    assert_null(strstr(read_state(), "CANARY"));
    assert_null(strstr(read_state(), image));
    stop(&rig);
}

/* --- the group --- */

static char *make_file(char *path, const char *name)
{
    snprintf(path, 64, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), IMAGE_SIZE), 0);
    fclose(file);
    return path;
}

static int set_up(void **unused)
{
    (void)unused;
    umask(077);
    work_pool_size(CONFIG_SLOTS_MAX + 4);
    log_setup(LOG_TO_STDERR, LOG_LEVEL_ERROR);
    if (!mkdtemp(folder))
        return -1;
    make_file(image, "image");
    make_file(other_image, "other");
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    char path[96];
    snprintf(path, sizeof path, "%s/state.json", folder);
    unlink(path);
    unlink(image);
    unlink(other_image);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_event_in_each_state_ends_where_it_should),
        cmocka_unit_test(a_medium_that_can_not_be_taken_out_is_swept_before_the_next),
        cmocka_unit_test(a_failure_says_what_the_kernel_said),
        cmocka_unit_test(attaching_many_slots_that_read_does_not_deadlock),
        cmocka_unit_test(devices_of_before_are_swept_and_of_others_are_not),
        cmocka_unit_test(a_medium_of_before_a_restart_goes_on),
        cmocka_unit_test(a_connection_that_died_is_replaced),
        cmocka_unit_test(a_device_that_is_gone_is_made_anew),
        cmocka_unit_test(a_medium_that_is_still_to_go_on_stays_in_the_file),
        cmocka_unit_test(another_image_does_not_go_on),
        cmocka_unit_test(a_damaged_state_file_is_no_reason_to_fail),
        cmocka_unit_test(the_state_file_has_what_is_in_and_no_secrets),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
