/* Requests and their replies (doc/proto.md, "Transmission phase"). */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/jitter.h"
#include "base/text.h"
#include "nbd/client_internal.h"

#define PLACE_BITS   16 /* of a cookie: the place in the table; NBD_CLIENT_REQUESTS_MAX fits */
#define DEMAND_SHARE 8  /* an eighth of what may be in flight is kept free of prefetch */

void client_transmission_begin(struct nbd_client *c)
{
    c->requests = mem_alloc(c->options.requests_max * sizeof *c->requests);
    for (unsigned i = 0; i < c->options.requests_max; i++)
        list_append(&c->idle, &c->requests[i].link);
    c->serial = 1 + jitter_number() / 2;
    if (c->facts.payload_max && c->facts.payload_max < c->options.request_max)
        c->options.request_max = c->facts.payload_max;
    if (c->facts.block_minimum)
        c->options.request_max -= c->options.request_max % c->facts.block_minimum;
    client_expect(c, CLIENT_REPLIES, NBD_SIMPLE_REPLY_SIZE);
}

void client_transmission_free(struct nbd_client *c)
{
    assert(list_empty(&c->calls));
    slices_clear(&c->out);
    mem_free(c->requests);
}

/* --- calls --- */

static void call_unqueue(struct nbd_client *c, struct client_call *call)
{
    if (list_empty(&call->queue))
        return;
    list_remove(&call->queue);
    if (call->io->flags & IO_PREFETCH)
        c->prefetches--;
}

/* Nobody waits for the call any more; what is in flight of it stays in flight. */
static struct io *call_drop(struct nbd_client *c, struct client_call *call)
{
    struct io *io = call->io;
    for (unsigned i = 0; call->pending > 0; i++) {
        if (c->requests[i].call != call)
            continue;
        c->requests[i].call = NULL;
        call->pending--;
    }
    call_unqueue(c, call);
    list_remove(&call->link);
    mem_free(call);
    return io;
}

static void nbd_client_transmission_call_end(struct nbd_client *c, struct client_call *call, int status)
{
    io_finish_later(c->loop, call_drop(c, call), status);
}

void client_transmission_end_calls(struct nbd_client *c, int status)
{
    list_for_each (l, &c->calls)
        nbd_client_transmission_call_end(c, container_of(l, struct client_call, link), status);
}

void nbd_client_cancel(struct nbd_client *c, struct io *io, int status)
{
    list_for_each (l, &c->calls) {
        struct client_call *call = container_of(l, struct client_call, link);
        if (call->io != io)
            continue;
        nbd_client_transmission_call_end(c, call, status);
        defer_schedule(c->loop, &c->pump); /* another call may be first now */
        return;
    }
}

void nbd_client_take_back(struct nbd_client *c, struct link *ios)
{
    list_for_each (l, &c->calls) {
        struct io *io = call_drop(c, container_of(l, struct client_call, link));
        if (io->op == IO_READ)
            slices_clear(&io->data);
        list_append(ios, &io->link);
    }
}

/* An io that comes between the connection's death and `died` waits for `died`, like those before it. */
void nbd_client_submit(struct nbd_client *c, struct io *io)
{
    bool prefetch = io->flags & IO_PREFETCH;
    int status = 0;
    if (c->closing)
        status = -ECANCELED;
    else if (c->phase == CLIENT_DEAD && c->died_told)
        status = c->status ? c->status : -ECONNRESET;
    else if (io->op == IO_ZERO && io->flags & IO_FAST_ZERO && !c->facts.can_fast_zero)
        status = -ENOTSUP;
    else if (prefetch && c->prefetches == NBD_CLIENT_PREFETCH)
        status = -EAGAIN;
    if (status != 0) {
        io_finish_later(c->loop, io, status);
        return;
    }
    assert(c->phase == CLIENT_REPLIES || c->phase == CLIENT_DEAD);
    struct client_call *call = mem_alloc(sizeof *call);
    call->io = io;
    list_append(&c->calls, &call->link);
    list_append(prefetch ? &c->prefetch : &c->demand, &call->queue);
    c->prefetches += prefetch;
    defer_schedule(c->loop, &c->pump);
}

/* --- requests --- */

static uint16_t request_type(const struct io *io)
{
    switch (io->op) {
    case IO_READ:
        return NBD_CMD_READ;
    case IO_WRITE:
        return NBD_CMD_WRITE;
    case IO_FLUSH:
        return NBD_CMD_FLUSH;
    case IO_TRIM:
        return NBD_CMD_TRIM;
    default:
        assert(io->op == IO_ZERO);
        return NBD_CMD_WRITE_ZEROES;
    }
}

static uint16_t request_flags(const struct nbd_client *c, const struct io *io)
{
    unsigned flags = 0;
    if (io->flags & IO_FUA && c->facts.can_fua)
        flags |= NBD_CMD_FUA;
    if (io->op == IO_ZERO && io->flags & IO_NO_HOLE)
        flags |= NBD_CMD_NO_HOLE;
    if (io->op == IO_ZERO && io->flags & IO_FAST_ZERO)
        flags |= NBD_CMD_FAST_ZERO;
    return (uint16_t)flags;
}

static bool has_payload(const struct io *io)
{
    return io->op == IO_READ || io->op == IO_WRITE;
}

/* How much of the call the next request asks for. */
static uint32_t next_length(const struct nbd_client *c, const struct client_call *call)
{
    uint32_t left = call->io->length - call->sent;
    return has_payload(call->io) && left > c->options.request_max ? c->options.request_max : left;
}

/* Late answers, and those that nobody waits for any more, are in flight until they have come. */
static bool answers_fit(const struct nbd_client *c, uint64_t charge)
{
    uint64_t headers = (uint64_t)(c->in_flight + 1) * NBD_SIMPLE_REPLY_SIZE;
    return c->options.answers_max == 0 || c->bytes_in_flight + charge + headers <= c->options.answers_max;
}

static bool may_send(const struct nbd_client *c, const struct client_call *call)
{
    unsigned requests = c->options.requests_max;
    uint64_t bytes = c->options.bytes_max, charge = has_payload(call->io) ? next_length(c, call) : 0;
    if (c->in_flight == 0)
        return true;
    if (call->io->flags & IO_PREFETCH) {
        requests -= requests / DEMAND_SHARE;
        bytes -= bytes / DEMAND_SHARE;
    }
    return c->in_flight < requests && c->bytes_in_flight + charge <= bytes && answers_fit(c, charge);
}

/* One timer looks now and then, so that none must be set with each request. */
static void on_silence(uv_timer_t *timer)
{
    struct nbd_client *c = container_of(timer, struct nbd_client, timer);
    uint64_t limit = c->options.silence_ms, silent = uv_now(c->loop) - c->answered_ms;
    char text[TEXT_SIZE_MAX];
    if (c->in_flight == 0)
        return;
    if (silent < limit) {
        uv_timer_start(timer, on_silence, limit - silent, 0);
        return;
    }
    text_duration(limit, text);
    client_fail(c, -ETIMEDOUT, "the NBD server answered nothing for %s", text);
}

static void watch_silence(struct nbd_client *c)
{
    c->answered_ms = uv_now(c->loop);
    if (c->options.silence_ms && !uv_is_active((uv_handle_t *)&c->timer))
        uv_timer_start(&c->timer, on_silence, c->options.silence_ms, 0);
}

static struct client_request *nbd_client_transmission_request_new(struct nbd_client *c, struct client_call *call)
{
    struct client_request *r = container_of(list_pop(&c->idle), struct client_request, link);
    r->cookie = ++c->serial << PLACE_BITS | (uint64_t)(r - c->requests);
    r->call = call;
    r->type = request_type(call->io);
    r->at = call->sent;
    r->length = next_length(c, call);
    r->charge = has_payload(call->io) ? r->length : 0;
    r->alone_us = 0;
    if (c->in_flight++ == 0) {
        watch_silence(c);
        r->alone_us = client_now_us();
        if (c->options.link)
            link_busy(c->options.link, r->alone_us);
    }
    c->bytes_in_flight += r->charge;
    return r;
}

static void send_next(struct nbd_client *c, struct client_call *call)
{
    struct client_request *r = nbd_client_transmission_request_new(c, call);
    struct nbd_request request = {.flags = request_flags(c, call->io),
                                  .type = r->type,
                                  .cookie = r->cookie,
                                  .offset = call->io->offset + r->at,
                                  .length = r->length};
    uint8_t header[NBD_REQUEST_SIZE];
    nbd_encode_request(header, &request);
    slices_add_copy(&c->out, header, sizeof header);
    if (call->io->op == IO_WRITE)
        slices_add_part(&c->out, &call->io->data, r->at, r->length);
    call->pending++;
    call->sent += r->length;
    if (call->sent == call->io->length)
        call_unqueue(c, call);
}

static struct client_call *next_call(struct nbd_client *c)
{
    struct link *list = list_empty(&c->demand) ? &c->prefetch : &c->demand;
    return list_empty(list) ? NULL : container_of(list->next, struct client_call, queue);
}

/* Sends all that may be sent, in few writes. */
void client_pump(struct nbd_client *c)
{
    struct client_call *call;
    while (c->phase == CLIENT_REPLIES) {
        while ((call = next_call(c)) && c->stream->unsent + c->out.length <= NBD_CLIENT_UNSENT && may_send(c, call))
            send_next(c, call);
        if (c->out.length == 0)
            return;
        stream_write(c->stream, &c->out);
    }
}

/* --- replies --- */

static void none_in_flight(struct nbd_client *c)
{
    if (c->options.link)
        link_idle(c->options.link, client_now_us());
}

void client_transmission_stop(struct nbd_client *c)
{
    if (c->in_flight > 0)
        none_in_flight(c);
    c->in_flight = 0;
    c->receiving = NULL;
    slices_clear(&c->out);
}

static struct client_request *request_find(struct nbd_client *c, uint64_t cookie)
{
    uint64_t place = cookie & ((1u << PLACE_BITS) - 1);
    if (cookie == 0 || place >= c->options.requests_max || c->requests[place].cookie != cookie)
        return NULL;
    return &c->requests[place];
}

/* The io is done when its last request is, with the first error. After an error no more of it
 * is sent. */
static void nbd_client_transmission_request_end(struct nbd_client *c, struct client_request *r, int status)
{
    struct client_call *call = r->call;
    c->bytes_in_flight -= r->charge;
    c->answered_ms = uv_now(c->loop);
    r->cookie = 0;
    r->call = NULL;
    list_append(&c->idle, &r->link);
    if (--c->in_flight == 0)
        none_in_flight(c);
    if (call) {
        call->pending--;
        if (status != 0 && call->status == 0) {
            call->status = status;
            call_unqueue(c, call);
        }
        if (call->pending == 0 && list_empty(&call->queue))
            nbd_client_transmission_call_end(c, call, call->status);
    }
    if (next_call(c))
        defer_schedule(c->loop, &c->pump);
}

void client_transmission_step(struct nbd_client *c)
{
    struct nbd_simple_reply reply;
    bool simple = nbd_decode_simple_reply(c->in, &reply);
    client_expect(c, CLIENT_REPLIES, NBD_SIMPLE_REPLY_SIZE);
    if (!simple) {
        client_fail(c, -EPROTO,
                    nbd_get32(c->in) == NBD_STRUCTURED_REPLY_MAGIC
                        ? "the NBD server sent a structured reply, which was not agreed on"
                        : "the NBD server sent something that is no reply");
        return;
    }
    struct client_request *r = request_find(c, reply.cookie);
    if (!r) {
        client_fail(c, -EPROTO, "the NBD server answered a request that it was not sent");
        return;
    }
    uint64_t now = client_now_us();
    if (r->alone_us && r->type == NBD_CMD_READ && c->options.link)
        link_round_trip(c->options.link, now - r->alone_us, true, now);
    if (reply.error != 0 || r->type != NBD_CMD_READ) {
        nbd_client_transmission_request_end(c, r, nbd_status(reply.error));
        return;
    }
    c->receiving = r;
    c->received = 0;
}

size_t client_transmission_payload(struct nbd_client *c, const uint8_t *data, size_t length)
{
    struct client_request *r = c->receiving;
    uint32_t part = r->length - c->received < length ? r->length - c->received : (uint32_t)length;
    if (r->call && r->call->status == 0) {
        struct io *io = r->call->io;
        if (io->data.length == 0)
            slices_alloc(&io->data, io->length, BYTES_PIECE);
        slices_copy_in(&io->data, r->at + c->received, data, part);
    }
    c->received += part;
    if (c->options.link)
        link_received(c->options.link, part, client_now_us());
    if (c->received == r->length) {
        c->receiving = NULL;
        nbd_client_transmission_request_end(c, r, 0);
    }
    return part;
}
