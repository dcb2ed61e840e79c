/* The stream: see http/websocket.h. */
#include "http/websocket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/closing.h"
#include "base/defer.h"
#include "base/list.h"
#include "base/text.h"
#include "http/websocket_frame.h"

#define UNMASK_SIZE (64u << 10) /* passed on at a time */

struct websocket {
    struct stream stream;
    struct stream *below;
    struct websocket_options options;

    /* Input. */
    struct slices pending; /* waits, since the owner does not read */
    uint8_t header[WEBSOCKET_HEADER_MAX];
    size_t header_have;
    struct websocket_frame frame; /* valid while in_frame */
    bool in_frame;
    uint64_t at;      /* position in the frame's payload */
    bool in_message;  /* a message has begun, of which more frames must come */
    uint64_t message; /* bytes of the message so far, those of the current frame included */
    uint8_t control[WEBSOCKET_CONTROL_PAYLOAD_MAX];
    bool reading; /* as the owner wants it */
    uint64_t heard_at;

    /* The end. */
    bool close_sent, close_received;
    uint16_t peer_code;
    char peer_reason[WEBSOCKET_REASON_MAX + 1];
    bool below_ended;
    bool broken; /* the frames can't be told apart any more */
    bool ended;  /* on_end is due or was told */
    int end_status;
    bool end_told;
    char error[80];
    uint16_t close_code; /* what we close with */
    char close_reason[WEBSOCKET_REASON_MAX + 1];
    bool below_closing;

    uint64_t unsent_control; /* pongs since `below` was last drained */
    struct defer pump, tell;
    uv_timer_t timer; /* pings; then the peer's time to close */
    struct closing closing;
};

static struct websocket *websocket_of(struct stream *stream)
{
    return container_of(stream, struct websocket, stream);
}

/* --- output --- */

static void send_frame(struct websocket *w, uint8_t opcode, struct slices *payload)
{
    uint8_t header[WEBSOCKET_HEADER_MAX];
    struct slices data;
    slices_init(&data);
    slices_add_copy(&data, header, (uint32_t)websocket_frame_encode(header, opcode, payload->length));
    slices_take(&data, payload);
    stream_write(w->below, &data);
}

static void send_control(struct websocket *w, uint8_t opcode, const void *payload, size_t length)
{
    struct slices data;
    if (w->close_sent || w->below_ended)
        return;
    slices_init(&data);
    slices_add_copy(&data, payload, (uint32_t)length);
    send_frame(w, opcode, &data);
    w->unsent_control = w->below->unsent > 0 ? w->unsent_control + length + 2 : 0;
}

static void send_close(struct websocket *w, uint16_t code, const char *reason)
{
    uint8_t payload[2 + WEBSOCKET_REASON_MAX];
    size_t length = strlen(reason);
    payload[0] = (uint8_t)(code >> 8);
    payload[1] = (uint8_t)code;
    memcpy(payload + 2, reason, length);
    send_control(w, WEBSOCKET_CLOSE, payload, 2 + length);
    w->close_sent = true;
}

static void websocket_write(struct stream *stream, struct slices *data)
{
    struct websocket *w = websocket_of(stream);
    while (data->length > 0 && !w->close_sent && !w->below_ended) {
        struct slices part;
        slices_init(&part);
        slices_move(&part, data, data->length < WEBSOCKET_MESSAGE_MAX ? data->length : WEBSOCKET_MESSAGE_MAX);
        send_frame(w, WEBSOCKET_BINARY, &part);
        stream->unsent = w->below->unsent;
    }
    slices_clear(data);
}

/* --- the end --- */

static void http_websocket_end_later(struct websocket *w, int status, const char *words)
{
    if (w->ended)
        return;
    w->ended = true;
    w->end_status = status;
    snprintf(w->error, sizeof w->error, "%s", words);
    defer_schedule(w->stream.loop, &w->tell);
}

static void on_http_websocket_tell(struct defer *defer)
{
    struct websocket *w = container_of(defer, struct websocket, tell);
    if (w->stream.closing || w->end_told)
        return;
    w->end_told = true;
    w->stream.on_end(&w->stream, w->end_status);
}

static void http_websocket_fail(struct websocket *w, uint16_t code, int status, const char *words)
{
    w->broken = true;
    send_close(w, code, words);
    http_websocket_end_later(w, status, words);
}

static void close_below(struct websocket *w)
{
    if (w->below_closing)
        return;
    w->below_closing = true;
    uv_timer_stop(&w->timer);
    stream_close(w->below);
}

/* --- control frames --- */

static bool take_close(struct websocket *w, const uint8_t *payload, size_t length)
{
    unsigned code = length >= 2 ? (unsigned)payload[0] << 8 | payload[1] : 0;
    if (length == 1 || (length >= 2 && !websocket_is_sendable_code(code))) {
        http_websocket_fail(w, WEBSOCKET_PROTOCOL_ERROR, -EPROTO, "a close code that is not allowed");
        return false;
    }
    if (length > 2 && !websocket_is_utf8(payload + 2, length - 2)) {
        http_websocket_fail(w, WEBSOCKET_BAD_TEXT, -EPROTO, "a close reason that is not UTF-8");
        return false;
    }
    w->close_received = true;
    w->peer_code = code ? (uint16_t)code : WEBSOCKET_NO_CODE;
    if (length > 2)
        memcpy(w->peer_reason, payload + 2, length - 2);
    send_close(w, code ? (uint16_t)code : WEBSOCKET_NORMAL, ""); /* webui-vue takes 1000 only for no error */
    http_websocket_end_later(w, 0, "");
    return false;
}

/* Handles a complete control frame; false if nothing may come after it. */
static bool control_complete(struct websocket *w)
{
    size_t length = (size_t)w->frame.length;
    if (w->frame.opcode == WEBSOCKET_CLOSE)
        return take_close(w, w->control, length);
    if (w->frame.opcode == WEBSOCKET_PING)
        send_control(w, WEBSOCKET_PONG, w->control, length);
    return true;
}

/* --- data frames --- */

static bool begin_data_frame(struct websocket *w)
{
    bool continues = w->frame.opcode == WEBSOCKET_CONTINUATION;
    if (continues != w->in_message) {
        http_websocket_fail(w, WEBSOCKET_PROTOCOL_ERROR, -EPROTO, "a frame that is out of place");
        return false;
    }
    if (w->frame.opcode == WEBSOCKET_TEXT) {
        http_websocket_fail(w, WEBSOCKET_UNSUPPORTED, -EPROTO, "a text message");
        return false;
    }
    w->message = continues ? w->message : 0;
    if (w->options.message_max && w->frame.length > w->options.message_max - w->message) {
        http_websocket_fail(w, WEBSOCKET_TOO_BIG, -EMSGSIZE, "a message that is too big");
        return false;
    }
    w->message += w->frame.length;
    w->in_message = !w->frame.fin;
    return true;
}

static bool begin_frame(struct websocket *w)
{
    size_t size = w->header_have;
    w->header_have = 0;
    w->at = 0;
    w->in_frame = true;
    if (!websocket_frame_decode(w->header, size, &w->frame)) {
        http_websocket_fail(w, WEBSOCKET_PROTOCOL_ERROR, -EPROTO, "a frame that breaks the rules");
        return false;
    }
    return websocket_is_control(w->frame.opcode) || begin_data_frame(w);
}

/* --- input --- */

/* Frames are read on, without being passed on, while the peer's close is awaited. */
static bool http_websocket_wants_input(const struct websocket *w)
{
    if (w->stream.closing)
        return !w->close_received && !w->below_closing;
    return !w->ended && w->reading && w->unsent_control <= WEBSOCKET_CONTROL_MAX;
}

static size_t payload_input(struct websocket *w, const uint8_t *data, size_t length)
{
    static uint8_t plain[UNMASK_SIZE];
    uint64_t left = w->frame.length - w->at;
    size_t part = length < left ? length : (size_t)left;
    if (websocket_is_control(w->frame.opcode)) {
        websocket_unmask(w->control + w->at, data, part, w->frame.mask, w->at);
        w->at += part;
    } else {
        part = part < UNMASK_SIZE ? part : UNMASK_SIZE;
        websocket_unmask(plain, data, part, w->frame.mask, w->at);
        w->at += part;
        if (!w->stream.closing)
            w->stream.on_data(&w->stream, plain, part);
    }
    return part;
}

static size_t header_input(struct websocket *w, const uint8_t *data, size_t length)
{
    size_t done = 0, size = websocket_header_size(w->header, w->header_have);
    while (done < length && w->header_have < size) {
        w->header[w->header_have++] = data[done++];
        size = websocket_header_size(w->header, w->header_have);
    }
    return done;
}

/* Takes as much as may be taken now. After a fault nothing more is. */
static size_t http_websocket_input(struct websocket *w, const uint8_t *data, size_t length)
{
    size_t done = w->broken ? length : 0;
    while (http_websocket_wants_input(w) && !w->broken) {
        if (w->in_frame && w->at == w->frame.length) {
            w->in_frame = false;
            if (websocket_is_control(w->frame.opcode) && !control_complete(w))
                return length;
        }
        if (done == length)
            break;
        if (w->in_frame) {
            done += payload_input(w, data + done, length - done);
            continue;
        }
        done += header_input(w, data + done, length - done);
        if (w->header_have == websocket_header_size(w->header, w->header_have) && !begin_frame(w))
            return length;
    }
    return done;
}

/* Ends the closing, once what it waited for has come or can't come any more. */
static void check_lingering(struct websocket *w)
{
    if (w->stream.closing && (w->close_received || w->below_ended))
        close_below(w);
}

static void http_websocket_set_reading_below(struct websocket *w)
{
    if (!w->below_closing)
        stream_read(w->below, http_websocket_wants_input(w) && w->pending.count == 0 && !w->below_ended);
}

static void on_http_websocket_below_data(struct stream *below, const uint8_t *data, size_t length)
{
    struct websocket *w = below->owner;
    w->heard_at = uv_now(below->loop);
    size_t done = http_websocket_input(w, data, length);
    if (done < length && !w->ended)
        slices_add_copy(&w->pending, data + done, (uint32_t)(length - done));
    check_lingering(w);
    http_websocket_set_reading_below(w);
}

static void on_http_websocket_pump(struct defer *defer)
{
    struct websocket *w = container_of(defer, struct websocket, pump);
    while (w->pending.count > 0 && http_websocket_wants_input(w)) {
        struct slices taken;
        size_t done = http_websocket_input(w, slice_data(&w->pending.v[0]), w->pending.v[0].length);
        slices_init(&taken);
        slices_move(&taken, &w->pending, done);
        slices_clear(&taken);
    }
    if (w->pending.count == 0 && http_websocket_wants_input(w))
        http_websocket_input(w, NULL, 0); /* a frame whose payload has ended */
    if (w->below_ended && !w->stream.closing && http_websocket_wants_input(w))
        http_websocket_end_later(w, -ECONNRESET, "the connection was cut");
    check_lingering(w);
    http_websocket_set_reading_below(w);
}

static void on_http_websocket_below_end(struct stream *below, int status)
{
    struct websocket *w = below->owner;
    w->below_ended = true;
    defer_schedule(w->stream.loop, &w->pump); /* what was read before goes first */
    if (status < 0 && !http_websocket_wants_input(w))
        http_websocket_end_later(w, -ECONNRESET, "the connection was cut");
}

static void on_http_websocket_below_drain(struct stream *below)
{
    struct websocket *w = below->owner;
    w->unsent_control = 0;
    http_websocket_set_reading_below(w);
    if (w->pending.count > 0)
        defer_schedule(w->stream.loop, &w->pump);
    if (w->stream.unsent == 0 || w->stream.closing)
        return;
    w->stream.unsent = 0;
    if (w->stream.on_drain)
        w->stream.on_drain(&w->stream);
}

static void websocket_read(struct stream *stream, bool on)
{
    struct websocket *w = websocket_of(stream);
    if (on && !w->reading) {
        w->heard_at = uv_now(stream->loop); /* the peer was not listened to meanwhile */
        defer_schedule(stream->loop, &w->pump);
    }
    w->reading = on;
    http_websocket_set_reading_below(w);
}

/* --- time --- */

static void on_ping_timer(uv_timer_t *timer)
{
    struct websocket *w = container_of(timer, struct websocket, timer);
    if (w->reading && uv_now(timer->loop) - w->heard_at >= w->options.dead_ms)
        http_websocket_end_later(w, -ETIMEDOUT, "nothing is heard of the peer");
    else if (w->below->unsent == 0) /* else the peer has not taken what was sent before */
        send_control(w, WEBSOCKET_PING, "", 0);
}

static void on_linger_timer(uv_timer_t *timer)
{
    close_below(container_of(timer, struct websocket, timer));
}

/* --- life --- */

static void on_http_websocket_closed(struct closing *closing)
{
    struct websocket *w = container_of(closing, struct websocket, closing);
    w->stream.on_closed(&w->stream);
}

static void on_http_websocket_below_closed(struct stream *below)
{
    struct websocket *w = below->owner;
    defer_cancel(&w->pump);
    closing_begin(&w->closing, below->loop, on_http_websocket_closed);
    closing_add(&w->closing, (uv_handle_t *)&w->timer);
    closing_end(&w->closing);
}

static void websocket_close_stream(struct stream *stream)
{
    struct websocket *w = websocket_of(stream);
    defer_cancel(&w->tell);
    if (!w->close_sent)
        send_close(w, w->close_code ? w->close_code : WEBSOCKET_GOING_AWAY, w->close_reason);
    if (w->close_received || w->below_ended || w->end_status == -ETIMEDOUT || w->end_status == -ECONNRESET) {
        close_below(w);
        return;
    }
    uv_timer_start(&w->timer, on_linger_timer, WEBSOCKET_LINGER_MS, 0);
    defer_schedule(stream->loop, &w->pump);
}

static void websocket_free(struct stream *stream)
{
    struct websocket *w = websocket_of(stream);
    slices_clear(&w->pending);
    stream_free(w->below);
    mem_free(w);
}

static const struct stream_ops websocket_ops = {websocket_read, websocket_write, websocket_close_stream,
                                                websocket_free};

struct stream *websocket_stream_new(struct stream *below, struct slices *early, const struct websocket_options *options)
{
    struct websocket *w = mem_alloc(sizeof *w);
    w->stream.ops = &websocket_ops;
    w->stream.loop = below->loop;
    w->below = below;
    w->options = *options;
    w->options.ping_ms = options->ping_ms ? options->ping_ms : WEBSOCKET_PING_MS;
    w->options.dead_ms = options->dead_ms ? options->dead_ms : WEBSOCKET_DEAD_MS;
    w->peer_code = WEBSOCKET_CUT;
    slices_init(&w->pending);
    slices_take(&w->pending, early);
    defer_setup(&w->pump, on_http_websocket_pump);
    defer_setup(&w->tell, on_http_websocket_tell);
    uv_timer_init(below->loop, &w->timer);
    uv_timer_start(&w->timer, on_ping_timer, w->options.ping_ms, w->options.ping_ms);
    below->owner = w;
    below->on_data = on_http_websocket_below_data;
    below->on_end = on_http_websocket_below_end;
    below->on_drain = on_http_websocket_below_drain;
    below->on_closed = on_http_websocket_below_closed;
    return &w->stream;
}

void websocket_close(struct stream *stream, uint16_t code, const char *reason)
{
    struct websocket *w = websocket_of(stream);
    size_t length = strlen(reason);
    if (stream->closing)
        return;
    while (length > WEBSOCKET_REASON_MAX || !websocket_is_utf8((const uint8_t *)reason, length))
        length--; /* not in the middle of a character */
    w->close_code = code;
    memcpy(w->close_reason, reason, length);
    w->close_reason[length] = 0;
    stream_close(stream);
}

uint16_t websocket_peer_code(struct stream *stream)
{
    return websocket_of(stream)->peer_code;
}

const char *websocket_peer_reason(struct stream *stream)
{
    return websocket_of(stream)->peer_reason;
}

const char *websocket_error(struct stream *stream)
{
    return websocket_of(stream)->error;
}
