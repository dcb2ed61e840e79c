/*
 * A TCP connection to a host by name: the name is resolved, now and each time, its addresses are judged
 * (net/resolve.h), and those that are admitted race (Happy Eyeballs, RFC 8305): one begins
 * DIAL_STAGGER_MS after the other, or once one fails, IPv6 and IPv4 in turns; the first
 * that is connected is the one, and the others are closed. All have the whole timeout.
 *
 * `done` comes once, from the loop, never from inside dial_new(); the dial is gone then. dial_cancel()
 * ends it without. Neither waits for the name server.
 */
#ifndef NET_DIAL_H
#define NET_DIAL_H

#include <stdint.h>
#include <uv.h>

#include "net/resolve.h"

#define DIAL_ERROR_MAX  RESOLVE_ERROR_MAX
#define DIAL_STAGGER_MS 250 /* RFC 8305, 5: the Connection Attempt Delay */

struct dial;

struct dial_result {
    /* Connected, not blocking, the callee's; or -EHOSTUNREACH, -ECONNREFUSED, -EPERM (allow-local forbids it), -EAGAIN (this
     * machine has no means for it now). */
    int fd;
    const char *error; /* in words, and what to do */
    const struct sockaddr_storage *address; /* that it is connected to, with its port; NULL: to none */
};

typedef void dial_done(void *arg, const struct dial_result *result);

/* `host`: a name or numeric address, without brackets. */
struct dial *dial_new(uv_loop_t *loop, const char *host, uint16_t port, enum address_local local, uint64_t timeout_ms,
                      dial_done *done, void *arg);
/* The same for one address, which is judged too. */
struct dial *dial_address_new(uv_loop_t *loop, const struct sockaddr *address, enum address_local local,
                              uint64_t timeout_ms, dial_done *done, void *arg);
/* The race alone, of addresses that were resolved and judged already. */
struct dial *dial_race_new(uv_loop_t *loop, const struct resolve_result *addresses, uint16_t port, uint64_t timeout_ms,
                           dial_done *done, void *arg);
void dial_cancel(struct dial *dial); /* NULL is allowed */

#endif
