#include "client_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "net/socket.h"

unsigned char content[SIZE];

int make_content(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SIZE; i++)
        content[i] = (unsigned char)random();
    return 0;
}

/* --- the client's callbacks --- */

static void on_ready(struct nbd_client *client, int status)
{
    struct rig *rig = nbd_client_owner(client);
    rig->ready++;
    rig->ready_status = status;
    if (rig->close_when_ready)
        nbd_client_close(client);
}

static void on_died(struct nbd_client *client, int status)
{
    struct rig *rig = nbd_client_owner(client);
    assert_int_equal(rig->ready, 1);
    assert_int_equal(rig->ready_status, 0);
    rig->died++;
    rig->died_status = status;
    if (rig->take_back)
        nbd_client_take_back(client, &rig->taken);
    if (rig->close_when_died)
        nbd_client_close(client);
}

static void on_closed(struct nbd_client *client)
{
    struct rig *rig = nbd_client_owner(client);
    rig->closed++;
    nbd_client_free(client);
}

static void on_hang_up(void *owner, struct stream *stream, int status, const char *error)
{
    struct rig *rig = owner;
    rig->hung_up++;
    rig->hung_up_status = status;
    strcpy(rig->error, error);
    stream_close(stream);
}

const struct nbd_client_options usual = {.who = "test", .request_max = 65536, .requests_max = 16, .bytes_max = 1 << 20};

void client_begin(struct rig *rig, struct stream *stream, const struct nbd_client_options *options)
{
    struct nbd_client_options mine = *options;
    struct nbd_client_callbacks callbacks = {
        .owner = rig, .ready = on_ready, .died = on_died, .closed = on_closed, .hang_up = on_hang_up};
    mine.link = &rig->link;
    list_init(&rig->taken);
    rig->client = nbd_client_new(stream, &mine, &callbacks);
}

/* The server is played by hand, on rig->fd. */
void rig_by_hand(struct rig *rig, const struct nbd_client_options *options)
{
    int pair[2], status;
    memset(rig, 0, sizeof *rig);
    test_loop_begin(&rig->loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    rig->fd = pair[1];
    client_begin(rig, socket_stream_new(&rig->loop, pair[0], &status), options);
}

void rig_with_peer(struct rig *rig, const struct nbd_client_options *options)
{
    struct stream *stream;
    memset(rig, 0, sizeof *rig);
    test_loop_begin(&rig->loop);
    rig->fd = -1;
    rig->peer = nbd_peer_new(&rig->loop, content, SIZE, &stream);
    client_begin(rig, stream, options);
}

void turns(struct rig *rig, int count)
{
    test_loop_turns(&rig->loop, count);
}

void wait_ms(struct rig *rig, unsigned ms)
{
    test_loop_wait(&rig->loop, ms);
}

void run_until(struct rig *rig, const int *what)
{
    test_loop_until(&rig->loop, what, 1);
}

void run_until_done(struct rig *rig, int dones)
{
    test_loop_until(&rig->loop, &rig->done, dones);
    assert_int_equal(rig->done, dones);
}

/* Closes, if that was not done; the loop must be empty then, and each callback have come at most once. */
void rig_end(struct rig *rig)
{
    for (int i = 0; i < 2 && !rig->closed; i++)
        nbd_client_close(rig->client); /* idempotent */
    run_until(rig, &rig->closed);
    if (rig->fd >= 0)
        close(rig->fd);
    if (rig->peer) {
        nbd_peer_close(rig->peer);
        uv_run(&rig->loop, UV_RUN_DEFAULT);
        assert_int_equal(rig->peer->past_end, 0);
        nbd_peer_free(rig->peer);
    }
    test_loop_end(&rig->loop);
    assert_int_equal(rig->closed, 1);
    assert_int_equal(rig->hung_up, 1);
    assert_true(rig->ready <= 1 && rig->died <= 1);
    for (unsigned i = 0; i < rig->used; i++) {
        bool is_taken = !list_empty(&rig->taken) && rig->ios[i].done == 0;
        assert_true(is_taken || rig->ios[i].done == 1);
        slices_clear(&rig->ios[i].io.data);
    }
}

/* --- ios --- */

static void on_done(struct io *io)
{
    struct client_io *c = container_of(io, struct client_io, io);
    struct rig *rig = c->rig;
    c->done++;
    rig->done++;
    if (io->op == IO_READ && io->status == 0 && rig->peer) {
        unsigned char *copy = malloc(io->length);
        slices_copy_out(&io->data, 0, copy, io->length);
        c->wrong = memcmp(copy, content + io->offset, io->length) != 0;
        free(copy);
    }
    if (io->status != 0 && io->op == IO_READ)
        assert_int_equal(io->data.length, 0);
    if (rig->read_when_done) {
        rig->read_when_done = false;
        read_at(rig, 0, 100);
    }
    if (rig->close_when_done)
        nbd_client_close(rig->client);
}

struct io *submit(struct rig *rig, enum io_op op, unsigned flags, uint64_t offset, uint32_t length)
{
    struct client_io *c = &rig->ios[rig->used++];
    unsigned before = rig->done;
    io_init(&c->io, op, offset, length, on_done);
    c->io.flags = flags;
    c->rig = rig;
    if (op == IO_WRITE) {
        slices_alloc(&c->io.data, length, BYTES_PIECE);
        slices_copy_in(&c->io.data, 0, content + offset, length);
    }
    nbd_client_submit(rig->client, &c->io);
    assert_int_equal(rig->done, before); /* never inside */
    return &c->io;
}

struct io *read_at(struct rig *rig, uint64_t offset, uint32_t length)
{
    return submit(rig, IO_READ, 0, offset, length);
}

/* --- a server by hand --- */

void put(struct script *s, const void *data, size_t length)
{
    memcpy(s->bytes + s->length, data, length);
    s->length += length;
}

void put_greeting(struct script *s, uint16_t flags)
{
    uint8_t b[NBD_GREETING_SIZE];
    nbd_encode_greeting(b);
    nbd_put16(b + 16, flags);
    put(s, b, sizeof b);
}

void put_export(struct script *s, uint64_t size, uint16_t flags, bool zeroes)
{
    uint8_t b[NBD_EXPORT_SIZE + NBD_EXPORT_ZEROES] = {0};
    nbd_encode_export(b, size, flags);
    put(s, b, zeroes ? sizeof b : NBD_EXPORT_SIZE);
}

void put_answer(struct script *s, uint32_t reply, const void *data, uint32_t length)
{
    uint8_t b[NBD_OPTION_REPLY_SIZE];
    nbd_encode_option_reply(b, NBD_OPT_GO, reply, length);
    put(s, b, sizeof b);
    put(s, data, length);
}

void put_info_export(struct script *s, uint64_t size)
{
    uint8_t b[2 + NBD_EXPORT_SIZE];
    nbd_put16(b, NBD_INFO_EXPORT);
    nbd_encode_export(b + 2, size, NBD_PEER_FLAGS);
    put_answer(s, NBD_REP_INFO, b, sizeof b);
}

void put_info_sizes(struct script *s, uint32_t minimum, uint32_t preferred, uint32_t maximum)
{
    uint8_t b[14];
    nbd_put16(b, NBD_INFO_BLOCK_SIZE);
    nbd_put32(b + 2, minimum);
    nbd_put32(b + 6, preferred);
    nbd_put32(b + 10, maximum);
    put_answer(s, NBD_REP_INFO, b, sizeof b);
}

void put_reply(struct script *s, uint32_t error, uint64_t cookie, const void *data, size_t length)
{
    uint8_t b[NBD_SIMPLE_REPLY_SIZE];
    nbd_encode_simple_reply(b, error, cookie);
    put(s, b, sizeof b);
    put(s, data, length);
}

void play(struct rig *rig, const struct script *s, size_t piece)
{
    for (size_t at = 0; at < s->length; at += piece) {
        size_t part = s->length - at < piece ? s->length - at : piece;
        if (send(rig->fd, s->bytes + at, part, 0) < 0)
            return; /* it has hung up */
        turns(rig, 3);
    }
}

/* What the client sent, up to now. */
size_t heard(struct rig *rig, unsigned char *to, size_t size)
{
    size_t used = 0;
    turns(rig, 3);
    for (;;) {
        ssize_t n = recv(rig->fd, to + used, size - used, 0);
        if (n <= 0)
            return used;
        used += (size_t)n;
        turns(rig, 1);
    }
}

void by_hand_ready(struct rig *rig, const struct nbd_client_options *options)
{
    static unsigned char sent[256];
    struct script s = {.length = 0};
    rig_by_hand(rig, options);
    put_greeting(&s, 3);
    put_export(&s, SIZE, NBD_PEER_FLAGS, false);
    play(rig, &s, s.length);
    run_until(rig, &rig->ready);
    assert_int_equal(rig->ready_status, 0);
    assert_int_equal(heard(rig, sent, sizeof sent), 4 + NBD_OPTION_SIZE);
}

/* The cookies of the requests that the client sent meanwhile. */
unsigned cookies(struct rig *rig, uint64_t to[IOS])
{
    static unsigned char sent[IOS * NBD_REQUEST_SIZE];
    size_t length = heard(rig, sent, sizeof sent);
    assert_int_equal(length % NBD_REQUEST_SIZE, 0);
    for (size_t i = 0; i < length / NBD_REQUEST_SIZE; i++) {
        struct nbd_request r;
        assert_true(nbd_decode_request(sent + i * NBD_REQUEST_SIZE, &r));
        to[i] = r.cookie;
    }
    return (unsigned)(length / NBD_REQUEST_SIZE);
}
