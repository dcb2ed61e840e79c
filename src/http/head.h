/*
 * The head of a request: gathered byte by byte and checked as it comes, then
 * taken apart in place. No state of any library is in here. What RFC 9112
 * leaves to the receiver is refused: lone CR or LF, control bytes, folded
 * lines, space before the colon, repeated fields that must not be.
 * Statuses are those of HTTP: 0 is good, else what to answer.
 */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include "http/server.h"

struct http_head_field {
    const char *name, *value;
};

enum http_head_state { HEAD_LINE_START, HEAD_LINE, HEAD_CR, HEAD_LAST_CR, HEAD_COMPLETE };

struct http_head {
    char *text;          /* HTTP_HEAD_MAX + 1 while a head is here; NULL else */
    uint32_t used, line; /* line: where the current one starts */
    enum http_head_state state;
    unsigned lines;
    bool skipped_crlf;

    /* After http_head_parse(), all inside `text`. */
    const char *method, *path, *query, *host;
    unsigned minor; /* of HTTP/1.x */
    struct http_head_field fields[HTTP_FIELDS_MAX];
    unsigned field_count;
    bool chunked, has_length, expects_continue, close, keep_alive, upgrade;
    uint64_t length;
};

void http_head_clear(struct http_head *head);
/* Takes bytes up to the end of the head; *status says what is wrong, if anything. */
size_t http_head_input(struct http_head *head, const uint8_t *data, size_t length, unsigned *status);
/* Takes a complete head apart; the text is changed. */
unsigned http_head_parse(struct http_head *head);
const char *http_head_field(const struct http_head *head, const char *name, unsigned nth);
bool http_head_field_has(const struct http_head *head, const char *name, const char *token);

/* The target of the request, as it was sent and cut to fit, in whatever state the head is: for what
 * is said of one that is refused. "" if there is none yet. */
void http_head_target(const struct http_head *head, char *target, size_t size);

/* Decodes and cleans the path of a target in place: false if it must be refused. */
bool http_path_decode(char *path);
bool http_is_token(const char *text);
bool http_is_value(const char *text); /* no control byte but the tab */

#endif
