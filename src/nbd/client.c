#include "nbd/client.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "nbd/client_internal.h"

/* --- the end of a connection --- */

void client_fail(struct nbd_client *c, int status, const char *format, ...)
{
    va_list args;
    if (c->phase == CLIENT_DEAD)
        return;
    va_start(args, format);
    vsnprintf(c->error, sizeof c->error, format, args);
    va_end(args);
    c->phase = CLIENT_DEAD;
    c->status = status;
    stream_read(c->stream, false);
    uv_timer_stop(&c->timer);
    client_transmission_stop(c);
    defer_schedule(c->loop, &c->tell);
}

static void on_nbd_client_timeout(uv_timer_t *timer)
{
    struct nbd_client *c = container_of(timer, struct nbd_client, timer);
    client_fail(c, -ETIMEDOUT, "the NBD server did not finish the handshake in time");
}

static void on_nbd_client_end(struct stream *stream, int status)
{
    struct nbd_client *c = stream->owner;
    if (status < 0)
        client_fail(c, status, "the connection was lost: %s", uv_strerror(status));
    else if (c->phase == CLIENT_REPLIES)
        client_fail(c, 0, "the NBD server closed the connection");
    else if (*c->refusal)
        client_fail(c, -ECONNRESET, "the NBD server refused the export: %s", c->refusal);
    else
        client_fail(c, -ECONNRESET, "the NBD server closed the connection during the handshake");
}

/* A connection may die before `ready` was told: then `ready` brings the error. */
static void on_nbd_client_tell(struct defer *defer)
{
    struct nbd_client *c = container_of(defer, struct nbd_client, tell);
    bool dead = c->phase == CLIENT_DEAD;
    if (!c->ready_told) {
        c->ready_told = true;
        c->died_told = dead;
        c->callbacks.ready(c, !dead ? 0 : c->status ? c->status : -ECONNRESET);
        return;
    }
    if (!dead || c->died_told)
        return;
    c->died_told = true;
    c->callbacks.died(c, c->status);
    if (!c->closing)
        client_transmission_end_calls(c, c->status ? c->status : -ECONNRESET);
}

/* --- input --- */

void client_expect(struct nbd_client *c, enum client_phase phase, uint32_t want)
{
    c->phase = phase;
    c->have = 0;
    c->want = want < CLIENT_INPUT ? want : CLIENT_INPUT;
    c->skip = want - c->want;
}

static size_t nbd_client_gather(struct nbd_client *c, const uint8_t *data, size_t length)
{
    size_t part;
    if (c->have < c->want) {
        part = length < c->want - c->have ? length : c->want - c->have;
        memcpy(c->in + c->have, data, part);
        c->have += (uint32_t)part;
    } else {
        part = length < c->skip ? length : c->skip;
        c->skip -= (uint32_t)part;
    }
    if (c->have < c->want || c->skip > 0)
        return part;
    if (c->phase == CLIENT_REPLIES)
        client_transmission_step(c);
    else
        client_handshake_step(c);
    return part;
}

static void on_nbd_client_data(struct stream *stream, const uint8_t *data, size_t length)
{
    struct nbd_client *c = stream->owner;
    for (size_t done = 0; done < length && c->phase != CLIENT_DEAD;) {
        if (c->receiving)
            done += client_transmission_payload(c, data + done, length - done);
        else
            done += nbd_client_gather(c, data + done, length - done);
    }
}

static void on_nbd_client_pump(struct defer *defer)
{
    client_pump(container_of(defer, struct nbd_client, pump));
}

static void on_nbd_client_drain(struct stream *stream)
{
    client_pump(stream->owner);
}

/* --- life --- */

static void on_nbd_client_closed(struct defer *defer)
{
    struct nbd_client *c = container_of(defer, struct nbd_client, closed);
    c->callbacks.closed(c);
}

/* Deferred, so that it comes after the ios that were ended before. */
static void nbd_client_part_closed(struct nbd_client *c)
{
    if (--c->open == 0)
        defer_schedule(c->loop, &c->closed);
}

static void on_nbd_client_timer_closed(uv_handle_t *handle)
{
    nbd_client_part_closed(container_of((uv_timer_t *)handle, struct nbd_client, timer));
}

static void on_nbd_client_stream_closed(struct stream *stream)
{
    nbd_client_part_closed(stream->owner);
}

static uint64_t size_as_told(uint64_t told)
{
    return told;
}

struct nbd_client *nbd_client_new(struct stream *stream, const struct nbd_client_options *options,
                                  const struct nbd_client_callbacks *callbacks)
{
    struct nbd_client *c = mem_alloc(sizeof *c);
    assert(options->requests_max >= 1 && options->requests_max <= NBD_CLIENT_REQUESTS_MAX);
    assert(options->request_max >= NBD_CLIENT_BLOCK_MAX);
    assert(options->answers_max == 0 || options->answers_max >= options->request_max + NBD_SIMPLE_REPLY_SIZE);
    assert(!options->export_name || strlen(options->export_name) <= NBD_NAME_MAX);
    c->stream = stream;
    c->loop = stream->loop;
    c->options = *options;
    c->callbacks = *callbacks;
    c->export_name = mem_strdup(options->export_name ? options->export_name : "");
    if (!options->understand_size)
        c->options.understand_size = size_as_told;
    list_init(&c->calls);
    list_init(&c->demand);
    list_init(&c->prefetch);
    list_init(&c->idle);
    slices_init(&c->out);
    defer_setup(&c->pump, on_nbd_client_pump);
    defer_setup(&c->tell, on_nbd_client_tell);
    defer_setup(&c->closed, on_nbd_client_closed);
    uv_timer_init(c->loop, &c->timer);
    c->open = 2;
    uint64_t timeout = options->handshake_timeout_ms ? options->handshake_timeout_ms : NBD_CLIENT_HANDSHAKE_MS;
    uv_timer_start(&c->timer, on_nbd_client_timeout, timeout, 0);
    client_expect(c, CLIENT_GREETING, NBD_GREETING_SIZE);
    stream->owner = c;
    stream->on_data = on_nbd_client_data;
    stream->on_end = on_nbd_client_end;
    stream->on_drain = on_nbd_client_drain;
    stream->on_closed = on_nbd_client_stream_closed;
    stream_read(stream, true);
    return c;
}

void *nbd_client_owner(const struct nbd_client *client)
{
    return client->callbacks.owner;
}

const struct nbd_client_facts *nbd_client_facts(const struct nbd_client *client)
{
    return &client->facts;
}

const char *nbd_client_error(const struct nbd_client *client)
{
    return client->error;
}

static void send_disconnect(struct nbd_client *c)
{
    uint8_t header[NBD_REQUEST_SIZE];
    struct nbd_request request = {.type = NBD_CMD_DISC};
    struct slices data;
    nbd_encode_request(header, &request);
    slices_init(&data);
    slices_add_copy(&data, header, sizeof header);
    stream_write(c->stream, &data);
}

void nbd_client_close(struct nbd_client *c)
{
    if (c->closing)
        return;
    c->closing = true;
    if (c->phase == CLIENT_REPLIES && !c->options.quiet)
        send_disconnect(c);
    c->phase = CLIENT_DEAD;
    defer_cancel(&c->tell);
    defer_cancel(&c->pump);
    client_transmission_stop(c);
    client_transmission_end_calls(c, -ECANCELED);
    uv_close((uv_handle_t *)&c->timer, on_nbd_client_timer_closed);
    if (c->callbacks.hang_up)
        c->callbacks.hang_up(c->callbacks.owner, c->stream, c->status, c->error);
    stream_close(c->stream); /* nothing happens if it was closed */
}

void nbd_client_free(struct nbd_client *c)
{
    assert(c->closing && c->open == 0);
    client_transmission_free(c);
    stream_free(c->stream);
    mem_free(c->export_name);
    mem_free(c);
}
