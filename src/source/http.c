#include "source/http.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/closing.h"
#include "base/log.h"
#include "base/text.h"
#include "block/io_queue.h"
#include "block/link_estimate.h"

#define HTTP_BLOCK (64u << 10) /* what one request should ask for at least */

/* One range at a time, on one easy handle: libcurl keeps its settings and, for
 * Digest, its nonce. */
struct http_worker {
    struct link link; /* in http->idle or http->active */
    struct http_source *http;
    struct fetch *fetch; /* made at first use */
    struct io *io;
};

struct http_source {
    struct source source;
    struct curl_loop *curl;
    struct fetch_setup *setup;
    char *url;
    uint64_t io_timeout_ms;

    struct fetch *probe;
    struct fetch_resource resource; /* from opened on */
    bool trusted;                   /* resource.url has the origin of `url` */

    struct http_worker *workers;
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

static struct http_source *http_of(struct source *source)
{
    return container_of(source, struct http_source, source);
}

static uint64_t now_us(void)
{
    return uv_hrtime() / 1000;
}

static void http_pump(struct http_source *http);

/* --- what is learnt --- */

static void http_say(struct http_source *http, const char *text)
{
    char url[256];
    text_url_public(http->url, url, sizeof url);
    source_set_error(&http->source, "%s: %s", url, text);
}

/* A strong ETag names the bytes; a weak one, or a time of a second's
 * resolution, does not, and such images share no blocks with other slots. */
static void http_identify(struct http_source *http)
{
    const struct fetch_resource *r = &http->resource;
    if (*r->etag != '"')
        return;
    int n = snprintf(http->source.identity, sizeof http->source.identity, "%s %" PRIu64 " %s", r->etag, r->size, r->url);
    if (n < 0 || (size_t)n >= sizeof http->source.identity)
        *http->source.identity = '\0';
}

static void http_adopt(struct http_source *http, const struct fetch *probe)
{
    unsigned version = http->resource.version + 1;
    http->resource = probe->found;
    http->resource.version = version;
    http->trusted = fetch_same_origin(http->url, http->resource.url);
}

static void http_learn_link(struct http_source *http, const struct fetch *fetch)
{
    uint64_t now = now_us();
    if (fetch->first_byte_us)
        link_round_trip(&http->link, fetch->first_byte_us, now);
    link_received(&http->link, fetch->received, now);
    http->source.stats.rtt_us = http->link.rtt_us;
    http->source.stats.bandwidth = link_bandwidth(&http->link);
}

/* --- a server that is down --- */

static void on_retry(uv_timer_t *timer)
{
    struct http_source *http = timer->data;
    if (!fetch_running(http->probe))
        fetch_probe(http->probe, http->url);
}

/* Pauses double up to a bound; a random part keeps many BMCs from knocking at once. */
static void http_probe_later(struct http_source *http)
{
    unsigned shift = http->down_rounds < 5 ? http->down_rounds : 5;
    uint64_t pause = (uint64_t)HTTP_BACKOFF_FIRST_MS << shift;
    if (pause > HTTP_BACKOFF_MAX_MS)
        pause = HTTP_BACKOFF_MAX_MS;
    http->down_rounds++;
    uv_timer_start(&http->retry, on_retry, pause / 2 + (uint64_t)random() % (pause / 2 + 1), 0);
}

static void http_fail_prefetches(struct http_source *http)
{
    struct link failed;
    list_init(&failed);
    list_move_all(&failed, &http->queue.prefetch);
    http->queue.prefetches = 0;
    for (struct link *l = list_pop(&failed); l; l = list_pop(&failed))
        io_finish_later(http->source.loop, container_of(l, struct io, link), -EIO);
}

static void http_go_down(struct http_source *http)
{
    if (http->down || http->source.state != SOURCE_OPEN)
        return;
    http->down = http->source.failing = true;
    log_warning(http->source.who, "http: %s; trying again", http->source.error);
    http_fail_prefetches(http);
    http_probe_later(http);
}

static bool same_image(const struct fetch_resource *a, const struct fetch_resource *b)
{
    return a->size == b->size && strcmp(a->etag, b->etag) == 0 && strcmp(a->modified, b->modified) == 0;
}

static void http_fail_queue(struct http_source *http)
{
    http_fail_prefetches(http);
    for (struct io *io = io_queue_pop(&http->queue, true); io; io = io_queue_pop(&http->queue, true))
        io_finish_later(http->source.loop, io, -EIO);
}

/* A probe while the server counted as down. */
static void http_probed_again(struct http_source *http)
{
    struct fetch *probe = http->probe;
    if (probe->verdict == FETCH_OK && !same_image(&probe->found, &http->resource)) {
        http_say(http, "the image changed on the server (eject and insert it again)");
        http_fail_queue(http);
        http_probe_later(http);
    } else if (probe->verdict != FETCH_OK) {
        http_say(http, probe->error);
        if (probe->verdict == FETCH_REFUSED)
            http_fail_queue(http);
        http_probe_later(http);
    } else {
        log_notice(http->source.who, "http: the server is back");
        http_adopt(http, probe);
        http->down = http->source.failing = false;
        http_pump(http);
    }
}

/* --- opening --- */

static int probe_status(const struct fetch *probe)
{
    if (probe->reason)
        return probe->reason;
    return probe->verdict == FETCH_TRANSIENT ? -EAGAIN : -EREMOTEIO;
}

static void http_opened(struct http_source *http)
{
    struct source *source = &http->source;
    http_adopt(http, http->probe);
    http_learn_link(http, http->probe);
    if (!*http->resource.etag && !*http->resource.modified)
        log_warning(source->who, "http: the server gives neither ETag nor Last-Modified: a change of the image "
                                 "shows only if its size changes");
    source->size = http->resource.size;
    source->block_preferred = HTTP_BLOCK;
    source->read_only = true;
    source->parallel = http->worker_count;
    http_identify(http);
    source_report_opened(source, 0);
}

static void on_probe(struct fetch *probe)
{
    struct http_source *http = probe->owner;
    http->source.stats.requests++;
    if (http->source.state == SOURCE_OPEN) {
        http_probed_again(http);
    } else if (probe->verdict == FETCH_OK) {
        http_opened(http);
    } else {
        http_say(http, probe->error);
        http->source.stats.errors++;
        source_report_opened(&http->source, probe_status(probe));
    }
}

static void http_open(struct source *source)
{
    struct http_source *http = http_of(source);
    uv_timer_init(source->loop, &http->retry);
    uv_timer_init(source->loop, &http->deadline);
    http->retry.data = http->deadline.data = http;
    http->probe = fetch_new(http->curl, http->setup);
    http->probe->owner = http;
    http->probe->done = on_probe;
    fetch_probe(http->probe, http->url);
}

/* --- deadlines --- */

static void earliest(uint64_t *next, const struct io *io)
{
    if (!(io->flags & IO_PREFETCH) && io->deadline < *next)
        *next = io->deadline;
}

static void worker_release(struct http_worker *worker)
{
    struct http_source *http = worker->http;
    worker->io = NULL;
    list_remove(&worker->link);
    list_prepend(&http->idle, &worker->link);
    if (list_empty(&http->active))
        link_idle(&http->link, now_us());
}

/* A range in flight that is late is given up: it had all its time. */
static void worker_expire(struct http_worker *worker)
{
    struct http_source *http = worker->http;
    struct io *io = worker->io;
    fetch_cancel(worker->fetch);
    worker_release(worker);
    http_say(http, "no answer within io-timeout");
    http->source.stats.errors++;
    http_go_down(http);
    io_finish_later(http->source.loop, io, -EIO);
}

static void on_deadline(uv_timer_t *timer)
{
    struct http_source *http = timer->data;
    uint64_t now = uv_now(timer->loop), next = UINT64_MAX;
    list_for_each (l, &http->queue.demand) {
        struct io *io = container_of(l, struct io, link);
        if (io->deadline > now) {
            earliest(&next, io);
            continue;
        }
        io_queue_remove(&http->queue, io);
        http->source.stats.errors++;
        io_finish_later(http->source.loop, io, -EIO);
    }
    list_for_each (l, &http->active) {
        struct http_worker *worker = container_of(l, struct http_worker, link);
        if (!(worker->io->flags & IO_PREFETCH) && worker->io->deadline <= now)
            worker_expire(worker);
        else
            earliest(&next, worker->io);
    }
    if (next != UINT64_MAX)
        uv_timer_start(timer, on_deadline, next - now, 0);
}

static void http_watch_deadline(struct http_source *http, struct io *io)
{
    io->deadline = uv_now(http->source.loop) + http->io_timeout_ms;
    io->failures = 0;
    if (!uv_is_active((uv_handle_t *)&http->deadline))
        uv_timer_start(&http->deadline, on_deadline, http->io_timeout_ms, 0);
}

/* --- ranges --- */

static void range_failed(struct http_source *http, struct io *io, const struct fetch *fetch)
{
    http_say(http, fetch->error);
    http->source.stats.errors++;
    if (fetch->verdict == FETCH_REFUSED) {
        log_warning(http->source.who, "http: %s (bytes %" PRIu64 "+%" PRIu32 ")", http->source.error, io->offset, io->length);
        io_finish(io, -EIO);
        return;
    }
    http->source.stats.retries++;
    if (io->flags & IO_PREFETCH) {
        io_finish(io, -EIO); /* whoever waits for it asks again, as demand */
        return;
    }
    io_queue_push_front(&http->queue, io);
    if (io->failures++ > 0 || fetch->verdict == FETCH_MOVED)
        http_go_down(http);
}

static void on_range(struct fetch *fetch)
{
    struct http_worker *worker = fetch->owner;
    struct http_source *http = worker->http;
    struct io *io = worker->io;
    http_learn_link(http, fetch);
    http->source.stats.bytes += fetch->received;
    worker_release(worker);
    if (fetch->verdict == FETCH_OK) {
        http->down_rounds = 0;
        slices_take(&io->data, &fetch->data);
        io_finish(io, 0);
    } else {
        range_failed(http, io, fetch);
    }
    http_pump(http);
}

static void worker_start(struct http_worker *worker, struct io *io)
{
    struct http_source *http = worker->http;
    if (!worker->fetch) {
        worker->fetch = fetch_new(http->curl, http->setup);
        worker->fetch->owner = worker;
        worker->fetch->done = on_range;
    }
    if (list_empty(&http->active))
        link_busy(&http->link, now_us());
    list_remove(&worker->link);
    list_append(&http->active, &worker->link);
    worker->io = io;
    http->source.stats.requests++;
    fetch_range(worker->fetch, &http->resource, http->trusted, io->offset, io->length);
}

static void http_pump(struct http_source *http)
{
    while (!http->down && http->source.state == SOURCE_OPEN && !list_empty(&http->idle)) {
        struct io *io = io_queue_pop(&http->queue, false);
        if (!io)
            return;
        worker_start(container_of(http->idle.next, struct http_worker, link), io);
    }
}

static void http_submit(struct source *source, struct io *io)
{
    struct http_source *http = http_of(source);
    if (io->op != IO_READ) {
        io_finish_later(source->loop, io, io->op == IO_EXTENTS ? -ENOTSUP : 0);
        return;
    }
    if (io->flags & IO_PREFETCH) {
        if (http->down || !io_queue_push(&http->queue, io)) {
            io_finish_later(source->loop, io, -EIO);
            return;
        }
    } else {
        http_watch_deadline(http, io);
        io_queue_push(&http->queue, io);
    }
    http_pump(http);
}

/* --- closing --- */

static void on_handles_closed(struct closing *closing)
{
    struct http_source *http = container_of(closing, struct http_source, closing);
    source_report_closed(&http->source);
}

static void http_close(struct source *source)
{
    struct http_source *http = http_of(source);
    fetch_cancel(http->probe);
    list_for_each (l, &http->active) {
        struct http_worker *worker = container_of(l, struct http_worker, link);
        struct io *io = worker->io;
        fetch_cancel(worker->fetch);
        worker_release(worker);
        io_finish_later(source->loop, io, -ECANCELED);
    }
    for (struct io *io = io_queue_pop(&http->queue, false); io; io = io_queue_pop(&http->queue, false))
        io_finish_later(source->loop, io, -ECANCELED);
    closing_begin(&http->closing, source->loop, on_handles_closed);
    closing_add(&http->closing, (uv_handle_t *)&http->retry);
    closing_add(&http->closing, (uv_handle_t *)&http->deadline);
    closing_end(&http->closing);
}

static void http_free(struct source *source)
{
    struct http_source *http = http_of(source);
    for (unsigned i = 0; i < http->worker_count; i++)
        fetch_free(http->workers[i].fetch);
    fetch_free(http->probe);
    fetch_setup_free(http->setup);
    mem_free(http->workers);
    mem_free(http->url);
    mem_free(http);
}

struct source *http_source_new(struct curl_loop *curl, const char *who, const struct http_source_options *options)
{
    static const struct source_ops ops = {"http", http_open, http_submit, http_close, http_free};
    struct http_source *http = mem_alloc(sizeof *http);
    assert(options->connections >= 1 && options->connections <= HTTP_CONNECTIONS_MAX);
    source_init(&http->source, &ops, curl_loop_uv(curl), who);
    http->curl = curl;
    http->setup = fetch_setup_new(&options->fetch);
    http->url = mem_strdup(options->url);
    http->io_timeout_ms = options->io_timeout_ms;
    http->worker_count = options->connections;
    http->workers = mem_alloc(options->connections * sizeof *http->workers);
    list_init(&http->idle);
    list_init(&http->active);
    io_queue_init(&http->queue);
    for (unsigned i = 0; i < options->connections; i++) {
        http->workers[i].http = http;
        list_append(&http->idle, &http->workers[i].link);
    }
    return &http->source;
}
