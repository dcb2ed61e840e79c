/*
 * A TCP connection to a host by name, for protocols that do not go by libcurl: the name is
 * resolved, its addresses are judged (net/resolve.h), and those that are admitted are tried one
 * after the other, all within one timeout.
 *
 * `done` comes once, from the loop, never from inside dial_new(); the dial is gone then. dial_cancel()
 * ends it without. Neither waits for the name server.
 */
#ifndef NET_DIAL_H
#define NET_DIAL_H

#include <stdint.h>
#include <uv.h>

#include "net/resolve.h"

#define DIAL_ERROR_MAX RESOLVE_ERROR_MAX

struct dial;

struct dial_result {
    int fd;            /* connected, not blocking, the callee's; or a negative errno */
    const char *error; /* in words, and what to do */
};

typedef void dial_done(void *arg, const struct dial_result *result);

/* `host`: a name or numeric address, without brackets. */
struct dial *dial_new(uv_loop_t *loop, const char *host, uint16_t port, enum address_local local, uint64_t timeout_ms,
                      dial_done *done, void *arg);
/* The same for one address, which is judged too. */
struct dial *dial_address_new(uv_loop_t *loop, const struct sockaddr *address, enum address_local local,
                              uint64_t timeout_ms, dial_done *done, void *arg);
void dial_cancel(struct dial *dial); /* NULL is allowed */

#endif
