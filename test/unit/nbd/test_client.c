/* The NBD client's requests, with servers that keep the protocol and others. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "client_rig.h"

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

/* As the pipe of a bmcweb wants it: whoever asks, late answers and those that nobody waits for count, and headers do. */
static void answers_that_are_not_here_are_bounded(void **state)
{
    (void)state;
    struct rig rig;
    struct nbd_client_options options = usual;
    options.request_max = 131072;
    options.answers_max = 262176;
    rig_with_peer(&rig, &options);
    rig.peer->hold = true;
    run_until(&rig, &rig.ready);
    for (unsigned i = 0; i < 64; i++)
        submit(&rig, IO_READ, i % 3 ? 0 : IO_PREFETCH, i * 40000, i % 5 ? 500 + i : 400000);
    turns(&rig, 5);
    nbd_client_cancel(rig.client, &rig.ios[1].io, -ETIMEDOUT);
    for (int more = 1; more; turns(&rig, 3)) {
        more = rig.peer->held_count > 0;
        if (more)
            nbd_peer_reply(rig.peer, (unsigned)random() % rig.peer->held_count, 0);
    }
    assert_int_equal(rig.done, 64);
    assert_int_equal(rig.ios[1].io.status, -ETIMEDOUT);
    assert_in_range(rig.peer->most_answers, 262176 - 500 - 16, 262176);
    assert_int_equal(rig.peer->longest, 131072);
    rig_end(&rig);
}

static void a_quiet_client_says_nothing_at_the_end(void **state)
{
    (void)state;
    for (int quiet = 0; quiet < 2; quiet++) {
        struct rig rig;
        struct nbd_client_options options = usual;
        options.quiet = quiet;
        rig_with_peer(&rig, &options);
        run_until(&rig, &rig.ready);
        nbd_client_close(rig.client);
        while (!rig.peer->closed)
            uv_run(&rig.loop, UV_RUN_ONCE);
        assert_int_equal(rig.peer->disconnected, !quiet);
        rig_end(&rig);
    }
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
        assert_int_equal(rig.ios[0].io.status, 0);
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

/* Its connection is alive; what it says now and then is all that counts. */
static void a_server_that_answers_nothing_is_given_up(void **state)
{
    (void)state;
    struct rig rig;
    struct nbd_client_options options = usual;
    options.silence_ms = 400;
    rig_with_peer(&rig, &options);
    run_until(&rig, &rig.ready);
    wait_ms(&rig, 500); /* nothing is asked: that is no silence */
    assert_int_equal(rig.died, 0);
    rig.peer->hold = true;
    read_at(&rig, 0, 1000);
    read_at(&rig, 100000, 1000);
    wait_ms(&rig, 100);
    nbd_peer_reply(rig.peer, 0, 0);
    run_until_done(&rig, 1);
    uint64_t answered = uv_hrtime();
    run_until(&rig, &rig.died);
    assert_in_range(uv_hrtime() - answered, 380 * 1000000ull, UINT64_MAX); /* the loop's clock may be behind */
    assert_int_equal(rig.died_status, -ETIMEDOUT);
    assert_string_equal(nbd_client_error(rig.client), "the NBD server answered nothing for 400ms");
    run_until_done(&rig, 2);
    assert_int_equal(rig.ios[0].io.status, 0);
    assert_int_equal(rig.ios[1].io.status, -ETIMEDOUT);
    rig_end(&rig);
}

/* The server's answer and what breaks the protocol come at once: what the answer lets follow is submitted to a client that is
 * dead and has not said so. */
static void an_io_between_death_and_died_is_as_those_before(void **state)
{
    (void)state;
    for (int take_back = 0; take_back < 2; take_back++) {
        struct rig rig;
        struct script script = {.length = 0};
        uint64_t cookie[IOS];
        by_hand_ready(&rig, &usual);
        rig.take_back = take_back;
        rig.read_when_done = true;
        read_at(&rig, 0, 100);
        turns(&rig, 3);
        assert_int_equal(cookies(&rig, cookie), 1);
        put_reply(&script, 0, cookie[0], content, 100);
        put(&script, content, 16);
        play(&rig, &script, script.length);
        run_until(&rig, &rig.died);
        turns(&rig, 3);
        assert_int_equal(rig.ios[0].io.status, 0);
        assert_int_equal(rig.used, 2);
        assert_int_equal(rig.ios[1].done, !take_back);
        assert_int_equal(list_empty(&rig.taken), !take_back);
        if (!take_back)
            assert_int_equal(rig.ios[1].io.status, rig.died_status);
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
        cmocka_unit_test(reads_come_in_any_order_inside_the_bounds),
        cmocka_unit_test(a_read_over_the_bound_goes_alone),
        cmocka_unit_test(answers_that_are_not_here_are_bounded),
        cmocka_unit_test(a_quiet_client_says_nothing_at_the_end),
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
        cmocka_unit_test(a_server_that_answers_nothing_is_given_up),
        cmocka_unit_test(an_io_between_death_and_died_is_as_those_before),
        cmocka_unit_test(ios_are_taken_back_in_their_order),
        cmocka_unit_test(close_is_legal_in_every_state),
        cmocka_unit_test(close_is_legal_in_every_callback),
        cmocka_unit_test(every_byte_of_a_session_may_be_the_last),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make_content, NULL);
}
