/* The emulated link and its connections. See sim.h. */
#include <assert.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/text.h"
#include "sim.h"

enum {
    SEGMENT = 1460,
    WINDOW_FIRST = 10 * SEGMENT,
    WINDOW_MOST = 4 << 20,
    BUFFER_LEAST = 256 << 10,
    HANDSHAKES = 2, /* round trips: TCP, TLS 1.3 */
    HEAD = 400,     /* bytes of an answer's head */
};
#define IDLE_RESTART_US 200000

struct sim_link {
    struct sim_link_options options;
    uint64_t quantum, buffer, window;
    uint64_t free_at_us; /* when what was booked has gone out */
    struct link turns;   /* FAIR: connections that have something to send */
    bool serving;
    uint64_t carried;
    unsigned opened, open_now;
    unsigned left; /* connections whose last piece is still on its way, or that are open */
};

struct sim_connection {
    struct sim_link *link;
    struct link turn;
    unsigned events; /* that will come */
    bool closed;
    uint64_t ready_at_us; /* after the handshakes */
    uint64_t window, unacked, last_sent_us, asked_us;
    uint64_t to_send, to_come, received; /* of the request, with its head */
    void (*arrived)(void *arg, uint64_t received);
    void *arg;
};

/* A piece on its way down, then its acknowledgement on its way up. */
struct piece {
    struct sim_connection *connection;
    uint64_t bytes;
};

struct sim_link *sim_link_new(const struct sim_link_options *options)
{
    struct sim_link *link = mem_alloc(sizeof *link);
    uint64_t product = options->rate / 1000 * options->rtt_us / 1000;
    link->options = *options;
    link->quantum = options->rate ? options->rate / 2000 : 65536;
    link->quantum = link->quantum < SEGMENT ? SEGMENT : link->quantum > 16384 ? 16384 : link->quantum;
    link->buffer = options->buffer ? options->buffer : 2 * product > BUFFER_LEAST ? 2 * product : BUFFER_LEAST;
    link->window = options->window ? options->window : WINDOW_MOST;
    list_init(&link->turns);
    return link;
}

static bool sim_link_is_quiet(void *arg)
{
    const struct sim_link *link = arg;
    return link->left == 0 && !link->serving;
}

void sim_link_free(struct sim_link *link)
{
    assert(link->open_now == 0 && list_empty(&link->turns));
    if (!sim_run(sim_link_is_quiet, link, UINT64_MAX))
        abort();
    mem_free(link);
}

uint64_t sim_link_carried(const struct sim_link *link)
{
    return link->carried;
}

unsigned sim_link_opened(const struct sim_link *link)
{
    return link->opened;
}

unsigned sim_link_open_now(const struct sim_link *link)
{
    return link->open_now;
}

static void connection_unref(struct sim_connection *connection)
{
    if (--connection->events > 0)
        return;
    connection->link->left--;
    mem_free(connection);
}

static uint64_t sendable(const struct sim_connection *connection)
{
    uint64_t room = connection->window > connection->unacked ? connection->window - connection->unacked : 0;
    return connection->to_send < room ? connection->to_send : room;
}

/* --- what is sent --- */

static void link_serve(void *arg);

static void on_acknowledged(void *arg)
{
    struct piece *piece = arg;
    struct sim_connection *connection = piece->connection;
    struct sim_link *link = connection->link;
    bool limited = connection->to_send > 0 && sendable(connection) < SEGMENT;
    connection->unacked -= piece->bytes;
    if (limited && connection->window < link->window)
        connection->window += piece->bytes;
    mem_free(piece);
    if (!connection->closed && connection->to_send > 0 && list_empty(&connection->turn))
        list_append(&link->turns, &connection->turn);
    link_serve(link);
    connection_unref(connection);
}

static void on_piece(void *arg)
{
    struct piece *piece = arg;
    struct sim_connection *connection = piece->connection;
    sim_at(sim_now_us() + connection->link->options.rtt_us / 2, on_acknowledged, piece);
    if (connection->closed)
        return;
    connection->received += piece->bytes;
    connection->to_come -= piece->bytes;
    if (connection->received > HEAD)
        connection->arrived(connection->arg, connection->received - HEAD);
}

static void on_served(void *arg)
{
    struct sim_link *link = arg;
    link->serving = false;
    link_serve(link);
}

/* Books the connection's next piece. */
static void link_send(struct sim_link *link, struct sim_connection *connection)
{
    uint64_t now = sim_now_us(), bytes = sendable(connection);
    struct piece *piece = mem_alloc(sizeof *piece);
    bytes = bytes > link->quantum ? link->quantum : bytes;
    *piece = (struct piece){connection, bytes};
    connection->to_send -= bytes;
    connection->unacked += bytes;
    connection->events++;
    link->carried += bytes;
    if (link->free_at_us < now)
        link->free_at_us = now;
    if (link->options.rate)
        link->free_at_us += bytes * 1000000 / link->options.rate;
    connection->last_sent_us = link->free_at_us;
    sim_at(link->free_at_us + link->options.rtt_us / 2, on_piece, piece);
}

static uint64_t link_backlog(const struct sim_link *link)
{
    uint64_t now = sim_now_us(), wait = link->free_at_us > now ? link->free_at_us - now : 0;
    return link->options.rate ? wait * link->options.rate / 1000000 : 0;
}

/* FAIR: one piece of each in turns, booked as the link gets free. FIFO: all that the windows let out, up to the buffer. */
static void link_serve(void *arg)
{
    struct sim_link *link = arg;
    uint64_t most = link->options.queue == SIM_FIFO ? link->buffer : link->quantum;
    while (!list_empty(&link->turns) && link_backlog(link) < most) {
        struct sim_connection *connection = container_of(list_pop(&link->turns), struct sim_connection, turn);
        uint64_t burst = link->options.queue == SIM_FIFO ? UINT64_MAX : 1;
        for (; burst > 0 && sendable(connection) > 0 && link_backlog(link) < most; burst--)
            link_send(link, connection);
        if (sendable(connection) > 0)
            list_append(&link->turns, &connection->turn);
    }
    if (!list_empty(&link->turns) && !link->serving) {
        link->serving = true;
        sim_at(link->free_at_us, on_served, link);
    }
}

/* --- connections --- */

struct sim_connection *sim_connection_new(struct sim_link *link)
{
    struct sim_connection *connection = mem_alloc(sizeof *connection);
    connection->link = link;
    connection->window = WINDOW_FIRST;
    connection->ready_at_us = sim_now_us() + HANDSHAKES * link->options.rtt_us;
    connection->events = 1; /* until it is closed */
    list_init(&connection->turn);
    link->opened++;
    link->open_now++;
    link->left++;
    return connection;
}

static void on_asked(void *arg)
{
    struct sim_connection *connection = arg;
    struct sim_link *link = connection->link;
    uint64_t now = sim_now_us();
    if (!connection->closed) {
        if (link->options.idle_restart && connection->unacked == 0 &&
            now > connection->last_sent_us + link->options.rtt_us + IDLE_RESTART_US)
            connection->window = WINDOW_FIRST;
        connection->to_send = connection->to_come;
        list_append(&link->turns, &connection->turn);
        link_serve(link);
    }
    connection_unref(connection);
}

void sim_connection_ask(struct sim_connection *connection, uint64_t length, void (*arrived)(void *arg, uint64_t received),
                        void *arg)
{
    uint64_t now = sim_now_us(), from = connection->ready_at_us > now ? connection->ready_at_us : now;
    assert(connection->to_come == 0);
    connection->to_come = length + HEAD;
    connection->received = 0;
    connection->arrived = arrived;
    connection->arg = arg;
    connection->asked_us = from;
    connection->events++;
    sim_at(from + connection->link->options.rtt_us / 2, on_asked, connection);
}

uint64_t sim_connection_asked(const struct sim_connection *connection)
{
    return connection->asked_us;
}

void sim_connection_close(struct sim_connection *connection)
{
    list_remove(&connection->turn);
    connection->closed = true;
    connection->to_send = 0;
    connection->link->open_now--;
    connection_unref(connection);
}

/* --- the yardstick --- */

struct download {
    uint64_t left;
};

static bool download_ended(void *arg)
{
    return ((struct download *)arg)->left == 0;
}

struct download_part {
    struct download *download;
    uint64_t length;
};

static void download_arrived(void *arg, uint64_t received)
{
    struct download_part *part = arg;
    if (received == part->length)
        part->download->left -= part->length;
}

uint64_t sim_download(const struct sim_link_options *options, uint64_t bytes, unsigned connections)
{
    struct sim_link *link = sim_link_new(options);
    struct sim_connection *open[64];
    struct download_part parts[64];
    struct download download = {bytes / connections * connections};
    uint64_t start = sim_now_us();
    for (unsigned i = 0; i < connections; i++) {
        parts[i] = (struct download_part){&download, bytes / connections};
        open[i] = sim_connection_new(link);
        sim_connection_ask(open[i], parts[i].length, download_arrived, &parts[i]);
    }
    if (!sim_run(download_ended, &download, UINT64_MAX))
        abort();
    uint64_t took = sim_now_us() - start;
    for (unsigned i = 0; i < connections; i++)
        sim_connection_close(open[i]);
    sim_link_free(link);
    return took;
}
