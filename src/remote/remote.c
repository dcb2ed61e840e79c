#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/jitter.h"
#include "base/log.h"
#include "base/text.h"
#include "remote/image_location.h"
#include "remote/internal.h"
#include "remote/origin.h"

#define ORIGIN_MAX 320 /* a scheme, a host and a port */

static struct remote *remote_of(struct source *source)
{
    return container_of(source, struct remote, source);
}

static uint64_t remote_now_us(void)
{
    return uv_hrtime() / 1000;
}

/* --- what is learnt --- */

void remote_say(struct remote *remote, const char *text)
{
    char url[256];
    text_url_public(remote->client->url, url, sizeof url);
    source_set_error(&remote->source, "%s: %s", url, text);
}

uint64_t remote_received(const struct remote_worker *worker)
{
    return worker->remote->client->ops->received(worker->request);
}

/* The bytes that have come since the last call. */
static uint64_t remote_arrived(struct link_user *user)
{
    struct remote *remote = container_of(user, struct remote, link);
    uint64_t arrived = 0;
    list_for_each (l, &remote->active) {
        struct remote_worker *worker = container_of(l, struct remote_worker, link);
        uint64_t received = remote_received(worker);
        if (received > worker->counted) /* less: a client that began again by itself */
            arrived += received - worker->counted;
        worker->counted = received;
    }
    remote->source.stats.bytes += arrived;
    return arrived;
}

void remote_learn_link(struct remote *remote)
{
    struct source_stats *stats = &remote->source.stats;
    uint64_t now = remote_now_us();
    link_look(&remote->link, now);
    stats->rtt_us = remote->link.shared->estimate.rtt_us;
    stats->quiet_rtt_us = link_quiet_round_trip(&remote->link.shared->estimate);
    stats->bandwidth = link_bandwidth(&remote->link.shared->estimate);
    stats->gain = link_gain(&remote->link.shared->gain);
    stats->sharers = link_sharers(&remote->link, now);
}

void remote_learn_round_trip(struct remote *remote, uint64_t round_trip_us, bool quiet)
{
    if (round_trip_us)
        link_began(&remote->link, round_trip_us, quiet, remote_now_us());
    remote_learn_link(remote);
}

/* --- workers --- */

struct remote_request *remote_request_new(struct remote *remote, void *owner, void (*done)(struct remote_request *))
{
    struct remote_request *request = remote->client->ops->request_new(remote->client);
    request->owner = owner;
    request->done = done;
    return request;
}

static void remote_release(struct remote_worker *worker)
{
    struct remote *remote = worker->remote;
    defer_cancel(&worker->part);
    uint64_t length = worker->io->length, rest = worker->counted < length ? length - worker->counted : 0;
    worker->io = NULL;
    list_remove(&worker->link);
    list_prepend(&remote->idle, &worker->link);
    remote->active_count--;
    link_ended(&remote->link, rest, remote_now_us());
}

void remote_give_up(struct remote_worker *worker)
{
    remote_learn_link(worker->remote);
    worker->remote->client->ops->cancel(worker->request);
    remote_release(worker);
}

struct remote_worker *remote_twin(const struct remote_worker *worker)
{
    list_for_each (l, &worker->remote->active) {
        struct remote_worker *other = container_of(l, struct remote_worker, link);
        if (other != worker && other->io == worker->io)
            return other;
    }
    return NULL;
}

/* --- ranges --- */

static void on_hold(uv_timer_t *timer)
{
    remote_pump(timer->data);
}

/* All who read from a server see it go away in the same moment, and should not come again in the same moment. */
static void remote_hold(struct remote *remote)
{
    if (!uv_is_active((uv_handle_t *)&remote->hold))
        uv_timer_start(&remote->hold, on_hold, jitter_below(REMOTE_HOLD_MS), 0);
}

/* If the server has no room for so many requests, fewer are made. False: this was the only one, or failed otherwise. */
static bool range_one_too_many(struct remote *remote, const struct remote_request *request)
{
    bool many = request->busy && parallel_refused(&remote->parallel, remote->active_count, remote_now(remote));
    remote->source.parallel = remote->parallel.limit;
    return many;
}

static void range_retry(struct remote *remote, struct io *io, const struct remote_request *request, uint64_t started)
{
    io_queue_push(&remote->queue, io); /* behind the others: perhaps only this range can't be read */
    if (range_one_too_many(remote, request))
        return;
    if (io->failures++ > 0 || request->verdict != REMOTE_TRANSIENT || request->retry_after_ms > 0)
        remote_go_down(remote, request->retry_after_ms);
    else if (remote->success <= started)
        remote_hold(remote);
}

/* Does not try again what began as reading ahead: whoever waits for the range asks again, for what is needed. */
static void range_drop(struct remote *remote, struct io *io, const struct remote_request *request, uint64_t started)
{
    if (!range_one_too_many(remote, request) && remote->success <= started)
        remote_hold(remote);
    io_finish(io, -EIO);
}

/* The answer can't be right. */
static void range_refused(struct remote *remote, struct io *io)
{
    trouble_met(&remote->wrong, remote_now(remote), remote->source.who, "%s: %s (bytes %" PRIu64 "+%" PRIu32 ")",
                remote->ops.name, remote->source.error, io->offset, io->length);
    if (++remote->refusals >= REMOTE_REFUSALS) /* a probe will say whether the image is another one */
        remote_go_down(remote, 0);
    io_finish(io, -EIO);
}

static void range_failed(struct remote *remote, struct io *io, const struct remote_request *request, uint64_t started)
{
    remote_say(remote, request->error);
    remote->source.stats.errors++;
    if (!remote_may_pass(request)) {
        range_refused(remote, io);
        return;
    }
    remote->source.stats.retries++;
    if (io->flags & (IO_PREFETCH | IO_PROMOTED))
        range_drop(remote, io, request, started);
    else
        range_retry(remote, io, request, started);
}

static void range_succeeded(struct remote *remote, struct io *io, struct remote_request *request)
{
    remote->rounds = remote->refusals = 0;
    remote->success = remote_now(remote);
    parallel_succeeded(&remote->parallel, remote->success);
    remote->source.parallel = remote->parallel.limit;
    if (!remote->down)
        trouble_over(&remote->wrong, remote->source.who, "%s: the image is read again", remote->ops.name);
    slices_take(&io->data, &request->data);
    io_finish(io, 0);
}

static void on_range(struct remote_request *request)
{
    struct remote_worker *worker = request->owner, *twin = remote_twin(worker);
    struct remote *remote = worker->remote;
    struct io *io = worker->io;
    uint64_t started = worker->started;
    latency_add(&remote->source.stats.ranges, remote_now_us() - worker->started_us);
    remote_learn_round_trip(remote, request->first_byte_us, worker->quiet);
    remote_release(worker);
    if (request->verdict == REMOTE_OK) {
        if (twin)
            remote_give_up(twin);
        range_succeeded(remote, io, request);
    } else if (!twin) { /* else the twin may do better */
        range_failed(remote, io, request, started);
    }
    remote_pump(remote);
}

/* Somebody waits for the range's beginning, and that is there. */
static bool part_is_there(const struct remote_worker *worker)
{
    return worker->io->part_at > 0 && worker->ready >= worker->io->part_at;
}

static void part_look(struct remote_worker *worker)
{
    if (part_is_there(worker))
        defer_schedule(worker->remote->source.loop, &worker->part);
}

static void on_range_filled(struct remote_request *request, uint32_t ready)
{
    struct remote_worker *worker = request->owner;
    worker->ready = ready;
    part_look(worker);
}

static void on_remote_part(struct defer *defer)
{
    struct remote_worker *worker = container_of(defer, struct remote_worker, part);
    if (part_is_there(worker))
        worker->io->part(worker->io, &worker->request->data, worker->ready);
}

static struct remote_request *range_request_new(struct remote *remote, struct remote_worker *worker)
{
    struct remote_request *request = remote_request_new(remote, worker, on_range);
    request->filled = on_range_filled;
    return request;
}

void remote_start(struct remote *remote, struct io *io)
{
    struct remote_worker *worker = container_of(remote->idle.next, struct remote_worker, link);
    if (!worker->request)
        worker->request = range_request_new(remote, worker);
    remote->active_count++;
    worker->quiet = link_is_quiet(&remote->link);
    worker->started_us = remote_now_us();
    link_asked(&remote->link, io->length, worker->started_us);
    list_remove(&worker->link);
    list_append(&remote->active, &worker->link);
    worker->io = io;
    worker->started = remote_now(remote);
    worker->counted = 0;
    worker->ready = 0;
    pace_begin(&worker->pace);
    remote_watch_begin(remote);
    remote->source.stats.requests++;
    remote->client->ops->range(worker->request, io->offset, io->length);
}

static bool may_start(const struct remote *remote)
{
    return !remote->down && remote->source.state == SOURCE_OPEN && !list_empty(&remote->idle) &&
           remote->active_count < remote->parallel.limit && !uv_is_active((const uv_handle_t *)&remote->hold);
}

void remote_pump(struct remote *remote)
{
    while (may_start(remote)) {
        struct io *io = io_queue_pop(&remote->queue, false);
        if (!io)
            return;
        remote_start(remote, io);
    }
}

static void submit_prefetch(struct remote *remote, struct io *io)
{
    link_reads_ahead(&remote->link, remote_now_us());
    if (remote->down || !io_queue_push(&remote->queue, io))
        io_finish_later(remote->source.loop, io, -EIO);
}

static void submit_demand(struct remote *remote, struct io *io)
{
    if (remote->latched || remote_deadline_of(remote, io) <= remote_now(remote)) {
        remote->source.stats.errors++;
        if (remote->latched)
            trouble_met(&remote->wrong, remote_now(remote), remote->source.who, "%s: %s", remote->ops.name,
                        remote->source.error);
        io_finish_later(remote->source.loop, io, -EIO);
        return;
    }
    io->failures = 0;
    remote_watch_io(remote, io);
    io_queue_push(&remote->queue, io);
}

static void remote_submit(struct source *source, struct io *io)
{
    struct remote *remote = remote_of(source);
    if (io->op != IO_READ)
        io_finish_later(source->loop, io, io->op == IO_EXTENTS ? -ENOTSUP : 0);
    else if (io->flags & IO_PREFETCH)
        submit_prefetch(remote, io);
    else
        submit_demand(remote, io);
    remote_pump(remote);
}

/* The io is queued (its link is in a list then), in flight, or done but not answered yet. */
static void remote_promote(struct source *source, struct io *io)
{
    struct remote *remote = remote_of(source);
    if (io->flags & IO_PREFETCH && !list_empty(&io->link))
        io_queue_promote(&remote->queue, io);
    io_promote(io);
    remote_watch_io(remote, io);
    list_for_each (l, &remote->active) /* what came before somebody waited counts, too */
        if (container_of(l, struct remote_worker, link)->io == io)
            part_look(container_of(l, struct remote_worker, link));
}

/* --- life --- */

static void remote_open(struct source *source)
{
    struct remote *remote = remote_of(source);
    uv_timer_t *const timers[] = {&remote->knock, &remote->deadline, &remote->watch, &remote->hold};
    for (size_t i = 0; i < sizeof timers / sizeof *timers; i++) {
        uv_timer_init(source->loop, timers[i]);
        timers[i]->data = remote;
    }
    remote_open_begin(remote);
}

static void on_remote_client_closed(struct remote_client *client)
{
    struct remote *remote = client->owner;
    source_report_closed(&remote->source);
}

static void on_remote_handles_closed(struct closing *closing)
{
    struct remote *remote = container_of(closing, struct remote, closing);
    if (remote->client->ops->close)
        remote->client->ops->close(remote->client);
    else
        source_report_closed(&remote->source);
}

static void free_requests(struct remote *remote)
{
    const struct remote_client_ops *ops = remote->client->ops;
    for (unsigned i = 0; i < remote->worker_count; i++)
        if (remote->workers[i].request)
            ops->request_free(remote->workers[i].request);
    for (unsigned i = 0; i < REMOTE_PROBES; i++)
        if (remote->probes[i].request)
            ops->request_free(remote->probes[i].request);
}

static void cancel_active(struct remote *remote)
{
    list_for_each (l, &remote->active) {
        struct remote_worker *worker = container_of(l, struct remote_worker, link);
        struct io *io = remote_twin(worker) ? NULL : worker->io;
        remote_give_up(worker);
        if (io)
            io_finish_later(remote->source.loop, io, -ECANCELED);
    }
}

static void remote_close(struct source *source)
{
    struct remote *remote = remote_of(source);
    remote_probes_cancel(remote);
    cancel_active(remote);
    for (struct io *io = io_queue_pop(&remote->queue, false); io; io = io_queue_pop(&remote->queue, false))
        io_finish_later(source->loop, io, -ECANCELED);
    free_requests(remote);
    closing_begin(&remote->closing, source->loop, on_remote_handles_closed);
    closing_add(&remote->closing, (uv_handle_t *)&remote->knock);
    closing_add(&remote->closing, (uv_handle_t *)&remote->deadline);
    closing_add(&remote->closing, (uv_handle_t *)&remote->watch);
    closing_add(&remote->closing, (uv_handle_t *)&remote->hold);
    closing_end(&remote->closing);
}

static void remote_free(struct source *source)
{
    struct remote *remote = remote_of(source);
    link_leave(&remote->link);
    remote->client->ops->free(remote->client);
    mem_free(remote->workers);
    mem_free(remote);
}

static void remote_init(struct remote *remote, unsigned requests)
{
    parallel_init(&remote->parallel, requests);
    remote->worker_count = requests;
    remote->workers = mem_alloc(requests * sizeof *remote->workers);
    list_init(&remote->idle);
    list_init(&remote->active);
    io_queue_init(&remote->queue);
    for (unsigned i = 0; i < requests; i++) {
        remote->workers[i].remote = remote;
        defer_setup(&remote->workers[i].part, on_remote_part);
        list_append(&remote->idle, &remote->workers[i].link);
    }
}

struct source *remote_source_new(struct remote_client *client, const char *who, unsigned requests,
                                 uint64_t io_timeout_ms)
{
    struct remote *remote = mem_alloc(sizeof *remote);
    assert(requests >= 1 && requests <= REMOTE_REQUESTS_MAX);
    remote->ops = (struct source_ops){location_name(location_kind(client->url)),
                                      remote_open,
                                      remote_submit,
                                      remote_close,
                                      remote_free,
                                      remote_promote};
    source_init(&remote->source, &remote->ops, client->loop, who);
    remote->client = client;
    client->owner = remote;
    client->closed = on_remote_client_closed;
    remote->io_timeout_ms = io_timeout_ms;
    remote_init(remote, requests);
    link_join(NULL, &remote->link, "", remote_arrived);
    return &remote->source;
}

void remote_source_share(struct source *source, struct links *links)
{
    struct remote *remote = remote_of(source);
    struct origin origin;
    char name[ORIGIN_MAX];
    if (!origin_read_server(&origin, remote->client->url))
        return;
    snprintf(name, sizeof name, "%s://%s:%u", location_name(origin.kind), origin.host, origin.port);
    origin_clear(&origin);
    link_leave(&remote->link);
    link_join(links, &remote->link, name, remote_arrived);
}
