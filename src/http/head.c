#include "http/head.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "http/target.h"

#define UINT64_DIGITS 20

/* --- characters --- */

static bool is_token_char(unsigned char c)
{
    return isalnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!is_token_char((unsigned char)text[i]))
            return false;
    return length > 0;
}

bool http_is_token(const char *text)
{
    return is_token(text, strlen(text));
}

bool http_is_value(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (http_is_control(*p))
            return false;
    return true;
}

/* --- what llhttp finds --- */

static struct http_head *head_of(llhttp_t *parser)
{
    return parser->data;
}

/* Pieces of one part follow each other in the text; one that does not is a folded line's, and fails is_as_parsed(). */
static int head_extend(const struct http_head *head, struct http_head_part *part, const char *data, size_t length)
{
    size_t at = (size_t)(data - head->text);
    if (part->length == 0)
        part->at = (uint16_t)at;
    if (at == (size_t)part->at + part->length)
        part->length = (uint16_t)(part->length + length);
    return 0;
}

static int on_method(llhttp_t *parser, const char *data, size_t length)
{
    return head_extend(head_of(parser), &head_of(parser)->parts.method, data, length);
}

static int on_url(llhttp_t *parser, const char *data, size_t length)
{
    return head_extend(head_of(parser), &head_of(parser)->parts.target, data, length);
}

static int on_version(llhttp_t *parser, const char *data, size_t length)
{
    return head_extend(head_of(parser), &head_of(parser)->parts.version, data, length);
}

static int on_http_head_name(llhttp_t *parser, const char *data, size_t length)
{
    struct http_head *head = head_of(parser);
    return head->field_count < HTTP_FIELDS_MAX ? head_extend(head, &head->parts.names[head->field_count], data, length) : 0;
}

static int on_name_complete(llhttp_t *parser)
{
    struct http_head *head = head_of(parser);
    return head->field_count++ < HTTP_FIELDS_MAX ? 0 : -1;
}

static int on_http_head_value(llhttp_t *parser, const char *data, size_t length)
{
    struct http_head *head = head_of(parser);
    return head_extend(head, &head->parts.values[head->field_count - 1], data, length);
}

static int on_complete(llhttp_t *parser)
{
    struct http_head *head = head_of(parser);
    head->complete = true;
    head->chunked = parser->flags & F_CHUNKED;
    head->has_length = parser->flags & F_CONTENT_LENGTH;
    head->length = head->has_length ? parser->content_length : 0;
    return HPE_PAUSED;
}

static const llhttp_settings_t *head_settings(void)
{
    static llhttp_settings_t s;
    if (!s.on_headers_complete) {
        llhttp_settings_init(&s);
        s.on_method = on_method;
        s.on_url = on_url;
        s.on_version = on_version;
        s.on_header_field = on_http_head_name;
        s.on_header_field_complete = on_name_complete;
        s.on_header_value = on_http_head_value;
        s.on_headers_complete = on_complete;
    }
    return &s;
}

/* --- gathering --- */

void http_head_clear(struct http_head *head)
{
    mem_free(head->text);
    *head = (struct http_head){.text = NULL};
}

static unsigned http_head_too_long(const struct http_head *head)
{
    return head->lines == 0 ? 414 : 431;
}

static bool is_our_version(const struct http_head *head)
{
    const char *version = head->text + head->parts.version.at;
    return head->parts.version.length == 3 && (memcmp(version, "1.0", 3) == 0 || memcmp(version, "1.1", 3) == 0);
}

/* A length that llhttp can't count; anything else that is no length ends earlier. */
static bool ends_in_digits(const struct http_head *head, unsigned count)
{
    unsigned found = 0;
    while (found < count && found < head->used && isdigit((unsigned char)head->text[head->used - 1 - found]))
        found++;
    return found == count;
}

/* Cuts the text where llhttp stopped, and gives the status for its error. */
static unsigned http_head_status_of(struct http_head *head, llhttp_errno_t error)
{
    switch (error) {
    case HPE_OK:
    case HPE_PAUSED:
        return 0;
    case HPE_INVALID_METHOD:
        head->bad_method = true;
        return 0;
    case HPE_INVALID_VERSION: /* a version that llhttp does not know, or no version */
        return head->parts.version.length == 3 && !is_our_version(head) ? 505 : 400;
    case HPE_PAUSED_H2_UPGRADE:
        return 505;
    case HPE_CB_HEADER_FIELD_COMPLETE:
        return 431;
    case HPE_INVALID_CONTENT_LENGTH:
        return ends_in_digits(head, UINT64_DIGITS) ? 413 : 400;
    default:
        return 400;
    }
}

/* `length` bytes behind the text; returns how many of them it has now. */
static size_t head_parse(struct http_head *head, llhttp_t *parser, size_t length, unsigned *status)
{
    const char *from = head->text + head->used;
    llhttp_errno_t error = llhttp_execute(parser, from, length);
    size_t done = error == HPE_OK ? length : (size_t)(llhttp_get_error_pos(parser) - from);
    head->used += (uint32_t)done;
    *status = http_head_status_of(head, error);
    return done;
}

/* The rest of a line whose method llhttp does not know, as far as it could be a request's. */
static size_t pass_over(struct http_head *head, size_t length, unsigned *status)
{
    bool in_method = !memchr(head->text, ' ', head->used);
    size_t done = 0;
    while (done < length && *status == 0) {
        unsigned char c = (unsigned char)head->text[head->used];
        bool ends_line = c == '\r' || c == '\n', ends_method = in_method && head->used > 0 && c == ' ';
        if (!ends_line && !ends_method && (in_method ? !is_token_char(c) : http_is_control(c)))
            *status = 400;
        in_method = in_method && !ends_method;
        head->used++;
        done++;
    }
    return done;
}

/* RFC 9112 2.2: one empty line before a request is ignored. */
static unsigned skip_empty_line(struct http_head *head)
{
    unsigned status = head->skipped_crlf || head->used != 2 ? 400 : 0;
    head->skipped_crlf = true;
    head->used = 0;
    return status;
}

/* The line begins like a request, but with a method that nobody knows. */
static bool names_a_method(const struct http_head *head)
{
    size_t length = strcspn(head->text, " \r\n");
    return head->text[length] == ' ' && is_token(head->text, length);
}

/* Takes bytes of one line, at most up to its end. */
static size_t line_input(struct http_head *head, llhttp_t *parser, const uint8_t *data, size_t length, unsigned *status)
{
    size_t room = HTTP_HEAD_MAX - head->used, line_room = HTTP_LINE_MAX + 2 - (head->used - head->line);
    room = room < line_room ? room : line_room;
    if (room == 0) {
        *status = http_head_too_long(head);
        return 0;
    }
    const uint8_t *end = memchr(data, '\n', length < room ? length : room);
    size_t part = end ? (size_t)(end - data) + 1 : length < room ? length : room;
    memcpy(head->text + head->used, data, part);
    size_t done = head->bad_method ? pass_over(head, part, status) : head_parse(head, parser, part, status);
    if (*status || done < part || !end)
        return done;
    if (head->bad_method)
        *status = names_a_method(head) ? 501 : 400;
    else if (head->parts.method.length == 0)
        *status = skip_empty_line(head);
    else
        head->lines++;
    head->line = head->used;
    return done;
}

size_t http_head_input(struct http_head *head, llhttp_t *parser, const uint8_t *data, size_t length, unsigned *status)
{
    size_t done = 0;
    *status = 0;
    if (!head->text) {
        head->text = mem_alloc(HTTP_HEAD_MAX + 1);
        llhttp_init(parser, HTTP_REQUEST, head_settings());
        parser->data = head;
    }
    while (done < length && *status == 0 && !head->complete)
        done += line_input(head, parser, data + done, length - done, status);
    return done;
}

/* --- one that is refused --- */

static bool head_ends_word(char c)
{
    return c == ' ' || c == '\r' || c == '\n' || c == 0; /* parsing ends words with a NUL */
}

void http_head_target(const struct http_head *head, char *target, size_t size)
{
    uint32_t at = 0, used = head->text ? head->used : 0;
    size_t length = 0;
    while (at < used && !head_ends_word(head->text[at]))
        at++;
    for (at++; at < used && length + 1 < size && !head_ends_word(head->text[at]); at++)
        target[length++] = head->text[at];
    target[length] = 0;
}

/* --- the fields --- */

const char *http_head_field(const struct http_head *head, const char *name, unsigned nth)
{
    for (unsigned i = 0; i < head->field_count; i++)
        if (strcasecmp(head->fields[i].name, name) == 0 && nth-- == 0)
            return head->fields[i].value;
    return NULL;
}

static bool list_has(const char *list, const char *token)
{
    size_t length = strlen(token);
    for (const char *p = list; *p;) {
        p += strspn(p, " \t,");
        size_t part = strcspn(p, ","), trimmed = part;
        while (trimmed > 0 && (p[trimmed - 1] == ' ' || p[trimmed - 1] == '\t'))
            trimmed--;
        if (trimmed == length && strncasecmp(p, token, length) == 0)
            return true;
        p += part;
    }
    return false;
}

bool http_head_field_has(const struct http_head *head, const char *name, const char *token)
{
    for (unsigned i = 0; i < head->field_count; i++)
        if (strcasecmp(head->fields[i].name, name) == 0 && list_has(head->fields[i].value, token))
            return true;
    return false;
}

/* If one of these fields came twice, two readers of the request might see different values. */
static bool has_repeats(const struct http_head *head)
{
    static const char *const single[] = {"Host",
                                         "Content-Length",
                                         "Transfer-Encoding",
                                         "Content-Type",
                                         "Content-Range",
                                         "Content-Encoding",
                                         "Expect",
                                         "Authorization",
                                         "X-Auth-Token",
                                         "X-XSRF-TOKEN",
                                         "Cookie",
                                         "Origin",
                                         "Referer",
                                         "User-Agent",
                                         "Range",
                                         "If-Range",
                                         "If-Modified-Since",
                                         "If-Unmodified-Since",
                                         "Sec-WebSocket-Key",
                                         "Sec-WebSocket-Version"};
    for (size_t i = 0; i < sizeof single / sizeof single[0]; i++)
        if (http_head_field(head, single[i], 1))
            return true;
    return false;
}

/* What llhttp took the framing for must be what the fields say, with nothing beside it. */
static unsigned judge_framing(const struct http_head *head)
{
    const char *length = http_head_field(head, "Content-Length", 0);
    const char *coding = http_head_field(head, "Transfer-Encoding", 0);
    if (head->chunked != (coding != NULL) || head->has_length != (length != NULL))
        return 400;
    if (coding) /* RFC 9112 6.1: with a length too, or from 1.0, it is an attack or a fault */
        return length || head->minor == 0 || strcasecmp(coding, "chunked") != 0 ? 400 : 0;
    if (length && (!*length || length[strspn(length, "0123456789")] != 0))
        return 400;
    return head->length > INT64_MAX ? 413 : 0;
}

static unsigned judge_fields(struct http_head *head)
{
    const char *expect = http_head_field(head, "Expect", 0);
    const char *host = http_head_field(head, "Host", 0);
    if (has_repeats(head) || (!host && head->minor > 0) || (host && *host && !http_is_host(host)))
        return 400;
    head->host = host ? host : "";
    if (head->minor > 0 && !*head->host)
        return 400;
    if (expect && head->minor > 0) {
        if (strcasecmp(expect, "100-continue") != 0)
            return 417;
        head->expects_continue = true;
    }
    head->close = http_head_field_has(head, "Connection", "close");
    head->keep_alive = !head->close && (head->minor > 0 || http_head_field_has(head, "Connection", "keep-alive"));
    head->upgrade = head->minor > 0 && http_head_field_has(head, "Connection", "upgrade") &&
                    http_head_field(head, "Upgrade", 0) && !http_head_field(head, "Upgrade", 1);
    return judge_framing(head);
}

/* --- the request line --- */

static bool is_known_method(const char *method)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(method, known[i]) == 0)
            return true;
    return false;
}

/* --- the whole --- */

/* The place behind the bytes, if they stand at `at`; else NULL. */
static const char *behind(const char *at, const char *bytes, size_t length)
{
    return at && strncmp(at, bytes, length) == 0 ? at + length : NULL;
}

static const char *behind_part(const struct http_head *head, const char *at, const struct http_head_part *part)
{
    return part->length == 0 ? at : at == head->text + part->at ? at + part->length : NULL;
}

static const char *behind_spaces(const char *at)
{
    return at ? at + strspn(at, " \t") : NULL;
}

/* Is the text nothing but the parts that llhttp found, as RFC 9112 writes them? Then it was not lenient. */
static bool is_as_parsed(const struct http_head *head)
{
    const char *at = behind_part(head, head->text, &head->parts.method);
    at = behind_part(head, behind(at, " ", 1), &head->parts.target);
    at = behind_part(head, behind(at, " HTTP/", 6), &head->parts.version);
    at = behind(at, "\r\n", 2);
    for (unsigned i = 0; i < head->field_count; i++) {
        at = behind(behind_part(head, at, &head->parts.names[i]), ":", 1);
        at = behind_spaces(behind_part(head, behind_spaces(at), &head->parts.values[i]));
        at = behind(at, "\r\n", 2);
    }
    return behind(at, "\r\n", 2) == head->text + head->used;
}

/* Ends a part with a NUL, in the place of what is behind it, without the spaces at its end. */
static char *http_head_cut(struct http_head *head, const struct http_head_part *part)
{
    size_t length = part->length;
    char *start = head->text + part->at;
    while (length > 0 && (start[length - 1] == ' ' || start[length - 1] == '\t'))
        length--;
    start[length] = 0;
    return start;
}

static unsigned cut_fields(struct http_head *head)
{
    for (unsigned i = 0; i < head->field_count; i++) {
        bool empty = head->parts.values[i].length == 0; /* llhttp gives no place for it */
        head->fields[i] = (struct http_head_field){http_head_cut(head, &head->parts.names[i]),
                                                   empty ? "" : http_head_cut(head, &head->parts.values[i])};
        if (!http_is_token(head->fields[i].name) || !http_is_value(head->fields[i].value))
            return 400;
    }
    return 0;
}

unsigned http_head_judge(struct http_head *head)
{
    head->text[head->used] = 0;
    if (!is_as_parsed(head))
        return 400;
    if (!is_our_version(head))
        return 505;
    head->minor = head->text[head->parts.version.at + 2] == '0' ? 0 : 1;
    head->method = http_head_cut(head, &head->parts.method);
    char *target = http_head_cut(head, &head->parts.target);
    if (!is_known_method(head->method))
        return 501;
    unsigned status = cut_fields(head);
    if (status == 0)
        status = judge_fields(head);
    if (status != 0)
        return status;
    struct http_target found;
    if (!http_target_read(&found, target, head->method, head->host))
        return 400;
    head->path = found.path;
    head->query = found.query;
    return 0;
}
