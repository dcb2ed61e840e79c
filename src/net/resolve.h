/*
 * From a host's name to the addresses that may be connected to: each is judged by the policy
 * of `local` (net/address.h), so that a client whose library takes only names can be given a
 * number that was judged. Names are asked for off the loop (getaddrinfo(3)), each in a thread of its own: nobody has to
 * wait for a name server that does not answer, not even the end of the process.
 *
 * A numeric host needs no name server, but takes the same way. `done` comes once, from
 * the loop, never inside resolve_start(), and may free.
 */
#ifndef NET_RESOLVE_H
#define NET_RESOLVE_H

#include <uv.h>

#include "net/address.h"

#define RESOLVE_ADDRESSES_MAX 8 /* if a name has more, the first ones count */
#define RESOLVE_THREADS_MAX   64 /* lookups at a time; more are refused for now */
#define RESOLVE_ERROR_MAX     384
#define RESOLVE_HOST_MAX      256

struct resolve;

struct resolve_result {
    int status; /* 0, or: -EHOSTUNREACH no such name, -EAGAIN not to be told now, -EPERM the policy forbids all */
    char error[RESOLVE_ERROR_MAX];                            /* in words, and what to do; "": none */
    struct sockaddr_storage addresses[RESOLVE_ADDRESSES_MAX]; /* the allowed ones, as getaddrinfo sorts them; port 0 */
    unsigned count;
};

/* `host`: a name or numeric address, without brackets. The result is valid inside `done` only. */
struct resolve *resolve_start(uv_loop_t *loop, const char *host, enum address_local local,
                              void (*done)(void *owner, const struct resolve_result *result), void *owner);
/* For use before `done`, which then does not come; after `done` the struct is freed already. NULL is allowed. */
void resolve_cancel(struct resolve *resolve);

#endif
