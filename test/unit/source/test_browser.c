/* The browser source: the contract, opening and closing, and the samples of what was read. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "block/cache.h"
#include "browser_rig.h"
#include "source/browser_samples.h"

/* --- the contract --- */

struct kind {
    bool writable, cached;
    uint16_t flags;
    bool piped; /* as a stock bmcweb has it */
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
    struct nbd_peer *peer = kind->piped ? nbd_peer_piped(loop, served, SIZE, &connection.stream)
                                        : nbd_peer_new(loop, served, SIZE, &connection.stream);
    connection.doubted = connection.quiet = kind->piped;
    connection.answers_max = kind->piped ? 262176 : 0;
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
        {false, false, NBD_PEER_FLAGS, false},    {false, true, NBD_PEER_FLAGS, false},
        {false, false, NBD_PEER_WRITABLE, false}, {true, false, NBD_PEER_WRITABLE, false},
        {true, true, NBD_PEER_WRITABLE, false},   {true, false, NBD_PEER_WRITABLE & ~NBD_TX_SEND_FUA, false},
        {false, false, NBD_PEER_FLAGS, true},     {false, true, NBD_PEER_FLAGS, true},
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
        cmocka_unit_test(close_is_legal_when_it_waits),
        cmocka_unit_test(the_server_is_told_of_the_end),
        cmocka_unit_test(samples_are_few_and_exact),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make_content, NULL);
}
