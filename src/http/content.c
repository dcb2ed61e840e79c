#include "http/content.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

#define ETAG_BYTES 16 /* of the SHA-256; HTTP_ETAG_SIZE has room for them */

/* --- ranges --- */

/* Digits only; a number too large for 64 bits is as large as can be. */
static const char *parse_position(const char *text, uint64_t *value)
{
    char *end;
    if (!isdigit((unsigned char)*text))
        return NULL;
    *value = strtoull(text, &end, 10);
    return end;
}

static enum http_range suffix_range(uint64_t length, uint64_t size, uint64_t *first, uint64_t *last)
{
    if (length == 0 || size == 0)
        return HTTP_RANGE_UNSATISFIABLE;
    *first = length < size ? size - length : 0;
    *last = size - 1;
    return HTTP_RANGE_PART;
}

enum http_range http_range_parse(const char *value, uint64_t size, uint64_t *first, uint64_t *last)
{
    uint64_t from, to = UINT64_MAX;
    if (!value || strncasecmp(value, "bytes=", 6) != 0)
        return HTTP_RANGE_WHOLE;
    const char *p = value + 6 + strspn(value + 6, " \t");
    if (*p == '-') {
        p = parse_position(p + 1, &to);
        return p && !*p ? suffix_range(to, size, first, last) : HTTP_RANGE_WHOLE;
    }
    p = parse_position(p, &from);
    if (!p || *p++ != '-')
        return HTTP_RANGE_WHOLE;
    if (*p) {
        p = parse_position(p, &to);
        if (!p || *p || to < from)
            return HTTP_RANGE_WHOLE;
    }
    if (from >= size)
        return HTTP_RANGE_UNSATISFIABLE;
    *first = from;
    *last = to < size ? to : size - 1;
    return HTTP_RANGE_PART;
}

/* --- conditions --- */

bool http_etag_listed(const char *list, const char *etag, bool weak)
{
    size_t length = strlen(etag);
    const char *p = list + strspn(list, " \t");
    if (strcmp(p, "*") == 0)
        return true;
    while (*p) {
        p += strspn(p, " \t,");
        bool is_weak = p[0] == 'W' && p[1] == '/';
        p += is_weak ? 2 : 0;
        if (*p != '"')
            return false;
        const char *end = strchr(p + 1, '"');
        if (!end)
            return false;
        if ((weak || !is_weak) && (size_t)(end + 1 - p) == length && memcmp(p, etag, length) == 0)
            return true;
        p = end + 1;
    }
    return false;
}

static bool any_field_lists(const struct http_request *request, const char *name, const char *etag, bool weak)
{
    const char *value;
    for (unsigned i = 0; (value = http_field_nth(request, name, i)) != NULL; i++)
        if (etag && http_etag_listed(value, etag, weak))
            return true;
    return false;
}

static bool http_content_is_reading(const struct http_request *request)
{
    return strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
}

/* What If-Match and If-None-Match demand for content with that strong tag (NULL: there is no
 * content): 0 to go on, else 304 or 412 to answer. */
static unsigned http_precondition(const struct http_request *request, const char *etag)
{
    if (http_field(request, "If-Match") && !any_field_lists(request, "If-Match", etag, false))
        return 412;
    if (any_field_lists(request, "If-None-Match", etag, true))
        return http_content_is_reading(request) ? 304 : 412;
    return 0;
}

/* What the request's Range and If-Range ask for, as http_range_parse() gives it. */
static enum http_range http_request_range(const struct http_request *request, const char *etag, uint64_t size,
                                          uint64_t *first, uint64_t *last)
{
    const char *condition = http_field(request, "If-Range");
    if (strcmp(request->method, "GET") != 0 || (condition && strcmp(condition, etag) != 0))
        return HTTP_RANGE_WHOLE;
    return http_range_parse(http_field(request, "Range"), size, first, last);
}

/* --- content in memory --- */

void http_content_init(struct http_content *content, const char *type, const char *cache_control, const void *data,
                       size_t length)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    if (EVP_Digest(data, length, hash, NULL, EVP_sha256(), NULL) != 1)
        mem_exhausted();
    content->type = type;
    content->cache_control = cache_control;
    content->bytes = bytes_new((uint32_t)length);
    if (length > 0)
        memcpy(content->bytes->data, data, length);
    content->etag[0] = '"';
    text_hex(hash, ETAG_BYTES, content->etag + 1);
    memcpy(content->etag + 1 + 2 * ETAG_BYTES, "\"", 2);
}

void http_content_clear(struct http_content *content)
{
    bytes_unref(content->bytes);
    content->bytes = NULL;
}

static void add_fields(struct http_request *request, const struct http_content *content)
{
    http_add_field(request, "ETag", content->etag);
    http_add_field(request, "Accept-Ranges", "bytes");
    if (content->cache_control)
        http_add_field(request, "Cache-Control", content->cache_control);
}

static void serve_range(struct http_request *request, const struct http_content *content)
{
    uint64_t size = content->bytes->length, first = 0, last = size - 1;
    enum http_range range = http_request_range(request, content->etag, size, &first, &last);
    char words[80];
    struct slices body;
    slices_init(&body);
    if (range == HTTP_RANGE_UNSATISFIABLE) {
        snprintf(words, sizeof words, "bytes */%llu", (unsigned long long)size);
        http_add_field(request, "Content-Range", words);
        http_reply_slices(request, 416, &body);
        return;
    }
    if (range == HTTP_RANGE_PART) {
        snprintf(words, sizeof words, "bytes %llu-%llu/%llu", (unsigned long long)first, (unsigned long long)last,
                 (unsigned long long)size);
        http_add_field(request, "Content-Range", words);
    }
    http_add_field(request, "Content-Type", content->type);
    slices_add(&body, content->bytes, (uint32_t)first, (uint32_t)(size > 0 ? last - first + 1 : 0));
    http_reply_slices(request, range == HTTP_RANGE_PART ? 206 : 200, &body);
}

void http_content_serve(struct http_request *request, const struct http_content *content)
{
    if (!http_content_is_reading(request)) {
        http_add_field(request, "Allow", "GET, HEAD");
        http_reply(request, 405, NULL, NULL, 0);
        return;
    }
    unsigned status = http_precondition(request, content->etag);
    add_fields(request, content);
    if (status)
        http_reply(request, status, NULL, NULL, 0);
    else
        serve_range(request, content);
}
