#include "server_rig.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/socket.h"

unsigned char content[SIZE];
struct fake_stats fake_stats;
unsigned fake_delay;
uint64_t idle_timeout;

static void on_opened(struct source *source, int status)
{
    assert_int_equal(status, 0);
    ((struct rig *)source->owner)->opened = true;
}

static void on_closed(struct source *source)
{
    ((struct rig *)source->owner)->closed = true;
}

void set_flag(void *flag)
{
    *(bool *)flag = true;
}

void run_until(struct rig *rig, const bool *flag)
{
    while (!*flag)
        uv_run(&rig->loop, UV_RUN_ONCE);
}

void rig_begin(struct rig *rig, bool writable)
{
    int pair[2], status;
    memset(rig, 0, sizeof *rig);
    for (unsigned i = 0; i < SIZE; i++)
        content[i] = (unsigned char)(i * 31 + i / 256);
    struct fake_options fake = {.content = content, .size = SIZE, .writable = writable, .delay_max = fake_delay};
    memset(&fake_stats, 0, sizeof fake_stats);
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
                                         .idle_timeout_ms = idle_timeout,
                                         .budget = &rig->budget};
    rig->server = nbd_server_new(&rig->loop, &options);
    nbd_server_attach(rig->server, rig->source);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    rig->client = pair[1];
    nbd_server_add_client(rig->server, socket_stream_new(&rig->loop, pair[0], &status));
}

void rig_end(struct rig *rig)
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
