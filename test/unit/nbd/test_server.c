/* The NBD server, byte by byte on a socket pair: any split gives the same replies. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../block/contract.h"
#include "../block/fake_source.h"
#include "../cmocka_all.h"
#include "nbd/server.h"
#include "nbd/wire.h"
#include "net/socket.h"

#define SIZE 100000u

static unsigned char content[SIZE];
static struct fake_stats fake_stats;

struct rig {
    uv_loop_t loop;
    struct source *source;
    struct nbd_server *server;
    struct nbd_server_budget budget;
    int client;
    bool opened, closed, detached, server_closed;
};

static void on_opened(struct source *source, int status)
{
    assert_int_equal(status, 0);
    ((struct rig *)source->owner)->opened = true;
}

static void on_closed(struct source *source)
{
    ((struct rig *)source->owner)->closed = true;
}

static void set_flag(void *flag)
{
    *(bool *)flag = true;
}

static void run_until(struct rig *rig, const bool *flag)
{
    while (!*flag)
        uv_run(&rig->loop, UV_RUN_ONCE);
}

static void rig_begin(struct rig *rig, bool writable)
{
    int pair[2], status;
    memset(rig, 0, sizeof *rig);
    for (unsigned i = 0; i < SIZE; i++)
        content[i] = (unsigned char)(i * 31 + i / 256);
    struct fake_options fake = {.content = content, .size = SIZE, .writable = writable};
    test_loop_begin(&rig->loop);
    rig->source = fake_source_new(&rig->loop, &fake, &fake_stats);
    rig->source->owner = rig;
    rig->source->opened = on_opened;
    rig->source->closed = on_closed;
    source_open(rig->source);
    run_until(rig, &rig->opened);
    rig->budget.limit = 4 << 20;
    list_init(&rig->budget.waiting);
    struct nbd_server_options options = {.who = "test",
                                         .export_name = "slot0",
                                         .description = "a test",
                                         .max_connections = 2,
                                         .budget = &rig->budget};
    rig->server = nbd_server_new(&rig->loop, &options);
    nbd_server_attach(rig->server, rig->source);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    rig->client = pair[1];
    nbd_server_add_client(rig->server, socket_stream_new(&rig->loop, pair[0], &status));
}

static void rig_end(struct rig *rig)
{
    close(rig->client);
    nbd_server_detach(rig->server, set_flag, &rig->detached);
    run_until(rig, &rig->detached);
    source_close(rig->source);
    run_until(rig, &rig->closed);
    nbd_server_close(rig->server, set_flag, &rig->server_closed);
    run_until(rig, &rig->server_closed);
    assert_int_equal(rig->budget.used, 0);
    source_free(rig->source);
    test_loop_end(&rig->loop);
}

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

/* A dialogue with every option and command in it; reads come one at a time since
 * replies may come in any order. */
static struct script whole_dialogue(void)
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


static void any_split_gives_the_same_replies(void **state)
{
    (void)state;
    struct script s = whole_dialogue();
    static unsigned char first[8192], other[8192];
    size_t length = play(&s, 1, first, sizeof first);
    assert_true(length > 600);
    /* The read's data is in it. */
    assert_non_null(memmem(first, length, content + 12345, 300));
    static const size_t pieces[] = {2, 3, 5, 7, 16, 28, 29, 64, 100};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        assert_int_equal(play(&s, pieces[i], other, sizeof other), length);
        assert_non_null(memmem(other, length, content + 12345, 300));
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
    memset(&fake_stats, 0, sizeof fake_stats);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_split_gives_the_same_replies),
        cmocka_unit_test(hostile_clients_are_dropped),
        cmocka_unit_test(promised_lengths_cost_nothing),
        cmocka_unit_test(every_cut_of_the_handshake_ends_cleanly),
        cmocka_unit_test(read_only_is_kept),
        cmocka_unit_test(more_clients_than_allowed_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
