#include "browser_rig.h"

#include <stdlib.h>
#include <string.h>

#include "../block/contract.h"
#include "../cmocka_all.h"

unsigned char content[SIZE], served[SIZE];

int make_content(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SIZE; i++)
        content[i] = (unsigned char)random();
    memcpy(served, content, SIZE);
    return 0;
}

const struct browser_options usual = {
    .grace_ms = 10000, .io_timeout_ms = 10000, .request_max = 65536, .requests_max = 16, .bytes_max = 1 << 20};

enum browser_end told_end;
char told_reason[BROWSER_REASON_MAX * 2];
unsigned told;
enum browser_leave leave;
bool way_doubted, only_browser;

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

static void on_hang_up(struct stream *stream, enum browser_end why, const char *reason, void *arg)
{
    assert_non_null(arg);
    told_end = why;
    strcpy(told_reason, reason);
    told++;
    stream_close(stream);
}

static enum browser_leave left(struct stream *stream)
{
    (void)stream;
    return leave;
}

static void on_answering(void *arg)
{
    ((struct rig *)arg)->answering++;
}

static void on_gone(void *arg)
{
    ((struct rig *)arg)->gone++;
}

static struct browser_connection connection_new(struct rig *rig, unsigned char *bytes, uint64_t size, const char *claim)
{
    struct browser_connection connection = {.claim = claim,
                                            .doubted = way_doubted,
                                            .last_word = only_browser,
                                            .ready = on_answering,
                                            .hang_up = on_hang_up,
                                            .left = left,
                                            .gone = on_gone,
                                            .arg = rig};
    rig->peers[rig->peer_count] = nbd_peer_new(&rig->loop, bytes, size, &connection.stream);
    rig->streams[rig->peer_count++] = connection.stream;
    return connection;
}

struct nbd_peer *rig_begin(struct rig *rig, const struct browser_options *options)
{
    memset(rig, 0, sizeof *rig);
    told = 0;
    leave = BROWSER_CUT;
    test_loop_begin(&rig->loop);
    struct browser_connection connection = connection_new(rig, served, SIZE, "claim");
    rig->source = browser_source_new(&rig->loop, "test", options, &connection);
    rig->source->owner = rig;
    rig->source->opened = on_opened;
    rig->source->died = on_died;
    rig->source->closed = on_closed;
    return rig->peers[0];
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

void turns(struct rig *rig, int count)
{
    test_loop_turns(&rig->loop, count);
}

void wait_ms(struct rig *rig, unsigned ms)
{
    test_loop_wait(&rig->loop, ms);
}

int rig_open(struct rig *rig)
{
    source_open(rig->source);
    run_until(rig, &rig->opened);
    return rig->opened_status;
}

struct nbd_peer *open_usual(struct rig *rig, const struct browser_options *options)
{
    struct nbd_peer *peer = rig_begin(rig, options);
    assert_int_equal(rig_open(rig), 0);
    return peer;
}

void rig_end(struct rig *rig)
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
    way_doubted = only_browser = false;
}

static void on_done(struct io *io)
{
    struct rig_io *r = container_of(io, struct rig_io, io);
    r->done++;
    r->rig->done++;
}

struct io *submit(struct rig *rig, enum io_op op, unsigned flags, uint64_t offset, uint32_t length)
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

struct io *read_at(struct rig *rig, uint64_t offset, uint32_t length)
{
    return submit(rig, IO_READ, 0, offset, length);
}

void assert_read(const struct io *io)
{
    unsigned char *copy = malloc(io->length);
    assert_int_equal(io->status, 0);
    slices_copy_out(&io->data, 0, copy, io->length);
    assert_memory_equal(copy, content + io->offset, io->length);
    free(copy);
}

struct io *read_now(struct rig *rig, uint64_t offset, uint32_t length)
{
    struct io *io = read_at(rig, offset, length);
    run_until_done(rig, rig->used);
    return io;
}

struct nbd_peer *come_back(struct rig *rig, unsigned char *bytes, uint64_t size, const char *claim)
{
    struct browser_connection connection = connection_new(rig, bytes, size, claim);
    browser_source_connect(rig->source, &connection);
    return rig->peers[rig->peer_count - 1];
}

void lose(struct rig *rig)
{
    nbd_peer_close(rig->peers[rig->peer_count - 1]);
    while (!browser_source_is_waiting(rig->source) && !rig->died)
        uv_run(&rig->loop, UV_RUN_ONCE);
}

void run_until_back(struct rig *rig)
{
    while (browser_source_is_waiting(rig->source))
        uv_run(&rig->loop, UV_RUN_ONCE);
}

/* Until the connection that was made last is refused. */
void run_until_told(struct rig *rig, unsigned count)
{
    while (told < count)
        uv_run(&rig->loop, UV_RUN_ONCE);
    turns(rig, 4);
}
