/*
 * A TCP connection to a host by name, for protocols that do not go by libcurl: the name is
 * resolved, each address is judged by the guard (net/fetch_guard.h), and those that are
 * admitted are tried one after the other, all within one timeout.
 *
 * `done` comes once, from the loop, never from inside dial_new(); the dial is gone then. dial_cancel()
 * ends it without. Neither waits for the name server.
 */
#ifndef NET_DIAL_H
#define NET_DIAL_H

#include <stdint.h>
#include <uv.h>

#include "net/fetch_guard.h"

#define DIAL_ADDRESSES_MAX 16 /* of a name, that are looked at */
#define DIAL_ERROR_MAX     256

struct dial;

struct dial_result {
    int fd;            /* connected, not blocking, the callee's; or a negative errno */
    const char *error; /* in words, and what to do */
};

typedef void dial_done(void *arg, const struct dial_result *result);

/* The guard must outlive it. */
struct dial *dial_new(uv_loop_t *loop, const char *host, uint16_t port, struct fetch_guard *guard, uint64_t timeout_ms,
                      dial_done *done, void *arg);
/* The same for one address, which is judged too. */
struct dial *dial_address_new(uv_loop_t *loop, const struct sockaddr *address, struct fetch_guard *guard,
                              uint64_t timeout_ms, dial_done *done, void *arg);
void dial_cancel(struct dial *dial); /* NULL is allowed */

#endif
