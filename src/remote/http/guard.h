/*
 * Where a fetch may connect to, by which socket, and whom it believes: libcurl asks at each connection
 * it opens, and before each request on one that is open already, so that a name that
 * resolves to another address than before, a redirect and a connection that a fetch with other rights
 * has left open are all judged by the address that is really used.
 *
 * A certificate must have the server's name as a subjectAltName; libcurl would
 * take the common name if there is none (RFC 9525, 2: it is no name).
 *
 * What a proxy connects to is the proxy's to allow; its own address is the administrator's choice.
 */
#ifndef REMOTE_HTTP_GUARD_H
#define REMOTE_HTTP_GUARD_H

#include <curl/curl.h>
#include <stdbool.h>

#include "net/address.h"
#include "remote/http/curl_loop.h"

struct http_guard {
    enum address_local local;
    struct curl_loop *curl;
    char refusal[ADDRESS_REFUSAL_MAX]; /* why the last address was refused; "": it was not */
    int fd;                            /* a connected socket, for libcurl to take in place of a new one; -1: none */
    int given;                         /* the socket that libcurl took */
    bool opened;                       /* a connection was opened, or taken */
    /* Both inside libcurl: may a connection be opened? And: the request is about to be sent. */
    bool (*opening)(struct http_guard *guard);
    void (*asking)(struct http_guard *guard);
};

/* The guard must outlive the handle. */
void http_guard_addresses(struct http_guard *guard, CURL *easy);
void http_guard_names(CURL *easy);
/* Why a transfer ended so, when the guard ended it; NULL: it did not. */
const char *http_guard_refusal(const struct http_guard *guard, CURLcode code);
/* The certificate of a transfer that ended has no name. */
bool http_guard_nameless(CURL *easy);

#endif
