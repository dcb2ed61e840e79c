#include "api/control/control.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/control/commands.h"
#include "api/control/peer.h"
#include "base/closing.h"
#include "base/log.h"
#include "base/text.h"
#include "net/group.h"
#include "net/socket.h"

#define WATCH_MS 1000

struct control {
    uv_loop_t *loop;
    struct slots *slots;
    struct host *host;
    struct control_hooks hooks;
    struct listener *listener;
    char *path, *group;
    gid_t gid; /* of the group; -1: there is none */
    uint64_t mode;
    unsigned limit, count;
    struct link clients;
    bool closing;
    struct defer closed_defer;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct control_client {
    struct control *control;
    struct link link;
    struct stream *stream;
    struct control_peer peer;
    char line[CONTROL_LINE_MAX];
    size_t used;
    char *typed_ahead; /* input that came while a command ran; at most one read's */
    size_t ahead_length;
    bool busy;    /* a command has not answered yet */
    bool ended;   /* there is no more input */
    bool leaving; /* closes when all is sent */
    bool watching;
    char watched[CONFIG_SLOT_NAME_MAX];
    uint64_t watched_bytes, watched_at;
    uv_timer_t timer;
    struct closing closing;
    bool stream_closed, timer_closed;
    struct defer go_on;
};

static void client_go_on(struct control_client *client);

/* --- output --- */

void control_send(struct control_client *client, const char *text)
{
    struct slices data;
    size_t length = strlen(text);
    slices_init(&data);
    slices_alloc(&data, length, BYTES_PIECE);
    slices_copy_in(&data, 0, text, length);
    stream_write(client->stream, &data);
}

/* The last line of an answer; then the next command may run. */
__attribute__((format(printf, 3, 0))) static void finish_command(struct control_client *client, const char *word, const char *format, va_list args)
{
    char raw[1024], text[1024 + 64], line[1200];
    vsnprintf(raw, sizeof raw, format, args);
    text_escape(raw, text, sizeof text); /* a server's words may be in it */
    snprintf(line, sizeof line, "%s%s%s\n", word, *text ? ": " : "", text);
    control_send(client, line);
    client->busy = false;
    defer_schedule(client->control->loop, &client->go_on);
}

void control_ok(struct control_client *client, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    finish_command(client, "ok", format, args);
    va_end(args);
}

void control_error(struct control_client *client, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    finish_command(client, "error", format, args);
    va_end(args);
}

struct slots *control_client_slots(struct control_client *client)
{
    return client->control->slots;
}

struct host *control_client_host(struct control_client *client)
{
    return client->control->host;
}

const struct control_hooks *control_client_hooks(struct control_client *client)
{
    return &client->control->hooks;
}

const struct control_peer *control_client_peer(const struct control_client *client)
{
    return &client->peer;
}

/* --- the end of a client --- */

static void control_free_when_done(struct control *control)
{
    if (control->closing && control->count == 0)
        defer_schedule(control->loop, &control->closed_defer);
}

static void client_free_when_done(struct control_client *client)
{
    struct control *control = client->control;
    if (!client->stream_closed || !client->timer_closed || client->busy)
        return;
    defer_cancel(&client->go_on);
    list_remove(&client->link);
    stream_free(client->stream);
    mem_free(client->typed_ahead);
    explicit_bzero(client->line, sizeof client->line);
    mem_free(client);
    control->count--;
    control_free_when_done(control);
}

static void on_control_stream_closed(struct stream *stream)
{
    struct control_client *client = stream->owner;
    client->stream_closed = true;
    client_free_when_done(client);
}

static void on_control_timer_closed(uv_handle_t *handle)
{
    struct control_client *client = container_of((uv_timer_t *)handle, struct control_client, timer);
    client->timer_closed = true;
    client_free_when_done(client);
}

/* A watch has no other end than its client's. */
static void client_close(struct control_client *client)
{
    if (client->stream->closing)
        return;
    if (client->watching)
        client->watching = client->busy = false;
    stream_close(client->stream);
    uv_close((uv_handle_t *)&client->timer, on_control_timer_closed);
}

static void client_leave(struct control_client *client)
{
    client->leaving = true;
    stream_read(client->stream, false);
    if (client->stream->unsent == 0)
        client_close(client);
}

/* --- watch --- */

static void watch_line(struct control_client *client)
{
    struct slot *slot = slots_find(client->control->slots, client->watched);
    struct slot_status s;
    char line[512], bytes[TEXT_SIZE_MAX], rate[TEXT_SIZE_MAX], awaited[48] = "";
    if (!slot) {
        client->watching = false;
        uv_timer_stop(&client->timer);
        control_error(client, "the slot is gone");
        return;
    }
    slot_get_status(slot, &s);
    uint64_t now = uv_now(client->control->loop), elapsed = now - client->watched_at;
    uint64_t moved = s.server.read_bytes >= client->watched_bytes ? s.server.read_bytes - client->watched_bytes : 0;
    uint64_t reads = s.counters.source.hits + s.counters.source.misses;
    text_human_size(s.server.read_bytes, bytes);
    text_human_size(elapsed ? moved * 1000 / elapsed : 0, rate);
    if (*s.awaited)
        snprintf(awaited, sizeof awaited, ", tries again in %llu s", (unsigned long long)(s.awaited_ms + 999) / 1000);
    snprintf(line, sizeof line, "%s: %s%s, read %s, %s/s, hit rate %.1f %%, round trip %.1f ms\n", s.name,
             slot_state_name(s.state), awaited, bytes, rate, reads ? 100.0 * (double)s.counters.source.hits / (double)reads : 0.0,
             (double)s.counters.source.rtt_us / 1000);
    client->watched_bytes = s.server.read_bytes;
    client->watched_at = now;
    if (client->stream->unsent < CONTROL_UNSENT_MAX) /* a slow reader misses lines */
        control_send(client, line);
}

static void on_control_watch(uv_timer_t *timer)
{
    watch_line(container_of(timer, struct control_client, timer));
}

void control_watch(struct control_client *client, const char *slot)
{
    struct slot_status s;
    slot_get_status(slots_find(client->control->slots, slot), &s);
    snprintf(client->watched, sizeof client->watched, "%s", s.name);
    client->watching = true;
    client->watched_at = uv_now(client->control->loop);
    client->watched_bytes = s.server.read_bytes;
    watch_line(client);
    uv_timer_start(&client->timer, on_control_watch, WATCH_MS, WATCH_MS);
}

static void control_watch_end(struct control_client *client)
{
    client->watching = false;
    uv_timer_stop(&client->timer);
    control_ok(client, "%s", "");
}

/* --- input --- */

static void run_line(struct control_client *client)
{
    size_t length = client->used;
    while (length > 0 && (client->line[length - 1] == '\r' || client->line[length - 1] == '\n'))
        length--;
    client->line[length] = '\0';
    client->used = 0;
    client->busy = true;
    if (memchr(client->line, '\0', length))
        control_error(client, "the line has a NUL byte");
    else
        commands_run(client, client->line);
    explicit_bzero(client->line, sizeof client->line); /* it may have held a password */
}

/* Takes bytes up to the end of a line; gives how many. */
static size_t control_take_line(struct control_client *client, const char *data, size_t length)
{
    const char *end = memchr(data, '\n', length);
    size_t part = end ? (size_t)(end - data) + 1 : length;
    if (client->used + part >= CONTROL_LINE_MAX) {
        client->busy = true;
        control_error(client, "the line is too long (%d bytes at most)", CONTROL_LINE_MAX - 1);
        client_leave(client);
        return length;
    }
    memcpy(client->line + client->used, data, part);
    client->used += part;
    if (end)
        run_line(client);
    return part;
}

static bool may_run(const struct control_client *client)
{
    return !client->busy && !client->leaving && !client->stream->closing && client->stream->unsent < CONTROL_UNSENT_MAX;
}

static void take_input(struct control_client *client, const char *data, size_t length)
{
    if (client->watching && length > 0) {
        control_watch_end(client);
        const char *end = memchr(data, '\n', length);
        size_t skip = end ? (size_t)(end - data) + 1 : length;
        data += skip;
        length -= skip;
    }
    while (length > 0 && may_run(client)) {
        size_t part = control_take_line(client, data, length);
        data += part;
        length -= part;
    }
    if (length == 0 || client->leaving || client->stream->closing)
        return;
    client->typed_ahead = mem_alloc(length);
    client->ahead_length = length;
    memcpy(client->typed_ahead, data, length);
    stream_read(client->stream, false);
}

static void control_on_data(struct stream *stream, const uint8_t *data, size_t length)
{
    take_input(stream->owner, (const char *)data, length);
}

/* A command has been answered, or the client has read: on with what waits. */
static void client_go_on(struct control_client *client)
{
    if (client->stream->closing) {
        client_free_when_done(client);
        return;
    }
    if (client->leaving) {
        if (client->stream->unsent == 0)
            client_close(client);
        return;
    }
    if (!may_run(client))
        return;
    char *ahead = client->typed_ahead;
    client->typed_ahead = NULL;
    if (ahead)
        take_input(client, ahead, client->ahead_length);
    mem_free(ahead);
    if (client->typed_ahead || client->stream->closing || client->leaving)
        return;
    if (client->ended && !client->busy && client->used > 0)
        run_line(client); /* the last line needs no end */
    if (client->ended && !client->busy)
        client_leave(client);
    else if (!client->ended)
        stream_read(client->stream, true);
}

static void on_go_on(struct defer *defer)
{
    client_go_on(container_of(defer, struct control_client, go_on));
}

static void on_control_drain(struct stream *stream)
{
    client_go_on(stream->owner);
}

static void control_on_end(struct stream *stream, int status)
{
    struct control_client *client = stream->owner;
    if (status != 0) {
        client_close(client);
        return;
    }
    client->ended = true; /* a watch goes on until its lines can't be written */
    client_go_on(client);
}

/* --- a new client --- */

static void on_control_refused_closed(struct stream *stream)
{
    stream_free(stream);
}

static void control_refuse(struct stream *stream)
{
    stream->on_closed = on_control_refused_closed;
    stream_close(stream);
}

static void on_control_accept(struct listener *listener, struct stream *stream)
{
    struct control *control = listener_owner(listener);
    struct control_peer peer;
    if (control->count >= control->limit || !control_peer_admit(&peer, stream, control->gid)) {
        control_refuse(stream);
        return;
    }
    struct control_client *client = mem_alloc(sizeof *client);
    client->control = control;
    client->stream = stream;
    client->peer = peer;
    stream->owner = client;
    stream->on_data = control_on_data;
    stream->on_end = control_on_end;
    stream->on_drain = on_control_drain;
    stream->on_closed = on_control_stream_closed;
    defer_setup(&client->go_on, on_go_on);
    uv_timer_init(control->loop, &client->timer);
    list_append(&control->clients, &client->link);
    control->count++;
    stream_read(stream, true);
}

/* --- life --- */

static char *control_socket_path(const struct config *config)
{
    if (*config->control_socket)
        return mem_strdup(config->control_socket);
    size_t size = strlen(config->runtime_dir) + 16;
    char *path = mem_alloc(size);
    snprintf(path, size, "%s/control.sock", config->runtime_dir);
    return path;
}

static struct listener *control_listen_on(struct control *control, const struct config *config, const char *path,
                                          char error[CONFIG_ERROR_MAX])
{
    struct listener_options options = {
        .path = path, .mode = (unsigned)config->control_mode, .group = config->control_group, .backlog = 128};
    int status;
    return listener_new(control->loop, &options, on_control_accept, control, &status, error, CONFIG_ERROR_MAX);
}

static void adopt(struct control *control, const struct config *config)
{
    mem_free(control->group);
    control->group = mem_strdup(config->control_group);
    if (!*control->group || group_find(control->group, &control->gid) != 0) /* else the listener found it too */
        control->gid = (gid_t)-1;
    control->mode = config->control_mode;
    control->limit = (unsigned)config->control_connections;
}

static void on_closed_defer(struct defer *defer)
{
    struct control *control = container_of(defer, struct control, closed_defer);
    void (*closed)(void *arg) = control->closed;
    void *arg = control->closed_arg;
    mem_free(control->path);
    mem_free(control->group);
    mem_free(control);
    closed(arg);
}

struct control *control_new(uv_loop_t *loop, const struct config *config, struct slots *slots, struct host *host,
                            const struct control_hooks *hooks, char error[CONFIG_ERROR_MAX])
{
    struct control *control = mem_alloc(sizeof *control);
    control->loop = loop;
    control->slots = slots;
    control->host = host;
    control->hooks = *hooks;
    list_init(&control->clients);
    defer_setup(&control->closed_defer, on_closed_defer);
    control->path = control_socket_path(config);
    adopt(control, config);
    control->listener = control_listen_on(control, config, control->path, error);
    if (control->listener)
        return control;
    mem_free(control->path);
    mem_free(control->group);
    mem_free(control);
    return NULL;
}

int control_reload(struct control *control, const struct config *config, char error[CONFIG_ERROR_MAX])
{
    char *path = control_socket_path(config);
    bool same_path = strcmp(path, control->path) == 0;
    if (same_path && (control->mode != config->control_mode || strcmp(control->group, config->control_group) != 0)) {
        snprintf(error, CONFIG_ERROR_MAX, "control-mode and control-group of a socket in use can't change (restart the daemon)");
        mem_free(path);
        return -1;
    }
    struct listener *listener = same_path ? control->listener : control_listen_on(control, config, path, error);
    if (!listener) {
        mem_free(path);
        return -1;
    }
    if (!same_path)
        listener_close(control->listener);
    control->listener = listener;
    mem_free(control->path);
    control->path = path;
    adopt(control, config);
    return 0;
}

void control_close(struct control *control, void (*closed)(void *arg), void *arg)
{
    control->closing = true;
    control->closed = closed;
    control->closed_arg = arg;
    listener_close(control->listener);
    list_for_each (l, &control->clients)
        client_close(container_of(l, struct control_client, link));
    control_free_when_done(control);
}
