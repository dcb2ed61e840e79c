/*
 * A port below 1024 for our end of a connection: a server may believe only clients with such a port (NFS: Linux
 * exports are `secure` by default), since on many systems only root can have one. The process that talks to servers
 * has no such right, so another process may be asked once binding directly was refused.
 */
#ifndef NET_LOW_PORT_H
#define NET_LOW_PORT_H

#include <stdbool.h>

/* Binds a TCP socket that is not bound yet to a free port from 600 to 1023 (below are services). 0; -EACCES: we may
 * not; -EADDRINUSE: none of the ports that were tried is free. Does not block. */
int low_port_bind(int fd);

/* Sets whom low_port_ask() asks: `ask` does for us what low_port_bind() does, and blocks; NULL: nobody. Call this once,
 * before the loop runs. */
void low_port_ask_by(int (*ask)(int fd));
bool low_port_can_ask(void);
/* Asks for a port, on a work thread. The status is low_port_bind()'s. */
int low_port_ask(int fd);

#endif
