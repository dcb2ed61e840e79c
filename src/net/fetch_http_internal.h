/*
 * HTTP's part of net/fetch.h in three files: the request and its way (fetch_http.c), what its answer
 * must be (fetch_http_answer.c), and what is said of a transfer that failed (fetch_http_words.c).
 * Private to them.
 */
#ifndef NET_FETCH_HTTP_INTERNAL_H
#define NET_FETCH_HTTP_INTERNAL_H

#include "net/fetch_internal.h"

struct http_fetch {
    struct fetch *fetch;
    struct curl_transfer transfer;
    struct fetch_guard guard;
    struct curl_slist *headers;
    long buffer; /* of libcurl, for a large range */
    uint32_t discarded;
    uint32_t due;  /* how far the answer fills the range */
    bool checked;  /* the answer's head was judged */
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

/* --- fetch_http_answer.c --- */

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

/* --- fetch_http_words.c --- */

/* The verdict of a transfer that libcurl, or a callback of ours in it, ended. */
void http_judge_code(struct fetch *fetch, CURLcode code);
/* The verdict of an answer with a status that has no use for us. */
void http_judge_status(struct fetch *fetch, long status);

#endif
