#include "nbd/server.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "nbd/connection.h"

#define ENDING_TIMEOUT_MS 2000 /* for a client to take its last replies */

/* --- output --- */

static void headers_drop(struct nbd_connection *c)
{
    bytes_unref(c->headers);
    c->headers = NULL;
    c->headers_used = 0;
}

uint8_t *connection_reserve(struct nbd_connection *c, uint32_t length)
{
    assert(length <= HEADERS_SIZE);
    if (c->headers && c->headers_used + length > HEADERS_SIZE)
        headers_drop(c);
    if (!c->headers)
        c->headers = bytes_new(HEADERS_SIZE);
    uint8_t *at = c->headers->data + c->headers_used;
    slices_add(&c->out, c->headers, c->headers_used, length);
    c->headers_used += length;
    defer_schedule(c->server->loop, &c->flush);
    return at;
}

static void release_sent(struct nbd_connection *c)
{
    uint64_t charge = c->unsent_charge;
    c->unsent_charge = 0;
    transmission_release(c, charge);
}

static bool is_ending(const struct nbd_connection *c)
{
    return c->phase == PHASE_ENDING || c->draining;
}

static void maybe_finish(struct nbd_connection *c);
static void watch_ending(struct nbd_connection *c);

/* Everything that was answered in this turn leaves in one call. */
static void on_flush(struct defer *defer)
{
    struct nbd_connection *c = container_of(defer, struct nbd_connection, flush);
    stream_write(c->stream, &c->out);
    if (c->headers && c->headers->refs == 1)
        c->headers_used = 0; /* all sent: the same bytes again */
    if (c->stream->unsent == 0)
        release_sent(c);
    if (c->held)
        defer_schedule(c->server->loop, &c->resume);
    maybe_finish(c);
}

/* --- input --- */

static void nbd_server_set_reading(struct nbd_connection *c, bool on)
{
    if (c->reading == on || c->stream->closing)
        return;
    c->reading = on;
    stream_read(c->stream, on);
}

static size_t handshake_input(struct nbd_connection *c, const uint8_t *data, size_t length)
{
    size_t part = c->want - c->have < length ? c->want - c->have : length;
    memcpy(c->in + c->have, data, part);
    c->have += (uint32_t)part;
    while (c->have == c->want && c->phase <= PHASE_DATA && !c->stream->closing) {
        c->have = 0;
        if (!handshake_step(c))
            break;
        if (c->skip > 0 || c->want > 0)
            break;
    }
    return part;
}

/* Gives input to the phase it belongs to; the rest waits when it must. */
static size_t connection_input(struct nbd_connection *c, const uint8_t *data, size_t length)
{
    size_t done = 0;
    while (done < length && !c->stream->closing) {
        size_t part;
        if (c->phase == PHASE_ENDING)
            return length;
        if (c->skip > 0) {
            part = c->skip < length - done ? (size_t)c->skip : length - done;
            c->skip -= part;
        } else if (c->phase <= PHASE_DATA) {
            part = handshake_input(c, data + done, length - done);
        } else {
            part = transmission_input(c, data + done, length - done);
            if (part == 0)
                break;
        }
        done += part;
    }
    return done;
}

static void on_nbd_server_data(struct stream *stream, const uint8_t *data, size_t length)
{
    struct nbd_connection *c = stream->owner;
    size_t done = connection_input(c, data, length);
    if (c->stream->closing)
        return;
    if (done < length) { /* paused; at most one read's worth, since reading stops */
        struct bytes *rest = bytes_new((uint32_t)(length - done));
        memcpy(rest->data, data + done, length - done);
        slices_add(&c->pending, rest, 0, rest->length);
        bytes_unref(rest);
    }
    if (c->held)
        nbd_server_set_reading(c, false);
}

static void nbd_server_input_pending(struct nbd_connection *c)
{
    while (c->pending.count > 0 && !c->held && !c->stream->closing) {
        struct slice *first = &c->pending.v[0];
        size_t done = connection_input(c, slice_data(first), first->length);
        if (done == first->length) {
            slices_clear(&c->pending);
            return;
        }
        first->offset += (uint32_t)done;
        first->length -= (uint32_t)done;
        c->pending.length -= done;
    }
}

static void connection_free_when_done(struct nbd_connection *c);

static void on_nbd_server_resume(struct defer *defer)
{
    struct nbd_connection *c = container_of(defer, struct nbd_connection, resume);
    if (c->stream->closing) {
        connection_free_when_done(c);
        return;
    }
    if (is_ending(c))
        watch_ending(c); /* a reply was made, or taken by the client */
    if (c->held && transmission_may_resume(c))
        transmission_resume_held(c);
    if (!c->held)
        nbd_server_input_pending(c);
    if (!c->held && c->phase != PHASE_ENDING)
        nbd_server_set_reading(c, true);
    maybe_finish(c);
}

static void on_nbd_server_drain(struct stream *stream)
{
    struct nbd_connection *c = stream->owner;
    c->active_at = uv_now(stream->loop);
    release_sent(c);
    defer_schedule(c->server->loop, &c->resume);
}

/* --- the end of a connection --- */

static void server_finish_closing(struct nbd_server *server)
{
    if (server->closing && server->count == 0)
        defer_schedule(server->loop, &server->close_defer);
}

/* Frees the connection when its stream is closed and no io refers to it. */
static void connection_free_when_done(struct nbd_connection *c)
{
    struct nbd_server *server = c->server;
    if (!c->closed || !c->timer_closed || c->at_source > 0)
        return;
    release_sent(c);
    defer_cancel(&c->flush);
    defer_cancel(&c->resume);
    list_remove(&c->waiting);
    list_remove(&c->link);
    transmission_free(c);
    slices_clear(&c->pending);
    slices_clear(&c->out);
    headers_drop(c);
    bool is_kernel = c->is_kernel;
    stream_free(c->stream);
    mem_free(c->in);
    mem_free(c);
    server->count--;
    server->kernel_count -= is_kernel;
    server_finish_closing(server);
}

static void on_nbd_server_stream_closed(struct stream *stream)
{
    struct nbd_connection *c = stream->owner;
    c->closed = true;
    connection_free_when_done(c);
}

static void on_nbd_server_timer_closed(uv_handle_t *handle)
{
    struct nbd_connection *c = container_of((uv_timer_t *)handle, struct nbd_connection, timer);
    c->timer_closed = true;
    connection_free_when_done(c);
}

void connection_end(struct nbd_connection *c, const char *why)
{
    if (c->stream->closing)
        return;
    if (why)
        log_info(c->server->options.who, "nbd: a client %s", why);
    if (c->writing) { /* the write's payload will not come */
        struct nbd_client_request *r = c->writing;
        c->writing = NULL;
        c->unsent_charge += r->charge;
        c->requests--;
        slices_clear(&r->io.data);
        list_append(&c->idle, &r->link);
    }
    list_remove(&c->waiting);
    stream_write(c->stream, &c->out); /* what was answered before still leaves, if the socket takes it now */
    uv_close((uv_handle_t *)&c->timer, on_nbd_server_timer_closed);
    stream_close(c->stream);
}

static void on_ending_timeout(uv_timer_t *timer)
{
    struct nbd_connection *c = container_of(timer, struct nbd_connection, timer);
    if (c->at_source > 0)
        watch_ending(c); /* the client waits for us, not we for it */
    else
        connection_end(c, "did not take its last replies");
}

static void watch_ending(struct nbd_connection *c)
{
    uv_timer_start(&c->timer, on_ending_timeout, ENDING_TIMEOUT_MS, 0);
}

static void maybe_finish(struct nbd_connection *c)
{
    bool answered = c->requests == 0 && !c->held && c->out.length == 0;
    if (is_ending(c) && answered && c->stream->unsent == 0)
        connection_end(c, NULL);
}

void connection_finish(struct nbd_connection *c)
{
    if (c->stream->closing || c->phase == PHASE_ENDING)
        return;
    c->phase = PHASE_ENDING;
    nbd_server_set_reading(c, false);
    watch_ending(c);
    defer_schedule(c->server->loop, &c->resume);
}

/* The medium goes. What was sent before is answered, with data or ESHUTDOWN. */
static void connection_drain(struct nbd_connection *c)
{
    if (c->stream->closing || is_ending(c))
        return;
    c->draining = true;
    list_remove(&c->waiting);
    watch_ending(c);
    defer_schedule(c->server->loop, &c->resume);
}

static void on_nbd_server_end(struct stream *stream, int status)
{
    struct nbd_connection *c = stream->owner;
    (void)status;
    connection_end(c, NULL);
}

/* --- timers --- */

/* Idle is a client that sends nothing, in the middle of a payload too, or takes no
 * reply; not one that waits for the source or for the budget. */
static void on_idle_timer(uv_timer_t *timer)
{
    struct nbd_connection *c = container_of(timer, struct nbd_connection, timer);
    uint64_t quiet = uv_now(timer->loop) - c->active_at;
    bool waits_for_us = c->at_source > 0 || !list_empty(&c->waiting);
    if (!waits_for_us && quiet >= c->server->options.idle_timeout_ms)
        connection_end(c, "was idle for too long");
    else
        connection_watch_idle(c);
}

void connection_watch_idle(struct nbd_connection *c)
{
    uint64_t limit = c->is_kernel ? 0 : c->server->options.idle_timeout_ms, quiet = uv_now(c->server->loop) - c->active_at;
    if (limit > 0)
        uv_timer_start(&c->timer, on_idle_timer, quiet < limit ? limit - quiet : limit, 0);
    else
        uv_timer_stop(&c->timer);
}

static void on_handshake_timer(uv_timer_t *timer)
{
    connection_end(container_of(timer, struct nbd_connection, timer), "did not finish the handshake in time");
}

/* --- the server --- */

static void on_detach_defer(struct defer *defer)
{
    struct nbd_server *server = container_of(defer, struct nbd_server, detach_defer);
    void (*detached)(void *arg) = server->detached;
    server->detached = NULL;
    detached(server->detached_arg);
}

static void on_nbd_server_close_defer(struct defer *defer)
{
    struct nbd_server *server = container_of(defer, struct nbd_server, close_defer);
    void (*closed)(void *arg) = server->closed;
    void *arg = server->closed_arg;
    mem_free(server->export_name);
    mem_free(server->description);
    mem_free(server);
    closed(arg);
}

void nbd_server_set_number(struct nbd_server *server, unsigned number)
{
    snprintf(server->alias, sizeof server->alias, "vm%u", number);
}

struct nbd_server *nbd_server_new(uv_loop_t *loop, const struct nbd_server_options *options)
{
    struct nbd_server *server = mem_alloc(sizeof *server);
    assert(strlen(options->export_name) <= EXPORT_NAME_MAX);
    server->loop = loop;
    server->options = *options;
    server->export_name = mem_strdup(options->export_name);
    server->description = mem_strdup(options->description);
    list_init(&server->connections);
    list_init(&server->reads);
    defer_setup(&server->detach_defer, on_detach_defer);
    defer_setup(&server->close_defer, on_nbd_server_close_defer);
    return server;
}

static void on_nbd_server_refused_closed(struct stream *stream)
{
    stream_free(stream);
}

static void nbd_server_refuse(struct nbd_server *server, struct stream *stream)
{
    log_warning(server->options.who, "nbd: a client was refused: there are %u already (see max-connections)",
                server->count - server->kernel_count);
    stream->on_closed = on_nbd_server_refused_closed;
    stream_close(stream);
}

static struct nbd_connection *connection_new(struct nbd_server *server, struct stream *stream)
{
    struct nbd_connection *c = mem_alloc(sizeof *c);
    c->server = server;
    c->stream = stream;
    c->in = mem_alloc(OPTION_DATA_MAX);
    c->active_at = uv_now(server->loop);
    list_init(&c->idle);
    list_init(&c->waiting);
    slices_init(&c->pending);
    slices_init(&c->out);
    defer_setup(&c->flush, on_flush);
    defer_setup(&c->resume, on_nbd_server_resume);
    uv_timer_init(server->loop, &c->timer);
    stream->owner = c;
    stream->on_data = on_nbd_server_data;
    stream->on_end = on_nbd_server_end;
    stream->on_drain = on_nbd_server_drain;
    stream->on_closed = on_nbd_server_stream_closed;
    list_append(&server->connections, &c->link);
    server->count++;
    server->stats.connections_total++;
    return c;
}

void nbd_server_add_client(struct nbd_server *server, struct stream *stream)
{
    if (server->closing || server->count - server->kernel_count >= server->options.max_connections) {
        nbd_server_refuse(server, stream);
        return;
    }
    struct nbd_connection *c = connection_new(server, stream);
    c->want = NBD_CLIENT_FLAGS_SIZE;
    uv_timer_start(&c->timer, on_handshake_timer, NBD_SERVER_HANDSHAKE_TIMEOUT_MS, 0);
    nbd_encode_greeting(connection_reserve(c, NBD_GREETING_SIZE));
    nbd_server_set_reading(c, true);
}

void nbd_server_add_kernel(struct nbd_server *server, struct stream *stream)
{
    assert(server->source && !server->closing);
    struct nbd_connection *c = connection_new(server, stream);
    c->is_kernel = true;
    server->kernel_count++;
    transmission_begin(c);
    nbd_server_set_reading(c, true);
}

uint16_t nbd_server_flags(const struct nbd_server *server)
{
    return nbd_transmission_flags(server->source, false);
}

void nbd_server_attach(struct nbd_server *server, struct source *source)
{
    assert(!server->source && source->state == SOURCE_OPEN);
    uint64_t total = server->stats.connections_total;
    server->stats = (struct nbd_server_stats){.connections_total = total};
    server->source = source;
}

static void maybe_detached(struct nbd_server *server)
{
    if (server->detached && server->at_source == 0)
        defer_schedule(server->loop, &server->detach_defer);
}

void server_io_done(struct nbd_server *server)
{
    server->at_source--;
    server->answered++;
    maybe_detached(server);
}

void nbd_server_detach(struct nbd_server *server, void (*detached)(void *arg), void *arg)
{
    server->source = NULL;
    server->detached = detached;
    server->detached_arg = arg;
    list_for_each (l, &server->connections) {
        struct nbd_connection *c = container_of(l, struct nbd_connection, link);
        if (c->phase > PHASE_DATA)
            connection_drain(c);
    }
    maybe_detached(server);
}

unsigned nbd_server_waiting(const struct nbd_server *server)
{
    return server->at_source;
}

uint64_t nbd_server_answered(const struct nbd_server *server)
{
    return server->answered;
}

bool nbd_server_oldest_read(const struct nbd_server *server, struct nbd_server_read *read)
{
    list_for_each (l, &server->reads) {
        const struct nbd_client_request *r = container_of(l, struct nbd_client_request, link);
        if (r->connection->stream->closing)
            continue;
        *read = (struct nbd_server_read){r->wire.offset, r->wire.length, (uv_hrtime() - r->began) / 1000};
        return true;
    }
    return false;
}

void nbd_server_drop_clients(struct nbd_server *server)
{
    list_for_each (l, &server->connections)
        connection_end(container_of(l, struct nbd_connection, link), NULL);
}

void nbd_server_get_stats(const struct nbd_server *server, struct nbd_server_stats *stats)
{
    *stats = server->stats;
    stats->connections = server->count;
    stats->waiting = server->at_source;
}

void nbd_server_close(struct nbd_server *server, void (*closed)(void *arg), void *arg)
{
    assert(!server->source);
    server->closing = true;
    server->closed = closed;
    server->closed_arg = arg;
    nbd_server_drop_clients(server);
    server_finish_closing(server);
}
