/* The control socket's commands: one table for dispatch and help. Private to api/. */
#ifndef API_CONTROL_COMMANDS_H
#define API_CONTROL_COMMANDS_H

#include "api/control/control.h"
#include "api/control/peer.h"
#include "auth/audit.h"

struct control_client;

/* Runs the line (which it cuts up, and wipes when it held secrets). The answer
 * ends with control_ok() or control_error(), at once or later. */
void commands_run(struct control_client *client, char *line);

/* control.c, for the commands. */
struct slots *control_client_slots(struct control_client *client);
struct host *control_client_host(struct control_client *client);
const struct control_hooks *control_client_hooks(struct control_client *client);
const struct control_peer *control_client_peer(const struct control_client *client);
void control_send(struct control_client *client, const char *text); /* whole lines */
__attribute__((format(printf, 2, 3))) void control_ok(struct control_client *client, const char *format, ...);
__attribute__((format(printf, 2, 3))) void control_error(struct control_client *client, const char *format, ...);
/* From now on a line a second until the client sends one or goes. */
void control_watch(struct control_client *client, const char *slot);

/* A command that changes something is about to: a line for the audit log, without secrets. NULL: not known. */
void commands_audit(struct control_client *client, enum audit_event event, const char *subject, const char *detail);

/* host_command.c: the command "host". */
void host_command(struct control_client *client, int count, char **words);

#endif
