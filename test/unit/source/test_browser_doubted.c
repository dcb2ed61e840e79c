/* The browser source behind a way that mixes up bytes: parts of answers are read again. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "browser_rig.h"

#define LENGTH 100000

/* Each read is one request, which waits for its answer. */
static struct nbd_peer *open_doubted(struct rig *rig, uint64_t io_timeout_ms)
{
    struct browser_options options = usual;
    options.request_max = LENGTH;
    options.io_timeout_ms = io_timeout_ms;
    options.writable = true;
    way_doubted = true;
    struct nbd_peer *peer = rig_begin(rig, &options);
    peer->flags = NBD_PEER_WRITABLE;
    assert_int_equal(rig_open(rig), 0);
    peer->hold = true;
    return peer;
}

static void forget_ios(struct rig *rig)
{
    for (unsigned i = 0; i < rig->used; i++) {
        slices_clear(&rig->ios[i].io.data);
        rig->ios[i].done = 0;
    }
    rig->used = 0;
    rig->done = 0;
}

/* A read of which a part was asked for again, which is held. */
static struct io *doubted_read(struct rig *rig, struct nbd_peer *peer)
{
    for (int tries = 0; tries < 100 * BROWSER_DOUBT; tries++) {
        forget_ios(rig);
        struct io *io = read_at(rig, (uint64_t)random() % (SIZE - LENGTH), LENGTH);
        turns(rig, 3);
        nbd_peer_reply(peer, 0, 0);
        turns(rig, 3);
        if (!rig->done)
            return io;
        assert_read(io);
    }
    fail_msg("no answer is doubted");
    return NULL;
}

static void some_answers_are_asked_for_again(void **state)
{
    (void)state;
    struct rig rig;
    struct nbd_peer *peer = open_doubted(&rig, 10000);
    assert_true(rig.source->read_only); /* whatever the server says */
    assert_int_equal(rig.answering, 1);
    peer->hold = false;
    for (int i = 0; i < 40 * BROWSER_DOUBT; i++) {
        forget_ios(&rig);
        assert_read(read_now(&rig, (uint64_t)random() % (SIZE - LENGTH), LENGTH));
    }
    assert_in_range(peer->reads, 41 * BROWSER_DOUBT - BROWSER_DOUBT / 2, 42 * BROWSER_DOUBT + 20);
    rig_end(&rig);
}

static void a_part_that_differs_is_an_error_and_the_end(void **state)
{
    (void)state;
    struct rig rig;
    struct nbd_peer *peer = open_doubted(&rig, 10000);
    struct io *io = doubted_read(&rig, peer);
    const struct nbd_request *again = &peer->held[0].wire;
    assert_in_range(again->offset, io->offset, io->offset + LENGTH - again->length);
    assert_true(again->length <= BROWSER_SAMPLE_MAX);
    struct io *other = read_at(&rig, 0, 1000);
    turns(&rig, 3);
    served[again->offset + again->length / 2] ^= 1;
    nbd_peer_reply(peer, 0, 0);
    run_until_done(&rig, 2);
    assert_int_equal(io->status, -EIO);
    assert_int_equal(io->data.length, 0);
    assert_int_equal(other->status, -ENOTCONN);
    assert_int_equal(rig.died, 1);
    assert_int_equal(rig.died_status, -EIO);
    assert_int_equal(told_end, BROWSER_FAILED);
    assert_non_null(strstr(rig.source->error, "its bytes differed"));
    assert_false(browser_source_awaits(rig.source, "claim"));
    rig_end(&rig);
}

static void a_part_that_does_not_come_is_waited_for(void **state)
{
    (void)state;
    struct rig rig;
    struct nbd_peer *peer = open_doubted(&rig, 10000);
    struct io *io = doubted_read(&rig, peer);
    lose(&rig);
    come_back(&rig, served, SIZE, "claim");
    run_until_done(&rig, 1);
    assert_read(io);
    rig_end(&rig);
    peer = open_doubted(&rig, 300);
    io = doubted_read(&rig, peer);
    run_until_done(&rig, 1);
    assert_int_equal(io->status, -ETIMEDOUT);
    assert_int_equal(io->data.length, 0);
    rig_end(&rig);
    peer = open_doubted(&rig, 10000);
    io = doubted_read(&rig, peer);
    nbd_peer_reply(peer, 0, 5);
    run_until_done(&rig, 1);
    assert_int_equal(io->status, -EIO);
    assert_int_equal(io->data.length, 0);
    assert_int_equal(rig.died, 0); /* the file can't be read there; nothing differed */
    rig_end(&rig);
}

static void the_medium_may_be_closed_meanwhile(void **state)
{
    (void)state;
    struct rig rig;
    struct nbd_peer *peer = open_doubted(&rig, 10000);
    struct io *io = doubted_read(&rig, peer);
    rig_end(&rig);
    assert_int_equal(io->status, -ECANCELED);
}

static void the_only_browser_brings_another_file(void **state)
{
    (void)state;
    struct rig rig;
    open_usual(&rig, &usual);
    only_browser = true;
    lose(&rig);
    struct io *io = read_at(&rig, 0, 10);
    come_back(&rig, served, SIZE - 1, "");
    run_until_done(&rig, 1);
    assert_int_equal(io->status, -ENOTCONN);
    assert_int_equal(told_end, BROWSER_REFUSED);
    assert_int_equal(rig.died, 1);
    assert_int_equal(rig.died_status, 0);
    assert_string_equal(rig.source->error, "the browser's user has come with another file");
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(some_answers_are_asked_for_again),
        cmocka_unit_test(a_part_that_differs_is_an_error_and_the_end),
        cmocka_unit_test(a_part_that_does_not_come_is_waited_for),
        cmocka_unit_test(the_medium_may_be_closed_meanwhile),
        cmocka_unit_test(the_only_browser_brings_another_file),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make_content, NULL);
}
