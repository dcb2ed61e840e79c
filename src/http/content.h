/*
 * Conditional and partial requests (RFC 9110, sections 13 and 14), and the
 * answer for content that is in memory: a file of the web page, say.
 */
#ifndef HTTP_CONTENT_H
#define HTTP_CONTENT_H

#include "http/server.h"

#define HTTP_ETAG_SIZE 36 /* 16 bytes of SHA-256 in hex, quotes, NUL */

enum http_range { HTTP_RANGE_WHOLE, HTTP_RANGE_PART, HTTP_RANGE_UNSATISFIABLE };
/* The value of a Range field (NULL: none) for content of `size` bytes. Several ranges, other
 * units and faults give WHOLE, as if there were none. */
enum http_range http_range_parse(const char *value, uint64_t size, uint64_t *first, uint64_t *last);

/* Is the tag in the list of an If-Match or If-None-Match field ("*" has every one)? Weak tags
 * match only if `weak`. */
bool http_etag_listed(const char *list, const char *etag, bool weak);

struct http_content {
    struct bytes *bytes;
    const char *type;          /* Content-Type; not owned */
    const char *cache_control; /* NULL: none; not owned */
    char etag[HTTP_ETAG_SIZE];
};

/* Copies the data, but not the texts. */
void http_content_init(struct http_content *content, const char *type, const char *cache_control, const void *data,
                       size_t length);
void http_content_clear(struct http_content *content);
/* Answers GET and HEAD with 200, 206, 304, 412 or 416, and others with 405. */
void http_content_serve(struct http_request *request, const struct http_content *content);

#endif
