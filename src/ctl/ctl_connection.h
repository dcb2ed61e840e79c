/* A connection to the control socket, which blocks. What is wrong is said in words. Private to ctl. */
#ifndef CTL_CTL_CONNECTION_H
#define CTL_CTL_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>

#define CTL_PATH_MAX  512
#define CTL_ERROR_MAX 1024

struct ctl_connection {
    int fd; /* -1: not connected */
    char path[CTL_PATH_MAX];
    char *buffer; /* what was received */
    size_t used, taken, size;
};

/* Does nothing if it is connected. */
bool ctl_connect(struct ctl_connection *c, char error[CTL_ERROR_MAX]);
void ctl_disconnect(struct ctl_connection *c);
/* `line` has no end; one is sent behind it. False: the daemon has gone. */
bool ctl_send(struct ctl_connection *c, const char *line);
/* The next line without its end, valid until the next call; NULL: the daemon has gone. */
char *ctl_receive(struct ctl_connection *c);
/* Whether ctl_receive() has a line without waiting. */
bool ctl_has_line(const struct ctl_connection *c);
/* Takes what there is: false, the daemon has gone. For those who wait with poll(). */
bool ctl_fill(struct ctl_connection *c);

#endif
