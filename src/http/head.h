/*
 * The head of a request. llhttp parses it, line by line as it comes; what it parsed is judged here, and what is
 * not exactly right is refused: llhttp forgives some of what RFC 9112 leaves to the receiver, and its versions differ
 * in what they forgive. So a head must be, byte by byte, its parsed parts written out (no lone CR or LF, no folded
 * line, no space too many), with the bytes, the sizes and the fields that are allowed, and no field twice that must
 * not be. Statuses are those of HTTP: 0 is good, else what to answer.
 */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include <llhttp.h>

#include "http/server.h"

struct http_head_field {
    const char *name, *value;
};

/* A part of the head's text, not ended by a NUL. */
struct http_head_part {
    uint16_t at, length;
};

struct http_head {
    char *text;          /* HTTP_HEAD_MAX + 1 while a head is here; NULL else */
    uint32_t used, line; /* line: where the current one starts */
    unsigned lines;
    bool skipped_crlf, complete;
    bool bad_method; /* llhttp knows no such method; the rest of the line is awaited, so that the refusal can name it */

    /* What llhttp found. */
    struct {
        struct http_head_part method, target, version, names[HTTP_FIELDS_MAX], values[HTTP_FIELDS_MAX];
    } parts;
    unsigned field_count;
    bool chunked, has_length;
    uint64_t length;

    /* After http_head_judge(), all inside `text`. */
    const char *method, *path, *query, *host;
    unsigned minor; /* of HTTP/1.x */
    struct http_head_field fields[HTTP_FIELDS_MAX];
    bool expects_continue, close, keep_alive, upgrade;
};

void http_head_clear(struct http_head *head);
/* Takes bytes up to the end of the head; *status says what is wrong, if anything. The parser is made ready with the
 * first byte, and stands behind the head, paused, when it is complete. */
size_t http_head_input(struct http_head *head, llhttp_t *parser, const uint8_t *data, size_t length, unsigned *status);
/* Judges a complete head, and changes its text. */
unsigned http_head_judge(struct http_head *head);
const char *http_head_field(const struct http_head *head, const char *name, unsigned nth);
bool http_head_field_has(const struct http_head *head, const char *name, const char *token);

/* The target of the request, as it was sent and cut to fit, in whatever state the head is: to name
 * a request that is refused. "" if there is none yet. */
void http_head_target(const struct http_head *head, char *target, size_t size);

bool http_is_token(const char *text);
bool http_is_value(const char *text); /* no control byte but the tab */

#endif
