/* A connection's input, phases, deadlines and end: see http/connection.h. */
#include "http/connection.h"

#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "base/wipe.h"

/* --- the end of a request --- */

static void http_connection_exchange_free(struct http_connection *c)
{
    struct http_exchange *e = c->exchange;
    c->exchange = NULL;
    http_head_clear(&e->head);
    wipe_free(e->gathered); /* there may be a password in it */
    mem_free(e->fields);
    mem_free(e);
}

/* From now on the handler's answer has no effect; it is told so later. */
static void exchange_cancel(struct http_connection *c)
{
    struct http_exchange *e = c->exchange;
    if (!e || e->dead)
        return;
    e->dead = true;
    e->gone_due = !e->answered && !c->dispatch_due;
    c->dispatch_due = false;
    http_connection_resume(c);
}

/* --- the end of a connection --- */

static void free_when_done(struct http_connection *c)
{
    if (!c->closed || !c->timer_closed || c->exchange)
        return;
    struct http_server *server = c->server;
    defer_cancel(&c->resume);
    list_remove(&c->link);
    http_head_clear(&c->head);
    slices_clear(&c->pending);
    slices_clear(&c->out);
    stream_free(c->stream);
    mem_free(c->peer);
    mem_free(c);
    http_server_removed(server);
}

static void on_http_connection_stream_closed(struct stream *stream)
{
    struct http_connection *c = stream->owner;
    c->closed = true;
    free_when_done(c);
}

static void on_http_connection_timer_closed(uv_handle_t *handle)
{
    struct http_connection *c = container_of((uv_timer_t *)handle, struct http_connection, timer);
    c->timer_closed = true;
    free_when_done(c);
}

bool http_connection_is_ended(const struct http_connection *c)
{
    return !c->stream || c->stream->closing;
}

void http_set_known(struct http_request *request, bool known)
{
    http_exchange_of(request)->connection->known = known;
}

void http_connection_end(struct http_connection *c)
{
    if (http_connection_is_ended(c))
        return;
    exchange_cancel(c);
    uv_close((uv_handle_t *)&c->timer, on_http_connection_timer_closed);
    stream_close(c->stream);
}

struct stream *http_connection_release(struct http_connection *c)
{
    struct stream *stream = c->stream;
    stream_read(stream, false);
    c->stream = NULL;
    c->closed = true;
    c->exchange->dead = true;
    uv_close((uv_handle_t *)&c->timer, on_http_connection_timer_closed);
    http_connection_resume(c);
    return stream;
}

static void linger(struct http_connection *c)
{
    c->phase = HTTP_PHASE_LINGER;
    slices_clear(&c->pending);
    http_connection_watch(c);
}

void http_connection_refuse(struct http_connection *c, unsigned status)
{
    struct http_exchange *e = c->exchange;
    if (http_connection_is_ended(c) || c->phase == HTTP_PHASE_LINGER)
        return;
    if (e && e->begun && e->answered) { /* its answer is still being sent */
        c->close_after = true;
        http_connection_resume(c);
        return;
    }
    if (e && e->begun) { /* too late for another answer */
        http_connection_end(c);
        return;
    }
    log_info(c->server->options.who, "http: %s: %u", c->peer, status);
    exchange_cancel(c);
    c->close_after = true;
    http_answer_plain(c, status);
    linger(c);
    http_connection_resume(c);
}

/* --- deadlines --- */

static bool is_receiving(const struct http_connection *c)
{
    const struct http_exchange *e = c->exchange;
    return e && !e->complete && (e->answered ? !c->close_after : e->wanted && e->more);
}

/* A window of time has passed: did whoever should have sent or taken something do so? */
static void check_progress(struct http_connection *c)
{
    struct http_exchange *e = c->exchange;
    bool sending = c->out.length > 0 || c->stream->unsent > 0;
    if (sending && c->passed == c->tick_passed)
        http_connection_end(c);
    else if (is_receiving(c) && e->received - c->tick_received < HTTP_BODY_RATE_MIN)
        http_connection_refuse(c, 408);
    else
        http_connection_watch(c);
}

static void on_http_connection_timer(uv_timer_t *timer)
{
    struct http_connection *c = container_of(timer, struct http_connection, timer);
    if (c->phase == HTTP_PHASE_HEAD && c->head.used > 0)
        http_connection_refuse(c, 408);
    else if (c->phase == HTTP_PHASE_BUSY)
        check_progress(c);
    else
        http_connection_end(c);
}

void http_connection_watch(struct http_connection *c)
{
    const struct http_server_options *o = &c->server->options;
    const uint64_t timeouts[] = {[HTTP_PHASE_IDLE] = o->idle_timeout_ms,
                                 [HTTP_PHASE_HEAD] = o->head_timeout_ms,
                                 [HTTP_PHASE_BUSY] = o->body_timeout_ms,
                                 [HTTP_PHASE_LINGER] = HTTP_LINGER_MS};
    if (http_connection_is_ended(c))
        return;
    c->tick_passed = c->passed;
    c->tick_received = c->exchange ? c->exchange->received : 0;
    uv_timer_start(&c->timer, on_http_connection_timer, timeouts[c->phase], 0);
}

/* --- input --- */

static void fill_request(struct http_connection *c, struct http_exchange *e)
{
    e->request.method = e->head.method;
    e->request.path = e->head.path;
    e->request.query = e->head.query;
    e->request.host = e->head.host;
    e->request.peer = c->peer;
    e->request.place = c->place;
    e->request.tls = c->tls;
    e->request.anywhere = c->anywhere;
    e->request.subject = c->subject ? c->subject(c->stream) : NULL;
    e->request.common_name = c->common_name ? c->common_name(c->stream) : NULL;
    e->request.upgrade = e->head.upgrade;
    e->request.body_length = e->head.chunked ? -1 : (int64_t)e->head.length;
}

/* The head is complete: it becomes the request in work, or is refused. */
static void begin_exchange(struct http_connection *c)
{
    struct http_exchange *e = mem_alloc(sizeof *e);
    e->connection = c;
    e->more = true;
    e->left = -1;
    e->head = c->head;
    c->head = (struct http_head){.text = NULL};
    c->exchange = e;
    c->phase = HTTP_PHASE_BUSY;
    c->close_after = false;
    unsigned status = http_head_judge(&e->head);
    if (status) {
        e->answered = true; /* no handler has seen it */
        http_connection_refuse(c, status);
        return;
    }
    http_body_begin(c);
    fill_request(c, e);
    e->complete = !e->head.chunked && e->head.length == 0;
    c->close_after = !e->head.keep_alive;
    c->dispatch_due = true;
    http_connection_watch(c);
}

static size_t head_input(struct http_connection *c, const uint8_t *data, size_t length)
{
    unsigned status;
    if (c->phase == HTTP_PHASE_IDLE) {
        c->phase = HTTP_PHASE_HEAD;
        http_connection_watch(c);
    }
    size_t done = http_head_input(&c->head, &c->parser, data, length, &status);
    if (status)
        http_connection_refuse(c, status);
    else if (c->head.complete)
        begin_exchange(c);
    return done;
}

/* Takes what the phase takes now; the rest waits. */
static size_t http_connection_input(struct http_connection *c, const uint8_t *data, size_t length)
{
    size_t done = 0;
    while (done < length && !http_connection_is_ended(c) && !c->dispatch_due) {
        if (c->phase == HTTP_PHASE_LINGER)
            return length;
        if (c->phase != HTTP_PHASE_BUSY)
            done += head_input(c, data + done, length - done);
        else if (http_body_wants_input(c))
            done += http_body_input(c, data + done, length - done);
        else
            break;
    }
    return done;
}

static void http_connection_set_reading(struct http_connection *c)
{
    if (!http_connection_is_ended(c))
        stream_read(c->stream, c->phase == HTTP_PHASE_LINGER || c->pending.length < HTTP_PIPELINE_MAX);
}

static void dispatch(struct http_connection *c)
{
    if (http_connection_is_ended(c) || !c->dispatch_due)
        return;
    c->dispatch_due = false;
    c->server->options.handler(&c->exchange->request, c->server->options.arg);
    http_connection_resume(c);
}

static void on_http_connection_data(struct stream *stream, const uint8_t *data, size_t length)
{
    struct http_connection *c = stream->owner;
    size_t done = c->pending.length > 0 ? 0 : http_connection_input(c, data, length);
    if (http_connection_is_ended(c))
        return;
    if (c->phase != HTTP_PHASE_LINGER)
        slices_add_copy(&c->pending, data + done, (uint32_t)(length - done));
    http_connection_set_reading(c);
    dispatch(c);
}

static void http_connection_input_pending(struct http_connection *c)
{
    while (c->pending.count > 0 && !http_connection_is_ended(c)) {
        struct slice first = c->pending.v[0];
        struct slices taken;
        bytes_ref(first.bytes); /* a refusal clears the list */
        size_t done = http_connection_input(c, slice_data(&first), first.length);
        slices_init(&taken);
        if (c->pending.count > 0)
            slices_move(&taken, &c->pending, done);
        slices_clear(&taken);
        bytes_unref(first.bytes);
        if (done < first.length || c->dispatch_due)
            break;
    }
    dispatch(c);
}

/* --- output and what comes after --- */

/* An answer has been given and sent: the next request, or the end. */
static void finish_exchange(struct http_connection *c)
{
    struct http_exchange *e = c->exchange;
    if (!e->complete && !c->close_after)
        return; /* the rest of the body is dropped first */
    bool complete = e->complete, last = c->close_after || c->server->closing;
    http_connection_exchange_free(c);
    if (!last) {
        c->phase = HTTP_PHASE_IDLE;
        http_connection_watch(c);
        http_connection_resume(c);
    } else if (complete) {
        http_connection_end(c);
    } else {
        linger(c);
    }
}

/* What the handler is to hear, never inside a call of its own. */
static void tell_handler(struct http_connection *c)
{
    struct http_exchange *e = c->exchange;
    if (e->dead) {
        if (e->gone_due && !e->answered && e->request.on_gone) /* an answer may have come since the request died */
            e->request.on_gone(&e->request);
        http_connection_exchange_free(c);
        return;
    }
    http_body_tell_end(c);
    if (c->drain_due && !e->dead && c->out.length == 0 && c->stream->unsent == 0) {
        c->drain_due = false;
        if (!e->answered && e->request.on_drain)
            e->request.on_drain(&e->request);
    }
}

static void on_http_connection_resume(struct defer *defer)
{
    struct http_connection *c = container_of(defer, struct http_connection, resume);
    if (!http_connection_is_ended(c))
        http_answer_pass(c);
    if (c->exchange && !c->dispatch_due)
        tell_handler(c);
    if (http_connection_is_ended(c)) {
        free_when_done(c);
        return;
    }
    bool sent = c->out.length == 0 && c->stream->unsent == 0;
    if (c->exchange && c->exchange->answered && sent && c->phase == HTTP_PHASE_BUSY)
        finish_exchange(c);
    http_connection_input_pending(c);
    http_connection_set_reading(c);
}

void http_connection_resume(struct http_connection *c)
{
    defer_schedule(c->server->loop, &c->resume);
}

static void on_http_connection_drain(struct stream *stream)
{
    struct http_connection *c = stream->owner;
    c->passed++;
    http_connection_resume(c);
}

static void on_http_connection_end(struct stream *stream, int status)
{
    struct http_connection *c = stream->owner;
    bool answered = c->exchange && c->exchange->answered && c->exchange->complete;
    if (status == 0 && answered) { /* it may wait for the rest of its answer */
        c->close_after = true;
        http_connection_resume(c);
    } else {
        http_connection_end(c);
    }
}

void http_connection_new(struct http_server *server, struct stream *stream, const struct http_client *client,
                         bool refuse)
{
    struct http_connection *c = mem_alloc(sizeof *c);
    c->server = server;
    c->stream = stream;
    c->peer = mem_strdup(client->peer);
    c->tls = client->tls;
    c->anywhere = client->anywhere;
    c->subject = client->subject;
    c->common_name = client->common_name;
    c->place = client->place;
    c->share = client->share;
    c->phase = HTTP_PHASE_HEAD; /* the first request has to come soon */
    slices_init(&c->pending);
    slices_init(&c->out);
    defer_setup(&c->resume, on_http_connection_resume);
    uv_timer_init(server->loop, &c->timer);
    list_append(&server->connections, &c->link);
    stream->owner = c;
    stream->on_data = on_http_connection_data;
    stream->on_end = on_http_connection_end;
    stream->on_drain = on_http_connection_drain;
    stream->on_closed = on_http_connection_stream_closed;
    http_connection_watch(c);
    if (refuse)
        http_connection_refuse(c, 503);
    stream_read(stream, true);
}
