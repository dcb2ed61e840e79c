/* The browser source: connections that are lost and come back. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "browser_rig.h"

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
    options.grace_ms = 100;
    for (int fails = 0; fails < 2; fails++) {
        open_usual(&rig, &options);
        read_now(&rig, 0, 10);
        lose(&rig);
        struct nbd_peer *peer = come_back(&rig, served, SIZE, "claim");
        peer->hold = true;
        wait_ms(&rig, 200);
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
    options.grace_ms = 100;
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
    leave = BROWSER_STOPPED;
    lose(&rig);
    run_until_done(&rig, 1);
    assert_int_equal(io->status, -ENOTCONN);
    assert_int_equal(rig.died, 1);
    assert_int_equal(rig.died_status, 0);
    assert_string_equal(rig.source->error, "the browser's user ended it");
    assert_false(browser_source_awaits(rig.source, "claim") || browser_source_is_waiting(rig.source));
    rig_end(&rig);
}

static void a_page_that_is_left_is_waited_for_and_no_failure(void **state)
{
    (void)state;
    struct rig rig;
    struct browser_options options = usual;
    options.grace_ms = 300;
    for (int back = 0; back < 2; back++) {
        open_usual(&rig, &options);
        leave = BROWSER_LEFT;
        lose(&rig);
        assert_true(browser_source_is_waiting(rig.source) && browser_source_awaits(rig.source, "claim"));
        assert_false(browser_source_is_missed(rig.source));
        assert_string_equal(rig.source->error, "");
        if (back) {
            come_back(&rig, served, SIZE, "claim");
            run_until_back(&rig);
            leave = BROWSER_CUT; /* this time it is one */
            lose(&rig);
            assert_true(browser_source_is_missed(rig.source));
        }
        run_until(&rig, &rig.died);
        assert_int_equal(rig.died_status, back ? -ENOTCONN : 0);
        assert_string_equal(rig.source->error, "the browser did not come back within 300 ms");
        rig_end(&rig);
    }
}

static void a_silent_browser_costs_an_error_only(void **state)
{
    (void)state;
    struct rig rig;
    struct browser_options options = usual;
    options.io_timeout_ms = 100;
    struct nbd_peer *peer = open_usual(&rig, &options);
    peer->hold = true;
    struct io *ahead = submit(&rig, IO_READ, IO_PREFETCH, 100000, 10);
    assert_int_equal(read_now(&rig, 0, 100)->status, -ETIMEDOUT);
    assert_int_equal(ahead->status, -ETIMEDOUT); /* somebody may wait for it */
    assert_string_equal(rig.source->error, "the browser did not answer within 100 ms");
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

/* It is connected, which pings would show, and serves nobody. */
static void one_that_stays_silent_is_hung_up_on(void **state)
{
    (void)state;
    struct rig rig;
    struct browser_options options = usual;
    options.io_timeout_ms = 200;
    open_usual(&rig, &options)->hold = true;
    assert_int_equal(read_now(&rig, 0, 100)->status, -ETIMEDOUT);
    assert_int_equal(told, 0);
    run_until_told(&rig, 1);
    assert_int_equal(told_end, BROWSER_FAILED);
    assert_string_equal(told_reason, "the NBD server answered nothing for 800ms");
    assert_true(browser_source_is_waiting(rig.source) && rig.died == 0); /* as one that was lost */
    come_back(&rig, served, SIZE, "claim");
    run_until_back(&rig);
    assert_read(read_now(&rig, 0, 100));
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
    leave = BROWSER_STOPPED; /* is not asked: it was us */
    nbd_peer_send(peer, "this is no reply", 16);
    run_until_told(&rig, 1);
    leave = BROWSER_CUT;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_survive_a_lost_connection),
        cmocka_unit_test(another_image_is_refused_and_the_right_one_taken),
        cmocka_unit_test(one_connection_at_a_time),
        cmocka_unit_test(a_return_that_fails_is_no_end),
        cmocka_unit_test(after_the_grace_it_dies),
        cmocka_unit_test(the_grace_waits_for_a_check),
        cmocka_unit_test(with_stay_it_goes_on),
        cmocka_unit_test(what_the_user_ends_is_not_waited_for),
        cmocka_unit_test(a_page_that_is_left_is_waited_for_and_no_failure),
        cmocka_unit_test(a_silent_browser_costs_an_error_only),
        cmocka_unit_test(one_that_stays_silent_is_hung_up_on),
        cmocka_unit_test(an_error_is_the_reads_own),
        cmocka_unit_test(who_breaks_the_protocol_is_told_and_may_come_back),
        cmocka_unit_test(writes_are_sent_again_once),
        cmocka_unit_test(fua_without_fua_is_a_flush),
        cmocka_unit_test(what_is_written_meanwhile_is_no_sample),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make_content, NULL);
}
