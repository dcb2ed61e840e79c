/* The browser source: the contract, and connections that are lost and come back. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "../nbd/nbd_peer.h"
#include "block/cache.h"
#include "source/browser.h"
#include "source/browser_samples.h"

#define SIZE  (1000u * 1000 + 7)
#define IOS   64
#define PEERS 8

static unsigned char content[SIZE], served[SIZE];

static int make_content(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SIZE; i++)
        content[i] = (unsigned char)random();
    memcpy(served, content, SIZE);
    return 0;
}

/* Short times: what is waited for in a test is waited for in vain. */
static const struct browser_options usual = {
    .grace_ms = 10000, .io_timeout_ms = 10000, .request_max = 65536, .requests_max = 16, .bytes_max = 1 << 20};

/* --- the contract --- */

struct kind {
    bool writable, cached;
    uint16_t flags;
};

static void *begin(uv_loop_t *loop, void *arg)
{
    (void)loop;
    (void)arg;
    return cache_new(4 << 20, 1 << 20);
}

static void end(void *context, void *arg)
{
    (void)arg;
    cache_free(context);
}

static struct source *make(uv_loop_t *loop, void *context, void *arg)
{
    const struct kind *kind = arg;
    struct browser_options options = usual;
    struct browser_connection connection = {.go = true, .claim = "a file"};
    struct nbd_peer *peer = nbd_peer_new(loop, served, SIZE, &connection.stream);
    peer->free_itself = true;
    peer->flags = kind->flags;
    options.writable = kind->writable;
    struct source *source = browser_source_new(loop, "test", &options, &connection);
    return kind->cached ? cache_source_new(context, source, true) : source;
}

static void restore(void *arg)
{
    (void)arg;
    memcpy(served, content, SIZE);
}

static void browser_keeps_the_contract(void **state)
{
    (void)state;
    static struct kind kinds[] = {
        {false, false, NBD_PEER_FLAGS},    {false, true, NBD_PEER_FLAGS},
        {false, false, NBD_PEER_WRITABLE}, {true, false, NBD_PEER_WRITABLE},
        {true, true, NBD_PEER_WRITABLE},   {true, false, NBD_PEER_WRITABLE & ~NBD_TX_SEND_FUA},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct contract contract = {.content = content,
                                    .size = SIZE,
                                    .writable = kinds[i].writable,
                                    .begin = begin,
                                    .end = end,
                                    .make = make,
                                    .restore = restore,
                                    .arg = &kinds[i]};
        contract_check(&contract);
    }
}

/* --- a rig with several connections --- */

struct rig_io {
    struct io io;
    struct rig *rig;
    int done;
};

struct rig {
    uv_loop_t loop;
    struct source *source;
    struct nbd_peer *peers[PEERS];
    struct stream *streams[PEERS]; /* our ends */
    unsigned peer_count, gone;
    int opened, opened_status, died, died_status, closed;
    bool close_when_died;
    struct rig_io ios[IOS];
    unsigned used, done;
};

/* What the peers were told, the last first; a stream tells no owner here. */
static enum browser_end told_end;
static char told_reason[BROWSER_REASON_MAX * 2];
static unsigned told;
static bool user_ended;

static void on_opened(struct source *source, int status)
{
    struct rig *rig = source->owner;
    rig->opened++;
    rig->opened_status = status;
}

static void on_died(struct source *source, int status)
{
    struct rig *rig = source->owner;
    rig->died++;
    rig->died_status = status;
    if (rig->close_when_died)
        source_close(source);
}

static void on_closed(struct source *source)
{
    struct rig *rig = source->owner;
    rig->closed++;
    for (unsigned i = 0; i < rig->used; i++)
        assert_int_equal(rig->ios[i].done, 1);
}

static void on_hang_up(struct stream *stream, enum browser_end why, const char *reason)
{
    told_end = why;
    strcpy(told_reason, reason);
    told++;
    stream_close(stream);
}

static bool deliberate(struct stream *stream)
{
    (void)stream;
    return user_ended;
}

static void on_gone(void *arg)
{
    ((struct rig *)arg)->gone++;
}

static struct browser_connection connection_new(struct rig *rig, unsigned char *bytes, uint64_t size, const char *claim)
{
    struct browser_connection connection = {
        .claim = claim, .hang_up = on_hang_up, .deliberate = deliberate, .gone = on_gone, .arg = rig};
    rig->peers[rig->peer_count] = nbd_peer_new(&rig->loop, bytes, size, &connection.stream);
    rig->streams[rig->peer_count++] = connection.stream;
    return connection;
}

static struct nbd_peer *rig_begin(struct rig *rig, const struct browser_options *options)
{
    memset(rig, 0, sizeof *rig);
    told = 0;
    user_ended = false;
    test_loop_begin(&rig->loop);
    struct browser_connection connection = connection_new(rig, served, SIZE, "claim");
    rig->source = browser_source_new(&rig->loop, "test", options, &connection);
    rig->source->owner = rig;
    rig->source->opened = on_opened;
    rig->source->died = on_died;
    rig->source->closed = on_closed;
    return rig->peers[0];
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

static void turns(struct rig *rig, int count)
{
    for (int i = 0; i < count; i++)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
}

static void wait_ms(struct rig *rig, unsigned ms)
{
    uint64_t until = uv_hrtime() + ms * 1000000ull;
    while (uv_hrtime() < until)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
}

static int rig_open(struct rig *rig)
{
    source_open(rig->source);
    run_until(rig, &rig->opened);
    return rig->opened_status;
}

static struct nbd_peer *open_usual(struct rig *rig, const struct browser_options *options)
{
    struct nbd_peer *peer = rig_begin(rig, options);
    assert_int_equal(rig_open(rig), 0);
    return peer;
}

static void rig_end(struct rig *rig)
{
    source_close(rig->source);
    run_until(rig, &rig->closed);
    source_free(rig->source);
    for (unsigned i = 0; i < rig->peer_count; i++)
        nbd_peer_close(rig->peers[i]);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < rig->peer_count; i++) {
        assert_int_equal(rig->peers[i]->past_end, 0);
        nbd_peer_free(rig->peers[i]);
    }
    test_loop_end(&rig->loop);
    assert_int_equal(rig->gone, rig->peer_count);
    assert_int_equal(told, rig->peer_count);
    assert_int_equal(rig->closed, 1);
    for (unsigned i = 0; i < rig->used; i++)
        slices_clear(&rig->ios[i].io.data);
    memcpy(served, content, SIZE);
}

static void on_done(struct io *io)
{
    struct rig_io *r = container_of(io, struct rig_io, io);
    r->done++;
    r->rig->done++;
}

static struct io *submit(struct rig *rig, enum io_op op, unsigned flags, uint64_t offset, uint32_t length)
{
    struct rig_io *r = &rig->ios[rig->used++];
    io_init(&r->io, op, offset, length, on_done);
    r->io.flags = flags;
    r->rig = rig;
    if (op == IO_WRITE) {
        slices_alloc(&r->io.data, length, BYTES_PIECE);
        for (uint32_t i = 0; i < length; i++)
            slices_copy_in(&r->io.data, i, &"written"[i % 7], 1);
    }
    source_submit(rig->source, &r->io);
    return &r->io;
}

static struct io *read_at(struct rig *rig, uint64_t offset, uint32_t length)
{
    return submit(rig, IO_READ, 0, offset, length);
}

static void assert_read(const struct io *io)
{
    unsigned char *copy = malloc(io->length);
    assert_int_equal(io->status, 0);
    slices_copy_out(&io->data, 0, copy, io->length);
    assert_memory_equal(copy, content + io->offset, io->length);
    free(copy);
}

static struct io *read_now(struct rig *rig, uint64_t offset, uint32_t length)
{
    struct io *io = read_at(rig, offset, length);
    run_until_done(rig, rig->used);
    return io;
}

static struct nbd_peer *come_back(struct rig *rig, unsigned char *bytes, uint64_t size, const char *claim)
{
    struct browser_connection connection = connection_new(rig, bytes, size, claim);
    browser_source_connect(rig->source, &connection);
    return rig->peers[rig->peer_count - 1];
}

static void lose(struct rig *rig)
{
    nbd_peer_close(rig->peers[rig->peer_count - 1]);
    while (!browser_source_is_waiting(rig->source) && !rig->died)
        uv_run(&rig->loop, UV_RUN_ONCE);
}

static void run_until_back(struct rig *rig)
{
    while (browser_source_is_waiting(rig->source))
        uv_run(&rig->loop, UV_RUN_ONCE);
}

/* Until the connection that was made last is refused. */
static void run_until_told(struct rig *rig, unsigned count)
{
    while (told < count)
        uv_run(&rig->loop, UV_RUN_ONCE);
    turns(rig, 4);
}

/* --- opening --- */

static void facts_are_the_servers(void **state)
{
    (void)state;
    struct rig rig;
    struct browser_options options = usual;
    options.writable = true;
    open_usual(&rig, &usual);
    assert_int_equal(rig.source->size, SIZE);
    assert_true(rig.source->read_only && !rig.source->can_flush && !rig.source->local && *rig.source->identity);
    assert_int_equal(rig.source->parallel, 16);
    assert_true(rig.source->stats.rtt_us > 0); /* of the handshake */
    assert_true(browser_source_has(rig.source, &rig) && !browser_source_has(rig.source, NULL));
    assert_false(browser_source_awaits(rig.source, "") || browser_source_is_waiting(rig.source));
    rig_end(&rig);
    assert_int_equal(told_end, BROWSER_EJECTED);
    struct nbd_peer *peer = rig_begin(&rig, &options);
    peer->flags = NBD_PEER_WRITABLE;
    peer->told_size = 0;
    assert_int_equal(rig_open(&rig), 0);
    assert_true(!rig.source->read_only && rig.source->can_flush && rig.source->can_trim && rig.source->can_zero);
    rig_end(&rig);
}

static void a_size_with_twin_halves_is_understood(void **state)
{
    (void)state;
    struct rig rig;
    struct nbd_peer *peer = rig_begin(&rig, &usual);
    peer->told_size = (uint64_t)SIZE << 32 | SIZE;
    assert_int_equal(rig_open(&rig), 0);
    assert_int_equal(rig.source->size, SIZE);
    read_now(&rig, SIZE - 10, 10);
    lose(&rig);
    come_back(&rig, served, SIZE, "claim"); /* that was updated meanwhile */
    run_until_back(&rig);
    assert_read(read_now(&rig, SIZE - 20, 20));
    rig_end(&rig);
}

static void sizes_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint64_t told;
        uint64_t size; /* 0: refused */
    } sizes[] = {{UINT64_MAX, 0},
                 {1ull << 63, 0},
                 {0xc0000000c0000000, 0xc0000000},
                 {0x0000000100000001, 0x0000000100000001}, /* no image is a byte long */
                 {(1ull << 40) + 1, (1ull << 40) + 1}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct rig rig;
        rig_begin(&rig, &usual)->told_size = sizes[i].told;
        int status = rig_open(&rig);
        assert_int_equal(status, sizes[i].size ? 0 : -EINVAL);
        if (status == 0)
            assert_true(rig.source->size == sizes[i].size);
        else
            assert_int_not_equal(strlen(rig.source->error), 0);
        rig_end(&rig);
        assert_int_equal(told_end, status == 0 ? BROWSER_EJECTED : BROWSER_REFUSED);
    }
    struct rig rig;
    rig_begin(&rig, &usual)->size = 0;
    assert_int_equal(rig_open(&rig), -EINVAL);
    assert_string_equal(rig.source->error, "the image is empty");
    rig_end(&rig);
}

static void a_connection_that_ends_first_is_an_error(void **state)
{
    (void)state;
    struct rig rig;
    struct nbd_peer *peer = rig_begin(&rig, &usual);
    nbd_peer_close(peer);
    assert_int_equal(rig_open(&rig), -ECONNRESET);
    rig_end(&rig);
    rig_begin(&rig, &usual);
    stream_read(rig.streams[0], true); /* its end is seen before it is opened */
    nbd_peer_close(rig.peers[0]);
    turns(&rig, 5);
    assert_int_equal(rig_open(&rig), -ECONNRESET);
    assert_int_not_equal(strlen(rig.source->error), 0);
    rig_end(&rig);
    rig_begin(&rig, &usual)->silent = true;
    source_open(rig.source);
    turns(&rig, 3);
    rig_end(&rig);
    assert_int_equal(rig.opened_status, -ECANCELED);
}

/* --- lost and found --- */

static void reads_survive_a_lost_connection(void **state)
{
    (void)state;
    for (uint64_t cut = 28; cut < 700000; cut += cut < 40 ? 1 : 33333) {
        struct rig rig;
        struct nbd_peer *peer = open_usual(&rig, &usual);
        peer->cut_after = cut;
        for (unsigned i = 0; i < 20; i++)
            read_at(&rig, i * 45000, i % 3 ? 35000 : 150000);
        while (!browser_source_is_waiting(rig.source))
            uv_run(&rig.loop, UV_RUN_ONCE);
        assert_true(rig.done < 20);
        read_at(&rig, 77, 77); /* comes meanwhile */
        assert_true(browser_source_awaits(rig.source, "claim"));
        peer = come_back(&rig, served, SIZE, "claim");
        assert_true(browser_source_is_waiting(rig.source) && browser_source_has(rig.source, &rig));
        run_until_done(&rig, 21);
        for (unsigned i = 0; i < 21; i++)
            assert_read(&rig.ios[i].io);
        assert_true(rig.source->stats.retries > 0);
        assert_int_equal(rig.died, 0);
        rig_end(&rig);
    }
}

static void another_image_is_refused_and_the_right_one_taken(void **state)
{
    (void)state;
    struct rig rig;
    unsigned char *other = malloc(SIZE);
    open_usual(&rig, &usual);
    read_now(&rig, 500000, 100000);
    memcpy(other, content, SIZE);
    memset(other + 500000, 0, 100000);
    lose(&rig);
    struct io *waits = read_at(&rig, 0, 1000);
    come_back(&rig, other, SIZE, "");
    run_until_told(&rig, 2);
    assert_int_equal(told_end, BROWSER_REFUSED);
    assert_string_equal(told_reason, "this is not the file that was inserted");
    come_back(&rig, served, SIZE - 1, "");
    run_until_told(&rig, 3);
    assert_int_equal(told_end, BROWSER_REFUSED);
    assert_false(browser_source_awaits(rig.source, "another claim"));
    come_back(&rig, served, SIZE, "another claim");
    run_until_told(&rig, 4);
    assert_int_equal(told_end, BROWSER_REFUSED);
    assert_int_equal(rig.peers[3]->requests, 0);
    come_back(&rig, served, SIZE, "")->read_error = 5; /* it can't be read any more */
    run_until_told(&rig, 5);
    assert_int_equal(told_end, BROWSER_FAILED);
    assert_int_equal(rig.done, 1); /* and the host waits */
    come_back(&rig, served, SIZE, "");
    run_until_done(&rig, 2);
    assert_read(waits);
    assert_int_equal(told, 5);
    rig_end(&rig);
    free(other);
}

static void one_connection_at_a_time(void **state)
{
    (void)state;
    struct rig rig;
    open_usual(&rig, &usual);
    come_back(&rig, served, SIZE, "claim");
    turns(&rig, 4);
    assert_int_equal(told_end, BROWSER_REFUSED);
    assert_int_equal(rig.gone, 1);
    assert_read(read_now(&rig, 0, 10));
    nbd_peer_close(rig.peers[0]);
    lose(&rig);
    come_back(&rig, served, SIZE, "claim")->hold = true;
    come_back(&rig, served, SIZE, "claim"); /* while the other is checked */
    assert_int_equal(told, 3);
    turns(&rig, 6);
    assert_int_equal(rig.peers[2]->held_count, 1);
    nbd_peer_reply(rig.peers[2], 0, 0);
    run_until_back(&rig);
    rig_end(&rig);
}

static void a_return_that_fails_is_no_end(void **state)
{
    (void)state;
    struct rig rig;
    open_usual(&rig, &usual);
    read_now(&rig, 0, 10);
    lose(&rig);
    for (uint64_t cut = 1; cut < NBD_GREETING_SIZE + NBD_EXPORT_SIZE + NBD_SIMPLE_REPLY_SIZE + 10; cut += 9) {
        come_back(&rig, served, SIZE, "claim")->cut_after = cut;
        run_until_told(&rig, rig.peer_count);
        assert_true(browser_source_awaits(rig.source, "claim"));
    }
    assert_int_equal(rig.died, 0);
    come_back(&rig, served, SIZE, "claim");
    assert_read(read_now(&rig, 5, 10));
    rig_end(&rig);
}

static void after_the_grace_it_dies(void **state)
{
    (void)state;
    struct rig rig;
    struct browser_options options = usual;
    options.grace_ms = 30;
    for (int closes = 0; closes < 2; closes++) {
        open_usual(&rig, &options);
        rig.close_when_died = closes;
        rig.peers[0]->hold = true;
        struct io *io = read_at(&rig, 0, 10), *ahead = submit(&rig, IO_READ, IO_PREFETCH, 100, 10);
        turns(&rig, 3);
        lose(&rig);
        turns(&rig, 2);
        assert_int_equal(ahead->status, -EAGAIN); /* it does not wait */
        assert_int_equal(rig.done, 1);
        run_until(&rig, &rig.died);
        run_until_done(&rig, 2);
        assert_int_equal(io->status, -ENOTCONN);
        assert_int_equal(rig.died_status, -ENOTCONN);
        assert_string_equal(rig.source->error, "the browser did not come back within 30 ms");
        assert_false(browser_source_awaits(rig.source, "claim"));
        if (!closes)
            assert_int_equal(read_now(&rig, 0, 10)->status, -ENOTCONN);
        come_back(&rig, served, SIZE, "claim"); /* too late */
        assert_int_equal(told_end, BROWSER_REFUSED);
        rig_end(&rig);
        assert_int_equal(rig.died, 1);
    }
}

static void the_grace_waits_for_a_check(void **state)
{
    (void)state;
    struct rig rig;
    struct browser_options options = usual;
    options.grace_ms = 20;
    for (int fails = 0; fails < 2; fails++) {
        open_usual(&rig, &options);
        read_now(&rig, 0, 10);
        lose(&rig);
        struct nbd_peer *peer = come_back(&rig, served, SIZE, "claim");
        peer->hold = true;
        wait_ms(&rig, 60);
        assert_int_equal(rig.died, 0);
        assert_int_equal(peer->held_count, 1);
        nbd_peer_reply(peer, 0, fails ? 5 : 0);
        turns(&rig, 5);
        assert_int_equal(rig.died, fails);
        assert_int_equal(browser_source_has(rig.source, &rig), !fails);
        rig_end(&rig);
    }
}

static void with_stay_it_goes_on(void **state)
{
    (void)state;
    struct rig rig;
    struct browser_options options = usual;
    options.grace_ms = 20;
    options.stay = true;
    open_usual(&rig, &options);
    lose(&rig);
    assert_int_equal(read_now(&rig, 0, 10)->status, -EIO); /* at the grace's end */
    assert_int_equal(read_now(&rig, 0, 10)->status, -EIO); /* at once */
    assert_true(browser_source_awaits(rig.source, "claim") && browser_source_is_waiting(rig.source));
    come_back(&rig, served, SIZE, "claim");
    run_until_back(&rig);
    assert_read(read_now(&rig, 0, 10));
    assert_int_equal(rig.died, 0);
    lose(&rig);
    struct io *io = read_at(&rig, 5, 10); /* a grace of its own */
    turns(&rig, 3);
    assert_int_equal(rig.done, 3);
    come_back(&rig, served, SIZE, "claim");
    run_until_done(&rig, 4);
    assert_read(io);
    rig_end(&rig);
}

static void what_the_user_ends_is_not_waited_for(void **state)
{
    (void)state;
    struct rig rig;
    struct browser_options options = usual;
    options.stay = true;
    open_usual(&rig, &options);
    rig.peers[0]->hold = true;
    struct io *io = read_at(&rig, 0, 10);
    turns(&rig, 3);
    user_ended = true;
    lose(&rig);
    run_until_done(&rig, 1);
    assert_int_equal(io->status, -ENOTCONN);
    assert_int_equal(rig.died, 1);
    assert_string_equal(rig.source->error, "the browser's user ended it");
    assert_false(browser_source_awaits(rig.source, "claim") || browser_source_is_waiting(rig.source));
    rig_end(&rig);
}

static void a_silent_browser_costs_an_error_only(void **state)
{
    (void)state;
    struct rig rig;
    struct browser_options options = usual;
    options.io_timeout_ms = 30;
    struct nbd_peer *peer = open_usual(&rig, &options);
    peer->hold = true;
    struct io *ahead = submit(&rig, IO_READ, IO_PREFETCH, 100000, 10);
    assert_int_equal(read_now(&rig, 0, 100)->status, -ETIMEDOUT);
    assert_int_equal(ahead->status, -ETIMEDOUT); /* somebody may wait for it */
    assert_string_equal(rig.source->error, "the browser did not answer within 30 ms");
    struct io *io = read_at(&rig, 50, 100);
    turns(&rig, 3);
    assert_int_equal(peer->held_count, 3);
    while (peer->held_count > 0)
        nbd_peer_reply(peer, 0, 0);
    run_until_done(&rig, 3);
    assert_read(io);
    assert_int_equal(told, 0);
    lose(&rig);
    assert_int_equal(read_now(&rig, 0, 100)->status, -ETIMEDOUT); /* while it is away */
    assert_int_equal(rig.died, 0);
    rig_end(&rig);
}

static void an_error_is_the_reads_own(void **state)
{
    (void)state;
    struct rig rig;
    struct nbd_peer *peer = open_usual(&rig, &usual);
    peer->read_error = 5;
    assert_int_equal(read_now(&rig, 0, 100)->status, -EIO);
    assert_int_equal(rig.source->stats.errors, 1);
    assert_int_not_equal(strlen(rig.source->error), 0);
    peer->read_error = 0;
    assert_read(read_now(&rig, 0, 100));
    rig_end(&rig);
}

static void who_breaks_the_protocol_is_told_and_may_come_back(void **state)
{
    (void)state;
    struct rig rig;
    struct nbd_peer *peer = open_usual(&rig, &usual);
    peer->hold = true;
    struct io *io = read_at(&rig, 0, 100);
    turns(&rig, 3);
    user_ended = true; /* is not asked: it was us */
    nbd_peer_send(peer, "this is no reply", 16);
    run_until_told(&rig, 1);
    user_ended = false;
    assert_int_equal(told_end, BROWSER_PROTOCOL);
    assert_int_equal(rig.done, 0);
    come_back(&rig, served, SIZE, "claim");
    run_until_done(&rig, 1);
    assert_read(io);
    rig_end(&rig);
}

/* --- writing --- */

static const struct browser_options *writable_options(void)
{
    static struct browser_options options;
    options = usual;
    options.writable = true;
    return &options;
}

static struct nbd_peer *open_writable(struct rig *rig, uint16_t flags)
{
    struct nbd_peer *peer = rig_begin(rig, writable_options());
    peer->flags = flags;
    assert_int_equal(rig_open(rig), 0);
    return peer;
}

static void writes_are_sent_again_once(void **state)
{
    (void)state;
    struct rig rig;
    struct nbd_peer *peer = open_writable(&rig, NBD_PEER_WRITABLE);
    assert_read(read_now(&rig, 0, 4096));
    peer->hold = true;
    submit(&rig, IO_WRITE, 0, 1000, 70000);
    turns(&rig, 4);
    assert_int_equal(peer->held_count, 2);
    nbd_peer_reply(peer, 0, 0); /* half of it is done */
    turns(&rig, 4);
    lose(&rig);
    submit(&rig, IO_FLUSH, 0, 0, 0);
    peer = come_back(&rig, served, SIZE, "claim");
    peer->flags = NBD_PEER_WRITABLE;
    run_until_done(&rig, 3); /* what was read before has changed, which we know */
    assert_int_equal(rig.ios[1].io.status | rig.ios[2].io.status, 0);
    assert_int_equal(peer->writes, 2);
    assert_int_equal(peer->flushes, 1);
    assert_memory_equal(served + 1000, "writtenwritten", 14);
    assert_memory_equal(served + 70986, "writtenwritten", 14);
    assert_memory_equal(served + 71000, content + 71000, 1000);
    lose(&rig);
    come_back(&rig, served, SIZE, "claim"); /* read-only now */
    run_until_told(&rig, 3);
    assert_int_equal(told_end, BROWSER_REFUSED);
    rig_end(&rig);
}

static void fua_without_fua_is_a_flush(void **state)
{
    (void)state;
    struct rig rig;
    uint16_t flags = NBD_PEER_WRITABLE & ~NBD_TX_SEND_FUA;
    struct nbd_peer *peer = open_writable(&rig, flags);
    peer->hold = true;
    submit(&rig, IO_WRITE, IO_FUA, 0, 100);
    turns(&rig, 4);
    assert_int_equal(peer->held_count, 1);
    nbd_peer_reply(peer, 0, 0);
    turns(&rig, 4);
    assert_int_equal(rig.done, 0);
    assert_int_equal(peer->held[0].wire.type, NBD_CMD_FLUSH);
    lose(&rig); /* what was not flushed may be lost: it is written again */
    peer = come_back(&rig, served, SIZE, "claim");
    peer->flags = flags;
    run_until_done(&rig, 1);
    assert_int_equal(rig.ios[0].io.status, 0);
    assert_true(peer->writes == 1 && peer->flushes == 1);
    submit(&rig, IO_ZERO, IO_FUA, 0, 100);
    run_until_done(&rig, 2);
    assert_true(peer->others == 1 && peer->flushes == 2);
    rig_end(&rig);
}

/* A read that was answered before a write over it, or after: no sample of it is kept. */
static void what_is_written_meanwhile_is_no_sample(void **state)
{
    (void)state;
    struct rig rig;
    struct nbd_peer *peer = open_writable(&rig, NBD_PEER_WRITABLE);
    peer->hold = true;
    read_at(&rig, 0, 1000);
    submit(&rig, IO_WRITE, 0, 500, 1000);
    read_at(&rig, 1200, 1000);
    turns(&rig, 4);
    nbd_peer_reply(peer, 2, 0);
    nbd_peer_reply(peer, 0, 0);
    nbd_peer_reply(peer, 0, 0);
    run_until_done(&rig, 3);
    lose(&rig);
    peer = come_back(&rig, served, SIZE, "claim");
    peer->flags = NBD_PEER_WRITABLE;
    run_until_back(&rig);
    assert_int_equal(peer->reads, 0);
    rig_end(&rig);
}

/* --- closing --- */

static void close_is_legal_when_it_waits(void **state)
{
    (void)state;
    for (int turn = 0; turn < 10; turn++) {
        struct rig rig;
        open_usual(&rig, &usual);
        read_now(&rig, 0, 10);
        lose(&rig);
        struct io *io = read_at(&rig, 0, 10);
        if (turn > 1)
            come_back(&rig, served, SIZE, "claim")->hold = turn % 2;
        turns(&rig, turn);
        browser_source_set_end(rig.source, BROWSER_STOPPING, "the daemon stops");
        rig_end(&rig);
        assert_true(io->status == -ECANCELED || io->status == 0);
        if (turn > 1) {
            assert_int_equal(told_end, BROWSER_STOPPING);
            assert_string_equal(told_reason, "the daemon stops");
        }
    }
}

static void the_server_is_told_of_the_end(void **state)
{
    (void)state;
    struct rig rig;
    struct nbd_peer *peer = open_usual(&rig, &usual);
    source_close(rig.source);
    run_until(&rig, &rig.closed);
    while (!peer->closed)
        uv_run(&rig.loop, UV_RUN_ONCE);
    assert_true(peer->disconnected);
    assert_string_equal(told_reason, "the medium was ejected");
    rig_end(&rig);
}

/* --- samples --- */

static void offer(struct browser_samples *samples, uint64_t offset, uint32_t length)
{
    struct slices data;
    slices_init(&data);
    slices_alloc(&data, length, 1000);
    slices_copy_in(&data, 0, content + offset, length);
    browser_samples_offer(samples, offset, &data);
    slices_clear(&data);
}

static bool matches(const struct browser_sample *sample, const unsigned char *bytes)
{
    struct slices data;
    slices_init(&data);
    slices_add_copy(&data, bytes + sample->offset, sample->length);
    bool same = browser_sample_matches(sample, &data);
    slices_clear(&data);
    return same;
}

static void samples_are_few_and_exact(void **state)
{
    (void)state;
    struct browser_samples samples = {.count = 0};
    unsigned late = 0;
    for (unsigned i = 0; i < 200; i++) {
        offer(&samples, i * 4000, i % 2 ? 4000 : BROWSER_SAMPLE_MAX * 3);
        offer(&samples, i * 4000, 4000); /* again: once is enough */
        assert_true(samples.count <= BROWSER_SAMPLES);
    }
    assert_int_equal(samples.count, BROWSER_SAMPLES);
    for (unsigned i = 0; i < samples.count; i++) {
        const struct browser_sample *sample = &samples.v[i];
        assert_true(sample->length <= BROWSER_SAMPLE_MAX);
        assert_true(matches(sample, content));
        served[sample->offset + sample->length - 1] ^= 1;
        assert_false(matches(sample, served));
        served[sample->offset + sample->length - 1] ^= 1;
        late += sample->offset > 200000;
    }
    assert_true(samples.v[0].offset < 4000 + 2 * BROWSER_SAMPLE_MAX);
    assert_true(late > 3); /* not only the first ones */
    const struct browser_sample first = samples.v[0], second = samples.v[1];
    browser_samples_forget(&samples, first.offset + first.length - 1, 1);
    for (unsigned i = 0; i < samples.count; i++)
        assert_true(samples.v[i].offset != first.offset);
    browser_samples_forget(&samples, second.offset + second.length, 0);
    browser_samples_forget(&samples, 0, SIZE);
    assert_int_equal(samples.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(browser_keeps_the_contract),
        cmocka_unit_test(facts_are_the_servers),
        cmocka_unit_test(a_size_with_twin_halves_is_understood),
        cmocka_unit_test(sizes_that_cannot_be_are_refused),
        cmocka_unit_test(a_connection_that_ends_first_is_an_error),
        cmocka_unit_test(reads_survive_a_lost_connection),
        cmocka_unit_test(another_image_is_refused_and_the_right_one_taken),
        cmocka_unit_test(one_connection_at_a_time),
        cmocka_unit_test(a_return_that_fails_is_no_end),
        cmocka_unit_test(after_the_grace_it_dies),
        cmocka_unit_test(the_grace_waits_for_a_check),
        cmocka_unit_test(with_stay_it_goes_on),
        cmocka_unit_test(what_the_user_ends_is_not_waited_for),
        cmocka_unit_test(a_silent_browser_costs_an_error_only),
        cmocka_unit_test(an_error_is_the_reads_own),
        cmocka_unit_test(who_breaks_the_protocol_is_told_and_may_come_back),
        cmocka_unit_test(writes_are_sent_again_once),
        cmocka_unit_test(fua_without_fua_is_a_flush),
        cmocka_unit_test(what_is_written_meanwhile_is_no_sample),
        cmocka_unit_test(close_is_legal_when_it_waits),
        cmocka_unit_test(the_server_is_told_of_the_end),
        cmocka_unit_test(samples_are_few_and_exact),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make_content, NULL);
}
