/*
 * Where a secret belongs: a scheme, a host, a port and the beginning of a path. A URL is of an origin if the
 * server that it leads to is the same, and its path lies below the origin's, name by name.
 *
 * Spelling does not matter: the case of scheme and host, a dot behind the host, the default port, how an
 * IPv6 address is written, %XX for what needs none, empty and dotted names (RFC 3986, 6.2.2). Where servers
 * disagree on what a path means (%2F, %5C, %252E, "..;") it must lie below the origin's in either reading. Pure.
 */
#ifndef REMOTE_ORIGIN_H
#define REMOTE_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "remote/image_location.h"

struct origin {
    enum location_kind kind; /* LOCATION_UNKNOWN: nothing is of it */
    uint16_t port;
    char *host;  /* lower case, an IPv6 address as inet_ntop() has it with its zone behind %; NULL: as above */
    char *path;  /* "" or "/NAME...", no slash at the end, each name as little percent-encoded as can be */
    char *loose; /* the same as a server reads it that decodes before it divides */
};

/* Of something that location_url() takes; false (`origin` is cleared): it is none, or its path has a zero byte. */
bool origin_read(struct origin *origin, const char *text);
/* The same without a path: all of that server. */
bool origin_read_server(struct origin *origin, const char *text);
/* Why an administrator's text is no origin: what origin_read() refuses, a query or a fragment. NULL: it is one. */
const char *origin_problem(const char *text);
void origin_clear(struct origin *origin);

/* Is the URL of the origin? */
bool origin_covers(const struct origin *origin, const char *url);
/* The same for one that was read. */
bool origin_holds(const struct origin *origin, const struct origin *url);
/* How far down it goes: of several that cover a URL the one with the largest is meant. */
unsigned origin_depth(const struct origin *origin);

#endif
