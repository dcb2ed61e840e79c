/*
 * An image on an HTTP server, by libcurl: a client of remote/remote.h.
 *
 * A range of bytes is only ever handed on if the answer was a 206 for exactly that range (or for its beginning: the rest
 * is asked for again), of that total size, with the same validators, unencoded, and of the exact length (RFC 9110, 14
 * and 13.1.5).
 *
 * A probe gets a few bytes, follows redirects one by one, and learns the size, the validators and the URL that finally
 * answered. The first probe of an image also asks whether distant ranges are of the same version (remote/http/farm.h).
 */
#ifndef REMOTE_HTTP_HTTP_H
#define REMOTE_HTTP_HTTP_H

#include "net/address.h"
#include "remote/http/curl_loop.h"
#include "remote/remote.h"

enum http_use { HTTP_USE_ANY, HTTP_USE_1_1, HTTP_USE_2 };
enum http_scheme { HTTP_SCHEME_ANY, HTTP_SCHEME_BASIC, HTTP_SCHEME_DIGEST };

/* Strings may be NULL or "" for none; they are copied. */
struct http_options {
    const char *url; /* of location_url() */
    enum http_use version;
    bool allow_plain;   /* http:// beside https://; a redirect never leaves https */
    unsigned redirects; /* at most that many, probes only */
    bool verify;        /* the server's certificate and name */
    const char *ca_file, *ca_pem; /* see net/tls_trust.h */
    const char *client_cert, *client_key; /* files */
    const char *client_pem; /* a certificate and its key, for the server of `url`, in place of those files; NULL: none */
    const char *user, *password, *bearer_token;
    /* The origins (remote/origin.h) that the client certificate and the login are for; NULL or
     * "": the server of the URL. Both are sent nowhere else, wherever redirects lead. */
    const char *key_origin, *login_origin;
    enum http_scheme scheme; /* of the login */
    bool by_time;      /* Last-Modified tells versions apart, and the ETag does not */
    const char *proxy;
    enum address_local local; /* see remote/http/guard.h; a proxy may be anywhere */
    uint64_t connect_timeout_ms, stall_timeout_ms;
    unsigned connections; /* ranges in flight, 1..REMOTE_REQUESTS_MAX */
    uint64_t io_timeout_ms;
};

struct source *http_source_new(struct curl_loop *curl, const char *who, const struct http_options *options);

#endif
