/*
 * Who is at the other end of the control socket: what the kernel says of the process that connected, as it was then.
 * A user's name is that of base/etc.h. Private to api/.
 */
#ifndef API_CONTROL_PEER_H
#define API_CONTROL_PEER_H

#include <stdbool.h>

#include "net/socket.h"

#define CONTROL_PEER_MAX 96

struct control_peer {
    struct socket_peer process;
    /* For the audit log: the name in /etc/passwd, or "uid 1234"; "control uid=0 pid=812 name=socat", the name being
     * what the process calls itself. */
    char user[CONTROL_PEER_MAX], from[CONTROL_PEER_MAX];
};

/* Root or the daemon's own user. */
bool control_peer_is_owner(const struct control_peer *peer);
/* Fills `peer`. False: the process may not use the socket, which is logged. The owners may, and every process in
 * `group` ((gid_t)-1: there is no group). */
bool control_peer_admit(struct control_peer *peer, struct stream *stream, gid_t group);

#endif
