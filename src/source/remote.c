#include "source/remote.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/closing.h"
#include "base/log.h"
#include "base/text.h"
#include "block/io_queue.h"
#include "block/link_estimate.h"
#include "net/location.h"

#define REMOTE_BLOCK (64u << 10) /* what one request should ask for at least */

/* One range at a time, on one request of the client's: what that keeps (a connection,
 * what a server asked for) is used again. */
struct remote_worker {
    struct link link; /* in remote->idle or remote->active */
    struct remote *remote;
    struct remote_request *request; /* made at first use */
    struct io *io;
};

struct remote {
    struct source source;
    struct source_ops ops; /* the same for all but the name */
    struct remote_client *client;
    uint64_t io_timeout_ms;

    struct remote_request *probe;
    bool probing;
    struct remote_image image; /* from opened on */

    struct remote_worker *workers;
    unsigned worker_count;
    struct link idle; /* the last used first: its connection is warm */
    struct link active;
    struct io_queue queue;

    bool down;            /* ranges wait until a probe succeeds */
    unsigned down_rounds; /* failures in a row: how long the pauses are */
    uv_timer_t retry;     /* the next probe */
    uv_timer_t deadline;  /* the first deadline */
    struct link_estimate link;
    struct closing closing;
};

static struct remote *remote_of(struct source *source)
{
    return container_of(source, struct remote, source);
}

static uint64_t now_us(void)
{
    return uv_hrtime() / 1000;
}

static void remote_pump(struct remote *remote);

/* --- what is learnt --- */

static void remote_say(struct remote *remote, const char *text)
{
    char url[256];
    text_url_public(remote->client->url, url, sizeof url);
    source_set_error(&remote->source, "%s: %s", url, text);
}

static void remote_adopt(struct remote *remote)
{
    remote->image = remote->probe->found;
    if (remote->client->ops->adopt)
        remote->client->ops->adopt(remote->probe);
}

static void remote_learn_link(struct remote *remote, const struct remote_request *request)
{
    uint64_t now = now_us();
    if (request->first_byte_us)
        link_round_trip(&remote->link, request->first_byte_us, now);
    link_received(&remote->link, request->received, now);
    remote->source.stats.rtt_us = remote->link.rtt_us;
    remote->source.stats.bandwidth = link_bandwidth(&remote->link);
}

/* --- a server that is down --- */

static void remote_probe(struct remote *remote)
{
    remote->probing = true;
    remote->client->ops->probe(remote->probe);
}

static void on_retry(uv_timer_t *timer)
{
    struct remote *remote = timer->data;
    if (!remote->probing)
        remote_probe(remote);
}

/* Pauses double up to a bound; a random part keeps many BMCs from knocking at once. */
static void remote_probe_later(struct remote *remote)
{
    unsigned shift = remote->down_rounds < 5 ? remote->down_rounds : 5;
    uint64_t pause = (uint64_t)REMOTE_BACKOFF_FIRST_MS << shift;
    if (pause > REMOTE_BACKOFF_MAX_MS)
        pause = REMOTE_BACKOFF_MAX_MS;
    remote->down_rounds++;
    uv_timer_start(&remote->retry, on_retry, pause / 2 + (uint64_t)random() % (pause / 2 + 1), 0);
}

static void remote_fail_prefetches(struct remote *remote)
{
    struct link failed;
    list_init(&failed);
    list_move_all(&failed, &remote->queue.prefetch);
    remote->queue.prefetches = 0;
    for (struct link *l = list_pop(&failed); l; l = list_pop(&failed))
        io_finish_later(remote->source.loop, container_of(l, struct io, link), -EIO);
}

static void remote_go_down(struct remote *remote)
{
    if (remote->down || remote->source.state != SOURCE_OPEN)
        return;
    remote->down = remote->source.failing = true;
    log_warning(remote->source.who, "%s: %s; trying again", remote->ops.name, remote->source.error);
    remote_fail_prefetches(remote);
    remote_probe_later(remote);
}

static bool same_image(const struct remote_image *a, const struct remote_image *b)
{
    return a->size == b->size && strcmp(a->version, b->version) == 0;
}

static void remote_fail_queue(struct remote *remote)
{
    remote_fail_prefetches(remote);
    for (struct io *io = io_queue_pop(&remote->queue, true); io; io = io_queue_pop(&remote->queue, true))
        io_finish_later(remote->source.loop, io, -EIO);
}

/* A probe while the server counted as down. */
static void remote_probed_again(struct remote *remote)
{
    struct remote_request *probe = remote->probe;
    if (probe->verdict == REMOTE_OK && !same_image(&probe->found, &remote->image)) {
        remote_say(remote, "the image changed on the server (eject and insert it again)");
        remote_fail_queue(remote);
        remote_probe_later(remote);
    } else if (probe->verdict != REMOTE_OK) {
        remote_say(remote, probe->error);
        if (probe->verdict == REMOTE_REFUSED)
            remote_fail_queue(remote);
        remote_probe_later(remote);
    } else {
        log_notice(remote->source.who, "%s: the server is back", remote->ops.name);
        remote_adopt(remote);
        remote->down = remote->source.failing = false;
        remote_pump(remote);
    }
}

/* --- opening --- */

static int probe_status(const struct remote_request *probe)
{
    if (probe->reason)
        return probe->reason;
    return probe->verdict == REMOTE_TRANSIENT ? -EAGAIN : -EREMOTEIO;
}

static void remote_opened(struct remote *remote)
{
    struct source *source = &remote->source;
    remote_adopt(remote);
    remote_learn_link(remote, remote->probe);
    source->size = remote->image.size;
    source->block_preferred = REMOTE_BLOCK;
    source->read_only = true;
    source->parallel = remote->worker_count;
    memcpy(source->identity, remote->image.identity, sizeof source->identity);
    memcpy(source->validator, remote->image.version, sizeof source->validator);
    source_report_opened(source, 0);
}

static void on_probe(struct remote_request *probe)
{
    struct remote *remote = probe->owner;
    remote->probing = false;
    remote->source.stats.requests++;
    if (remote->source.state == SOURCE_OPEN) {
        remote_probed_again(remote);
    } else if (probe->verdict == REMOTE_OK) {
        remote_opened(remote);
    } else {
        remote_say(remote, probe->error);
        remote->source.stats.errors++;
        source_report_opened(&remote->source, probe_status(probe));
    }
}

static struct remote_request *request_new(struct remote *remote, void *owner, void (*done)(struct remote_request *))
{
    struct remote_request *request = remote->client->ops->request_new(remote->client);
    request->owner = owner;
    request->done = done;
    return request;
}

static void remote_open(struct source *source)
{
    struct remote *remote = remote_of(source);
    uv_timer_init(source->loop, &remote->retry);
    uv_timer_init(source->loop, &remote->deadline);
    remote->retry.data = remote->deadline.data = remote;
    remote->probe = request_new(remote, remote, on_probe);
    remote_probe(remote);
}

/* --- deadlines --- */

static void earliest(uint64_t *next, const struct io *io)
{
    if (!(io->flags & IO_PREFETCH) && io->deadline < *next)
        *next = io->deadline;
}

static void worker_release(struct remote_worker *worker)
{
    struct remote *remote = worker->remote;
    worker->io = NULL;
    list_remove(&worker->link);
    list_prepend(&remote->idle, &worker->link);
    if (list_empty(&remote->active))
        link_idle(&remote->link, now_us());
}

/* A range in flight that is late is given up: it had all its time. */
static void worker_expire(struct remote_worker *worker)
{
    struct remote *remote = worker->remote;
    struct io *io = worker->io;
    remote->client->ops->cancel(worker->request);
    worker_release(worker);
    remote_say(remote, "no answer within io-timeout");
    remote->source.stats.errors++;
    remote_go_down(remote);
    io_finish_later(remote->source.loop, io, -EIO);
}

static void on_deadline(uv_timer_t *timer)
{
    struct remote *remote = timer->data;
    uint64_t now = uv_now(timer->loop), next = UINT64_MAX;
    list_for_each (l, &remote->queue.demand) {
        struct io *io = container_of(l, struct io, link);
        if (io->deadline > now) {
            earliest(&next, io);
            continue;
        }
        io_queue_remove(&remote->queue, io);
        remote->source.stats.errors++;
        io_finish_later(remote->source.loop, io, -EIO);
    }
    list_for_each (l, &remote->active) {
        struct remote_worker *worker = container_of(l, struct remote_worker, link);
        if (!(worker->io->flags & IO_PREFETCH) && worker->io->deadline <= now)
            worker_expire(worker);
        else
            earliest(&next, worker->io);
    }
    if (next != UINT64_MAX)
        uv_timer_start(timer, on_deadline, next - now, 0);
}

static void remote_watch_deadline(struct remote *remote, struct io *io)
{
    io->deadline = uv_now(remote->source.loop) + remote->io_timeout_ms;
    io->failures = 0;
    if (!uv_is_active((uv_handle_t *)&remote->deadline))
        uv_timer_start(&remote->deadline, on_deadline, remote->io_timeout_ms, 0);
}

/* --- ranges --- */

static void range_failed(struct remote *remote, struct io *io, const struct remote_request *request)
{
    remote_say(remote, request->error);
    remote->source.stats.errors++;
    if (request->verdict == REMOTE_REFUSED) {
        log_warning(remote->source.who, "%s: %s (bytes %" PRIu64 "+%" PRIu32 ")", remote->ops.name,
                    remote->source.error, io->offset, io->length);
        io_finish(io, -EIO);
        return;
    }
    remote->source.stats.retries++;
    if (io->flags & IO_PREFETCH) {
        io_finish(io, -EIO); /* whoever waits for it asks again, as demand */
        return;
    }
    io_queue_push_front(&remote->queue, io);
    if (io->failures++ > 0 || request->verdict == REMOTE_MOVED)
        remote_go_down(remote);
}

static void on_range(struct remote_request *request)
{
    struct remote_worker *worker = request->owner;
    struct remote *remote = worker->remote;
    struct io *io = worker->io;
    remote_learn_link(remote, request);
    remote->source.stats.bytes += request->received;
    worker_release(worker);
    if (request->verdict == REMOTE_OK) {
        remote->down_rounds = 0;
        slices_take(&io->data, &request->data);
        io_finish(io, 0);
    } else {
        range_failed(remote, io, request);
    }
    remote_pump(remote);
}

static void worker_start(struct remote_worker *worker, struct io *io)
{
    struct remote *remote = worker->remote;
    if (!worker->request)
        worker->request = request_new(remote, worker, on_range);
    if (list_empty(&remote->active))
        link_busy(&remote->link, now_us());
    list_remove(&worker->link);
    list_append(&remote->active, &worker->link);
    worker->io = io;
    remote->source.stats.requests++;
    remote->client->ops->range(worker->request, io->offset, io->length);
}

static void remote_pump(struct remote *remote)
{
    while (!remote->down && remote->source.state == SOURCE_OPEN && !list_empty(&remote->idle)) {
        struct io *io = io_queue_pop(&remote->queue, false);
        if (!io)
            return;
        worker_start(container_of(remote->idle.next, struct remote_worker, link), io);
    }
}

static void remote_submit(struct source *source, struct io *io)
{
    struct remote *remote = remote_of(source);
    if (io->op != IO_READ) {
        io_finish_later(source->loop, io, io->op == IO_EXTENTS ? -ENOTSUP : 0);
        return;
    }
    if (io->flags & IO_PREFETCH) {
        if (remote->down || !io_queue_push(&remote->queue, io)) {
            io_finish_later(source->loop, io, -EIO);
            return;
        }
    } else {
        remote_watch_deadline(remote, io);
        io_queue_push(&remote->queue, io);
    }
    remote_pump(remote);
}

/* --- closing --- */

static void on_client_closed(struct remote_client *client)
{
    struct remote *remote = client->owner;
    source_report_closed(&remote->source);
}

static void on_handles_closed(struct closing *closing)
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
    ops->request_free(remote->probe);
}

static void remote_close(struct source *source)
{
    struct remote *remote = remote_of(source);
    remote->client->ops->cancel(remote->probe);
    list_for_each (l, &remote->active) {
        struct remote_worker *worker = container_of(l, struct remote_worker, link);
        struct io *io = worker->io;
        remote->client->ops->cancel(worker->request);
        worker_release(worker);
        io_finish_later(source->loop, io, -ECANCELED);
    }
    for (struct io *io = io_queue_pop(&remote->queue, false); io; io = io_queue_pop(&remote->queue, false))
        io_finish_later(source->loop, io, -ECANCELED);
    free_requests(remote);
    closing_begin(&remote->closing, source->loop, on_handles_closed);
    closing_add(&remote->closing, (uv_handle_t *)&remote->retry);
    closing_add(&remote->closing, (uv_handle_t *)&remote->deadline);
    closing_end(&remote->closing);
}

static void remote_free(struct source *source)
{
    struct remote *remote = remote_of(source);
    remote->client->ops->free(remote->client);
    mem_free(remote->workers);
    mem_free(remote);
}

struct source *remote_source_new(struct remote_client *client, const char *who, unsigned requests,
                                 uint64_t io_timeout_ms)
{
    struct remote *remote = mem_alloc(sizeof *remote);
    assert(requests >= 1 && requests <= REMOTE_REQUESTS_MAX);
    remote->ops = (struct source_ops){location_name(location_kind(client->url)), remote_open, remote_submit, remote_close, remote_free};
    source_init(&remote->source, &remote->ops, client->loop, who);
    remote->client = client;
    client->owner = remote;
    client->closed = on_client_closed;
    remote->io_timeout_ms = io_timeout_ms;
    remote->worker_count = requests;
    remote->workers = mem_alloc(requests * sizeof *remote->workers);
    list_init(&remote->idle);
    list_init(&remote->active);
    io_queue_init(&remote->queue);
    for (unsigned i = 0; i < requests; i++) {
        remote->workers[i].remote = remote;
        list_append(&remote->idle, &remote->workers[i].link);
    }
    return &remote->source;
}
