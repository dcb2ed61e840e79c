/*
 * The slot's debts, with a fake kernel: from each place where a slot can wait,
 * each event ends where it should, every caller is answered as he should be, and
 * nothing is left: no device, no gadget, no handle.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/work.h"
#include "slot_rig.h"

#define POOL       (CONFIG_SLOTS_MAX + 4)
#define HANG_TURNS 1200 /* longer than step-timeout */

/* --- the pool, on which sources open and close --- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool held;
    unsigned left;
    struct work work[POOL];
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void on_hold(struct work *work)
{
    (void)work;
    pthread_mutex_lock(&pool.lock);
    while (pool.held)
        pthread_cond_wait(&pool.changed, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
}

static void on_held(struct work *work)
{
    (void)work;
    pool.left--;
}

/* What is started from now on waits. */
static void pool_hold(struct rig *rig)
{
    pool.held = true;
    pool.left = POOL;
    for (unsigned i = 0; i < POOL; i++)
        work_start(&rig->loop, &pool.work[i], on_hold, on_held);
}

static void pool_release(void)
{
    pthread_mutex_lock(&pool.lock);
    pool.held = false;
    pthread_cond_broadcast(&pool.changed);
    pthread_mutex_unlock(&pool.lock);
}

/* --- the places --- */

enum place {
    EMPTY,
    PREPARING,
    REMOVING,
    OPENING,
    ATTACHING,
    GOING_ON,
    BINDING,
    READY,
    RECONNECTING,
    UNBINDING,
    DETACHING,
    CLOSING,
    PLACES
};

static const struct {
    const char *name;
    enum slot_state state;
    enum fake_call call; /* the kernel waits in it */
    bool pool;           /* the source waits for a thread */
} places[PLACES] = {
    [EMPTY] = {"empty", SLOT_EMPTY, FAKE_NONE, false},
    [PREPARING] = {"empty, its gadget being made", SLOT_EMPTY, FAKE_PREPARE, false},
    [REMOVING] = {"empty, its old gadget being removed", SLOT_EMPTY, FAKE_REMOVE, false},
    [OPENING] = {"opening", SLOT_OPENING, FAKE_NONE, true},
    [ATTACHING] = {"attaching", SLOT_ATTACHING, FAKE_CONNECT, false},
    [GOING_ON] = {"attaching, after a restart", SLOT_ATTACHING, FAKE_RECONNECT, false},
    [BINDING] = {"binding", SLOT_BINDING, FAKE_INSERT, false},
    [READY] = {"ready", SLOT_READY, FAKE_NONE, false},
    [RECONNECTING] = {"ready, a connection being replaced", SLOT_READY, FAKE_RECONNECT, false},
    [UNBINDING] = {"unbinding", SLOT_UNBINDING, FAKE_EJECT, false},
    [DETACHING] = {"detaching", SLOT_DETACHING, FAKE_DISCONNECT, false},
    [CLOSING] = {"closing", SLOT_CLOSING, FAKE_NONE, true},
};

enum event { EVENT_INSERT, EVENT_EJECT, EVENT_LOST, EVENT_FAILS, EVENT_HANGS, EVENT_SHUTDOWN, EVENT_RELOAD, EVENTS };
static const char *const event_names[] = {"insert",     "eject",    "source lost", "step fails",
                                          "step hangs", "shutdown", "reload"};

static char going[64]; /* an image that may go away */

static bool goes_left(enum place at)
{
    return at >= UNBINDING;
}

static bool waits_empty(enum place at)
{
    return places[at].state == SLOT_EMPTY;
}

static void reload(struct rig *rig, const char *product)
{
    char error[CONFIG_ERROR_MAX], text[64];
    snprintf(text, sizeof text, "slot.s0.usb-product=%s", product);
    slot_rig_set(rig, text);
    assert_int_equal(slots_reload(rig->slots, &rig->config, error), 0);
}

static void begin_waiting(struct rig *rig, enum place at)
{
    switch (at) {
    case REMOVING:
        reload(rig, "Changed");
        break;
    case OPENING:
        pool_hold(rig);
        slot_rig_insert(rig, going);
        break;
    case ATTACHING:
    case BINDING:
        slot_rig_insert(rig, image);
        break;
    case RECONNECTING:
        slot_rig_slot(rig)->device.lost = 1; /* as the kernel's news would have it */
        slot_step(slot_rig_slot(rig));
        break;
    case UNBINDING:
    case DETACHING:
        slot_rig_eject(rig);
        break;
    case CLOSING: /* its call to the kernel ends when the pool is full of others */
        fake_kernel_hold(FAKE_DISCONNECT);
        slot_rig_eject(rig);
        until(rig, fake_kernel_held());
        pool_hold(rig);
        fake_kernel_release();
        break;
    default:
        break;
    }
}

static bool waits(struct rig *rig, enum place at)
{
    return slot_rig_state(rig) == places[at].state && (places[at].call == FAKE_NONE || fake_kernel_held());
}

static void bring_to(struct rig *rig, enum place at)
{
    bool from_start = at == PREPARING || at == GOING_ON;
    if (at == GOING_ON) {
        slot_rig_write_media(image, IMAGE_SIZE);
        fake_kernel_connect_as(0, "nbd-proxy:s0");
    }
    if (from_start)
        fake_kernel_hold(places[at].call);
    slot_rig_run(rig);
    if (!from_start)
        until(rig, slot_rig_settled(rig));
    if (at >= READY)
        slot_rig_bring_ready(rig);
    if (!from_start)
        fake_kernel_hold(places[at].call);
    begin_waiting(rig, at);
    until(rig, waits(rig, at));
}

/* --- the events --- */

static int second; /* of the event's insert; -1: not answered */

static void on_second(void *arg, int status, const char *error)
{
    (void)arg;
    (void)error;
    second = -status;
}

static void insert_second(struct rig *rig)
{
    struct slot_insert_options options = {.verify = -1, .writable = -1};
    slot_insert(slot_rig_slot(rig), other_image, &options, on_second, NULL);
}

/* A call to the kernel gets help: the source is closed, so that its reads end. A
 * source can only be waited for. */
static void hang(struct rig *rig, enum place at)
{
    if (places[at].call != FAKE_NONE) {
        until(rig, slot_rig_slot(rig)->device.forced > 0);
        assert_true(!slot_rig_slot(rig)->source || slot_rig_slot(rig)->source->state >= SOURCE_CLOSING);
        return;
    }
    for (int i = 0; i < HANG_TURNS; i++)
        slot_rig_turn(rig);
    assert_int_equal(slot_rig_state(rig), places[at].state);
}

static void fire(struct rig *rig, enum event event, enum place at)
{
    struct source *source = slot_rig_slot(rig)->source;
    switch (event) {
    case EVENT_INSERT:
        insert_second(rig);
        break;
    case EVENT_EJECT:
        slot_rig_eject(rig);
        break;
    case EVENT_LOST:
        source->died(source, -EIO);
        break;
    case EVENT_FAILS:
        if (at == OPENING)
            unlink(going);
        else
            fake_kernel_fail(places[at].call);
        break;
    case EVENT_HANGS:
        hang(rig, at);
        break;
    case EVENT_SHUTDOWN:
        slot_rig_begin_shutdown(rig);
        break;
    case EVENT_RELOAD:
        reload(rig, "Another");
        break;
    case EVENTS:
        break;
    }
}

/* Nothing is lost without a source, nothing fails or hangs where nobody waits, and
 * closing a file doesn't fail. */
static bool can_be(enum place at, enum event event)
{
    bool step = places[at].call != FAKE_NONE || places[at].pool;
    if (event == EVENT_LOST)
        return !waits_empty(at);
    if (event == EVENT_FAILS)
        return step && at != CLOSING;
    return event != EVENT_HANGS || step;
}

/* --- where it ends --- */

/* Where the slot comes to rest: true for READY. A medium of before a restart is
 * tried again, and its device made anew, until somebody wants otherwise. */
static bool ends_ready(enum place at, enum event event)
{
    if (waits_empty(at))
        return event == EVENT_INSERT && at != REMOVING;
    if (goes_left(at) || event == EVENT_EJECT || event == EVENT_RELOAD)
        return false;
    if (at == GOING_ON || event == EVENT_INSERT)
        return true;
    if (event == EVENT_FAILS)
        return at == RECONNECTING;
    return event == EVENT_HANGS && at == OPENING;
}

/* What the insert that brought the slot there is answered. */
static int first_answer(enum place at, enum event event)
{
    if (waits_empty(at) || at == GOING_ON)
        return -1; /* there was none */
    if (at >= READY || ends_ready(at, event))
        return 0;
    switch (event) {
    case EVENT_LOST:
        return EIO;
    case EVENT_FAILS:
        return at == OPENING ? ENOENT : EIO;
    case EVENT_HANGS:
        return ETIMEDOUT;
    default:
        return ECANCELED;
    }
}

static void check_answers(struct rig *rig, enum place at, enum event event)
{
    assert_int_equal(rig->inserted, first_answer(at, event));
    if (event == EVENT_INSERT)
        assert_int_equal(second, ends_ready(at, event) && waits_empty(at) ? 0 : EBUSY);
    if (event == EVENT_EJECT || goes_left(at))
        assert_int_equal(rig->ejected, 0);
}

static bool all_answered(const struct rig *rig, enum place at, enum event event)
{
    return (rig->inserted >= 0 || first_answer(at, event) < 0) && (second >= 0 || event != EVENT_INSERT) &&
           (rig->ejected >= 0 || !(event == EVENT_EJECT || goes_left(at)));
}

static void come_to_rest(struct rig *rig, enum place at, enum event event)
{
    bool ready = ends_ready(at, event);
    until(rig,
          ready ? slot_rig_state(rig) == SLOT_READY && !slot_rig_slot(rig)->device.running : slot_rig_settled(rig));
    until(rig, all_answered(rig, at, event));
    check_answers(rig, at, event);
    assert_int_equal(fake_kernel_medium("nbd-proxy-s0"), ready);
    /* A device that can't be disconnected is left to the sweep before the next medium. */
    assert_int_equal(fake_kernel_connected(0), ready || (at == DETACHING && event == EVENT_FAILS));
    if (event == EVENT_RELOAD)
        assert_string_equal(slot_rig_slot(rig)->device.gadget.product, "Another");
    fake_kernel_fail(FAKE_NONE);
    slot_rig_stop(rig);
}

static void one_case(enum place at, enum event event)
{
    struct rig rig;
    print_message("%s: %s\n", places[at].name, event_names[event]);
    second = -1;
    if (access(going, F_OK) != 0)
        assert_int_equal(link(image, going), 0);
    fake_kernel_reset();
    slot_rig_start(&rig, 1);
    bring_to(&rig, at);
    fire(&rig, event, at);
    fake_kernel_release();
    pool_release();
    if (event == EVENT_SHUTDOWN) {
        until(&rig, rig.closed && pool.left == 0);
        check_answers(&rig, at, event);
        slot_rig_finish(&rig);
        return;
    }
    until(&rig, pool.left == 0);
    come_to_rest(&rig, at, event);
}

static void each_event_in_each_place_ends_where_it_should(void **unused)
{
    (void)unused;
    unsigned cases = 0;
    snprintf(going, sizeof going, "%s/going", slot_folder);
    for (enum place at = 0; at < PLACES; at++)
        for (enum event event = 0; event < EVENTS; event++)
            if (can_be(at, event)) {
                one_case(at, event);
                cases++;
            }
    unlink(going);
    assert_int_equal(cases, PLACES * EVENTS - 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_event_in_each_place_ends_where_it_should),
    };
    return cmocka_run_group_tests(tests, slot_rig_set_up, slot_rig_tear_down);
}
