/*
 * The control socket: a UNIX stream for `socat` and scripts. One command a line,
 * answer lines, the last of which begins with "ok" or "error:"; see
 * nbd-proxy-control(7). Commands of one connection run one after the other; what
 * is typed ahead waits. At the end of input the running command is finished, its
 * answer sent, and the connection closed.
 *
 * Served are root, our own user, and members of the configured group.
 */
#ifndef API_CONTROL_CONTROL_H
#define API_CONTROL_CONTROL_H

#include <uv.h>

#include "config/config.h"
#include "host/host.h"
#include "slot/slots.h"

#define CONTROL_LINE_MAX 4096         /* bytes of a command, its end included */
#define CONTROL_UNSENT_MAX (256 << 10) /* answers that a client has not read: then its commands wait */

struct control;

/* Where it is; for mem_free(). */
char *control_socket_path(const struct config *config);

struct control_hooks {
    /* Reads the configuration again: 0, or -1 with what is wrong. */
    int (*reload)(void *arg, char error[CONFIG_ERROR_MAX]);
    void (*quit)(void *arg); /* begins the clean stop; must not close the control socket at once */
    /* Begins to stop, with the media left in for the next process: 0, or -1 with why
     * this is not possible. The process ends soon after. */
    int (*keep)(void *arg, char error[CONFIG_ERROR_MAX]);
    void *arg;
};

/* NULL on failure, with the reason. The host must outlive it. */
struct control *control_new(uv_loop_t *loop, const struct config *config, struct slots *slots, struct host *host,
                            const struct control_hooks *hooks, char error[CONFIG_ERROR_MAX]);
/* All or nothing: a new path is listened on before the old one is given up. */
int control_reload(struct control *control, const struct config *config, char error[CONFIG_ERROR_MAX]);
void control_close(struct control *control, void (*closed)(void *arg), void *arg);

#endif
