/*
 * HTTP's client: what the image is (http.c), the way of a request (way.c), what it says (request.c), how long it may
 * take (watch.c), what the answer must be (answer.c), and the words for one that failed (words.c). Private to
 * remote/http/.
 */
#ifndef REMOTE_HTTP_INTERNAL_H
#define REMOTE_HTTP_INTERNAL_H

#include "base/list.h"
#include "net/tls_trust.h"
#include "remote/http/farm.h"
#include "remote/http/guard.h"
#include "remote/http/http.h"
#include "remote/http/route.h"
#include "remote/image_location.h"
#include "remote/origin.h"
#include "remote/remote.h"

enum http_phase {
    HTTP_CONNECTING, /* or waiting for a connection of HTTP/2; TLS included */
    HTTP_WAITING,    /* the request is sent */
    HTTP_READING,    /* a byte of the answer has come */
};

enum http_login {
    HTTP_LOGIN_NONE,      /* none is configured */
    HTTP_LOGIN_ELSEWHERE, /* the configured login is for another origin */
    HTTP_LOGIN_PASSWORD,
    HTTP_LOGIN_TOKEN,
};

#define HTTP_VALIDATOR_MAX 256
#define HTTP_DISCARD_MAX   (64u << 10) /* bytes of an error page that are read to keep the connection */
#define HTTP_PROBE_BYTES   512u        /* busybox httpd takes a range of one byte for none */

/* What a resource is. Empty validators: the server gave none. */
struct http_resource {
    char url[LOCATION_URL_MAX];        /* the URL that answers, after redirects */
    uint64_t size;
    char etag[HTTP_VALIDATOR_MAX];     /* as sent, quotes and W/ included */
    char modified[HTTP_VALIDATOR_MAX]; /* Last-Modified */
    unsigned long auth;                /* the logins that it wants, in CURLAUTH_ bits; 0: none */
    unsigned version;                  /* counts up when the rest changes */
};

/* An image on an HTTP server. */
struct http_image {
    struct remote_client client;
    const char *who;
    struct curl_loop *curl;
    enum http_use version;
    bool allow_plain, verify;
    bool by_time, by_time_wished; /* the time tells versions apart, not the ETag: now, and as configured */
    unsigned redirects, connections;
    struct trust trust;
    char *client_cert, *client_key, *client_pem, *user, *password, *bearer_token, *proxy;
    struct origin key_origin, login_origin; /* what the certificate and the login are for */
    enum http_scheme scheme;
    enum address_local local;
    uint64_t connect_timeout_ms, stall_timeout_ms;

    struct http_resource resource; /* what was adopted last */
    struct http_route *route;      /* NULL: none was made, or it is left */
    uint64_t first_byte_ms;        /* how long a first byte takes, smoothed; 0: not known */
    uint64_t patience_ms;          /* the least time to wait for a first byte, since less was too short */
};

/* A probe or a range. One easy handle each: libcurl keeps its settings and, for Digest, its nonce. */
struct http_fetch {
    struct remote_request request;
    struct http_image *image;
    bool probe;
    bool beside; /* a probe beside the first one: see http_fetch_beside() */
    bool later;  /* and it waits for its time */
    const struct http_resource *expect; /* NULL: a probe */
    uint64_t offset;
    uint32_t length, filled;
    struct http_resource found; /* a probe: what was learnt */
    struct http_farm farm;      /* of the first probe */
    bool alone;                 /* HTTP/1.1: takes a new connection, even if others are idle */

    struct http_route_user user;
    struct curl_transfer transfer;
    struct http_guard guard;
    uv_timer_t watch;
    enum http_phase phase;
    uint64_t since_ms; /* when it began, or the last byte came */
    unsigned tries;    /* tries that found the route dead */
    bool handed;       /* the request goes by the connection that was dialled */
    bool heard;        /* a byte has come since the request was sent */
    bool forgotten;    /* the connection died before a byte of the answer */
    struct curl_slist *headers;
    long buffer; /* of libcurl, for a large range */
    uint32_t discarded;
    uint32_t due;          /* how far the answer fills the range */
    bool checked;          /* the answer's head was judged */
    enum http_login login; /* the login that is sent */
    unsigned hops, pieces; /* a probe: redirects that were followed; a range: requests that it took */
    char url[LOCATION_URL_MAX];          /* a probe: who is asked now */
    const struct http_resource *set_for; /* what the handle is set up for, and which version of it */
    unsigned set_version;
    char curl_error[CURL_ERROR_SIZE];
};

/* --- http.c --- */

/* Fetches of the farm's own, which the engine does not know. */
struct http_fetch *http_fetch_new(struct http_image *image);
void http_fetch_free(struct http_fetch *http);
void http_fetch_range(struct http_fetch *http, const struct http_resource *resource, uint64_t offset, uint32_t length);
/* Probes other bytes than the first, in `delay_ms`, beside the image's first probe; a redirect is not followed. */
void http_fetch_beside(struct http_fetch *http, uint64_t offset, uint32_t length, uint64_t delay_ms);
/* The fetch is over: tells what a probe found, and calls `done`; for the first probe the farm is asked before that. */
void http_fetch_over(struct http_fetch *http);

/* --- way.c --- */

void http_way_init(struct http_fetch *http);
/* Starts what the fetch describes. */
void http_way_start(struct http_fetch *http);
void http_way_cancel(struct http_fetch *http); /* legal when idle */
/* The fetch has had its time; `early`: for a route that is alive. */
void http_expired(struct http_fetch *http, bool early);

/* --- request.c --- */

void http_set_fixed(struct http_fetch *http);
/* Sets up the request for the bytes that are still missing, by the fetch's route. */
void http_set_request(struct http_fetch *http);

/* --- watch.c --- */

/* These tell that a try begins, that a connection is made, the request was sent, a byte came (these three from inside
 * libcurl), and that the try is over. Until then http_expired() may come. */
void http_watch_begin(struct http_fetch *http);
void http_watch_connecting(struct http_fetch *http);
void http_watch_sent(struct http_fetch *http);
void http_watch_byte(struct http_fetch *http);
void http_watch_end(struct http_fetch *http);
/* No fetch of the route has heard anything for longer than a first byte takes. */
bool http_route_is_silent(const struct http_fetch *http);

/* --- answer.c --- */

/* Once for each answer, at its first byte or its end: the verdict, REMOTE_OK until the body says otherwise. */
void http_check_answer(struct http_fetch *http);
/* Takes over what a successful probe found. */
void http_learn(struct http_fetch *http);
/* Can the tag be used in If-Range (RFC 9110, 13.1.5)? */
bool http_etag_is_strong(const char *etag);
/* Is the status a redirect that may be followed? */
bool http_is_redirect(long status);
long http_status(const struct http_fetch *http);
/* Writes where the answer sends a probe into `url`; false: the verdict says why it is not followed. A chain
 * that has been at https never leaves it. */
bool http_redirect(struct http_fetch *http, char url[LOCATION_URL_MAX]);

/* --- words.c --- */

/* The verdict of a transfer that libcurl, or a callback of ours in it, ended. */
void http_judge_code(struct http_fetch *http, CURLcode code);
/* The verdict of a fetch that has had its time. */
void http_judge_silence(struct http_fetch *http);
/* The verdict of an answer with a status that has no use for us. */
void http_judge_status(struct http_fetch *http, long status);

#endif
