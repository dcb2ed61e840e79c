/*
 * POST of a text to an HTTP server, by libcurl, on the loop: for what the daemon tells others. Whether that server may
 * be spoken to is judged by the address that is really used (guard.h); a redirect is not followed, no proxy is used, and
 * nothing is taken from the environment. What the server answers beside its status is dropped.
 */
#ifndef REMOTE_HTTP_POST_H
#define REMOTE_HTTP_POST_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "net/address.h"

#define HTTP_POST_ERROR_MAX  256
#define HTTP_POST_ANSWER_MAX (64u << 10) /* bytes of an answer; with more the POST has failed */

struct http_poster;
struct http_post;

/* Texts are copied. */
struct http_post_options {
    const char *url;           /* http:// or https:// */
    const char *const *fields; /* "NAME: VALUE", further ones; NULL at the end */
    const char *ca_file;       /* "": the system's authorities */
    bool verify, allow_plain;
    enum address_local local;
    uint64_t connect_timeout_ms, timeout_ms; /* of the whole */
    const char *type, *body;
};

/* `error` is "" when the server has answered with 2xx, else it says why not. */
typedef void http_posted(void *arg, const char *error);

struct http_poster *http_poster_new(uv_loop_t *loop);
/* `done` comes once, later. NULL: it can't be begun. */
struct http_post *http_post_start(struct http_poster *poster, const struct http_post_options *options, http_posted *done,
                                  void *arg);
void http_post_cancel(struct http_post *post); /* `done` does not come */
/* No POST may be under way. Frees itself, then `closed`. */
void http_poster_close(struct http_poster *poster, void (*closed)(void *arg), void *arg);

#endif
