/*
 * The NBD server against any client: no crash, no leak, the loop closes empty,
 * and any split of the input gives the same bytes of replies, in any order, unless
 * it makes the server drop the client. The first byte of the input seeds the split.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/net/memory_stream.h"
#include "base/log.h"
#include "base/text.h"
#include "fuzz_loop.h"
#include "nbd/server.h"

#define SIZE      32768u
#define REPLY_MAX (128u << 10)

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
static uint64_t sum; /* over the bytes of all replies, whatever their order */

/* Until a turn of the loop brings nothing. */
static size_t receive(struct memory_peer *client)
{
    static unsigned char reply[65536];
    size_t total = 0;
    for (bool quiet = false; !quiet && total < REPLY_MAX;) {
        uv_run(fuzz_loop(), UV_RUN_NOWAIT);
        size_t n = memory_peer_receive(client, reply, sizeof reply);
        quiet = n == 0;
        total += n;
        for (size_t i = 0; i < n; i++)
            sum += (reply[i] + 1ull) * (reply[i] + 1ull) * 0x9e3779b97f4a7c15ull;
    }
    dropped = dropped || client->stream_ended;
    return total;
}

static size_t talk(struct memory_peer *client, const uint8_t *data, size_t size, unsigned seed)
{
    size_t total = 0;
    for (size_t at = 0; at < size;) {
        size_t part = seed ? 1 + (seed = seed * 1103515245u + 12345u) / 65536u % 40 : size;
        part = part < size - at ? part : size - at;
        if (!memory_peer_send(client, data + at, part))
            break;
        at += part;
        total += receive(client);
    }
    return total + receive(client);
}

static struct source *open_memory(bool *open)
{
    static const struct source_ops ops = {"memory", memory_open, memory_submit, memory_close, memory_free, NULL};
    struct source *source = calloc(1, sizeof *source);
    memset(memory, 7, sizeof memory);
    source_init(source, &ops, fuzz_loop(), "fuzz");
    source->owner = open;
    source->opened = on_opened;
    source->closed = on_closed;
    source_open(source);
    uv_run(fuzz_loop(), UV_RUN_NOWAIT);
    return source;
}

static void run_until(const bool *flag, bool wanted)
{
    while (*flag != wanted)
        uv_run(fuzz_loop(), UV_RUN_ONCE);
}

static size_t play(const uint8_t *data, size_t size, unsigned seed)
{
    struct nbd_server_budget budget = {.limit = 1 << 20};
    bool open = false, detached = false, closed = false;
    struct memory_peer client;
    list_init(&budget.waiting);
    struct source *source = open_memory(&open);
    struct nbd_server_options options = {
        .who = "fuzz", .export_name = "slot0", .description = "fuzz", .max_connections = 1, .budget = &budget};
    struct nbd_server *server = nbd_server_new(fuzz_loop(), &options);
    nbd_server_attach(server, source);
    nbd_server_add_client(server, memory_stream_new(fuzz_loop(), &client));
    size_t total = talk(&client, data, size, seed);
    memory_peer_hang_up(&client);
    nbd_server_detach(server, set_flag, &detached);
    run_until(&detached, true);
    source_close(source);
    run_until(&open, false);
    nbd_server_close(server, set_flag, &closed);
    run_until(&closed, true);
    if (budget.used != 0)
        abort();
    source_free(source);
    memory_peer_clear(&client);
    fuzz_loop_must_be_empty();
    return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
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
