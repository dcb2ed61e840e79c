/*
 * Where a secret belongs: a scheme, a host, a port and the beginning of a path. A URL belongs to an origin if it leads
 * to the same server, and its path lies below the origin's, name by name.
 *
 * Spelling does not matter: the case of scheme and host, a dot behind the host, the default port, how an IPv6 address
 * is written, %XX for what needs none, empty and dotted names (RFC 3986, 6.2.2). Where servers disagree on what a path
 * means (%2F, %5C, %252E, "..;") the path must lie below the origin's in either reading. Pure.
 */
#ifndef REMOTE_ORIGIN_H
#define REMOTE_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "remote/image_location.h"

struct origin {
    enum location_kind kind; /* LOCATION_UNKNOWN: no URL belongs to the origin */
    uint16_t port;
    char *host;  /* lower case, an IPv6 address as inet_ntop() has it with its zone behind %; NULL: `kind` is UNKNOWN */
    char *path;  /* "" or "/NAME...", no slash at the end, each name as little percent-encoded as can be */
    char *loose; /* the path as read by a server that decodes before it splits the names */
};

/* Reads a text that location_url() takes. False (`origin` is cleared): the text is none of these, or its path has
 * a zero byte. */
bool origin_read(struct origin *origin, const char *text);
/* The same without the text's path: the origin is all of that server. */
bool origin_read_server(struct origin *origin, const char *text);
/* Why an administrator's text is no origin (origin_read() refuses it, or it has a query or a fragment). NULL: it is an
 * origin. */
const char *origin_problem(const char *text);
void origin_clear(struct origin *origin);

/* Does the URL belong to the origin? */
bool origin_covers(const struct origin *origin, const char *url);
/* The same for a URL that was read by origin_read(). */
bool origin_holds(const struct origin *origin, const struct origin *url);
/* How deep the origin's path goes: of several origins that cover a URL the deepest one counts. */
unsigned origin_depth(const struct origin *origin);

#endif
