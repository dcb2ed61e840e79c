#include "api/control/control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/control/commands.h"
#include "api/control/peer.h"
#include "base/defer.h"
#include "base/text.h"
#include "net/group.h"
#include "net/socket.h"

struct control {
    uv_loop_t *loop;
    struct control_clients clients;
    struct listener *listener;
    char *path, *group;
    gid_t gid; /* of the group; -1: there is none */
    uint64_t mode;
    unsigned limit; /* of clients */
    bool closing;
    struct defer closed_defer;
    void (*closed)(void *arg);
    void *closed_arg;
};

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
    if (control->clients.count >= control->limit || !control_peer_admit(&peer, stream, control->gid)) {
        control_refuse(stream);
        return;
    }
    control_client_new(&control->clients, stream, &peer);
}

/* --- life --- */

char *control_socket_path(const struct config *config)
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
    /* The listener has found the group before. */
    if (!*control->group || group_find(control->group, &control->gid) != 0)
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

static void control_free_when_done(struct control *control)
{
    if (control->closing && control->clients.count == 0)
        defer_schedule(control->loop, &control->closed_defer);
}

static void on_control_client_gone(struct control_clients *clients)
{
    control_free_when_done(container_of(clients, struct control, clients));
}

struct control *control_new(uv_loop_t *loop, const struct config *config, struct slots *slots, struct host *host,
                            const struct control_hooks *hooks, char error[CONFIG_ERROR_MAX])
{
    struct control *control = mem_alloc(sizeof *control);
    control->loop = loop;
    control->clients = (struct control_clients){.loop = loop,
                                                .slots = slots,
                                                .host = host,
                                                .hooks = *hooks,
                                                .run = commands_run,
                                                .gone = on_control_client_gone};
    list_init(&control->clients.list);
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
    control_clients_close(&control->clients);
    control_free_when_done(control);
}
