#include "http/server.h"

#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "base/text.h"
#include "http/connection.h"

/* IMF-fixdate, RFC 9110 5.6.7: made once a second. */
const char *http_server_date(struct http_server *server)
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint64_t at = uv_now(server->loop) / 1000 + 1;
    if (server->date_at != at) {
        time_t now = time(NULL);
        struct tm tm;
        gmtime_r(&now, &tm);
        snprintf(server->date, sizeof server->date, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", days + tm.tm_wday * 3,
                 tm.tm_mday, months + tm.tm_mon * 3, tm.tm_year % 8100 + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
        server->date_at = at;
    }
    return server->date;
}

static void on_http_server_close_defer(struct defer *defer)
{
    struct http_server *server = container_of(defer, struct http_server, close_defer);
    void (*closed)(void *arg) = server->closed;
    void *arg = server->closed_arg;
    mem_free(server);
    closed(arg);
}

static void http_server_finish_closing(struct http_server *server)
{
    if (server->closing && server->count == 0)
        defer_schedule(server->loop, &server->close_defer);
}

void http_server_removed(struct http_server *server)
{
    server->count--;
    http_server_finish_closing(server);
}

struct http_server *http_server_new(uv_loop_t *loop, const struct http_server_options *options)
{
    struct http_server *server = mem_alloc(sizeof *server);
    server->loop = loop;
    server->options = *options;
    if (!server->options.head_timeout_ms)
        server->options.head_timeout_ms = HTTP_HEAD_TIMEOUT_MS;
    if (!server->options.body_timeout_ms)
        server->options.body_timeout_ms = HTTP_BODY_TIMEOUT_MS;
    if (!server->options.idle_timeout_ms)
        server->options.idle_timeout_ms = HTTP_IDLE_TIMEOUT_MS;
    list_init(&server->connections);
    defer_setup(&server->close_defer, on_http_server_close_defer);
    return server;
}

static void on_http_server_refused_closed(struct stream *stream)
{
    stream_free(stream);
}

/* Connections that are closing are not counted: they were closed to make room. */
static unsigned live_count(const struct http_server *server)
{
    unsigned count = 0;
    list_for_each (l, (struct link *)(uintptr_t)&server->connections)
        count += !http_connection_is_ended(container_of(l, struct http_connection, link));
    return count;
}

void http_server_add_client(struct http_server *server, struct stream *stream, const struct http_client *client)
{
    bool full = live_count(server) >= server->options.max_connections;
    if (full)
        log_warning(server->options.who, "http: %s: refused, there are %u connections already", client->peer,
                    server->count);
    if (server->closing || server->count >= server->options.max_connections * 2) { /* not even a 503 */
        stream->on_closed = on_http_server_refused_closed;
        stream_close(stream);
        return;
    }
    server->count++;
    http_connection_new(server, stream, client, full);
}

unsigned http_server_connections(const struct http_server *server)
{
    return server->count;
}

/* --- making room --- */

/* How soon the connection may be closed for another: the larger, the sooner; 0: never. */
static unsigned dispensable(const struct http_connection *c)
{
    const struct http_exchange *e = c->exchange;
    if (c->known || http_connection_is_ended(c))
        return 0;
    return c->phase != HTTP_PHASE_BUSY || !e ? 3 : !e->complete || e->answered ? 2 : 1;
}

static unsigned http_server_share_of(const struct http_connection *c)
{
    return c->place && c->share ? c->share(c->place) : 1;
}

bool http_server_make_room(struct http_server *server)
{
    struct http_connection *victim = NULL;
    list_for_each (l, &server->connections) { /* the oldest first */
        struct http_connection *c = container_of(l, struct http_connection, link);
        unsigned of_it = dispensable(c), of_victim = victim ? dispensable(victim) : 0;
        if (of_it > of_victim ||
            (of_it > 0 && of_it == of_victim && http_server_share_of(c) > http_server_share_of(victim)))
            victim = c;
    }
    if (!victim)
        return false;
    log_info(server->options.who, "http: %s: closed for another, there are %u connections", victim->peer,
             live_count(server));
    http_connection_end(victim);
    return true;
}

void http_server_close(struct http_server *server, void (*closed)(void *arg), void *arg)
{
    server->closing = true;
    server->closed = closed;
    server->closed_arg = arg;
    list_for_each (l, &server->connections)
        http_connection_end(container_of(l, struct http_connection, link));
    http_server_finish_closing(server);
}
