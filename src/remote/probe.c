/* Probes: when the image is opened, and while its server is away. See remote/remote.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/jitter.h"
#include "base/log.h"
#include "remote/internal.h"

static void on_knock(uv_timer_t *timer);
static void on_probe(struct remote_request *request);

/* --- asking --- */

static void probe_cancel(struct remote_probe *probe)
{
    if (probe->running)
        probe->remote->client->ops->cancel(probe->request);
    probe->running = false;
}

void remote_probes_cancel(struct remote *remote)
{
    for (unsigned i = 0; i < REMOTE_PROBES; i++)
        probe_cancel(&remote->probes[i]);
}

/* An idle probe; else the youngest, which is given up: the oldest keeps the time that a slow server may need. */
static struct remote_probe *probe_choose(struct remote *remote)
{
    struct remote_probe *chosen = &remote->probes[0];
    for (unsigned i = 0; i < REMOTE_PROBES; i++) {
        struct remote_probe *probe = &remote->probes[i];
        if (!probe->running)
            return probe;
        if (probe->started >= chosen->started)
            chosen = probe;
    }
    probe_cancel(chosen);
    return chosen;
}

static void probes_expire(struct remote *remote)
{
    for (unsigned i = 0; i < REMOTE_PROBES; i++)
        if (remote_now(remote) - remote->probes[i].started >= remote->io_timeout_ms)
            probe_cancel(&remote->probes[i]);
}

static void remote_knock(struct remote *remote)
{
    probes_expire(remote);
    struct remote_probe *probe = probe_choose(remote);
    if (!probe->request)
        probe->request = remote_request_new(remote, probe, on_probe);
    probe->remote = remote;
    probe->running = true;
    probe->started = remote_now(remote);
    uv_timer_start(&remote->knock, on_knock, REMOTE_PATIENCE_MS, 0);
    remote->client->ops->probe(probe->request);
}

/* Pauses double up to a bound; a random part keeps many BMCs from knocking at once. */
static uint64_t remote_pause(struct remote *remote, uint64_t retry_after_ms)
{
    uint64_t most = remote->latched ? REMOTE_LATCHED_MAX_MS : REMOTE_BACKOFF_MAX_MS;
    uint64_t pause = (uint64_t)REMOTE_BACKOFF_FIRST_MS << (remote->rounds < 10 ? remote->rounds : 10);
    uint64_t wanted = retry_after_ms < remote->io_timeout_ms ? retry_after_ms : remote->io_timeout_ms;
    remote->rounds++;
    pause = jitter_pause(pause < most ? pause : most);
    return wanted > 0 && wanted + pause / 4 > pause ? wanted + pause / 4 : pause;
}

static void remote_knock_later(struct remote *remote, uint64_t retry_after_ms)
{
    uv_timer_start(&remote->knock, on_knock, remote_pause(remote, retry_after_ms), 0);
}

static void remote_adopt(struct remote *remote, struct remote_request *request)
{
    remote->image = request->found;
    if (remote->client->ops->adopt)
        remote->client->ops->adopt(request);
}

/* --- opening --- */

static int probe_status(const struct remote_request *request)
{
    if (request->reason)
        return request->reason;
    return request->verdict == REMOTE_TRANSIENT ? -EAGAIN : -EREMOTEIO;
}

static void open_failed(struct remote *remote)
{
    remote_probes_cancel(remote);
    uv_timer_stop(&remote->knock);
    if (remote->open_status == 0)
        remote_say(remote, "no answer within io-timeout");
    source_report_opened(&remote->source, remote->open_status ? remote->open_status : -EAGAIN);
}

static uint64_t open_time(const struct remote *remote)
{
    bool absent = remote->open_status == -ECONNREFUSED || remote->open_status == -EHOSTUNREACH;
    return absent && remote->io_timeout_ms > REMOTE_ABSENT_MS ? REMOTE_ABSENT_MS : remote->io_timeout_ms;
}

/* What is left of the time to open; 0: nothing. */
static uint64_t open_left(const struct remote *remote)
{
    uint64_t spent = remote_now(remote) - remote->opening, most = open_time(remote);
    return spent < most ? most - spent : 0;
}

/* A server that wants more time than is left gets its next try at the end of that. */
static void open_again(struct remote *remote, uint64_t retry_after_ms)
{
    uint64_t pause = remote_pause(remote, retry_after_ms), left = open_left(remote);
    uint64_t last = left > REMOTE_BACKOFF_FIRST_MS ? left - REMOTE_BACKOFF_FIRST_MS : left;
    trouble_met(&remote->away, remote_now(remote), remote->source.who, "%s: %s; trying again", remote->ops.name,
                remote->source.error);
    uv_timer_start(&remote->knock, on_knock, pause < last ? pause : last, 0);
}

static void open_probe_failed(struct remote *remote, const struct remote_request *request)
{
    remote_say(remote, request->error);
    remote->source.stats.errors++;
    remote->open_status = probe_status(request);
    if (request->verdict == REMOTE_TRANSIENT && open_left(remote) > 0)
        open_again(remote, request->retry_after_ms);
    else
        open_failed(remote);
}

static void open_succeeded(struct remote *remote, struct remote_request *request)
{
    struct source *source = &remote->source;
    remote_adopt(remote, request);
    remote_learn_round_trip(remote, request->first_byte_us, link_is_quiet(&remote->link));
    source->size = remote->image.size;
    source->block_preferred = 64u << 10; /* what one request should ask for at least */
    source->read_only = true;
    source->parallel = remote->worker_count;
    memcpy(source->identity, remote->image.identity, sizeof source->identity);
    memcpy(source->validator, remote->image.version, sizeof source->validator);
    trouble_over(&remote->away, source->who, "%s: the server is there", remote->ops.name);
    remote->rounds = 0;
    source_report_opened(source, 0);
}

void remote_open_begin(struct remote *remote)
{
    remote->opening = remote_now(remote);
    remote_knock(remote);
}

/* --- a server that is away --- */

static void fail_prefetches(struct remote *remote)
{
    struct link failed;
    list_init(&failed);
    list_move_all(&failed, &remote->queue.prefetch);
    remote->queue.prefetches = 0;
    for (struct link *l = list_pop(&failed); l; l = list_pop(&failed))
        io_finish_later(remote->source.loop, container_of(l, struct io, link), -EIO);
    list_for_each (l, &remote->active) {
        struct remote_worker *worker = container_of(l, struct remote_worker, link);
        struct io *io = worker->io;
        if (!(io->flags & IO_PREFETCH))
            continue;
        remote_give_up(worker);
        io_finish_later(remote->source.loop, io, -EIO);
    }
}

static void fail_queue(struct remote *remote)
{
    fail_prefetches(remote);
    for (struct io *io = io_queue_pop(&remote->queue, true); io; io = io_queue_pop(&remote->queue, true))
        io_finish_later(remote->source.loop, io, -EIO);
}

void remote_go_down(struct remote *remote, uint64_t retry_after_ms)
{
    if (remote->source.state != SOURCE_OPEN || remote->down)
        return;
    remote->down = remote->source.failing = true;
    trouble_met(&remote->away, remote_now(remote), remote->source.who, "%s: %s; trying again", remote->ops.name,
                remote->source.error);
    parallel_down(&remote->parallel);
    remote->source.parallel = remote->parallel.limit;
    fail_prefetches(remote);
    remote_knock_later(remote, retry_after_ms);
}

/* The server has another image now: ranges fail instead of waiting. */
static void remote_latch(struct remote *remote)
{
    trouble_met(&remote->wrong, remote_now(remote), remote->source.who, "%s: %s; reads fail until it is right again",
                remote->ops.name, remote->source.error);
    remote->latched = true;
    fail_queue(remote);
}

static void remote_come_up(struct remote *remote, struct remote_request *request)
{
    remote_adopt(remote, request);
    trouble_over(&remote->away, remote->source.who, "%s: the server is back", remote->ops.name);
    trouble_over(&remote->wrong, remote->source.who, "%s: the image is right again", remote->ops.name);
    remote->down = remote->latched = remote->source.failing = false;
    remote_pump(remote);
}

static bool same_image(const struct remote_image *a, const struct remote_image *b)
{
    return a->size == b->size && strcmp(a->version, b->version) == 0;
}

bool remote_may_pass(const struct remote_request *request)
{
    return request->verdict != REMOTE_REFUSED || request->reason == -EACCES || request->reason == -ENOENT;
}

/* Says what the probe found, and what must be done about a URL or a login that has expired. */
static void say_probed(struct remote *remote, const struct remote_request *request)
{
    char text[REMOTE_ERROR_MAX + 64];
    if (request->verdict == REMOTE_OK)
        snprintf(text, sizeof text, "the image changed on the server (eject and insert it again)");
    else if (request->reason == -EACCES)
        snprintf(text, sizeof text, "%s; waits for a new URL or login (insert ... replace)", request->error);
    else
        snprintf(text, sizeof text, "%s", request->error);
    remote_say(remote, text);
}

/* A probe of an image that was opened. */
static void remote_probed_again(struct remote *remote, struct remote_request *request)
{
    if (request->verdict == REMOTE_OK && same_image(&request->found, &remote->image)) {
        remote_probes_cancel(remote);
        uv_timer_stop(&remote->knock);
        remote_come_up(remote, request);
        return;
    }
    say_probed(remote, request);
    if (request->verdict == REMOTE_OK)
        remote_latch(remote);
    else if (!remote_may_pass(request))
        fail_queue(remote);
    remote_knock_later(remote, request->retry_after_ms);
}

/* --- answers --- */

static void on_probe(struct remote_request *request)
{
    struct remote_probe *probe = request->owner;
    struct remote *remote = probe->remote;
    probe->running = false;
    remote->source.stats.requests++;
    if (remote->source.state == SOURCE_OPEN) {
        remote_probed_again(remote, request);
    } else if (request->verdict == REMOTE_OK) {
        remote_probes_cancel(remote);
        uv_timer_stop(&remote->knock);
        open_succeeded(remote, request);
    } else {
        open_probe_failed(remote, request);
    }
}

static void on_knock(uv_timer_t *timer)
{
    struct remote *remote = timer->data;
    if (remote->source.state == SOURCE_OPENING && open_left(remote) == 0)
        open_failed(remote);
    else
        remote_knock(remote);
}
