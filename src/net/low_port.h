/*
 * A port below 1024 for our end of a connection: servers may believe only those who have one (NFS: Linux exports are
 * `secure` by default), since on many systems only root can. The process that talks to them has no such right, so
 * somebody else may be asked, once direct ways were refused.
 */
#ifndef NET_LOW_PORT_H
#define NET_LOW_PORT_H

#include <stdbool.h>

/* Binds a TCP socket that is not bound yet to a free port from 600 to 1023 (below are services). 0; -EACCES: we may
 * not; -EADDRINUSE: none of those that were tried is free. Does not block. */
int low_port_bind(int fd);

/* Who is asked: `ask` does for us what low_port_bind() does, and blocks. Once, before the loop runs; NULL: nobody. */
void low_port_ask_by(int (*ask)(int fd));
bool low_port_can_ask(void);
/* On a work thread. */
int low_port_ask(int fd);

#endif
