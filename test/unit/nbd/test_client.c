/* The NBD client against servers that keep the protocol, and against those that don't. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "nbd/client.h"
#include "nbd_peer.h"
#include "net/socket.h"

#define SIZE (3u * 1000 * 1000 + 5)
#define IOS  96
#define LOST (-ECONNRESET)

static unsigned char content[SIZE];

static int make_content(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SIZE; i++)
        content[i] = (unsigned char)random();
    return 0;
}

struct client_io {
    struct io io;
    struct rig *rig;
    int done;
    bool wrong;
};

struct rig {
    uv_loop_t loop;
    int fd;                /* the other end, when it is played by hand */
    struct nbd_peer *peer; /* else */
    struct nbd_client *client;
    struct link_estimate link;
    int ready, ready_status, died, died_status, closed, hung_up, hung_up_status;
    char error[NBD_CLIENT_ERROR_MAX];
    bool close_when_ready, close_when_died, close_when_done, take_back;
    struct link taken;
    struct client_io ios[IOS];
    unsigned used, done;
};

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

static const struct nbd_client_options usual = {
    .who = "test", .request_max = 65536, .requests_max = 16, .bytes_max = 1 << 20};

static void client_begin(struct rig *rig, struct stream *stream, const struct nbd_client_options *options)
{
    struct nbd_client_options mine = *options;
    struct nbd_client_callbacks callbacks = {
        .owner = rig, .ready = on_ready, .died = on_died, .closed = on_closed, .hang_up = on_hang_up};
    mine.link = &rig->link;
    list_init(&rig->taken);
    rig->client = nbd_client_new(stream, &mine, &callbacks);
}

/* The server is played by hand, on rig->fd. */
static void rig_by_hand(struct rig *rig, const struct nbd_client_options *options)
{
    int pair[2], status;
    memset(rig, 0, sizeof *rig);
    test_loop_begin(&rig->loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    rig->fd = pair[1];
    client_begin(rig, socket_stream_new(&rig->loop, pair[0], &status), options);
}

static void rig_with_peer(struct rig *rig, const struct nbd_client_options *options)
{
    struct stream *stream;
    memset(rig, 0, sizeof *rig);
    test_loop_begin(&rig->loop);
    rig->fd = -1;
    rig->peer = nbd_peer_new(&rig->loop, content, SIZE, &stream);
    client_begin(rig, stream, options);
}

static void turns(struct rig *rig, int count)
{
    for (int i = 0; i < count; i++)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
}

static void run_until(struct rig *rig, const int *what)
{
    while (!*what) {
        bool alive = uv_run(&rig->loop, UV_RUN_ONCE);
        assert_true(alive || *what);
    }
}

static void run_until_done(struct rig *rig, unsigned dones)
{
    while (rig->done < dones) {
        bool alive = uv_run(&rig->loop, UV_RUN_ONCE);
        assert_true(alive || rig->done >= dones);
    }
    assert_int_equal(rig->done, dones);
}

/* Closes, if that was not done; the loop must be empty then, and each callback have come at most once. */
static void rig_end(struct rig *rig)
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
    if (rig->close_when_done)
        nbd_client_close(rig->client);
}

static struct io *submit(struct rig *rig, enum io_op op, unsigned flags, uint64_t offset, uint32_t length)
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

static struct io *read_at(struct rig *rig, uint64_t offset, uint32_t length)
{
    return submit(rig, IO_READ, 0, offset, length);
}

/* --- a server by hand --- */

struct script {
    unsigned char bytes[1 << 16];
    size_t length;
};

static void put(struct script *s, const void *data, size_t length)
{
    memcpy(s->bytes + s->length, data, length);
    s->length += length;
}

static void put_greeting(struct script *s, uint16_t flags)
{
    uint8_t b[NBD_GREETING_SIZE];
    nbd_encode_greeting(b);
    nbd_put16(b + 16, flags);
    put(s, b, sizeof b);
}

static void put_export(struct script *s, uint64_t size, uint16_t flags, bool zeroes)
{
    uint8_t b[NBD_EXPORT_SIZE + NBD_EXPORT_ZEROES] = {0};
    nbd_encode_export(b, size, flags);
    put(s, b, zeroes ? sizeof b : NBD_EXPORT_SIZE);
}

static void put_answer(struct script *s, uint32_t reply, const void *data, uint32_t length)
{
    uint8_t b[NBD_OPTION_REPLY_SIZE];
    nbd_encode_option_reply(b, NBD_OPT_GO, reply, length);
    put(s, b, sizeof b);
    put(s, data, length);
}

static void put_info_export(struct script *s, uint64_t size)
{
    uint8_t b[2 + NBD_EXPORT_SIZE];
    nbd_put16(b, NBD_INFO_EXPORT);
    nbd_encode_export(b + 2, size, NBD_PEER_FLAGS);
    put_answer(s, NBD_REP_INFO, b, sizeof b);
}

static void put_info_sizes(struct script *s, uint32_t minimum, uint32_t preferred, uint32_t maximum)
{
    uint8_t b[14];
    nbd_put16(b, NBD_INFO_BLOCK_SIZE);
    nbd_put32(b + 2, minimum);
    nbd_put32(b + 6, preferred);
    nbd_put32(b + 10, maximum);
    put_answer(s, NBD_REP_INFO, b, sizeof b);
}

static void put_reply(struct script *s, uint32_t error, uint64_t cookie, const void *data, size_t length)
{
    uint8_t b[NBD_SIMPLE_REPLY_SIZE];
    nbd_encode_simple_reply(b, error, cookie);
    put(s, b, sizeof b);
    put(s, data, length);
}

static void play(struct rig *rig, const struct script *s, size_t piece)
{
    for (size_t at = 0; at < s->length; at += piece) {
        size_t part = s->length - at < piece ? s->length - at : piece;
        if (send(rig->fd, s->bytes + at, part, 0) < 0)
            return; /* it has hung up */
        turns(rig, 3);
    }
}

/* What the client sent, up to now. */
static size_t heard(struct rig *rig, unsigned char *to, size_t size)
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

static void by_hand_ready(struct rig *rig, const struct nbd_client_options *options)
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
static unsigned cookies(struct rig *rig, uint64_t to[IOS])
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

/* --- the handshake --- */

static void export_name_in_every_split(void **state)
{
    (void)state;
    static unsigned char sent[256];
    for (unsigned flags = 0; flags < 4; flags++) {
        for (size_t piece = 1; piece < 160; piece = piece < 22 ? piece + 1 : piece * 2) {
            struct rig rig;
            struct script s = {.length = 0};
            struct nbd_client_options options = usual;
            uint8_t expected[4 + NBD_OPTION_SIZE + 3];
            options.export_name = "abc";
            options.go = !(flags & NBD_FLAG_FIXED_NEWSTYLE); /* it is not tried then */
            rig_by_hand(&rig, &options);
            put_greeting(&s, (uint16_t)(flags | 0x100));
            put_export(&s, 1234567, NBD_PEER_WRITABLE, !(flags & NBD_FLAG_NO_ZEROES));
            play(&rig, &s, piece);
            run_until(&rig, &rig.ready);
            assert_int_equal(rig.ready_status, 0);
            nbd_put32(expected, flags);
            nbd_encode_option(expected + 4, NBD_OPT_EXPORT_NAME, 3);
            memcpy(expected + 4 + NBD_OPTION_SIZE, "abc", 3);
            assert_int_equal(heard(&rig, sent, sizeof sent), sizeof expected);
            assert_memory_equal(sent, expected, sizeof expected);
            const struct nbd_client_facts *facts = nbd_client_facts(rig.client);
            assert_int_equal(facts->size, 1234567);
            assert_true(!facts->read_only && facts->can_flush && facts->can_fua && facts->can_trim && facts->can_zero);
            assert_true(!facts->can_fast_zero && facts->block_minimum == 0);
            rig_end(&rig);
        }
    }
}

static void go_in_every_split(void **state)
{
    (void)state;
    static unsigned char sent[256];
    static const char long_text[NBD_CLIENT_ANSWER_MAX] = {0, NBD_INFO_DESCRIPTION};
    for (size_t piece = 1; piece < 160; piece = piece < 22 ? piece + 1 : piece * 2) {
        struct rig rig;
        struct script s = {.length = 0};
        struct nbd_client_options options = usual;
        options.go = true;
        options.export_name = "x";
        rig_by_hand(&rig, &options);
        put_greeting(&s, 3);
        put_info_sizes(&s, 512, 4096, 8192);
        put_info_export(&s, 99999);
        put_answer(&s, NBD_REP_INFO, long_text, piece > 20 ? sizeof long_text : 2);
        put_answer(&s, NBD_REP_ACK, "", 0);
        play(&rig, &s, piece);
        run_until(&rig, &rig.ready);
        assert_int_equal(rig.ready_status, 0);
        assert_int_equal(heard(&rig, sent, sizeof sent), 4 + NBD_OPTION_SIZE + 4 + 1 + 4);
        assert_memory_equal(sent + 4, "IHAVEOPT\0\0\0\7\0\0\0\x09\0\0\0\1x\0\1\0\3", NBD_OPTION_SIZE + 9);
        const struct nbd_client_facts *facts = nbd_client_facts(rig.client);
        assert_int_equal(facts->size, 99999);
        assert_int_equal(facts->block_minimum, 512);
        assert_int_equal(facts->block_preferred, 4096);
        assert_int_equal(facts->payload_max, 8192);
        assert_true(facts->read_only);
        rig_end(&rig);
    }
}

static void go_that_is_refused_becomes_export_name(void **state)
{
    (void)state;
    static unsigned char sent[256];
    for (uint32_t error = 0x80000001; error < 0x8000000a; error++) {
        struct rig rig;
        struct script s = {.length = 0};
        struct nbd_client_options options = usual;
        options.go = true;
        rig_by_hand(&rig, &options);
        put_greeting(&s, 3);
        put_answer(&s, error, "some w\xff\1ds", error % 2 ? 0 : 10);
        play(&rig, &s, 7);
        if (error == NBD_REP_ERR_SHUTDOWN) {
            run_until(&rig, &rig.ready);
            assert_int_equal(rig.ready_status, LOST);
            rig_end(&rig);
            continue;
        }
        size_t length = heard(&rig, sent, sizeof sent);
        assert_int_equal(length, 4 + NBD_OPTION_SIZE + 8 + NBD_OPTION_SIZE);
        assert_memory_equal(sent + length - NBD_OPTION_SIZE, "IHAVEOPT\0\0\0\1\0\0\0\0", NBD_OPTION_SIZE);
        s.length = 0;
        if (error != 0x80000006) {
            put_export(&s, SIZE, NBD_PEER_FLAGS, false);
            play(&rig, &s, 3);
            run_until(&rig, &rig.ready);
            assert_int_equal(rig.ready_status, 0);
        } else { /* it has no other way to refuse that */
            shutdown(rig.fd, SHUT_RDWR);
            run_until(&rig, &rig.ready);
            assert_int_equal(rig.ready_status, LOST);
            assert_non_null(strstr(nbd_client_error(rig.client), "refused the export: some w?\\x01ds"));
        }
        rig_end(&rig);
    }
}

/* Gives what `ready` says of a server that sends this; it must not wait for more. */
static int handshake_status(const struct script *s, bool go, size_t piece)
{
    struct rig rig;
    struct nbd_client_options options = usual;
    options.go = go;
    rig_by_hand(&rig, &options);
    play(&rig, s, piece);
    turns(&rig, 4);
    assert_int_equal(rig.ready, 1);
    if (rig.ready_status != 0)
        assert_int_not_equal(strlen(nbd_client_error(rig.client)), 0);
    int status = rig.ready_status;
    rig_end(&rig);
    assert_int_equal(rig.died, 0);
    assert_int_equal(rig.hung_up_status, status);
    return status;
}

static int go_status(void (*add)(struct script *s))
{
    struct script s = {.length = 0};
    put_greeting(&s, 3);
    add(&s);
    put_answer(&s, NBD_REP_ACK, "", 0);
    assert_int_equal(handshake_status(&s, true, s.length), handshake_status(&s, true, 5));
    return handshake_status(&s, true, s.length);
}

static void add_good(struct script *s)
{
    put_info_export(s, SIZE);
}

static void add_nothing(struct script *s)
{
    (void)s;
}

static void add_wrong_magic(struct script *s)
{
    put_info_export(s, SIZE);
    s->bytes[NBD_GREETING_SIZE] ^= 1;
}

static void add_other_option(struct script *s)
{
    put_info_export(s, SIZE);
    s->bytes[NBD_GREETING_SIZE + 11] ^= 1;
}

static void add_long_answer(struct script *s)
{
    put_info_export(s, SIZE);
    nbd_put32(s->bytes + NBD_GREETING_SIZE + 16, NBD_CLIENT_ANSWER_MAX + 1);
}

static void add_endless_answer(struct script *s)
{
    put_info_export(s, SIZE);
    nbd_put32(s->bytes + NBD_GREETING_SIZE + 16, UINT32_MAX);
}

static void add_many_answers(struct script *s)
{
    for (int i = 0; i <= NBD_CLIENT_ANSWERS; i++)
        put_info_export(s, SIZE);
}

static void add_short_info(struct script *s)
{
    put_answer(s, NBD_REP_INFO, "", 1);
}

static void add_short_export(struct script *s)
{
    put_answer(s, NBD_REP_INFO, "\0\0\0\0\0\0\0\0\0\0", 11);
}

static void add_other_reply(struct script *s)
{
    put_info_export(s, SIZE);
    put_answer(s, NBD_REP_SERVER, "\0\0\0\0", 4);
}

static void add_ack_with_data(struct script *s)
{
    put_info_export(s, SIZE);
    put_answer(s, NBD_REP_ACK, "!", 1);
}

static void add_no_power(struct script *s)
{
    put_info_sizes(s, 513, 4096, 65536);
}

static void add_no_minimum(struct script *s)
{
    put_info_sizes(s, 0, 4096, 65536);
}

static void add_no_maximum(struct script *s)
{
    put_info_sizes(s, 512, 4096, 0);
}

static void add_small_maximum(struct script *s)
{
    put_info_sizes(s, 1, 1, 1);
    put_info_export(s, SIZE);
}

static void add_large_minimum(struct script *s)
{
    put_info_sizes(s, 65536, 65536, 65536);
    put_info_export(s, SIZE);
}

static void answers_to_go_are_checked(void **state)
{
    (void)state;
    assert_int_equal(go_status(add_good), 0);
    assert_int_equal(go_status(add_nothing), -EPROTO);
    assert_int_equal(go_status(add_wrong_magic), -EPROTO);
    assert_int_equal(go_status(add_other_option), -EPROTO);
    assert_int_equal(go_status(add_long_answer), -EPROTO);
    assert_int_equal(go_status(add_endless_answer), -EPROTO);
    assert_int_equal(go_status(add_many_answers), -EPROTO);
    assert_int_equal(go_status(add_short_info), -EPROTO);
    assert_int_equal(go_status(add_short_export), -EPROTO);
    assert_int_equal(go_status(add_other_reply), -EPROTO);
    assert_int_equal(go_status(add_ack_with_data), -EPROTO);
    assert_int_equal(go_status(add_no_power), -EPROTO);
    assert_int_equal(go_status(add_no_minimum), -EPROTO);
    assert_int_equal(go_status(add_no_maximum), -EPROTO);
    assert_int_equal(go_status(add_small_maximum), -EINVAL);
    assert_int_equal(go_status(add_large_minimum), -EINVAL);
}

static int size_status(uint64_t size)
{
    struct script s = {.length = 0};
    put_greeting(&s, 3);
    put_export(&s, size, NBD_PEER_FLAGS, false);
    return handshake_status(&s, false, s.length);
}

static void sizes_that_cannot_be_are_refused(void **state)
{
    (void)state;
    assert_int_equal(size_status(1), 0);
    assert_int_equal(size_status(INT64_MAX), 0);
    assert_int_equal(size_status(0), -EINVAL);
    assert_int_equal(size_status(1ull << 63), -EINVAL);
    assert_int_equal(size_status(UINT64_MAX), -EINVAL);
    assert_int_equal(size_status(NBD_OPTION_REPLY_MAGIC), -EPROTO);
}

static void what_is_no_newstyle_greeting_is_refused(void **state)
{
    (void)state;
    struct script s = {.length = 0};
    put(&s, "NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53\0\0", NBD_GREETING_SIZE);
    assert_int_equal(handshake_status(&s, true, 1), -EPROTO);
    s.length = 0;
    put(&s, "SSH-2.0-OpenSSH_9.9 and more", 28);
    assert_int_equal(handshake_status(&s, false, 28), -EPROTO);
}

static void a_server_without_flags_is_read_only(void **state)
{
    (void)state;
    struct rig rig;
    struct script s = {.length = 0};
    rig_by_hand(&rig, &usual);
    put_greeting(&s, 3);
    put_export(&s, SIZE, NBD_TX_SEND_TRIM, false);
    play(&rig, &s, s.length);
    assert_true(nbd_client_facts(rig.client)->read_only && !nbd_client_facts(rig.client)->can_trim);
    rig_end(&rig);
}

static void a_close_at_every_byte_of_the_handshake_is_clean(void **state)
{
    (void)state;
    for (int go = 0; go < 2; go++) {
        struct script s = {.length = 0};
        put_greeting(&s, (uint16_t)(go ? 3 : 1));
        if (go) {
            put_info_export(&s, SIZE);
            put_answer(&s, NBD_REP_ACK, "", 0);
        } else {
            put_export(&s, SIZE, NBD_PEER_FLAGS, true);
        }
        for (size_t cut = 0; cut <= s.length; cut++) {
            struct rig rig;
            struct nbd_client_options options = usual;
            options.go = go;
            rig_by_hand(&rig, &options);
            assert_int_equal(send(rig.fd, s.bytes, cut, 0), cut);
            shutdown(rig.fd, SHUT_WR);
            run_until(&rig, &rig.ready);
            if (cut < s.length) {
                assert_int_equal(rig.ready_status, LOST);
            } else if (rig.ready_status == 0) {
                run_until(&rig, &rig.died);
                assert_int_equal(rig.died_status, 0);
            }
            turns(&rig, 3);
            assert_int_equal(rig.died, cut == s.length && rig.ready_status == 0);
            rig_end(&rig);
        }
    }
}

static void a_handshake_that_stalls_times_out(void **state)
{
    (void)state;
    struct rig rig;
    struct script s = {.length = 0};
    struct nbd_client_options options = usual;
    options.handshake_timeout_ms = 20;
    rig_by_hand(&rig, &options);
    put_greeting(&s, 3);
    play(&rig, &s, s.length);
    run_until(&rig, &rig.ready);
    assert_int_equal(rig.ready_status, -ETIMEDOUT);
    rig_end(&rig);
}

static void what_comes_unasked_behind_the_handshake_is_an_error(void **state)
{
    (void)state;
    struct script s = {.length = 0};
    put_greeting(&s, 3);
    put_export(&s, SIZE, NBD_PEER_FLAGS, false);
    put_reply(&s, 0, 1, "", 0);
    assert_int_equal(handshake_status(&s, false, s.length), -EPROTO);
}

static uint64_t half(uint64_t told)
{
    return told / 2;
}

static void the_size_can_be_understood_otherwise(void **state)
{
    (void)state;
    struct rig rig;
    struct script s = {.length = 0};
    struct nbd_client_options options = usual;
    options.understand_size = half;
    rig_by_hand(&rig, &options);
    put_greeting(&s, 3);
    put_export(&s, 1ull << 63, NBD_PEER_FLAGS, false);
    play(&rig, &s, s.length);
    assert_int_equal(rig.ready_status, 0);
    assert_true(nbd_client_facts(rig.client)->size == 1ull << 62);
    assert_true(nbd_client_facts(rig.client)->size_told == 1ull << 63);
    rig_end(&rig);
}

/* --- transmission --- */

static void reads_come_in_any_order_inside_the_bounds(void **state)
{
    (void)state;
    for (int go = 0; go < 2; go++) {
        struct rig rig;
        struct nbd_client_options options = usual;
        options.go = true;
        options.bytes_max = 300000;
        rig_with_peer(&rig, &options);
        rig.peer->knows_go = go;
        rig.peer->minimum = 1;
        rig.peer->preferred = 4096;
        rig.peer->maximum = 50000;
        run_until(&rig, &rig.ready);
        for (unsigned i = 0; i < 64; i++)
            read_at(&rig, i * 40000 + i, i % 8 ? 30000 + i : 400000);
        run_until_done(&rig, 64);
        for (unsigned i = 0; i < 64; i++)
            assert_true(rig.ios[i].io.status == 0 && !rig.ios[i].wrong);
        assert_true(rig.peer->most_in_flight > 4);
        assert_in_range(rig.peer->most_in_flight, 1, 16);
        assert_in_range(rig.peer->most_bytes, 1, 300000);
        assert_int_equal(rig.peer->longest, go ? 50000 : 65536);
        assert_int_equal(rig.link.since_us, 0);
        rig_end(&rig);
        assert_true(rig.peer && rig.link.rtt_us > 0);
    }
}

/* A request larger than what may be in flight goes alone. */
static void a_read_over_the_bound_goes_alone(void **state)
{
    (void)state;
    struct rig rig;
    struct nbd_client_options options = usual;
    options.bytes_max = 1000;
    rig_with_peer(&rig, &options);
    run_until(&rig, &rig.ready);
    for (unsigned i = 0; i < 8; i++)
        read_at(&rig, i * 5000, 5000);
    run_until_done(&rig, 8);
    assert_int_equal(rig.peer->most_in_flight, 1);
    rig_end(&rig);
}

static void demand_overtakes_prefetch(void **state)
{
    (void)state;
    struct rig rig;
    rig_with_peer(&rig, &usual);
    rig.peer->hold = true;
    run_until(&rig, &rig.ready);
    for (unsigned i = 0; i < 40; i++)
        submit(&rig, IO_READ, IO_PREFETCH, i * 1000, 1000);
    turns(&rig, 5);
    assert_int_equal(rig.peer->held_count, 14); /* an eighth is kept for demand */
    read_at(&rig, 50000, 1000);
    read_at(&rig, 51000, 1000);
    read_at(&rig, 52000, 1000);
    turns(&rig, 5);
    assert_int_equal(rig.peer->held_count, 16);
    assert_int_equal(rig.peer->held[14].wire.offset, 50000);
    nbd_peer_reply(rig.peer, 0, 0);
    turns(&rig, 5);
    assert_int_equal(rig.peer->held[15].wire.offset, 52000);
    rig.peer->hold = false;
    nbd_peer_reply(rig.peer, 0, 0);
    for (int i = 0; i < 3; i++) {
        while (rig.peer->held_count)
            nbd_peer_reply(rig.peer, 0, 0);
        turns(&rig, 5);
    }
    run_until_done(&rig, 43);
    rig_end(&rig);
}

static void speculation_is_bounded(void **state)
{
    (void)state;
    struct rig rig;
    struct nbd_client_options options = usual;
    options.requests_max = 1;
    rig_with_peer(&rig, &options);
    rig.peer->hold = true;
    run_until(&rig, &rig.ready);
    read_at(&rig, 0, 100);
    turns(&rig, 3);
    for (int i = 0; i < NBD_CLIENT_PREFETCH + 2; i++)
        submit(&rig, IO_READ, IO_PREFETCH, 0, 100);
    run_until_done(&rig, 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(rig.ios[rig.used - 1 - (unsigned)i].io.status, -EAGAIN);
    rig_end(&rig);
}

static void changes_have_their_flags(void **state)
{
    (void)state;
    struct rig rig;
    unsigned char *own = malloc(SIZE), *before = malloc(SIZE);
    memcpy(own, content, SIZE);
    memcpy(before, content, SIZE);
    rig_with_peer(&rig, &usual);
    rig.peer->content = own;
    rig.peer->flags = NBD_PEER_WRITABLE;
    rig.peer->hold = true;
    run_until(&rig, &rig.ready);
    memset(content, 7, 100000);
    submit(&rig, IO_WRITE, IO_FUA, 10, 100000 - 10);
    submit(&rig, IO_TRIM, 0, 200000, 100000);
    submit(&rig, IO_ZERO, IO_NO_HOLE | IO_FUA, 400000, 100000);
    struct io *fast = submit(&rig, IO_ZERO, IO_FAST_ZERO, 600000, 4096);
    submit(&rig, IO_FLUSH, 0, 0, 0);
    turns(&rig, 8);
    assert_int_equal(fast->status, -ENOTSUP); /* it does not offer that */
    assert_int_equal(rig.peer->held_count, 5);
    const struct nbd_peer_request *r = rig.peer->held;
    assert_true(r[0].wire.type == NBD_CMD_WRITE && r[0].wire.flags == NBD_CMD_FUA && r[0].wire.length == 65536);
    assert_true(r[1].wire.type == NBD_CMD_WRITE && r[1].wire.flags == NBD_CMD_FUA && r[1].wire.offset == 65546);
    assert_true(r[2].wire.type == NBD_CMD_TRIM && r[2].wire.length == 100000 && r[2].wire.flags == 0);
    assert_true(r[3].wire.type == NBD_CMD_WRITE_ZEROES && r[3].wire.flags == (NBD_CMD_NO_HOLE | NBD_CMD_FUA));
    assert_true(r[4].wire.type == NBD_CMD_FLUSH);
    nbd_peer_reply(rig.peer, 1, 0);
    turns(&rig, 3);
    assert_int_equal(rig.ios[0].done, 0); /* the other half is not answered */
    while (rig.peer->held_count)
        nbd_peer_reply(rig.peer, 0, 0);
    run_until_done(&rig, 5);
    for (unsigned i = 0; i < 5; i++)
        assert_true(rig.ios[i].io.status == 0 || &rig.ios[i].io == fast);
    assert_memory_equal(own, before, 10);
    assert_memory_equal(own + 10, content + 10, 100000 - 10);
    assert_int_equal(own[250000] | own[450000], 0);
    memcpy(content, before, SIZE);
    rig_end(&rig);
    free(own);
    free(before);
}

/* A server that takes nothing is not sent everything. */
static void writes_wait_for_a_slow_server(void **state)
{
    (void)state;
    struct rig rig;
    struct stream *stream;
    struct nbd_client_options options = usual;
    options.bytes_max = 64 << 20;
    options.requests_max = 1000;
    memset(&rig, 0, sizeof rig);
    test_loop_begin(&rig.loop);
    rig.fd = -1;
    rig.peer = nbd_peer_new(&rig.loop, content, SIZE, &stream);
    rig.peer->flags = NBD_PEER_WRITABLE;
    client_begin(&rig, stream, &options);
    run_until(&rig, &rig.ready);
    stream_read(rig.peer->stream, false);
    for (unsigned i = 0; i < 10; i++)
        submit(&rig, IO_WRITE, 0, 0, 1 << 20);
    turns(&rig, 10);
    assert_in_range(stream->unsent, 1, NBD_CLIENT_UNSENT + 65536 + NBD_REQUEST_SIZE);
    stream_read(rig.peer->stream, true);
    run_until_done(&rig, 10);
    assert_int_equal(rig.peer->writes, 160);
    rig_end(&rig);
}

static void errors_are_the_ios_own(void **state)
{
    (void)state;
    static const struct {
        uint32_t error;
        int status;
    } known[] = {{1, -EPERM},        {5, -EIO},        {12, -ENOMEM},     {22, -EINVAL},
                 {28, -ENOSPC},      {75, -EOVERFLOW}, {95, -ENOTSUP},    {108, -ESHUTDOWN},
                 {0xffffffff, -EIO}, {2, -EIO},        {0x80000000, -EIO}};
    struct rig rig;
    rig_with_peer(&rig, &usual);
    rig.peer->hold = true;
    run_until(&rig, &rig.ready);
    for (unsigned i = 0; i < sizeof known / sizeof *known; i++) {
        struct io *io = read_at(&rig, i, 100), *good = read_at(&rig, i, 200);
        turns(&rig, 4);
        nbd_peer_reply(rig.peer, 0, known[i].error);
        nbd_peer_reply(rig.peer, 0, 0);
        run_until_done(&rig, rig.used);
        assert_int_equal(io->status, known[i].status);
        assert_int_equal(good->status, 0);
    }
    assert_int_equal(rig.died, 0);
    rig_end(&rig);
}

/* The first error is the io's; what has not been sent of it never is; what was sent is waited for. */
static void an_error_in_one_part_is_the_whole_reads(void **state)
{
    (void)state;
    struct rig rig;
    struct nbd_client_options options = usual;
    options.requests_max = 3;
    rig_with_peer(&rig, &options);
    rig.peer->hold = true;
    run_until(&rig, &rig.ready);
    struct io *io = read_at(&rig, 0, 10 * 65536);
    turns(&rig, 4);
    assert_int_equal(rig.peer->held_count, 3);
    nbd_peer_reply(rig.peer, 1, 22);
    turns(&rig, 4);
    nbd_peer_reply(rig.peer, 0, 5);
    turns(&rig, 4);
    assert_int_equal(rig.done, 0);
    nbd_peer_reply(rig.peer, 0, 0);
    run_until_done(&rig, 1);
    assert_int_equal(io->status, -EINVAL);
    assert_int_equal(rig.peer->requests, 3);
    read_at(&rig, 5, 5);
    turns(&rig, 4);
    nbd_peer_reply(rig.peer, 0, 0);
    run_until_done(&rig, 2);
    assert_int_equal(rig.ios[1].io.status, 0);
    rig_end(&rig);
}

static void replies_may_come_byte_by_byte(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t cookie[IOS];
    by_hand_ready(&rig, &usual);
    read_at(&rig, 100, 50);
    read_at(&rig, 7, 1);
    assert_int_equal(cookies(&rig, cookie), 2);
    assert_true(cookie[0] != cookie[1] && cookie[0] != 0 && cookie[1] != 0);
    for (size_t piece = 1; piece < 70; piece++) {
        struct script s = {.length = 0};
        unsigned char got[51];
        put_reply(&s, 0, cookie[1], content + 7, 1);
        put_reply(&s, 0, cookie[0], content + 100, 50);
        play(&rig, &s, piece);
        run_until_done(&rig, 2);
        slices_copy_out(&rig.ios[0].io.data, 0, got, 50);
        slices_copy_out(&rig.ios[1].io.data, 0, got + 50, 1);
        assert_memory_equal(got, content + 100, 50);
        assert_int_equal(got[50], content[7]);
        slices_clear(&rig.ios[0].io.data);
        slices_clear(&rig.ios[1].io.data);
        rig.used = rig.done = 0;
        memset(rig.ios, 0, sizeof rig.ios);
        read_at(&rig, 100, 50);
        read_at(&rig, 7, 1);
        assert_int_equal(cookies(&rig, cookie), 2);
    }
    rig_end(&rig);
}

/* --- hostile replies --- */

enum attack {
    UNKNOWN_COOKIE,
    ZERO_COOKIE,
    FAR_COOKIE,
    SAME_COOKIE_TWICE,
    WRONG_MAGIC,
    STRUCTURED,
    ERROR_WITH_DATA,
    LONG_PAYLOAD,
    ATTACKS
};

static void add_attack(struct script *s, enum attack attack, const uint64_t cookie[])
{
    static const char junk[200] = "junk";
    switch (attack) {
    case UNKNOWN_COOKIE:
        put_reply(s, 0, cookie[0] ^ (1ull << 40), "", 0);
        return;
    case ZERO_COOKIE:
        put_reply(s, 0, 0, "", 0);
        return;
    case FAR_COOKIE:
        put_reply(s, 0, cookie[0] | 0xffff, junk, 100);
        return;
    case SAME_COOKIE_TWICE:
        put_reply(s, 0, cookie[0], content, 100);
        put_reply(s, 0, cookie[0], content, 100);
        return;
    case WRONG_MAGIC:
        put(s, "no reply to anything at all", 27);
        return;
    case STRUCTURED:
        nbd_encode_chunk(s->bytes, NBD_CHUNK_DONE, NBD_CHUNK_NONE, cookie[0], 0);
        s->length = NBD_CHUNK_SIZE;
        return;
    case ERROR_WITH_DATA:
        put_reply(s, 5, cookie[0], junk, 100);
        return;
    default:
        put_reply(s, 0, cookie[0], content, 100);
        put(s, junk, 100);
        return;
    }
}

static void a_hostile_server_is_dropped(void **state)
{
    (void)state;
    for (int attack = 0; attack < ATTACKS; attack++) {
        for (size_t piece = 1; piece < 400; piece *= 3) {
            struct rig rig;
            struct script s = {.length = 0};
            uint64_t cookie[IOS];
            by_hand_ready(&rig, &usual);
            for (int i = 0; i < 4; i++)
                read_at(&rig, 0, 100);
            assert_int_equal(cookies(&rig, cookie), 4);
            add_attack(&s, (enum attack)attack, cookie);
            play(&rig, &s, piece);
            run_until(&rig, &rig.died);
            assert_int_equal(rig.died_status, -EPROTO);
            run_until_done(&rig, 4);
            for (int i = 1; i < 4; i++)
                assert_int_equal(rig.ios[i].io.status, -EPROTO);
            read_at(&rig, 0, 1); /* it stays dead */
            run_until_done(&rig, 5);
            assert_int_equal(rig.ios[4].io.status, -EPROTO);
            rig_end(&rig);
            assert_int_equal(rig.hung_up_status, -EPROTO);
            assert_int_not_equal(strlen(rig.error), 0);
        }
    }
}

static void a_cut_inside_a_reply_gives_no_data(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < NBD_SIMPLE_REPLY_SIZE + 100; cut++) {
        struct rig rig;
        struct script s = {.length = 0};
        uint64_t cookie[IOS];
        by_hand_ready(&rig, &usual);
        read_at(&rig, 0, 100);
        cookies(&rig, cookie);
        put_reply(&s, 0, cookie[0], content, 100);
        s.length = cut;
        play(&rig, &s, cut ? cut : 1);
        shutdown(rig.fd, SHUT_RDWR);
        run_until(&rig, &rig.died);
        assert_int_equal(rig.died_status, 0);
        run_until_done(&rig, 1);
        assert_int_equal(rig.ios[0].io.status, LOST);
        rig_end(&rig);
    }
}

/* --- taking back --- */

static void a_cancelled_request_counts_until_it_is_answered(void **state)
{
    (void)state;
    struct rig rig;
    struct nbd_client_options options = usual;
    options.requests_max = 2;
    rig_with_peer(&rig, &options);
    rig.peer->hold = true;
    run_until(&rig, &rig.ready);
    for (int i = 0; i < 4; i++)
        read_at(&rig, (uint64_t)i * 1000, 500);
    turns(&rig, 4);
    for (int i = 0; i < 3; i++) /* the third was not sent yet, and never is */
        nbd_client_cancel(rig.client, &rig.ios[i].io, -ETIMEDOUT);
    nbd_client_cancel(rig.client, &rig.ios[0].io, -EIO); /* no effect any more */
    assert_int_equal(rig.done, 0);
    run_until_done(&rig, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig.ios[i].io.status, -ETIMEDOUT);
    turns(&rig, 4);
    assert_int_equal(rig.peer->requests, 2);
    nbd_peer_reply(rig.peer, 0, 0); /* late, and dropped */
    turns(&rig, 4);
    assert_int_equal(rig.peer->requests, 3);
    nbd_peer_reply(rig.peer, 1, 0);
    run_until_done(&rig, 4);
    assert_true(rig.ios[3].io.status == 0 && !rig.ios[3].wrong);
    nbd_peer_reply(rig.peer, 0, 5);
    turns(&rig, 4);
    assert_int_equal(rig.died, 0);
    rig_end(&rig);
}

static void a_cancel_inside_the_payload_drops_the_rest(void **state)
{
    (void)state;
    for (size_t cut = 0; cut <= NBD_SIMPLE_REPLY_SIZE + 100; cut += 4) {
        struct rig rig;
        struct script s = {.length = 0};
        uint64_t cookie[IOS];
        by_hand_ready(&rig, &usual);
        read_at(&rig, 0, 100);
        read_at(&rig, 100, 100);
        cookies(&rig, cookie);
        put_reply(&s, 0, cookie[0], content, 100);
        put_reply(&s, 0, cookie[1], content + 100, 100);
        send(rig.fd, s.bytes, cut, 0);
        turns(&rig, 3);
        bool answered = rig.done == 1;
        assert_int_equal(answered, cut == NBD_SIMPLE_REPLY_SIZE + 100);
        if (!answered)
            nbd_client_cancel(rig.client, &rig.ios[0].io, -ETIMEDOUT);
        send(rig.fd, s.bytes + cut, s.length - cut, 0);
        run_until_done(&rig, 2);
        assert_int_equal(rig.ios[0].io.status, answered ? 0 : -ETIMEDOUT);
        assert_int_equal(rig.ios[1].io.status, 0);
        assert_int_equal(rig.died, 0);
        rig_end(&rig);
    }
}

static void ios_are_taken_back_in_their_order(void **state)
{
    (void)state;
    struct rig rig;
    struct nbd_client_options options = usual;
    options.requests_max = 3;
    rig_with_peer(&rig, &options);
    rig.take_back = true;
    rig.peer->flags = NBD_PEER_WRITABLE;
    rig.peer->hold = true;
    run_until(&rig, &rig.ready);
    for (int i = 0; i < 10; i++)
        submit(&rig, i == 4 ? IO_WRITE : IO_READ, i % 3 ? 0 : IO_PREFETCH, (uint64_t)i * 100, i == 1 ? 200000 : 100);
    turns(&rig, 4);
    nbd_peer_reply(rig.peer, 0, 0);
    turns(&rig, 4);
    nbd_peer_close(rig.peer);
    run_until(&rig, &rig.died);
    turns(&rig, 3);
    assert_int_equal(rig.done, 0);
    int at = 0;
    list_for_each (l, &rig.taken) {
        const struct io *io = container_of(l, struct io, link);
        assert_ptr_equal(io, &rig.ios[at].io);
        assert_int_equal(io->data.length, io->op == IO_WRITE ? 100 : 0);
        at++;
    }
    assert_int_equal(at, 10);
    rig_end(&rig);
}

/* --- closing --- */

static void close_is_legal_in_every_state(void **state)
{
    (void)state;
    for (int go = 0; go < 2; go++) {
        for (int turn = 0; turn < 12; turn++) {
            struct rig rig;
            struct nbd_client_options options = usual;
            options.go = go;
            rig_with_peer(&rig, &options);
            rig.peer->knows_go = turn % 2;
            turns(&rig, turn);
            if (rig.ready)
                for (int i = 0; i < 20; i++)
                    read_at(&rig, (uint64_t)i * 1000, 80000);
            for (int i = 0; rig.ready && i < turn % 5; i++)
                turns(&rig, 1);
            bool was_ready = rig.ready;
            nbd_client_close(rig.client);
            if (was_ready)
                read_at(&rig, 0, 1);
            run_until(&rig, &rig.closed);
            for (unsigned i = 0; i < rig.used; i++)
                assert_true(rig.ios[i].io.status == 0 || rig.ios[i].io.status == -ECANCELED);
            while (!rig.peer->closed)
                turns(&rig, 1);
            if (was_ready)
                assert_true(rig.peer->disconnected);
            rig_end(&rig);
        }
    }
}

static void close_is_legal_in_every_callback(void **state)
{
    (void)state;
    struct rig rig;
    rig_with_peer(&rig, &usual);
    rig.close_when_ready = true;
    run_until(&rig, &rig.closed);
    rig_end(&rig);

    rig_with_peer(&rig, &usual);
    run_until(&rig, &rig.ready);
    rig.close_when_done = true;
    for (int i = 0; i < 20; i++)
        read_at(&rig, (uint64_t)i, 80000);
    run_until(&rig, &rig.closed);
    rig_end(&rig);

    rig_with_peer(&rig, &usual);
    run_until(&rig, &rig.ready);
    rig.close_when_died = rig.peer->hold = true;
    for (int i = 0; i < 20; i++)
        read_at(&rig, (uint64_t)i, 80000);
    turns(&rig, 3);
    nbd_peer_close(rig.peer);
    run_until(&rig, &rig.closed);
    assert_int_equal(rig.died, 1);
    for (int i = 0; i < 20; i++)
        assert_int_equal(rig.ios[i].io.status, -ECANCELED);
    rig_end(&rig);
}

static void every_byte_of_a_session_may_be_the_last(void **state)
{
    (void)state;
    for (uint64_t cut = 1; cut < 30000; cut += cut < 60 ? 1 : 997) {
        struct rig rig;
        rig_with_peer(&rig, &usual);
        rig.peer->cut_after = cut;
        run_until(&rig, &rig.ready);
        for (int i = 0; i < 10 && rig.ready_status == 0; i++)
            read_at(&rig, (uint64_t)i * 3000, 3000);
        while (rig.ready_status == 0 && !rig.died)
            turns(&rig, 1);
        turns(&rig, 2);
        for (unsigned i = 0; i < rig.used; i++) {
            assert_int_equal(rig.ios[i].done, 1);
            assert_true(rig.ios[i].io.status < 0 || !rig.ios[i].wrong);
        }
        rig_end(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(export_name_in_every_split),
        cmocka_unit_test(go_in_every_split),
        cmocka_unit_test(go_that_is_refused_becomes_export_name),
        cmocka_unit_test(answers_to_go_are_checked),
        cmocka_unit_test(sizes_that_cannot_be_are_refused),
        cmocka_unit_test(what_is_no_newstyle_greeting_is_refused),
        cmocka_unit_test(a_server_without_flags_is_read_only),
        cmocka_unit_test(a_close_at_every_byte_of_the_handshake_is_clean),
        cmocka_unit_test(a_handshake_that_stalls_times_out),
        cmocka_unit_test(what_comes_unasked_behind_the_handshake_is_an_error),
        cmocka_unit_test(the_size_can_be_understood_otherwise),
        cmocka_unit_test(reads_come_in_any_order_inside_the_bounds),
        cmocka_unit_test(a_read_over_the_bound_goes_alone),
        cmocka_unit_test(demand_overtakes_prefetch),
        cmocka_unit_test(speculation_is_bounded),
        cmocka_unit_test(changes_have_their_flags),
        cmocka_unit_test(writes_wait_for_a_slow_server),
        cmocka_unit_test(errors_are_the_ios_own),
        cmocka_unit_test(an_error_in_one_part_is_the_whole_reads),
        cmocka_unit_test(replies_may_come_byte_by_byte),
        cmocka_unit_test(a_hostile_server_is_dropped),
        cmocka_unit_test(a_cut_inside_a_reply_gives_no_data),
        cmocka_unit_test(a_cancelled_request_counts_until_it_is_answered),
        cmocka_unit_test(a_cancel_inside_the_payload_drops_the_rest),
        cmocka_unit_test(ios_are_taken_back_in_their_order),
        cmocka_unit_test(close_is_legal_in_every_state),
        cmocka_unit_test(close_is_legal_in_every_callback),
        cmocka_unit_test(every_byte_of_a_session_may_be_the_last),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make_content, NULL);
}
