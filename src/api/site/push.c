#include "api/site/push.h"

#include <string.h>

#include "base/closing.h"
#include "base/text.h"
#include "remote/http/post.h"

struct push {
    uv_loop_t *loop;
    const struct config_http *http;
    struct http_poster *poster; /* NULL: nothing was sent yet */
    struct link targets;
    unsigned count;
    struct defer wake;
    uv_timer_t tick; /* runs while there are targets */
    void (*on_tick)(void *arg);
    void *tick_arg;
    struct closing closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct push_target {
    struct push *push;
    struct link link;
    struct push_options options;
    struct http_post *post; /* NULL: none is under way */
    char *text;             /* that is sent, and sent again if need be; NULL: none */
    unsigned failed;        /* attempts in vain with it */
    bool asleep;
    uv_timer_t timer;       /* until the next attempt */
    struct closing closing;
};

/* --- one attempt --- */

static void push_attempt(struct push_target *target);

static void on_push_timer(uv_timer_t *timer)
{
    push_attempt(timer->data);
}

static uint64_t push_pause(const struct push_target *target)
{
    uint64_t pause = target->options.interval_ms;
    for (unsigned i = 1; target->options.backoff && i < target->failed && pause < PUSH_PAUSE_MAX_MS; i++)
        pause *= 2;
    return pause < PUSH_PAUSE_MAX_MS ? pause : PUSH_PAUSE_MAX_MS;
}

static void push_forget_text(struct push_target *target)
{
    mem_free(target->text);
    target->text = NULL;
    target->failed = 0;
}

static void push_failed(struct push_target *target, const char *error)
{
    target->failed++;
    bool last = !target->options.forever && target->failed >= target->options.attempts;
    if (last)
        push_target_sleep(target);
    else
        uv_timer_start(&target->timer, on_push_timer, push_pause(target), 0);
    target->options.attempted(target->options.arg, error, last);
}

static void on_push_posted(void *arg, const char *error)
{
    struct push_target *target = arg;
    target->post = NULL;
    if (*error) {
        push_failed(target, error);
        return;
    }
    push_forget_text(target);
    push_wake(target->push); /* for the next one; the owner may free the target */
    target->options.attempted(target->options.arg, "", false);
}

static void push_attempt(struct push_target *target)
{
    struct push *push = target->push;
    const struct config_http *http = push->http;
    static const enum address_local locals[] = {[LOCAL_NO] = ADDRESS_LOCAL_NONE,
                                                [LOCAL_LINK] = ADDRESS_LOCAL_LINK,
                                                [LOCAL_YES] = ADDRESS_LOCAL_ALL};
    struct http_post_options options = {
        .url = target->options.url,
        .fields = target->options.fields,
        .ca_file = http->ca_file,
        .verify = target->options.verify,
        .allow_plain = config_allows_protocol(http, "http"),
        .local = locals[http->local],
        .connect_timeout_ms = http->connect_timeout_ms,
        .timeout_ms = PUSH_TIMEOUT_MS,
        .type = "application/json;charset=utf-8",
        .body = target->text,
    };
    if (!push->poster)
        push->poster = http_poster_new(push->loop);
    target->post = http_post_start(push->poster, &options, on_push_posted, target);
    if (!target->post)
        uv_timer_start(&target->timer, on_push_timer, target->options.interval_ms, 0);
}

/* --- what is new --- */

static void push_bring(struct push_target *target)
{
    if (target->asleep || target->text)
        return; /* an attempt is under way, or due */
    target->text = target->options.next(target->options.arg, &target->options.seen);
    if (target->text)
        push_attempt(target);
}

static void on_push_wake(struct defer *defer)
{
    struct push *push = container_of(defer, struct push, wake);
    list_for_each (l, &push->targets)
        push_bring(container_of(l, struct push_target, link));
}

void push_wake(struct push *push)
{
    defer_schedule(push->loop, &push->wake);
}

static void on_push_tick(uv_timer_t *timer)
{
    struct push *push = timer->data;
    push->on_tick(push->tick_arg);
}

/* --- targets --- */

struct push_target *push_target_new(struct push *push, const struct push_options *options)
{
    if (push->count == PUSH_TARGETS_MAX)
        return NULL;
    struct push_target *target = mem_alloc(sizeof *target);
    target->push = push;
    target->options = *options;
    uv_timer_init(push->loop, &target->timer);
    target->timer.data = target;
    list_append(&push->targets, &target->link);
    if (push->count++ == 0)
        uv_timer_start(&push->tick, on_push_tick, PUSH_TICK_MS, PUSH_TICK_MS);
    return target;
}

void push_target_set_verify(struct push_target *target, bool verify)
{
    target->options.verify = verify;
}

void push_target_set_retry(struct push_target *target, bool forever, bool backoff, unsigned attempts, uint64_t interval_ms)
{
    target->options.forever = forever;
    target->options.backoff = backoff;
    target->options.attempts = attempts;
    target->options.interval_ms = interval_ms;
}

static void push_stop(struct push_target *target)
{
    uv_timer_stop(&target->timer);
    if (target->post)
        http_post_cancel(target->post);
    target->post = NULL;
    push_forget_text(target);
}

void push_target_sleep(struct push_target *target)
{
    push_stop(target);
    target->asleep = true;
}

void push_target_resume(struct push_target *target, uint64_t seen)
{
    if (!target->asleep)
        return;
    target->asleep = false;
    target->options.seen = seen;
    push_wake(target->push);
}

static void on_push_target_closed(struct closing *closing)
{
    mem_free(container_of(closing, struct push_target, closing));
}

void push_target_free(struct push_target *target)
{
    push_stop(target);
    list_remove(&target->link);
    if (--target->push->count == 0)
        uv_timer_stop(&target->push->tick);
    closing_begin(&target->closing, target->push->loop, on_push_target_closed);
    closing_add(&target->closing, (uv_handle_t *)&target->timer);
    closing_end(&target->closing);
}

/* --- life --- */

struct push *push_new(uv_loop_t *loop, const struct config_http *http, void (*tick)(void *arg), void *arg)
{
    struct push *push = mem_alloc(sizeof *push);
    push->loop = loop;
    push->http = http;
    push->on_tick = tick;
    push->tick_arg = arg;
    list_init(&push->targets);
    defer_setup(&push->wake, on_push_wake);
    uv_timer_init(loop, &push->tick);
    push->tick.data = push;
    return push;
}

static void on_push_closed(struct closing *closing)
{
    struct push *push = container_of(closing, struct push, closing);
    void (*closed)(void *arg) = push->closed;
    void *closed_arg = push->closed_arg;
    mem_free(push);
    closed(closed_arg);
}

static void on_push_poster_closed(void *arg)
{
    struct push *push = arg;
    closing_begin(&push->closing, push->loop, on_push_closed);
    closing_add(&push->closing, (uv_handle_t *)&push->tick);
    closing_end(&push->closing);
}

void push_close(struct push *push, void (*closed)(void *arg), void *arg)
{
    push->closed = closed;
    push->closed_arg = arg;
    defer_cancel(&push->wake);
    if (push->poster)
        http_poster_close(push->poster, on_push_poster_closed, push);
    else
        on_push_poster_closed(push);
}
