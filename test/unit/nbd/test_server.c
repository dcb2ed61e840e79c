/* The NBD server, byte by byte on a socket pair: any split gives the same replies. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nbd/wire.h"
#include "net/socket.h"
#include "server_rig.h"

/* Everything that comes until nothing has come for a while of turns. */
static size_t collect(struct rig *rig, unsigned char *to, size_t size)
{
    size_t used = 0;
    for (int quiet = 0; quiet < 8 && used < size;) {
        uv_run(&rig->loop, UV_RUN_NOWAIT);
        ssize_t n = recv(rig->client, to + used, size - used, 0);
        quiet = n > 0 ? 0 : quiet + 1;
        used += n > 0 ? (size_t)n : 0;
    }
    return used;
}

struct script {
    unsigned char bytes[4096];
    size_t length;
};

static void put(struct script *s, const void *data, size_t length)
{
    memcpy(s->bytes + s->length, data, length);
    s->length += length;
}

static void put_option(struct script *s, uint32_t option, const void *data, uint32_t length)
{
    uint8_t head[NBD_OPTION_SIZE];
    nbd_put64(head, NBD_OPTION_MAGIC);
    nbd_put32(head + 8, option);
    nbd_put32(head + 12, length);
    put(s, head, sizeof head);
    put(s, data, length);
}

static void put_request(struct script *s, uint16_t flags, uint16_t type, uint64_t cookie, uint64_t offset, uint32_t length)
{
    uint8_t r[NBD_REQUEST_SIZE];
    nbd_put32(r, NBD_REQUEST_MAGIC);
    nbd_put16(r + 4, flags);
    nbd_put16(r + 6, type);
    nbd_put64(r + 8, cookie);
    nbd_put64(r + 16, offset);
    nbd_put32(r + 24, length);
    put(s, r, sizeof r);
}

static void put_flags(struct script *s)
{
    put(s, "\0\0\0\3", 4);
}

static const char go_data[] = "\0\0\0\5slot0\0\3\0\1\0\2\0\3";

static struct script options_only(void)
{
    struct script s = {.length = 0};
    put_flags(&s);
    put_option(&s, 99, "unknown", 7);
    put_option(&s, NBD_OPT_STARTTLS, "", 0);
    put_option(&s, NBD_OPT_LIST, "", 0);
    put_option(&s, NBD_OPT_LIST, "x", 1);
    put_option(&s, NBD_OPT_INFO, "\0\0\0\7nothing\0\0", 13);
    put_option(&s, NBD_OPT_INFO, "\0\0\0\xff", 4);
    put_option(&s, NBD_OPT_SET_META_CONTEXT, "\0\0\0\0\0\0\0\0", 8);
    put_option(&s, NBD_OPT_STRUCTURED_REPLY, "", 0);
    put_option(&s, NBD_OPT_LIST_META_CONTEXT, "\0\0\0\0\0\0\0\0", 8);
    put_option(&s, NBD_OPT_SET_META_CONTEXT, "\0\0\0\0\0\0\0\1\0\0\0\x0f" "base:allocation", 27);
    put_option(&s, NBD_OPT_GO, go_data, sizeof go_data - 1);
    return s;
}

/* A dialogue with every option in it and many a command. */
static struct script whole_dialogue(void)
{
    struct script s = options_only();
    put_request(&s, 0, NBD_CMD_WRITE, 7, SIZE - 4, 8);
    put(&s, "toolong!", 8);
    put_request(&s, 0, NBD_CMD_READ, 8, SIZE, 1);
    put_request(&s, 0, 77, 9, 0, 0);
    put_request(&s, 0x8000, NBD_CMD_READ, 10, 0, 16);
    put_request(&s, 0, NBD_CMD_BLOCK_STATUS, 11, 0, 4096);
    put_request(&s, 0, NBD_CMD_READ, 12, 3, 0);
    put_request(&s, 0, NBD_CMD_READ, 13, 12345, 300);
    return s;
}

static size_t play(const struct script *s, size_t piece, unsigned char *to, size_t size)
{
    struct rig rig;
    size_t used = 0;
    rig_begin(&rig, true);
    used += collect(&rig, to, size);
    for (size_t at = 0; at < s->length; at += piece) {
        size_t length = s->length - at < piece ? s->length - at : piece;
        assert_int_equal(send(rig.client, s->bytes + at, length, 0), length);
        for (int i = 0; i < 3; i++)
            uv_run(&rig.loop, UV_RUN_NOWAIT);
    }
    used += collect(&rig, to + used, size - used);
    rig_end(&rig);
    return used;
}

/* By cookie: transmission's replies may come in any order. */
static void sort_replies(unsigned char *replies, size_t length)
{
    static unsigned char sorted[8192];
    size_t used = 0;
    for (uint64_t cookie = 0; cookie < 32; cookie++)
        for (size_t at = 0, next; at < length; at = next) {
            bool chunk = nbd_get32(replies + at) == NBD_STRUCTURED_REPLY_MAGIC;
            next = at + (chunk ? NBD_CHUNK_SIZE + nbd_get32(replies + at + 16) : NBD_SIMPLE_REPLY_SIZE);
            assert_true(next <= length);
            if (nbd_get64(replies + at + 8) != cookie)
                continue;
            memcpy(sorted + used, replies + at, next - at);
            used += next - at;
        }
    assert_int_equal(used, length);
    memcpy(replies, sorted, length);
}

static void any_split_gives_the_same_replies(void **state)
{
    (void)state;
    struct script s = whole_dialogue(), options = options_only();
    static unsigned char first[8192], other[8192];
    size_t handshake = play(&options, 1, first, sizeof first), length = play(&s, 1, first, sizeof first);
    sort_replies(first + handshake, length - handshake);
    assert_true(length > 600);
    /* The read's data is in it. */
    assert_non_null(memmem(first, length, content + 12345, 300));
    static const size_t pieces[] = {2, 3, 5, 7, 16, 28, 29, 64, 100};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        assert_int_equal(play(&s, pieces[i], other, sizeof other), length);
        sort_replies(other + handshake, length - handshake);
        assert_memory_equal(other, first, length);
    }
}

/* A short dialogue; gives whether the server dropped the client. */
static bool dropped(const struct script *s)
{
    struct rig rig;
    unsigned char reply[4096], byte;
    rig_begin(&rig, false);
    send(rig.client, s->bytes, s->length, 0);
    collect(&rig, reply, sizeof reply);
    bool gone = recv(rig.client, &byte, 1, 0) == 0;
    rig_end(&rig);
    return gone;
}

static void hostile_clients_are_dropped(void **state)
{
    (void)state;
    struct script s = {.length = 0};
    put(&s, "\xff\xff\xff\xff", 4);
    assert_true(dropped(&s));
    s.length = 0;
    put_flags(&s);
    put(&s, "no option magic.", 16);
    assert_true(dropped(&s));
    s.length = 0;
    put_flags(&s);
    put_option(&s, NBD_OPT_EXPORT_NAME, "other", 5);
    assert_true(dropped(&s));
    s.length = 0;
    put_flags(&s);
    for (int i = 0; i <= NBD_SERVER_HANDSHAKE_OPTIONS; i++)
        put_option(&s, NBD_OPT_LIST, "", 0);
    assert_true(dropped(&s));
    s.length = 0;
    put_flags(&s);
    put_option(&s, NBD_OPT_EXPORT_NAME, "", 0);
    put(&s, "this is no request, by its magic", 32);
    assert_true(dropped(&s));
    s.length = 0;
    put_flags(&s);
    put_option(&s, NBD_OPT_ABORT, "", 0);
    assert_true(dropped(&s));
    s.length = 0;
    put_flags(&s);
    put_option(&s, NBD_OPT_LIST, "", 0);
    assert_false(dropped(&s));
}

/* Lengths that promise more than comes must cost nothing but the wait. */
static void promised_lengths_cost_nothing(void **state)
{
    (void)state;
    struct script s = {.length = 0};
    uint8_t head[NBD_OPTION_SIZE];
    put_flags(&s);
    nbd_put64(head, NBD_OPTION_MAGIC);
    nbd_put32(head + 8, NBD_OPT_INFO);
    nbd_put32(head + 12, 0xffffffff);
    put(&s, head, sizeof head);
    assert_false(dropped(&s));
}

static void every_cut_of_the_handshake_ends_cleanly(void **state)
{
    (void)state;
    struct script s = whole_dialogue();
    for (size_t cut = 0; cut <= s.length; cut += 3) {
        struct rig rig;
        rig_begin(&rig, true);
        send(rig.client, s.bytes, cut, 0);
        for (int i = 0; i < 2; i++)
            uv_run(&rig.loop, UV_RUN_NOWAIT);
        rig_end(&rig); /* closes the client's end first */
    }
}

static void read_only_is_kept(void **state)
{
    (void)state;
    struct script s = {.length = 0};
    struct rig rig;
    unsigned char reply[4096];
    put_flags(&s);
    put_option(&s, NBD_OPT_EXPORT_NAME, "", 0);
    put_request(&s, 0, NBD_CMD_WRITE, 1, 0, 4);
    put(&s, "evil", 4);
    put_request(&s, 0, NBD_CMD_TRIM, 2, 0, 4096);
    put_request(&s, 0, NBD_CMD_WRITE_ZEROES, 3, 0, 4096);
    rig_begin(&rig, false);
    send(rig.client, s.bytes, s.length, 0);
    size_t n = collect(&rig, reply, sizeof reply);
    assert_int_equal(n, NBD_GREETING_SIZE + NBD_EXPORT_SIZE + 3 * NBD_SIMPLE_REPLY_SIZE);
    for (size_t at = NBD_GREETING_SIZE + NBD_EXPORT_SIZE; at < n; at += NBD_SIMPLE_REPLY_SIZE)
        assert_int_equal(nbd_get32(reply + at + 4), 1); /* EPERM */
    rig_end(&rig);
    assert_memory_equal(content, "\x00\x1f\x3e\x5d", 4);
}

static void more_clients_than_allowed_are_refused(void **state)
{
    (void)state;
    struct rig rig;
    int pair[2][2], status;
    char byte;
    rig_begin(&rig, false);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair[i]), 0);
        nbd_server_add_client(rig.server, socket_stream_new(&rig.loop, pair[i][0], &status));
    }
    for (int i = 0; i < 4; i++)
        uv_run(&rig.loop, UV_RUN_NOWAIT);
    assert_int_equal(recv(pair[0][1], &byte, 1, 0), 1);
    assert_int_equal(recv(pair[1][1], &byte, 1, 0), 0);
    close(pair[0][1]);
    close(pair[1][1]);
    rig_end(&rig);
}

/* --- transmission, reply by reply --- */

static void run_turns(struct rig *rig, int turns)
{
    for (int i = 0; i < turns; i++)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
}

static void send_script(struct rig *rig, const struct script *s)
{
    assert_int_equal(send(rig->client, s->bytes, s->length, 0), s->length);
}

/* Exactly that many bytes, running the loop meanwhile. */
static void receive(struct rig *rig, int fd, void *to, size_t length)
{
    for (size_t used = 0; used < length;) {
        ssize_t n = recv(fd, (unsigned char *)to + used, length - used, MSG_DONTWAIT);
        assert_int_not_equal(n, 0);
        used += n > 0 ? (size_t)n : 0;
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    }
}

static void enter(struct rig *rig, int fd)
{
    struct script s = {.length = 0};
    unsigned char reply[NBD_GREETING_SIZE + NBD_EXPORT_SIZE];
    put_flags(&s);
    put_option(&s, NBD_OPT_EXPORT_NAME, "", 0);
    assert_int_equal(send(fd, s.bytes, s.length, 0), s.length);
    receive(rig, fd, reply, sizeof reply);
}

static void enter_structured(struct rig *rig)
{
    struct script s = {.length = 0};
    static unsigned char reply[4096];
    put_flags(&s);
    put_option(&s, NBD_OPT_STRUCTURED_REPLY, "", 0);
    put_option(&s, NBD_OPT_SET_META_CONTEXT, "\0\0\0\0\0\0\0\1\0\0\0\x0f" "base:allocation", 27);
    put_option(&s, NBD_OPT_GO, go_data, sizeof go_data - 1);
    send_script(rig, &s);
    collect(rig, reply, sizeof reply);
}

struct simple {
    uint32_t error;
    uint64_t cookie;
};

static struct simple receive_simple(struct rig *rig, int fd)
{
    uint8_t head[NBD_SIMPLE_REPLY_SIZE];
    receive(rig, fd, head, sizeof head);
    assert_int_equal(nbd_get32(head), NBD_SIMPLE_REPLY_MAGIC);
    return (struct simple){nbd_get32(head + 4), nbd_get64(head + 8)};
}

static bool peer_has_closed(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

static void replies_in_any_order_carry_their_own_data(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    struct rig rig;
    struct script s = {.length = 0};
    static unsigned char data[5000];
    bool seen[COUNT] = {false};
    unsigned disorder = 0;
    fake_delay = 9;
    rig_begin(&rig, false);
    fake_delay = 0;
    enter(&rig, rig.client);
    for (unsigned i = 0; i < COUNT; i++)
        put_request(&s, 0, NBD_CMD_READ, i, i * 900, 1 + i * 40);
    send_script(&rig, &s);
    for (unsigned i = 0; i < COUNT; i++) {
        struct simple r = receive_simple(&rig, rig.client);
        assert_int_equal(r.error, 0);
        assert_in_range(r.cookie, 0, COUNT - 1);
        assert_false(seen[r.cookie]);
        seen[r.cookie] = true;
        disorder += r.cookie != i;
        receive(&rig, rig.client, data, 1 + r.cookie * 40);
        assert_memory_equal(data, content + r.cookie * 900, 1 + r.cookie * 40);
    }
    assert_true(disorder > 0);
    rig_end(&rig);
}

static void writes_are_read_back(void **state)
{
    (void)state;
    struct rig rig;
    struct script s = {.length = 0};
    unsigned char data[12];
    rig_begin(&rig, true);
    enter(&rig, rig.client);
    put_request(&s, NBD_CMD_FUA, NBD_CMD_WRITE, 1, 5000, 12);
    put(&s, "twelve bytes", 12);
    send_script(&rig, &s);
    assert_int_equal(receive_simple(&rig, rig.client).error, 0);
    s.length = 0;
    put_request(&s, NBD_CMD_NO_HOLE, NBD_CMD_WRITE_ZEROES, 2, 5003, 3);
    send_script(&rig, &s);
    assert_int_equal(receive_simple(&rig, rig.client).error, 0);
    s.length = 0;
    put_request(&s, 0, NBD_CMD_FLUSH, 3, 0, 0);
    send_script(&rig, &s);
    assert_int_equal(receive_simple(&rig, rig.client).error, 0);
    s.length = 0;
    put_request(&s, 0, NBD_CMD_CACHE, 4, 0, 4096);
    send_script(&rig, &s);
    assert_int_equal(receive_simple(&rig, rig.client).error, 0);
    s.length = 0;
    put_request(&s, 0, NBD_CMD_READ, 5, 5000, 12);
    send_script(&rig, &s);
    assert_int_equal(receive_simple(&rig, rig.client).error, 0);
    receive(&rig, rig.client, data, sizeof data);
    assert_memory_equal(data, "twe\0\0\0 bytes", 12);
    rig_end(&rig);
}

static uint32_t error_of(struct rig *rig, uint16_t flags, uint16_t type, uint64_t offset, uint32_t length)
{
    struct script s = {.length = 0};
    put_request(&s, flags, type, 99, offset, length);
    if (type == NBD_CMD_WRITE)
        put(&s, "0123456789abcdef", length);
    send_script(rig, &s);
    struct simple r = receive_simple(rig, rig->client);
    assert_int_equal(r.cookie, 99);
    return r.error;
}

/* The errors are answered, and the client stays. */
static void bad_requests_are_answered(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig, true);
    enter(&rig, rig.client);
    assert_int_equal(error_of(&rig, 0, NBD_CMD_READ, SIZE, 1), 22);
    assert_int_equal(error_of(&rig, 0, NBD_CMD_READ, UINT64_MAX, 2), 22);
    assert_int_equal(error_of(&rig, 0, NBD_CMD_READ, 0, NBD_SERVER_MAX_REQUEST + 1), 22);
    assert_int_equal(error_of(&rig, 0, NBD_CMD_READ, 0, 0xffffffff), 22);
    assert_int_equal(error_of(&rig, 0, NBD_CMD_WRITE, SIZE - 4, 8), 28);
    assert_int_equal(error_of(&rig, 0, NBD_CMD_WRITE, UINT64_MAX, 8), 28);
    assert_int_equal(error_of(&rig, 0x100, NBD_CMD_WRITE, 0, 8), 22);
    assert_int_equal(error_of(&rig, 0, NBD_CMD_WRITE_ZEROES, SIZE, 8), 28);
    assert_int_equal(error_of(&rig, 0, NBD_CMD_TRIM, SIZE, 8), 22);
    assert_int_equal(error_of(&rig, NBD_CMD_DF, NBD_CMD_FLUSH, 0, 0), 22);
    assert_int_equal(error_of(&rig, 0, NBD_CMD_BLOCK_STATUS, 0, 4096), 22); /* not negotiated */
    assert_int_equal(error_of(&rig, 0, 8, 0, 0), 22);
    assert_int_equal(error_of(&rig, 0, 0xffff, 0, 0), 22);
    assert_int_equal(error_of(&rig, 0, NBD_CMD_READ, SIZE, 0), 0);
    rig_end(&rig);
}

static void structured_replies_are_single_chunks(void **state)
{
    (void)state;
    struct rig rig;
    struct script s = {.length = 0};
    uint8_t head[NBD_CHUNK_SIZE], body[4096];
    rig_begin(&rig, false);
    enter_structured(&rig);
    put_request(&s, NBD_CMD_DF, NBD_CMD_READ, 1, 77, 1000);
    send_script(&rig, &s);
    receive(&rig, rig.client, head, sizeof head);
    assert_memory_equal(head, "\x66\x8e\x33\xef\0\1\0\1\0\0\0\0\0\0\0\1\0\0\x03\xf0", sizeof head);
    receive(&rig, rig.client, body, 1008);
    assert_int_equal(nbd_get64(body), 77);
    assert_memory_equal(body + 8, content + 77, 1000);

    s.length = 0;
    put_request(&s, NBD_CMD_REQ_ONE, NBD_CMD_BLOCK_STATUS, 2, 4096, 8192);
    send_script(&rig, &s);
    receive(&rig, rig.client, head, sizeof head);
    assert_int_equal(nbd_get16(head + 6), NBD_CHUNK_BLOCK_STATUS);
    receive(&rig, rig.client, body, nbd_get32(head + 16));
    assert_memory_equal(body, "\0\0\0\1\0\0\x20\0\0\0\0\0", 12);

    fake_source_fail(rig.source, 100);
    s.length = 0;
    put_request(&s, 0, NBD_CMD_READ, 3, 0, 1000);
    send_script(&rig, &s);
    receive(&rig, rig.client, head, sizeof head);
    assert_int_equal(nbd_get16(head + 4), NBD_CHUNK_DONE);
    assert_int_equal(nbd_get16(head + 6), NBD_CHUNK_ERROR);
    uint32_t length = nbd_get32(head + 16);
    receive(&rig, rig.client, body, length);
    assert_int_equal(nbd_get32(body), 5);
    assert_int_equal(nbd_get16(body + 4), length - 6);
    rig_end(&rig);
}

/* --- bounds --- */

static void who_reads_no_replies_stops_being_served(void **state)
{
    (void)state;
    enum { COUNT = 140, LENGTH = 90000 };
    struct rig rig;
    struct script s = {.length = 0};
    static unsigned char data[LENGTH];
    rig_begin(&rig, false);
    enter(&rig, rig.client);
    unsigned before = fake_stats.reads;
    for (unsigned i = 0; i < COUNT; i++)
        put_request(&s, 0, NBD_CMD_READ, i, i, LENGTH);
    send_script(&rig, &s);
    run_turns(&rig, 500);
    /* a quarter of the budget, and what the socket took */
    assert_true(rig.budget.used <= rig.budget.limit / 4);
    assert_true(fake_stats.reads - before < COUNT / 2);
    for (unsigned i = 0; i < COUNT; i++) {
        struct simple r = receive_simple(&rig, rig.client);
        receive(&rig, rig.client, data, LENGTH);
        assert_memory_equal(data, content + r.cookie, LENGTH);
    }
    rig_end(&rig);
}

static int add_client(struct rig *rig)
{
    int pair[2], status;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    nbd_server_add_client(rig->server, socket_stream_new(&rig->loop, pair[0], &status));
    return pair[1];
}

static void a_full_budget_wakes_who_waits(void **state)
{
    (void)state;
    enum { LENGTH = 80000 };
    struct rig rig;
    struct script s = {.length = 0};
    static unsigned char data[LENGTH];
    rig_begin(&rig, false);
    rig.budget.limit = 100000;
    int other = add_client(&rig), fds[2] = {rig.client, other};
    enter(&rig, rig.client);
    enter(&rig, other);
    fake_source_hold(rig.source, true);
    for (unsigned i = 0; i < 10; i++)
        put_request(&s, 0, NBD_CMD_READ, i, i, LENGTH);
    for (int i = 0; i < 2; i++)
        assert_int_equal(send(fds[i], s.bytes, s.length, 0), s.length);
    run_turns(&rig, 20);
    assert_int_equal(fake_stats.outstanding, 2); /* one each, whatever the limit */
    assert_false(list_empty(&rig.budget.waiting));
    fake_source_hold(rig.source, false);
    for (unsigned i = 0; i < 20; i++) {
        struct simple r = receive_simple(&rig, fds[i % 2]);
        receive(&rig, fds[i % 2], data, LENGTH);
        assert_memory_equal(data, content + r.cookie, LENGTH);
    }
    close(other);
    rig_end(&rig);
}

static void a_payload_that_stops_is_idleness(void **state)
{
    (void)state;
    struct rig rig;
    struct script s = {.length = 0};
    idle_timeout = 30;
    rig_begin(&rig, true);
    idle_timeout = 0;
    enter(&rig, rig.client);
    put_request(&s, 0, NBD_CMD_WRITE, 1, 0, 1000);
    put(&s, "only this", 9);
    send_script(&rig, &s);
    while (!peer_has_closed(rig.client))
        uv_run(&rig.loop, UV_RUN_ONCE);
    rig_end(&rig);
}

static void who_waits_for_the_source_is_not_idle(void **state)
{
    (void)state;
    struct rig rig;
    struct script s = {.length = 0};
    idle_timeout = 100;
    rig_begin(&rig, false);
    idle_timeout = 0;
    enter(&rig, rig.client);
    fake_source_hold(rig.source, true);
    put_request(&s, 0, NBD_CMD_READ, 1, 0, 0x10);
    send_script(&rig, &s);
    uint64_t start = uv_now(&rig.loop);
    while (uv_now(&rig.loop) < start + 300)
        uv_run(&rig.loop, UV_RUN_ONCE);
    assert_false(peer_has_closed(rig.client));
    fake_source_hold(rig.source, false);
    assert_int_equal(receive_simple(&rig, rig.client).cookie, 1);
    while (recv(rig.client, s.bytes, sizeof s.bytes, MSG_DONTWAIT) != 0)
        uv_run(&rig.loop, UV_RUN_ONCE);
    rig_end(&rig);
}

/* --- the end --- */

/* What was outstanding gets its data, what came later ESHUTDOWN, then the end. */
static void detaching_answers_everything(void **state)
{
    (void)state;
    struct rig rig;
    struct script s = {.length = 0};
    unsigned char data[512];
    rig_begin(&rig, true);
    enter(&rig, rig.client);
    fake_source_hold(rig.source, true);
    put_request(&s, 0, NBD_CMD_READ, 1, 100, 512);
    put_request(&s, 0, NBD_CMD_WRITE, 2, 0, 8);
    put(&s, "half", 4);
    send_script(&rig, &s);
    run_turns(&rig, 5);
    nbd_server_detach(rig.server, set_flag, &rig.detached);
    s.length = 0;
    put(&s, "half", 4);
    put_request(&s, 0, NBD_CMD_READ, 3, 0, 512);
    put_request(&s, 0, NBD_CMD_WRITE, 4, 0, 4);
    put(&s, "late", 4);
    send_script(&rig, &s);
    for (uint64_t cookie = 2; cookie <= 4; cookie++) {
        struct simple r = receive_simple(&rig, rig.client);
        assert_int_equal(r.cookie, cookie);
        assert_int_equal(r.error, 108);
    }
    assert_false(rig.detached);
    assert_false(peer_has_closed(rig.client));
    fake_source_hold(rig.source, false);
    struct simple r = receive_simple(&rig, rig.client);
    assert_int_equal(r.cookie, 1);
    assert_int_equal(r.error, 0);
    receive(&rig, rig.client, data, sizeof data);
    assert_memory_equal(data, content + 100, sizeof data);
    run_turns(&rig, 5);
    assert_true(rig.detached);
    assert_true(peer_has_closed(rig.client));
    rig.detached = false;
    nbd_server_attach(rig.server, rig.source);
    rig_end(&rig);
}

static void who_takes_no_last_reply_is_dropped(void **state)
{
    (void)state;
    struct rig rig;
    struct script s = {.length = 0};
    struct nbd_server_stats stats;
    rig_begin(&rig, false);
    enter(&rig, rig.client);
    for (unsigned i = 0; i < 60; i++)
        put_request(&s, 0, NBD_CMD_READ, i, 0, 90000);
    send_script(&rig, &s);
    run_turns(&rig, 50);
    nbd_server_detach(rig.server, set_flag, &rig.detached);
    run_until(&rig, &rig.detached);
    do {
        uv_run(&rig.loop, UV_RUN_ONCE);
        nbd_server_get_stats(rig.server, &stats);
    } while (stats.connections > 0);
    rig.detached = false;
    nbd_server_attach(rig.server, rig.source);
    rig_end(&rig);
}

static void a_disconnect_waits_for_what_is_outstanding(void **state)
{
    (void)state;
    struct rig rig;
    struct script s = {.length = 0};
    unsigned char data[512];
    rig_begin(&rig, false);
    enter(&rig, rig.client);
    fake_source_hold(rig.source, true);
    put_request(&s, 0, NBD_CMD_READ, 1, 100, 512);
    put_request(&s, 0, NBD_CMD_DISC, 2, 0, 0);
    send_script(&rig, &s);
    run_turns(&rig, 5);
    assert_false(peer_has_closed(rig.client));
    fake_source_hold(rig.source, false);
    assert_int_equal(receive_simple(&rig, rig.client).error, 0);
    receive(&rig, rig.client, data, sizeof data);
    run_turns(&rig, 5);
    assert_true(peer_has_closed(rig.client));
    rig_end(&rig);
}

static void a_client_may_vanish_with_reads_outstanding(void **state)
{
    (void)state;
    struct rig rig;
    struct script s = {.length = 0};
    struct nbd_server_stats stats;
    rig_begin(&rig, false);
    int other = add_client(&rig);
    enter(&rig, other);
    fake_source_hold(rig.source, true);
    for (unsigned i = 0; i < 80; i++)
        put_request(&s, 0, NBD_CMD_READ, i, 100, 9000);
    assert_int_equal(send(other, s.bytes, s.length, 0), s.length);
    run_turns(&rig, 5);
    assert_int_equal(fake_stats.outstanding, NBD_SERVER_IOS);
    close(other);
    run_turns(&rig, 5);
    nbd_server_get_stats(rig.server, &stats);
    assert_int_equal(stats.connections, 2); /* it lives until they are done */
    fake_source_hold(rig.source, false);
    run_turns(&rig, 5);
    nbd_server_get_stats(rig.server, &stats);
    assert_int_equal(stats.connections, 1);
    assert_int_equal(rig.budget.used, 0);
    rig_end(&rig);
}

static void without_a_medium_there_is_no_export(void **state)
{
    (void)state;
    struct rig rig;
    struct script s = {.length = 0};
    unsigned char reply[4096];
    rig_begin(&rig, false);
    nbd_server_detach(rig.server, set_flag, &rig.detached);
    run_until(&rig, &rig.detached);
    put_flags(&s);
    put_option(&s, NBD_OPT_LIST, "", 0);
    put_option(&s, NBD_OPT_GO, go_data, sizeof go_data - 1);
    send_script(&rig, &s);
    size_t n = collect(&rig, reply, sizeof reply);
    assert_true(n > NBD_GREETING_SIZE + 2 * NBD_OPTION_REPLY_SIZE);
    assert_int_equal(nbd_get32(reply + NBD_GREETING_SIZE + 12), NBD_REP_ACK);
    assert_int_equal(nbd_get32(reply + NBD_GREETING_SIZE + NBD_OPTION_REPLY_SIZE + 12), NBD_REP_ERR_UNKNOWN);
    nbd_server_attach(rig.server, rig.source); /* the same client may go on now */
    rig.detached = false;
    s.length = 0;
    put_option(&s, NBD_OPT_GO, go_data, sizeof go_data - 1);
    put_request(&s, 0, NBD_CMD_READ, 1, 0, 4);
    send_script(&rig, &s);
    n = collect(&rig, reply, sizeof reply);
    assert_non_null(memmem(reply, n, content, 4));
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_split_gives_the_same_replies),
        cmocka_unit_test(hostile_clients_are_dropped),
        cmocka_unit_test(promised_lengths_cost_nothing),
        cmocka_unit_test(every_cut_of_the_handshake_ends_cleanly),
        cmocka_unit_test(read_only_is_kept),
        cmocka_unit_test(more_clients_than_allowed_are_refused),
        cmocka_unit_test(replies_in_any_order_carry_their_own_data),
        cmocka_unit_test(writes_are_read_back),
        cmocka_unit_test(bad_requests_are_answered),
        cmocka_unit_test(structured_replies_are_single_chunks),
        cmocka_unit_test(who_reads_no_replies_stops_being_served),
        cmocka_unit_test(a_full_budget_wakes_who_waits),
        cmocka_unit_test(a_payload_that_stops_is_idleness),
        cmocka_unit_test(who_waits_for_the_source_is_not_idle),
        cmocka_unit_test(detaching_answers_everything),
        cmocka_unit_test(who_takes_no_last_reply_is_dropped),
        cmocka_unit_test(a_disconnect_waits_for_what_is_outstanding),
        cmocka_unit_test(a_client_may_vanish_with_reads_outstanding),
        cmocka_unit_test(without_a_medium_there_is_no_export),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
