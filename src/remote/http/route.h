/*
 * The way to an HTTP server, or to the proxy before it: the one of its addresses that is used, and the connections to
 * it (a pool of libcurl's).
 *
 * A source has one route at a time. It is made when it is first needed, by a dial: the name is resolved, its
 * addresses race (net/dial.h). The first fetch takes the connection that won; what is needed beside it libcurl
 * opens, to the same address.
 *
 * A route that a fetch found dead - a connection that had been used failed or is silent, or the address takes no more - is
 * left (http_route_leave_all): who needs one then gets a new one, with the name resolved anew, and fetches that
 * are under way on the old one end there. So connections that died while nobody used them cost one wait
 * together, not one each. A route that nobody has used for HTTP_ROUTE_IDLE_MS is closed: servers, and
 * what is between, forget a connection sooner or later. So is the route of a source that closes.
 */
#ifndef REMOTE_HTTP_ROUTE_H
#define REMOTE_HTTP_ROUTE_H

#include "net/dial.h"
#include "remote/remote.h"

struct http_image;
#include "remote/http/curl_pool.h"

#define HTTP_ROUTE_IDLE_MS 30000

struct http_route {
    int status; /* of the dial; valid once it is over: 0, or a negative errno, and then: */
    char error[REMOTE_ERROR_MAX]; /* in words */
    struct curl_pool *pool;
    struct curl_slist *pin; /* for CURLOPT_RESOLVE: the address; NULL: the host is a number */
    char address[ADDRESS_TEXT_MAX]; /* the address as text; "": none yet */
    bool proven;            /* an answer has come by this route */
    uint64_t heard_ms;      /* when the last byte came by it, in the loop's time */

    /* Internal. */
    struct http_image *image;
    char *origin; /* scheme, host and port */
    char *host;
    uint16_t port;
    struct dial *dial; /* under way */
    int fd;            /* the connection that was dialled, until it is taken; -1: none */
    struct link users;
    bool left;         /* the image has left the route: it ends with its last user */
    uv_timer_t idle;
};

/* A fetch on it. */
struct http_route_user {
    struct http_route *route; /* NULL: none */
    void (*ready)(struct http_route_user *user);
    struct link link;
};

/* Gets the user a route to the URL's origin: the image's, or a new one in its place. True: it is ready now; false: `ready` comes,
 * from the loop, once the dial is over, well or not. False with user->route NULL: `url` is no URL, and nothing
 * comes. */
bool http_route_enter(struct http_route_user *user, struct http_image *image, const char *url);
/* Any time; a user that waits is told nothing. */
void http_route_leave(struct http_route_user *user);
/* Takes the connection that was dialled; -1: it was taken before. */
int http_route_take(struct http_route *route);
/* No fetch comes to this route any more. */
void http_route_leave_all(struct http_route *route);
/* The image has no route any more. */
void http_route_forget(struct http_image *image);

#endif
