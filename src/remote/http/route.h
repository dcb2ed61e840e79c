/*
 * The way to an HTTP server, or to the proxy before it: the one of its addresses that is spoken to, and
 * the connections there (a pool of libcurl's).
 *
 * A source has one route at a time. It is made when it is first needed, by a dial: the name is resolved, its
 * addresses race (net/dial.h). The first fetch takes the connection that won; what is needed beside it libcurl
 * opens, to the same address.
 *
 * A route that a fetch found dead - a connection that had been used failed or is silent, or the address takes no more - is
 * left (fetch_route_leave_all): who needs one then gets a new one, with the name resolved anew, and fetches that
 * are under way on the old one end there. So connections that died while nobody used them cost one wait
 * together, not one each. A route that nobody has used for FETCH_ROUTE_IDLE_MS is closed: servers, and
 * what is between, forget a connection sooner or later. So is the route of a source that closes.
 */
#ifndef REMOTE_HTTP_ROUTE_H
#define REMOTE_HTTP_ROUTE_H

#include "net/dial.h"
#include "remote/fetch_internal.h"
#include "remote/http/curl_pool.h"

#define FETCH_ROUTE_IDLE_MS 30000

struct fetch_route {
    int status; /* of the dial; valid once it is over: 0, or a negative errno, and then: */
    char error[FETCH_ERROR_MAX]; /* in words */
    struct curl_pool *pool;
    struct curl_slist *pin; /* for CURLOPT_RESOLVE: the address; NULL: the host is a number */
    char address[ADDRESS_TEXT_MAX]; /* the same in words; "": none yet */
    bool proven;            /* an answer has come by it */
    uint64_t heard_ms;      /* when the last byte came by it, in the loop's time */

    /* Internal. */
    struct fetch_setup *setup;
    char *origin; /* scheme, host and port */
    char *host;
    uint16_t port;
    struct dial *dial; /* under way */
    int fd;            /* connected, and nobody's yet; -1: none */
    struct link users;
    bool left;         /* the setup has it no more: it ends with its last user */
    uv_timer_t idle;
};

/* A fetch on it. */
struct fetch_route_user {
    struct fetch_route *route; /* NULL: none */
    void (*ready)(struct fetch_route_user *user);
    struct link link;
};

/* Gets the user a route to the URL's origin: the setup's, or a new one in its place. True: it is ready now; false: `ready` comes,
 * from the loop, once the dial is over, well or not. NULL in user->route and false: it is no URL, and nothing comes. */
bool fetch_route_enter(struct fetch_route_user *user, struct fetch_setup *setup, struct curl_loop *curl, const char *url);
/* Any time; a user that waits is told nothing. */
void fetch_route_leave(struct fetch_route_user *user);
/* The connection that was dialled, once; -1: it is taken. */
int fetch_route_take(struct fetch_route *route);
/* No fetch comes to this route any more. */
void fetch_route_leave_all(struct fetch_route *route);
/* The setup has no route any more. */
void fetch_route_forget(struct fetch_setup *setup);

#endif
