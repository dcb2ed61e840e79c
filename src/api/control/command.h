/*
 * The table of the control socket's commands: who runs them, help, usage, and what a client of the socket (src/ctl) knows of
 * them. A usage is words with blanks between: capitals stand for something, small letters for themselves, | between those
 * of which one is meant, [] around what may be missing; " | " is between whole ways to say it.
 */
#ifndef API_CONTROL_COMMAND_H
#define API_CONTROL_COMMAND_H

struct control_client;

struct control_command {
    const char *name, *usage, *help;
    int least, most; /* words after the name, --json not counted */
    void (*run)(struct control_client *client, int count, char **words);
};

extern const struct control_command control_commands[]; /* up to one without a name */

/* NULL: there is none of that name. */
const struct control_command *control_find_command(const char *name);

#endif
