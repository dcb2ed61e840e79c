/*
 * Descriptors that the process at the other end of a UNIX socket hands over (SCM_RIGHTS, unix(7)): one message of
 * one byte with DESCRIPTORS of them. Other numbers are refused, and closed. The stream of the socket must not read
 * meanwhile, since that would lose them.
 */
#ifndef NET_DESCRIPTORS_H
#define NET_DESCRIPTORS_H

#include "net/stream.h"

#define DESCRIPTORS 2

struct descriptors;

/* `taken` comes once, from the loop: 0 with the descriptors, which are the callee's then; or a negative errno, -EPIPE
 * if the peer has gone. NULL: it can't be waited for, and *status says why. `stream` is one of net/socket.h. */
struct descriptors *descriptors_take(struct stream *stream,
                                     void (*taken)(void *arg, int status, const int fds[DESCRIPTORS]), void *arg,
                                     int *status);
void descriptors_cancel(struct descriptors *descriptors); /* before `taken`, which does not come then */

#endif
