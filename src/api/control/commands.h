/* The control socket's commands: one table for dispatch and help. Private to api/control. */
#ifndef API_CONTROL_COMMANDS_H
#define API_CONTROL_COMMANDS_H

#include "api/control/client.h"

/* Runs the line (which it cuts up, and wipes when it held secrets). The answer
 * ends with control_ok() or control_error(), at once or later. */
void commands_run(struct control_client *client, char *line);

/* The slot of that name or number; NULL: there is none, and the client is answered so. */
struct slot *control_find_slot(struct control_client *client, const char *name);

/* host_command.c: the command "host", and a word of whichever command that is to be a reset's type; false: it is none,
 * and the client is answered with those that there are. */
bool control_read_reset(struct control_client *client, const char *word, enum host_reset *reset);
void host_command(struct control_client *client, int count, char **words);
/* insert_command.c: the commands "insert" and "eject". */
void insert_command(struct control_client *client, int count, char **words);
void eject_command(struct control_client *client, int count, char **words);
/* serve_command.c: the command "serve". */
void serve_command(struct control_client *client, int count, char **words);

#endif
