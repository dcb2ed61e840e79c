/*
 * The NBD client against any server: no crash, no leak, every io is done exactly once,
 * with data only if the server sent a whole reply of success for each of its parts, and
 * the loop closes empty. The first byte steers the handshake (1: GO) and, when it is not
 * 0 or 1, seeds the split of what follows. The server's bytes follow; the eight bytes
 * "COOKIE#n" in them become the cookie of the n-th request that was sent, so that replies
 * can be right.
 */
#include <stdlib.h>
#include <string.h>

#include "../unit/net/memory_stream.h"
#include "base/log.h"
#include "fuzz_loop.h"
#include "nbd/client.h"
#include "nbd/wire.h"

#define IOS          6
#define REQUESTS_MAX 10
#define SAY_MAX      512
#define SENT_MAX     (64u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct play {
    struct memory_peer server;
    struct nbd_client *client;
    bool ready, ready_ok, died, closed, closing;
    struct io ios[IOS];
    unsigned used, dones[IOS];
    /* What the client sent. */
    uint8_t sent[SENT_MAX];
    size_t sent_have, sent_parsed;
    bool in_requests;
    struct nbd_request requests[REQUESTS_MAX];
    unsigned request_count;
    /* What the server sent, as far as it is needed to know which replies were whole. */
    uint8_t *said;
    size_t said_have;
};

static struct play *playing;

static void on_done(struct io *io)
{
    unsigned i = (unsigned)(io - playing->ios);
    if (playing->dones[i]++ > 0 || playing->closed)
        abort();
    if (io->op == IO_READ && io->data.length != (io->status == 0 ? io->length : 0))
        abort();
}

static void submit(struct play *p, enum io_op op, unsigned flags, uint64_t offset, uint32_t length)
{
    struct io *io = &p->ios[p->used++];
    io_init(io, op, offset, length, on_done);
    io->flags = flags;
    if (op == IO_WRITE)
        slices_alloc(&io->data, length, BYTES_PIECE);
    nbd_client_submit(p->client, io);
}

static void on_ready(struct nbd_client *client, int status)
{
    struct play *p = playing;
    if (p->ready || p->closed)
        abort();
    p->ready = true;
    p->ready_ok = status == 0;
    if (status != 0)
        return;
    uint64_t size = nbd_client_facts(client)->size;
    if (size == 0 || size > INT64_MAX)
        abort();
    submit(p, IO_READ, 0, 0, 3);
    submit(p, IO_READ, 0, 10, 40);
    submit(p, IO_READ, 0, 100, 8192 + 10); /* three requests */
    submit(p, IO_READ, IO_PREFETCH, 7, 20);
    submit(p, IO_FLUSH, 0, 0, 0);
    submit(p, IO_WRITE, 0, 5, 12);
}

static void on_died(struct nbd_client *client, int status)
{
    (void)client;
    if (!playing->ready_ok || playing->died || status > 0)
        abort();
    playing->died = true;
}

static void on_closed(struct nbd_client *client)
{
    for (unsigned i = 0; i < playing->used; i++)
        if (playing->dones[i] != 1)
            abort();
    playing->closed = true;
    nbd_client_free(client);
}

/* Requests are what follows an EXPORT_NAME, or a GO after which a request's magic comes. */
static void parse_sent(struct play *p)
{
    size_t at = p->sent_parsed ? p->sent_parsed : NBD_CLIENT_FLAGS_SIZE;
    while (p->sent_have >= at + NBD_OPTION_SIZE) {
        const uint8_t *from = p->sent + at;
        struct nbd_option_header option;
        struct nbd_request request;
        if (nbd_decode_option(from, &option)) {
            if (p->in_requests)
                abort();
            at += NBD_OPTION_SIZE + option.length;
            continue;
        }
        p->in_requests = true;
        if (p->sent_have < at + NBD_REQUEST_SIZE)
            break;
        if (!nbd_decode_request(from, &request) || request.length > (p->used ? 4096u : 0))
            abort();
        at += NBD_REQUEST_SIZE + (request.type == NBD_CMD_WRITE ? request.length : 0);
        if (request.type == NBD_CMD_DISC)
            continue;
        if (p->request_count == REQUESTS_MAX)
            abort(); /* more than the ios need */
        p->requests[p->request_count++] = request;
    }
    p->sent_parsed = at;
}

static void turn(struct play *p)
{
    uv_run(fuzz_loop(), UV_RUN_NOWAIT);
    p->sent_have += memory_peer_receive(&p->server, p->sent + p->sent_have, SENT_MAX - p->sent_have);
    parse_sent(p);
}

static bool send_out(struct play *p, const uint8_t *data, size_t length)
{
    if (!memory_peer_send(&p->server, data, length))
        return false;
    memcpy(p->said + p->said_have, data, length);
    p->said_have += length;
    turn(p);
    return true;
}

static bool is_place(const uint8_t *data, size_t left)
{
    return left >= 8 && memcmp(data, "COOKIE#", 7) == 0;
}

/* Says at most `part` of what is left; how much, or 0: the client has hung up. */
static size_t say(struct play *p, const uint8_t *data, size_t left, size_t part)
{
    uint8_t cookie[8];
    size_t length = 1;
    if (is_place(data, left) && data[7] >= '0' && data[7] - '0' < (int)p->request_count) {
        nbd_put64(cookie, p->requests[data[7] - '0'].cookie);
        part = part < 8 ? part : 8;
        return send_out(p, cookie, part) && (part == 8 || send_out(p, cookie + part, 8 - part)) ? 8 : 0;
    }
    while (length < left && length < part && length < SAY_MAX && !is_place(data + length, left - length))
        length++;
    return send_out(p, data, length) ? length : 0;
}

/* Was there, anywhere in what the server said, a reply of success to the request with as many bytes behind it? */
static bool was_answered(const struct play *p, const struct nbd_request *request)
{
    uint8_t reply[NBD_SIMPLE_REPLY_SIZE];
    size_t data = request->type == NBD_CMD_READ ? request->length : 0;
    nbd_encode_simple_reply(reply, 0, request->cookie);
    for (size_t at = 0; at + sizeof reply + data <= p->said_have; at++)
        if (memcmp(p->said + at, reply, sizeof reply) == 0)
            return true;
    return false;
}

static bool covers(const struct io *io, const struct nbd_request *request)
{
    if (io->op == IO_FLUSH || request->type == NBD_CMD_FLUSH)
        return io->op == IO_FLUSH && request->type == NBD_CMD_FLUSH;
    return (io->op == IO_WRITE) == (request->type == NBD_CMD_WRITE) && request->offset >= io->offset &&
           request->offset + request->length <= io->offset + io->length;
}

/* An io that succeeded has all its parts answered. */
static void check_success(const struct play *p)
{
    for (unsigned i = 0; i < p->used; i++) {
        const struct io *io = &p->ios[i];
        uint64_t bytes = 0;
        if (p->dones[i] == 0 || io->status != 0)
            continue;
        for (unsigned r = 0; r < p->request_count; r++) /* no request lies in two of the ios */
            if (covers(io, &p->requests[r]) && was_answered(p, &p->requests[r]))
                bytes += p->requests[r].length;
        if (bytes < io->length)
            abort();
    }
}

static void play(const uint8_t *data, size_t size, bool go, unsigned seed)
{
    static struct play p;
    memset(&p, 0, sizeof p);
    playing = &p;
    p.said = malloc(size);
    struct nbd_client_options options = {
        .who = "fuzz", .export_name = "x", .go = go, .request_max = 4096, .requests_max = 3, .bytes_max = 6000};
    struct nbd_client_callbacks callbacks = {.ready = on_ready, .died = on_died, .closed = on_closed};
    p.client = nbd_client_new(memory_stream_new(fuzz_loop(), &p.server), &options, &callbacks);
    turn(&p);
    for (size_t at = 0; at < size;) {
        size_t part = seed ? 1 + (seed = seed * 1103515245u + 12345u) / 65536u % 40 : size;
        size_t done = say(&p, data + at, size - at, part);
        if (done == 0)
            break;
        at += done;
        if (seed && seed % 13 == 0 && p.used > 0)
            nbd_client_cancel(p.client, &p.ios[seed % p.used], -1);
    }
    check_success(&p);
    if (seed % 2)
        memory_peer_hang_up(&p.server);
    nbd_client_close(p.client);
    while (!p.closed)
        uv_run(fuzz_loop(), UV_RUN_ONCE);
    memory_peer_clear(&p.server);
    for (unsigned i = 0; i < p.used; i++)
        slices_clear(&p.ios[i].data);
    free(p.said);
    fuzz_loop_must_be_empty();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    log_setup(LOG_TO_STDERR, LOG_LEVEL_ERROR);
    if (size < 2 || size > 16384)
        return 0;
    play(data + 1, size - 1, data[0] & 1, data[0] >> 1);
    return 0;
}
