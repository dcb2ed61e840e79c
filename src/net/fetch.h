/*
 * One ranged GET at a time, checked: a range of bytes is only ever handed on if
 * the answer was a 206 for exactly that range, of that total size, with the same
 * validators, unencoded, and of the exact length (RFC 9110, 14 and 13.1.5).
 *
 * A probe asks for the first byte, follows redirects, and learns the size, the
 * validators and the URL that finally answered.
 */
#ifndef NET_FETCH_H
#define NET_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "net/curl_loop.h"
#include "net/fetch_guard.h"

#define FETCH_URL_MAX 8192
#define FETCH_ERROR_MAX 512
#define FETCH_VALIDATOR_MAX 256
#define FETCH_DISCARD_MAX (64u << 10) /* bytes of an error page that are read to keep the connection */

enum fetch_http { FETCH_HTTP_AUTO, FETCH_HTTP_1_1, FETCH_HTTP_2 };
enum fetch_auth { FETCH_AUTH_ANY, FETCH_AUTH_BASIC, FETCH_AUTH_DIGEST };

/* Strings may be NULL or "" for none; they are copied. */
struct fetch_options {
    enum fetch_http http;
    bool allow_plain;   /* http:// beside https://; a redirect never leaves https */
    unsigned redirects; /* at most that many, probes only */
    bool verify;        /* the server's certificate and name */
    const char *ca_file; /* in place of the system's; read by each connection */
    const char *ca_pem;  /* certificates in PEM, trusted beside those; the file is then read once, now */
    const char *client_cert, *client_key;
    const char *user, *password, *bearer_token;
    enum fetch_auth auth;
    const char *proxy;
    enum address_local local; /* a proxy may be anywhere */
    uint64_t connect_timeout_ms, stall_timeout_ms;
};

/* What a resource is. Empty validators: the server gave none. */
struct fetch_resource {
    char url[FETCH_URL_MAX];             /* that answers, redirects resolved */
    uint64_t size;
    char etag[FETCH_VALIDATOR_MAX];      /* as sent, quotes and W/ included */
    char modified[FETCH_VALIDATOR_MAX];  /* Last-Modified */
    unsigned long auth;                  /* CURLAUTH_ bits that it wants; 0: none */
    unsigned version;                    /* the owner counts it up when it changes the rest */
};

enum fetch_verdict {
    FETCH_OK,
    FETCH_TRANSIENT, /* may pass: no connection, a stall, a reset, 5xx, 429 */
    FETCH_MOVED,     /* the URL has moved or expired: probe again */
    FETCH_REFUSED,   /* the answer can't be used, or is not of this resource */
};

struct fetch {
    /* The result: valid in `done`, until the next start. */
    enum fetch_verdict verdict;
    int reason;                  /* not OK: a negative errno, if one says what it was; else 0 */
    char error[FETCH_ERROR_MAX]; /* in words; no secrets */
    struct slices data;          /* OK: exactly the range; the callee may take it */
    uint64_t received;           /* bytes, also of a failure */
    uint64_t first_byte_us;      /* from the request sent to the first byte; 0: none came */
    struct fetch_resource found; /* probe: what was learnt */

    void *owner;
    void (*done)(struct fetch *fetch); /* from the loop; may start again or free */

    /* Internal. */
    struct curl_transfer transfer;
    struct curl_loop *curl;
    struct fetch_guard guard;
    struct fetch_setup *setup;
    struct curl_slist *headers;
    long buffer; /* of libcurl, for a large range */
    const struct fetch_resource *expect;
    unsigned version;
    uint64_t offset;
    uint32_t length, filled, discarded;
    bool probe, checked;
    char curl_error[CURL_ERROR_SIZE];
};

/* What is common to all fetches of a source, made once. */
struct fetch_setup *fetch_setup_new(const struct fetch_options *options);
void fetch_setup_free(struct fetch_setup *setup);

/* `setup` must outlive it. */
struct fetch *fetch_new(struct curl_loop *curl, struct fetch_setup *setup);
void fetch_probe(struct fetch *fetch, const char *url);
/* `resource` must live until done. Credentials are sent only if `trusted`: when
 * the URL has the origin that they were given for. */
void fetch_range(struct fetch *fetch, const struct fetch_resource *resource, bool trusted, uint64_t offset, uint32_t length);
bool fetch_running(const struct fetch *fetch);
void fetch_cancel(struct fetch *fetch); /* `done` does not come */
void fetch_free(struct fetch *fetch);

/* Same scheme, host and port? */
bool fetch_same_origin(const char *url, const char *other);

#endif
