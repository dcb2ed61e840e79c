/*
 * HTTP's part of remote/fetch.h: the request (request.c), its way (http.c), how long that may
 * take (watch.c), what the answer must be (answer.c), and what is said of a fetch
 * that failed (words.c). Private to them.
 */
#ifndef REMOTE_HTTP_INTERNAL_H
#define REMOTE_HTTP_INTERNAL_H

#include "base/list.h"
#include "remote/fetch_internal.h"
#include "remote/http/route.h"

enum http_phase {
    HTTP_CONNECTING, /* or waiting for a connection of HTTP/2; TLS included */
    HTTP_WAITING,    /* the request is sent */
    HTTP_READING,    /* a byte of the answer has come */
};

enum http_login {
    HTTP_LOGIN_NONE,      /* none is configured */
    HTTP_LOGIN_ELSEWHERE, /* what there is is for another origin */
    HTTP_LOGIN_PASSWORD,
    HTTP_LOGIN_TOKEN,
};

struct http_fetch {
    struct fetch *fetch;
    struct fetch_route_user user;
    struct curl_transfer transfer;
    struct fetch_guard guard;
    uv_timer_t watch;
    enum http_phase phase;
    uint64_t since_ms; /* when it began, or the last byte came */
    unsigned tries;    /* that found the route dead */
    bool handed;       /* it is on the connection that was dialled */
    bool heard;        /* a byte has come since the request was sent */
    bool forgotten;    /* instead the connection died */
    struct curl_slist *headers;
    long buffer; /* of libcurl, for a large range */
    uint32_t discarded;
    uint32_t due;  /* how far the answer fills the range */
    bool checked;  /* the answer's head was judged */
    enum http_login login; /* what is sent */
    unsigned hops, pieces; /* a probe: redirects that were followed; a range: requests that it took */
    char url[FETCH_URL_MAX]; /* a probe: who is asked now */
    const struct fetch_resource *set_for; /* what the handle is set up for, and which version of it */
    unsigned set_version;
    char curl_error[CURL_ERROR_SIZE];
};

static inline struct http_fetch *http_of(const struct fetch *fetch)
{
    return fetch->state;
}

static inline CURL *http_easy(const struct fetch *fetch)
{
    return http_of(fetch)->transfer.easy;
}

/* --- http.c --- */

/* The fetch has had its time; `early`: for a route that is alive. */
void http_expired(struct fetch *fetch, bool early);

/* --- request.c --- */

void http_set_fixed(struct fetch *fetch);
/* For what is not there yet, by the route. */
void http_set_request(struct fetch *fetch);

/* --- watch.c --- */

/* A try begins; a connection is made, the request was sent, a byte came (inside libcurl, these); the try is over. Until
 * that http_expired() may come. */
void http_watch_begin(struct fetch *fetch);
void http_watch_connecting(struct fetch *fetch);
void http_watch_sent(struct fetch *fetch);
void http_watch_byte(struct fetch *fetch);
void http_watch_end(struct fetch *fetch);
/* No fetch of the route has heard anything for longer than a first byte takes. */
bool http_route_is_silent(const struct http_fetch *http);

/* --- answer.c --- */

/* Once for each answer, at its first byte or its end: the verdict, FETCH_OK until the body says otherwise. */
void http_check_answer(struct fetch *fetch);
/* A probe that went well: what it found. */
void http_learn(struct fetch *fetch);
/* Can it be asked for by If-Range (RFC 9110, 13.1.5)? */
bool http_etag_is_strong(const char *etag);
/* The answer sends elsewhere, and that may be followed. */
bool http_is_redirect(long status);
long http_status(const struct fetch *fetch);
/* Where the answer sends a probe: into `url`, or the verdict says why not. A chain that has been at https never
 * leaves it. */
bool http_redirect(struct fetch *fetch, char url[FETCH_URL_MAX]);

/* --- words.c --- */

/* The verdict of a transfer that libcurl, or a callback of ours in it, ended. */
void http_judge_code(struct fetch *fetch, CURLcode code);
/* The verdict of a fetch that has had its time. */
void http_judge_silence(struct fetch *fetch);
/* The verdict of an answer with a status that has no use for us. */
void http_judge_status(struct fetch *fetch, long status);

#endif
