/*
 * A TCP connection to a host by name: the name is resolved, now and each time, its addresses are judged
 * (net/resolve.h), and those that are admitted race (Happy Eyeballs, RFC 8305): each try begins
 * DIAL_STAGGER_MS after the one before, or once that one fails, IPv6 and IPv4 in turns. The first that
 * is connected wins, and the others are closed. All tries share the one timeout.
 *
 * `done` comes once, from the loop, never from inside dial_new(); the dial is gone then. After
 * dial_cancel() `done` does not come. Neither waits for the name server.
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
    /* A connected socket that does not block, which `done` takes over; or -EHOSTUNREACH, -ECONNREFUSED, -EPERM
     * (allow-local forbids it), -EAGAIN (this machine has no means for it now). */
    int fd;
    const char *error; /* in words, and what to do */
    const struct sockaddr_storage *address; /* of the other end, with its port; NULL: nothing is connected */
};

typedef void dial_done(void *arg, const struct dial_result *result);

/* `host`: a name or numeric address, without brackets. */
struct dial *dial_new(uv_loop_t *loop, const char *host, uint16_t port, enum address_local local, uint64_t timeout_ms,
                      dial_done *done, void *arg);
/* The same for one address, which is judged in the same way. */
struct dial *dial_address_new(uv_loop_t *loop, const struct sockaddr *address, enum address_local local,
                              uint64_t timeout_ms, dial_done *done, void *arg);
/* Only the race, between addresses that were resolved and judged before. */
struct dial *dial_race_new(uv_loop_t *loop, const struct resolve_result *addresses, uint16_t port, uint64_t timeout_ms,
                           dial_done *done, void *arg);
void dial_cancel(struct dial *dial); /* NULL is allowed */

#endif
