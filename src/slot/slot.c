#include "slot/slot.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/text.h"
#include "slot/slot_internal.h"

const char *slot_state_name(enum slot_state state)
{
    static const char *const names[] = {"empty",  "opening",   "attaching", "binding",
                                        "ready", "unbinding", "detaching", "closing"};
    return names[state];
}

/* --- answers --- */

static void on_slot_request(struct defer *defer)
{
    struct slot_request *request = container_of(defer, struct slot_request, defer);
    request->done(request->arg, request->status, request->error);
    mem_free(request);
}

struct slot_request *slot_request_new(slot_done *done, void *arg)
{
    struct slot_request *request = mem_alloc(sizeof *request);
    list_init(&request->link);
    defer_setup(&request->defer, on_slot_request);
    request->done = done;
    request->arg = arg;
    return request;
}

void slot_request_answer(struct slot *slot, struct slot_request *request, int status, const char *error)
{
    request->status = status;
    snprintf(request->error, sizeof request->error, "%s", error);
    defer_schedule(slot->shared->loop, &request->defer);
}

void slot_requests_init(struct slot_requests *requests)
{
    list_init(&requests->list);
    requests->count = 0;
}

void slot_requests_add(struct slot *slot, struct slot_requests *requests, struct slot_request *request)
{
    if (requests->count == SLOT_REQUESTS_MAX) {
        slot_request_answer(slot, request, -EBUSY, "too many wait for this slot already (try again)");
        return;
    }
    requests->count++;
    list_append(&requests->list, &request->link);
}

struct slot_request *slot_requests_pop(struct slot_requests *requests)
{
    struct link *first = list_pop(&requests->list);
    requests->count -= first != NULL;
    return first ? container_of(first, struct slot_request, link) : NULL;
}

void slot_requests_answer(struct slot *slot, struct slot_requests *requests, int status, const char *error)
{
    for (struct slot_request *r = slot_requests_pop(requests); r; r = slot_requests_pop(requests))
        slot_request_answer(slot, r, status, error);
}

void slot_save(struct slot *slot)
{
    slot->shared->save(slot->shared);
}

static void slot_tell(struct slot *slot, enum slot_change change)
{
    slot->shared->tell(slot->shared, slot, change);
}

void slot_ignore_done(void *arg, int status, const char *error)
{
    (void)arg;
    (void)status;
    (void)error;
}

/* --- the state --- */

/* The one place where the state changes. */
static void slot_move(struct slot *slot, enum slot_state state)
{
    if (slot->state == state)
        return;
    log_debug(slot->config.name, "%s -> %s", slot_state_name(slot->state), slot_state_name(state));
    slot->state = state;
}

static void set_error(struct slot *slot, const char *error)
{
    snprintf(slot->error, sizeof slot->error, "%s", error);
    slot->error_at = time(NULL);
}

void slot_fail(struct slot *slot, int status, const char *error)
{
    if (slot->failure == 0) {
        set_error(slot, error);
        slot->failure = status;
    }
    slot->wanted = false;
}

void slot_refuse(struct slot *slot, struct slot_request *request, int status, const char *error)
{
    set_error(slot, error);
    slot_request_answer(slot, request, status, error);
    slot_tell(slot, SLOT_FAILED);
}

/* A browser is told why its file is wanted no more. */
static void close_source(struct slot *slot)
{
    struct source *browser = pipeline_browser(slot->source);
    enum browser_end end = slot->failure == -EACCES                    ? BROWSER_REFUSED
                           : slot->failure                             ? BROWSER_FAILED
                           : slot->shared->closing || slot->leaving ? BROWSER_STOPPING
                                                                 : BROWSER_EJECTED;
    if (browser)
        browser_source_set_end(browser, end, slot->failure ? slot->error : "");
    source_close(slot->source);
}

/* --- what takes too long --- */

/* A call to the kernel may wait for reads, and these for our source: so the reads are ended first. */
static void help_job(struct slot *slot, uint64_t now)
{
    struct slot_device *device = &slot->device;
    uint64_t limit = slot->shared->step_timeout_ms;
    if (device->forced == 0 && now - device->began >= limit) {
        device->forced = 1;
        log_error(slot->config.name, "the kernel takes too long (%s): what it still reads fails", slot_state_name(slot->state));
        slot_fail(slot, -ETIMEDOUT, "the kernel takes too long to attach or detach the medium");
        if (slot->source)
            close_source(slot);
    } else if (device->forced == 1 && now - device->began >= limit + SLOT_FORCE_MS) {
        device->forced = 2;
        log_error(slot->config.name, "the kernel still does not answer: its connections are closed");
        nbd_server_drop_clients(slot->server);
    }
}

/* Reads that still wait (for a web server that is down, say) are given up when the
 * medium goes: closing the source ends them. */
static void help_reads(struct slot *slot)
{
    uint64_t answered = nbd_server_answered(slot->server);
    bool waiting = !slot->wanted && slot->serving && nbd_server_waiting(slot->server) > 0;
    slot->stuck = waiting && answered == slot->answered ? slot->stuck + 1 : 0;
    slot->answered = answered;
    if (slot->stuck >= (slot->writable ? SLOT_STUCK_WRITES : SLOT_STUCK_READS))
        close_source(slot);
}

static void slot_watch(struct slot *slot);

static void on_slot_tick(uv_timer_t *timer)
{
    struct slot *slot = timer->data;
    if (slot->device.running)
        help_job(slot, uv_now(timer->loop));
    help_reads(slot);
    slot_watch(slot);
}

/* The tick runs while a job, or reads of a medium that goes, should come to an end. */
static void slot_watch(struct slot *slot)
{
    bool needed = slot->device.running || (!slot->wanted && slot->serving);
    if (!needed)
        uv_timer_stop(&slot->tick);
    else if (!uv_is_active((uv_handle_t *)&slot->tick))
        uv_timer_start(&slot->tick, on_slot_tick, SLOT_TICK_MS, 0);
}

/* --- one step right --- */

static void slot_ready(struct slot *slot)
{
    char size[TEXT_SIZE_MAX];
    slot->ready_at = uv_now(slot->shared->loop);
    slot_move(slot, SLOT_READY);
    text_human_size(slot->source->size, size);
    log_notice(slot->config.name, "inserted %s, %s, %s", slot->url_public, size, slot->writable ? "writable" : "read-only");
    slot_requests_answer(slot, &slot->inserting, 0, "");
    slot_stay_begin(slot);
    slot_save(slot);
    slot_tell(slot, SLOT_INSERTED);
}

static void slot_serve(struct slot *slot)
{
    nbd_server_attach(slot->server, slot->source);
    slot->writable = !slot->source->read_only;
    slot->serving = true;
}

static void step_right(struct slot *slot)
{
    if (!slot->opened || slot->looking)
        return;
    if (slot->state == SLOT_READY) {
        slot_device_replace_lost(slot);
        return;
    }
    if (!slot->serving)
        slot_serve(slot);
    slot_move(slot, slot->attached ? SLOT_BINDING : SLOT_ATTACHING);
    if (!slot_device_uses_kernel(slot) || slot->bound)
        slot_ready(slot);
    else if (!slot->attached && !slot->device.swept && !slot->device.reconnect)
        slot_device_start(slot, JOB_PREPARE);
    else
        slot_device_start(slot, slot->attached ? JOB_BIND : JOB_ATTACH);
}

/* --- one step left --- */

static void slot_emptied(struct slot *slot);

static void on_detached(void *arg)
{
    struct slot *slot = arg;
    slot->serving = false;
    slot_step(slot);
}

static void step_left(struct slot *slot)
{
    if (slot->bound) {
        slot_move(slot, SLOT_UNBINDING);
        slot_device_start(slot, JOB_UNBIND);
    } else if (slot->attached) {
        slot_move(slot, SLOT_DETACHING);
        slot_device_start(slot, JOB_DETACH);
    } else if (slot->serving) {
        slot_move(slot, SLOT_DETACHING);
        if (!slot->draining)
            nbd_server_detach(slot->server, on_detached, slot);
        slot->draining = true;
    } else if (!slot->source_closed) {
        slot_move(slot, SLOT_CLOSING);
        close_source(slot);
    } else {
        slot_report_end(slot);
        slot_profile_end(slot);
        slot_reads_end(slot);
        source_free(slot->source);
        slot->source = NULL;
        slot_move(slot, SLOT_EMPTY);
        slot_emptied(slot);
    }
}

void slot_step(struct slot *slot)
{
    if (!slot->device.running) { /* else the end of the job calls this again */
        if (!slot->source)
            slot_settle(slot);
        else if (slot->wanted)
            step_right(slot);
        else
            step_left(slot);
    }
    slot_watch(slot);
}

/* --- events --- */

static const char *why_source(struct source *source, int status)
{
    const char *why = pipeline_error(source);
    return *why ? why : strerror(-status);
}

/* After a restart a medium goes on only if the image is the same. */
static bool slot_is_same_image(const struct slot *slot)
{
    const struct slot_media *before = slot_restoring(slot);
    return before->size == slot->source->size && strcmp(before->validator ? before->validator : "", slot->source->validator) == 0;
}

static void check_opened(struct slot *slot)
{
    char error[SLOT_ERROR_MAX];
    int status = 0;
    if (slot_restoring(slot) && !slot_is_same_image(slot)) {
        status = -ESTALE;
        snprintf(error, sizeof error, "the image has changed while the daemon was away");
    } else if (slot_device_uses_kernel(slot)) {
        status = slot_device_choose(slot, error);
    }
    if (status != 0)
        slot_fail(slot, status, error);
    else if (slot_restoring(slot))
        pipeline_resumed(slot->source, &slot->config);
    else if (slot->media.url)
        slot_look(slot);
}

static void on_slot_opened(struct source *source, int status)
{
    struct slot *slot = source->owner;
    slot->opened = status == 0;
    if (status != 0 && slot->wanted)
        slot_fail(slot, status, why_source(source, status));
    if (slot->opened && slot->wanted)
        check_opened(slot);
    if (slot->opened && slot->wanted)
        slot_profile_begin(slot);
    slot_step(slot);
}

static void on_slot_died(struct source *source, int status)
{
    struct slot *slot = source->owner;
    if (!slot->wanted)
        return;
    if (status == 0) {
        slot_eject(slot, slot_ignore_done, NULL);
        return;
    }
    slot_fail(slot, status, why_source(source, status));
    log_error(slot->config.name, "the source is gone: %s", slot->error);
    slot_step(slot);
}

static void on_source_closed(struct source *source)
{
    struct slot *slot = source->owner;
    slot->source_closed = true;
    slot_step(slot);
}

static void on_attached(struct slot *slot, int status, const char *error)
{
    slot->attached = status == 0;
    if (status != 0)
        slot_fail(slot, status, error);
}

static void on_bound(struct slot *slot, int status, const char *error)
{
    slot->bound = status == 0;
    if (status != 0)
        slot_fail(slot, status, error);
}

/* A debt that can't be paid is logged and left to a sweep before the next medium: there
 * is nothing else to try, and the host must not keep the slot for ever. */
static void unpaid(struct slot *slot, int status, const char *error)
{
    if (status == 0)
        return;
    log_error(slot->config.name, "%s", error);
    slot->device.swept = slot->device.unsweepable = false;
}

void slot_job_done(struct slot *slot, enum slot_job job, int status, const char *error)
{
    switch (job) {
    case JOB_ATTACH:
        on_attached(slot, status, error);
        break;
    case JOB_BIND:
        on_bound(slot, status, error);
        break;
    case JOB_UNBIND:
        slot->bound = false;
        unpaid(slot, status, error);
        break;
    case JOB_DETACH:
        slot->attached = false;
        unpaid(slot, status, error);
        break;
    case JOB_REMOVE:
        unpaid(slot, status, error);
        break;
    case JOB_LOOK:
        slot_stay_looked(slot);
        break;
    case JOB_PREPARE:
    case JOB_RECONNECT:
        if (status != 0)
            log_warning(slot->config.name, "%s", error);
        if (status != 0 && job == JOB_PREPARE && slot->source)
            slot_fail(slot, status, error);
        break;
    }
    slot_step(slot);
}

/* Tries of a medium that gets in by itself are logged by slot_retry.c, and only the first failure is told. */
static void log_emptied(const struct slot *slot)
{
    if (slot_retry_is_trying(slot))
        return;
    if (slot->failure)
        log_warning(slot->config.name, "%s: %s", slot->ready_at ? "ejected" : "not inserted", slot->error);
    else
        log_notice(slot->config.name, "ejected %s", slot->url_public);
}

static void slot_forget_media(struct slot *slot)
{
    slot_media_clear(&slot->media);
    slot->tied = NULL;
    mem_free(slot->url_public);
    slot->url_public = NULL;
    *slot->image_name = '\0';
    slot->renewals = 0;
    slot->doubt = MEDIUM_GOOD;
    slot->ready_at = 0;
}

/* All debts are paid: answers whoever waits. */
static void slot_emptied(struct slot *slot)
{
    log_emptied(slot);
    slot_requests_answer(slot, &slot->inserting, slot->failure ? slot->failure : -ECANCELED,
                         slot->failure ? slot->error : "the insert was given up: the slot was ejected");
    slot_requests_answer(slot, &slot->ejecting, 0, "");
    slot_stay_end(slot);
    slot_forget_media(slot);
    slot_save(slot);
    if (!slot_retry_is_trying(slot) || slot->retry.tries == 0)
        slot_tell(slot, slot->failure ? SLOT_FAILED : SLOT_EJECTED);
    slot_begin_next(slot);
    slot_settle(slot);
}

/* --- a medium begins --- */

void slot_begin_insert(struct slot *slot, struct source *source, struct slot_request *request)
{
    *slot->error = '\0';
    slot->failure = 0;
    slot->wanted = true;
    slot_requests_add(slot, &slot->inserting, request);
    slot->source = source;
    slot->opened = slot->source_closed = slot->draining = false;
    source->owner = slot;
    source->opened = on_slot_opened;
    source->died = on_slot_died;
    source->closed = on_source_closed;
    pipeline_set_trace(source, slot->trace);
    slot_move(slot, SLOT_OPENING);
    source_open(source);
}
