#include "nbd_peer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "net/socket.h"

enum { PHASE_FLAGS, PHASE_OPTIONS, PHASE_REQUESTS };

/* --- output --- */

void nbd_peer_send(struct nbd_peer *peer, const void *data, size_t length)
{
    struct slices out;
    bool cut = peer->cut_after && peer->sent + length >= peer->cut_after;
    if (peer->closed || peer->stream->closing)
        return;
    if (cut)
        length = (size_t)(peer->cut_after - peer->sent);
    peer->sent += length;
    slices_init(&out);
    slices_add_copy(&out, data, (uint32_t)length);
    stream_write(peer->stream, &out);
    if (cut)
        nbd_peer_close(peer);
}

static void send_option_reply(struct nbd_peer *peer, uint32_t option, uint32_t reply, const void *data, uint32_t length)
{
    uint8_t out[NBD_OPTION_REPLY_SIZE + 64];
    nbd_encode_option_reply(out, option, reply, length);
    memcpy(out + NBD_OPTION_REPLY_SIZE, data, length);
    nbd_peer_send(peer, out, NBD_OPTION_REPLY_SIZE + length);
}

/* --- handshake --- */

static void answer_export_name(struct nbd_peer *peer)
{
    uint8_t out[NBD_EXPORT_SIZE + NBD_EXPORT_ZEROES] = {0};
    nbd_encode_export(out, peer->told_size ? peer->told_size : peer->size, peer->flags);
    peer->phase = PHASE_REQUESTS;
    nbd_peer_send(peer, out, NBD_EXPORT_SIZE + (peer->greeting & NBD_FLAG_NO_ZEROES ? 0 : NBD_EXPORT_ZEROES));
}

static void answer_go(struct nbd_peer *peer)
{
    uint8_t info[14];
    nbd_put16(info, NBD_INFO_EXPORT);
    nbd_encode_export(info + 2, peer->told_size ? peer->told_size : peer->size, peer->flags);
    send_option_reply(peer, NBD_OPT_GO, NBD_REP_INFO, info, 2 + NBD_EXPORT_SIZE);
    send_option_reply(peer, NBD_OPT_GO, NBD_REP_INFO, "\0\1a name", 8);
    if (peer->minimum) {
        nbd_put16(info, NBD_INFO_BLOCK_SIZE);
        nbd_put32(info + 2, peer->minimum);
        nbd_put32(info + 6, peer->preferred);
        nbd_put32(info + 10, peer->maximum);
        send_option_reply(peer, NBD_OPT_GO, NBD_REP_INFO, info, 14);
    }
    peer->phase = PHASE_REQUESTS;
    send_option_reply(peer, NBD_OPT_GO, NBD_REP_ACK, "", 0);
}

static size_t take_option(struct nbd_peer *peer)
{
    struct nbd_option_header option;
    if (peer->have < NBD_OPTION_SIZE)
        return 0;
    assert_true(nbd_decode_option(peer->in, &option));
    if (peer->have < NBD_OPTION_SIZE + option.length)
        return 0;
    peer->options++;
    if (option.option == NBD_OPT_EXPORT_NAME)
        answer_export_name(peer);
    else if (option.option == NBD_OPT_GO && peer->knows_go)
        answer_go(peer);
    else
        send_option_reply(peer, option.option, NBD_REP_ERR_UNSUP, "not here", 8);
    return NBD_OPTION_SIZE + option.length;
}

/* --- transmission --- */

static bool is_transfer(const struct nbd_request *r)
{
    return r->type == NBD_CMD_READ || r->type == NBD_CMD_WRITE;
}

static void apply(struct nbd_peer *peer, const struct nbd_peer_request *r)
{
    if (r->wire.type == NBD_CMD_WRITE)
        memcpy(peer->content + r->wire.offset, r->payload, r->wire.length);
    else if (r->wire.type == NBD_CMD_WRITE_ZEROES || r->wire.type == NBD_CMD_TRIM)
        memset(peer->content + r->wire.offset, 0, r->wire.length);
}

void nbd_peer_reply(struct nbd_peer *peer, unsigned index, uint32_t error)
{
    assert_true(index < peer->held_count);
    struct nbd_peer_request r = peer->held[index];
    bool inside = r.wire.offset <= peer->size && r.wire.length <= peer->size - r.wire.offset;
    peer->held_count--;
    memmove(&peer->held[index], &peer->held[index + 1], (peer->held_count - index) * sizeof *peer->held);
    if (error == 0 && r.wire.type == NBD_CMD_READ)
        error = peer->read_error;
    if (error == 0 && !inside)
        error = 22;
    peer->in_flight--;
    peer->bytes -= is_transfer(&r.wire) ? r.wire.length : 0;
    bool data = error == 0 && r.wire.type == NBD_CMD_READ;
    unsigned char *out = malloc(NBD_SIMPLE_REPLY_SIZE + (size_t)r.wire.length);
    nbd_encode_simple_reply(out, error, r.wire.cookie);
    if (error == 0 && !data)
        apply(peer, &r);
    if (data)
        memcpy(out + NBD_SIMPLE_REPLY_SIZE, peer->content + r.wire.offset, r.wire.length);
    nbd_peer_send(peer, out, NBD_SIMPLE_REPLY_SIZE + (data ? r.wire.length : 0));
    free(out);
    free(r.payload);
}

static void on_answer(struct defer *defer)
{
    struct nbd_peer *peer = container_of(defer, struct nbd_peer, answer);
    if (peer->hold || peer->held_count == 0 || peer->stream->closing)
        return;
    nbd_peer_reply(peer, (unsigned)random() % peer->held_count, 0);
    if (peer->held_count > 0)
        defer_schedule(peer->stream->loop, &peer->answer);
}

static void count(struct nbd_peer *peer, const struct nbd_request *r)
{
    peer->requests++;
    peer->reads += r->type == NBD_CMD_READ;
    peer->writes += r->type == NBD_CMD_WRITE;
    peer->flushes += r->type == NBD_CMD_FLUSH;
    peer->others += r->type > NBD_CMD_FLUSH;
    peer->past_end += r->offset > peer->size || r->length > peer->size - r->offset;
    peer->bytes += is_transfer(r) ? r->length : 0;
    peer->in_flight++;
    if (peer->in_flight > peer->most_in_flight)
        peer->most_in_flight = peer->in_flight;
    uint64_t answers = peer->bytes + (uint64_t)peer->in_flight * NBD_SIMPLE_REPLY_SIZE;
    if (answers > peer->most_answers)
        peer->most_answers = answers;
    if (peer->bytes > peer->most_bytes)
        peer->most_bytes = peer->bytes;
    if (r->type == NBD_CMD_READ && r->length > peer->longest)
        peer->longest = r->length;
}

static size_t take_request(struct nbd_peer *peer)
{
    struct nbd_peer_request r = {.payload = NULL};
    if (peer->have < NBD_REQUEST_SIZE)
        return 0;
    assert_true(nbd_decode_request(peer->in, &r.wire));
    size_t payload = r.wire.type == NBD_CMD_WRITE ? r.wire.length : 0;
    if (peer->have < NBD_REQUEST_SIZE + payload)
        return 0;
    if (r.wire.type == NBD_CMD_DISC) {
        peer->disconnected = true;
        return NBD_REQUEST_SIZE;
    }
    assert_false(peer->disconnected);
    assert_int_not_equal(r.wire.cookie, 0);
    assert_true(peer->held_count < NBD_PEER_HELD);
    if (payload) {
        r.payload = malloc(payload);
        memcpy(r.payload, peer->in + NBD_REQUEST_SIZE, payload);
    }
    count(peer, &r.wire);
    peer->held[peer->held_count++] = r;
    defer_schedule(peer->stream->loop, &peer->answer);
    return NBD_REQUEST_SIZE + payload;
}

static size_t take(struct nbd_peer *peer)
{
    if (peer->phase == PHASE_OPTIONS)
        return take_option(peer);
    if (peer->phase == PHASE_REQUESTS)
        return take_request(peer);
    if (peer->have < NBD_CLIENT_FLAGS_SIZE)
        return 0;
    assert_int_equal(nbd_get32(peer->in), peer->greeting);
    peer->phase = PHASE_OPTIONS;
    return NBD_CLIENT_FLAGS_SIZE;
}

static void on_data(struct stream *stream, const uint8_t *data, size_t length)
{
    struct nbd_peer *peer = stream->owner;
    size_t done;
    peer->in = realloc(peer->in, peer->have + length);
    memcpy(peer->in + peer->have, data, length);
    peer->have += length;
    while (!stream->closing && (done = take(peer)) > 0) {
        peer->have -= done;
        memmove(peer->in, peer->in + done, peer->have);
    }
}

/* --- life --- */

static void on_end(struct stream *stream, int status)
{
    struct nbd_peer *peer = stream->owner;
    (void)status;
    peer->ended = true;
    nbd_peer_close(peer);
}

static void on_closed(struct stream *stream)
{
    struct nbd_peer *peer = stream->owner;
    stream_free(stream);
    peer->closed = true;
    if (peer->free_itself)
        nbd_peer_free(peer);
}

void nbd_peer_close(struct nbd_peer *peer)
{
    if (peer->closed)
        return;
    defer_cancel(&peer->answer);
    stream_close(peer->stream);
}

void nbd_peer_free(struct nbd_peer *peer)
{
    assert_true(peer->closed);
    while (peer->held_count > 0)
        free(peer->held[--peer->held_count].payload);
    free(peer->in);
    free(peer);
}

static void greet(struct defer *defer)
{
    struct nbd_peer *peer = container_of(defer, struct nbd_peer, answer);
    uint8_t greeting[NBD_GREETING_SIZE];
    nbd_encode_greeting(greeting);
    nbd_put16(greeting + 16, peer->greeting);
    defer_setup(&peer->answer, on_answer);
    if (!peer->silent)
        nbd_peer_send(peer, greeting, sizeof greeting);
}

static struct nbd_peer *peer_begin(uv_loop_t *loop, unsigned char *content, uint64_t size, struct stream *stream)
{
    struct nbd_peer *peer = calloc(1, sizeof *peer);
    assert_non_null(stream);
    peer->stream = stream;
    peer->stream->owner = peer;
    peer->stream->on_data = on_data;
    peer->stream->on_end = on_end;
    peer->stream->on_closed = on_closed;
    peer->content = content;
    peer->size = size;
    peer->greeting = NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES;
    peer->flags = NBD_PEER_FLAGS;
    stream_read(peer->stream, true);
    defer_setup(&peer->answer, greet);
    defer_schedule(loop, &peer->answer);
    return peer;
}

struct nbd_peer *nbd_peer_new(uv_loop_t *loop, unsigned char *content, uint64_t size, struct stream **client)
{
    int pair[2], status;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    *client = socket_stream_new(loop, pair[0], &status);
    return peer_begin(loop, content, size, socket_stream_new(loop, pair[1], &status));
}

struct nbd_peer *nbd_peer_piped(uv_loop_t *loop, unsigned char *content, uint64_t size, struct stream **client)
{
    int to[2], back[2], status;
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(back, O_CLOEXEC), 0);
    *client = socket_stream_pair(loop, back[0], to[1], &status);
    assert_non_null(*client);
    return peer_begin(loop, content, size, socket_stream_pair(loop, to[0], back[1], &status));
}
