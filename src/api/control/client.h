/*
 * A client of the control socket, as its commands see it, and what it is given. It knows neither the socket nor the
 * commands. Private to api/control.
 */
#ifndef API_CONTROL_CLIENT_H
#define API_CONTROL_CLIENT_H

#include <jansson.h>

#include "api/control/control.h"
#include "api/control/peer.h"
#include "auth/audit.h"
#include "base/list.h"

struct stream;
struct control_client;

/* All clients, and what they share. */
struct control_clients {
    uv_loop_t *loop;
    struct slots *slots;
    struct host *host;
    struct control_hooks hooks;
    /* Runs the line of one command, which may be cut up; the answer ends with control_ok() or control_error(), at once
     * or later. */
    void (*run)(struct control_client *client, char *line);
    void (*gone)(struct control_clients *all); /* a client has been freed */
    struct link list;                          /* struct control_client */
    unsigned count;
};

/* Takes over the stream; the client frees itself when it has gone. */
void control_client_new(struct control_clients *all, struct stream *stream, const struct control_peer *peer);
void control_clients_close(struct control_clients *all); /* each frees itself once its command has answered */

struct slots *control_client_slots(struct control_client *client);
struct host *control_client_host(struct control_client *client);
const struct control_hooks *control_client_hooks(struct control_client *client);
const struct control_peer *control_client_peer(const struct control_client *client);
struct stream *control_client_stream(struct control_client *client);
/* The client's command is about to change something: a line for the audit log, without secrets. `subject` and `detail`
 * may be NULL. */
void control_audit(struct control_client *client, enum audit_event event, const char *subject, const char *detail);
void control_send(struct control_client *client, const char *text); /* whole lines */
/* Whether the answer is wanted as JSON: one line of it before the last line. A command that sends none has one made of its
 * last line: {"message": ...} or {"error": ...}. An error always has that. */
void control_set_json(struct control_client *client, bool json);
bool control_wants_json(const struct control_client *client);
void control_send_json(struct control_client *client, json_t *value); /* takes over the reference */
__attribute__((format(printf, 2, 3))) void control_ok(struct control_client *client, const char *format, ...);
__attribute__((format(printf, 2, 3))) void control_error(struct control_client *client, const char *format, ...);
/* For a command that goes on until it answers: if the client goes meanwhile, or says anything, `gone` comes, once, and the
 * command still has to answer. Nothing is read of the client until control_listen(). */
void control_hold(struct control_client *client, void (*gone)(void *arg), void *arg);
void control_listen(struct control_client *client);
/* From now on the client gets a line a second (of JSON, if that is wanted), until it sends a line or goes. */
void control_watch(struct control_client *client, const char *slot);

#endif
