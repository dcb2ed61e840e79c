/*
 * The NBD server against any client: no crash, no leak, the loop closes empty,
 * and any split of the input gives the same bytes of replies, in any order, unless
 * it makes the server drop the client. The first byte of the input seeds the split.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/defer.h"
#include "base/log.h"
#include "base/text.h"
#include "nbd/server.h"
#include "net/socket.h"

#define SIZE 65536u
#define REPLY_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- a source in memory, that answers at once but deferred --- */

static unsigned char memory[SIZE];

static void memory_open(struct source *source)
{
    source->size = SIZE;
    source->can_flush = source->can_trim = source->can_zero = true;
    source_report_opened_later(source, 0);
}

static void memory_submit(struct source *source, struct io *io)
{
    int status = 0;
    if (io->op == IO_READ) {
        slices_alloc(&io->data, io->length, BYTES_PIECE);
        slices_copy_in(&io->data, 0, memory + io->offset, io->length);
    } else if (io->op == IO_WRITE) {
        slices_copy_out(&io->data, 0, memory + io->offset, io->length);
    } else if (io->op == IO_EXTENTS) {
        status = -ENOTSUP;
    }
    io_finish_later(source->loop, io, status);
}

static void memory_close(struct source *source)
{
    source_report_closed(source);
}

static void memory_free(struct source *source)
{
    free(source);
}

static void on_opened(struct source *source, int status)
{
    *(bool *)source->owner = status == 0;
}

static void on_closed(struct source *source)
{
    *(bool *)source->owner = false;
}

static void set_flag(void *flag)
{
    *(bool *)flag = true;
}

static bool dropped;
#define TURNS 4

static uint64_t sum; /* over the bytes of all replies, whatever their order */

/* Until so many turns of the loop have brought nothing. */
static size_t receive(uv_loop_t *loop, int client, int turns)
{
    static unsigned char reply[65536];
    size_t total = 0;
    for (int quiet = 0; quiet < turns && total < REPLY_MAX;) {
        uv_run(loop, UV_RUN_NOWAIT);
        ssize_t n = recv(client, reply, sizeof reply, 0);
        dropped = dropped || n == 0;
        quiet = n > 0 ? 0 : quiet + 1;
        total += n > 0 ? (size_t)n : 0;
        for (ssize_t i = 0; i < n; i++)
            sum += (reply[i] + 1ull) * (reply[i] + 1ull) * 0x9e3779b97f4a7c15ull;
    }
    return total;
}

static size_t play(const uint8_t *data, size_t size, unsigned seed)
{
    static const struct source_ops ops = {"memory", memory_open, memory_submit, memory_close, memory_free, NULL};
    struct source *source = calloc(1, sizeof *source);
    struct nbd_server_budget budget = {.limit = 1 << 20};
    bool open = false, detached = false, closed = false;
    int pair[2], status;
    size_t total = 0;
    uv_loop_t loop;
    memset(memory, 7, sizeof memory);
    uv_loop_init(&loop);
    defer_init(&loop);
    list_init(&budget.waiting);
    source_init(source, &ops, &loop, "fuzz");
    source->owner = &open;
    source->opened = on_opened;
    source->closed = on_closed;
    source_open(source);
    uv_run(&loop, UV_RUN_NOWAIT);
    struct nbd_server_options options = {
        .who = "fuzz", .export_name = "slot0", .description = "fuzz", .max_connections = 1, .budget = &budget};
    struct nbd_server *server = nbd_server_new(&loop, &options);
    nbd_server_attach(server, source);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
        abort();
    nbd_server_add_client(server, socket_stream_new(&loop, pair[0], &status));
    for (size_t at = 0; at < size;) {
        size_t part = seed ? 1 + (seed = seed * 1103515245u + 12345u) / 65536u % 40 : size;
        part = part < size - at ? part : size - at;
        if (send(pair[1], data + at, part, MSG_NOSIGNAL) <= 0)
            break;
        at += part;
        total += receive(&loop, pair[1], 1);
    }
    total += receive(&loop, pair[1], TURNS);
    close(pair[1]);
    nbd_server_detach(server, set_flag, &detached);
    while (!detached)
        uv_run(&loop, UV_RUN_ONCE);
    source_close(source);
    while (open)
        uv_run(&loop, UV_RUN_ONCE);
    nbd_server_close(server, set_flag, &closed);
    while (!closed)
        uv_run(&loop, UV_RUN_ONCE);
    if (budget.used != 0)
        abort();
    source_free(source);
    uv_run(&loop, UV_RUN_DEFAULT);
    defer_close(&loop);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop) != 0)
        abort();
    return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    signal(SIGPIPE, SIG_IGN);
    log_setup(LOG_TO_STDERR, LOG_LEVEL_ERROR);
    if (size < 2 || size > 4096)
        return 0;
    dropped = false;
    sum = 0;
    size_t whole = play(data + 1, size - 1, 0);
    uint64_t whole_sum = sum;
    sum = 0;
    size_t split = play(data + 1, size - 1, data[0] + 1u);
    if (!dropped && whole < REPLY_MAX && split < REPLY_MAX && (whole != split || whole_sum != sum))
        abort();
    return 0;
}
