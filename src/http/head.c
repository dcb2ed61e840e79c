#include "http/head.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

/* --- gathering --- */

void http_head_clear(struct http_head *head)
{
    mem_free(head->text);
    *head = (struct http_head){.text = NULL};
}

static bool is_control(unsigned char c)
{
    return (c < 0x20 && c != '\t') || c == 0x7f;
}

static unsigned too_long(const struct http_head *head)
{
    return head->lines == 0 ? 414 : 431;
}

/* One byte; returns a status. */
static unsigned head_byte(struct http_head *head, unsigned char c)
{
    switch (head->state) {
    case HEAD_LINE_START:
        if (c == '\r') {
            head->state = HEAD_LAST_CR;
            return 0;
        }
        if (c == ' ' || c == '\t')
            return 400;
        head->line = head->used;
        head->state = HEAD_LINE;
        /* fall through */
    case HEAD_LINE:
        if (c == '\r')
            head->state = HEAD_CR;
        else if (is_control(c))
            return 400;
        return 0;
    case HEAD_CR:
        head->state = HEAD_LINE_START;
        head->lines++;
        return c != '\n' ? 400 : head->lines > HTTP_FIELDS_MAX + 1 ? 431 : 0;
    case HEAD_LAST_CR:
        head->state = HEAD_COMPLETE;
        return c == '\n' ? 0 : 400;
    case HEAD_COMPLETE:
        break;
    }
    return 400;
}

size_t http_head_input(struct http_head *head, const uint8_t *data, size_t length, unsigned *status)
{
    size_t done = 0;
    *status = 0;
    if (!head->text)
        head->text = mem_alloc(HTTP_HEAD_MAX + 1);
    while (done < length && *status == 0 && head->state != HEAD_COMPLETE) {
        if (head->used == HTTP_HEAD_MAX) {
            *status = too_long(head);
            break;
        }
        *status = head_byte(head, data[done]);
        head->text[head->used++] = (char)data[done++];
        if (*status == 0 && head->state == HEAD_LINE && head->used - head->line > HTTP_LINE_MAX)
            *status = too_long(head);
        if (head->state == HEAD_COMPLETE && head->lines == 0 && *status == 0) {
            /* RFC 9112 2.2: one empty line before a request is ignored. */
            *status = head->skipped_crlf ? 400 : 0;
            head->skipped_crlf = true;
            head->used = 0;
            head->state = HEAD_LINE_START;
        }
    }
    return done;
}

/* --- one that is refused --- */

static bool ends_word(char c)
{
    return c == ' ' || c == '\r' || c == '\n' || c == 0; /* parsing ends words with a NUL */
}

void http_head_target(const struct http_head *head, char *target, size_t size)
{
    uint32_t at = 0, used = head->text ? head->used : 0;
    size_t length = 0;
    while (at < used && !ends_word(head->text[at]))
        at++;
    for (at++; at < used && length + 1 < size && !ends_word(head->text[at]); at++)
        target[length++] = head->text[at];
    target[length] = 0;
}

/* --- characters --- */

static bool is_token_char(unsigned char c)
{
    return isalnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

bool http_is_token(const char *text)
{
    const char *p = text;
    while (is_token_char((unsigned char)*p))
        p++;
    return p > text && *p == 0;
}

bool http_is_value(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (is_control(*p))
            return false;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* --- the target --- */

/* Percent-decodes in place. What would be a separator or a control byte once decoded is refused. */
static bool percent_decode(char *text)
{
    char *to = text;
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '%') {
            int high = hex_digit(p[1]), low = high < 0 ? -1 : hex_digit(p[2]);
            if (low < 0)
                return false;
            c = (unsigned char)(high * 16 + low);
            p += 2;
            if (c == '/')
                return false;
        }
        if (c == 0 || c == '\\' || c == '\t' || is_control(c))
            return false;
        *to++ = (char)c;
    }
    *to = 0;
    return true;
}

/* Drops empty and "." segments; ".." is refused. */
static bool clean_segments(char *path)
{
    char *to = path;
    for (const char *p = path; *p;) {
        while (*p == '/')
            p++;
        size_t length = strcspn(p, "/");
        if (length == 2 && p[0] == '.' && p[1] == '.')
            return false;
        bool dot = length == 1 && *p == '.';
        if (length == 0 || (dot && !p[1])) { /* the end, as a folder */
            *to++ = '/';
            break;
        }
        if (!dot) {
            *to++ = '/';
            memmove(to, p, length);
            to += length;
        }
        p += length;
    }
    *to = 0;
    return true;
}

bool http_path_decode(char *path)
{
    return path[0] == '/' && percent_decode(path) && clean_segments(path);
}

static bool is_target(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p <= 0x20 || *p >= 0x7f || strchr("\"<>#", *p))
            return false;
    return true;
}

/* uri-host [ ":" port ], RFC 9110 7.2. */
static bool is_host(const char *text)
{
    size_t length;
    if (*text == '[') {
        length = 1 + strspn(text + 1, "0123456789abcdefABCDEF:.");
        if (length == 1 || text[length++] != ']')
            return false;
    } else {
        length = 0;
        while (isalnum((unsigned char)text[length]) || (text[length] && strchr("-._~!$&'()*+,;=", text[length])))
            length++;
    }
    if (length == 0 || text[length] == 0)
        return length > 0;
    const char *port = text + length + 1;
    return text[length] == ':' && strlen(port) <= 5 && port[strspn(port, "0123456789")] == 0;
}

/* origin-form, absolute-form, or "*" for OPTIONS. The authority of an absolute one must be that of Host. */
static unsigned parse_target(struct http_head *head, char *target)
{
    if (!is_target(target))
        return 400;
    if (strcmp(target, "*") == 0 && strcmp(head->method, "OPTIONS") == 0) {
        head->path = target;
        head->query = "";
        return 0;
    }
    if (target[0] != '/') {
        size_t scheme = strncasecmp(target, "http://", 7) == 0 ? 7 : strncasecmp(target, "https://", 8) == 0 ? 8 : 0;
        size_t authority = strcspn(target + scheme, "/?");
        if (scheme == 0 || strlen(head->host) != authority || strncasecmp(head->host, target + scheme, authority) != 0)
            return 400;
        target += scheme + authority;
        if (*target != '/') { /* an empty path; its place is taken from the authority */
            target--;
            *target = '/';
        }
    }
    char *query = strchr(target, '?');
    if (query)
        *query++ = 0;
    head->query = query ? query : "";
    head->path = target;
    return http_path_decode(target) ? 0 : 400;
}

/* --- the fields --- */

static char *cut_line(char **next)
{
    char *line = *next, *end = strstr(line, "\r\n");
    *end = 0;
    *next = end + 2;
    return line;
}

static unsigned parse_field(struct http_head *head, char *line)
{
    char *colon = strchr(line, ':');
    if (!colon || head->field_count == HTTP_FIELDS_MAX)
        return colon ? 431 : 400;
    *colon = 0;
    char *value = colon + 1, *end = value + strlen(value);
    value += strspn(value, " \t");
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        *--end = 0;
    head->fields[head->field_count++] = (struct http_head_field){line, value};
    return http_is_token(line) ? 0 : 400;
}

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

/* Two of these would mean that two readers of one request may see different ones. */
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

static unsigned parse_length(struct http_head *head)
{
    const char *length = http_head_field(head, "Content-Length", 0);
    const char *coding = http_head_field(head, "Transfer-Encoding", 0);
    if (coding) { /* RFC 9112 6.1: with a length too, or from 1.0, it is an attack or a fault */
        head->chunked = true;
        return length || head->minor == 0 || strcasecmp(coding, "chunked") != 0 ? 400 : 0;
    }
    if (!length)
        return 0;
    if (!*length || length[strspn(length, "0123456789")] != 0)
        return 400;
    head->has_length = true;
    errno = 0;
    head->length = strtoull(length, NULL, 10);
    return errno == ERANGE || head->length > INT64_MAX ? 413 : 0;
}

static unsigned parse_meaning(struct http_head *head)
{
    const char *expect = http_head_field(head, "Expect", 0);
    const char *host = http_head_field(head, "Host", 0);
    if (has_repeats(head) || (!host && head->minor > 0) || (host && *host && !is_host(host)))
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
    return parse_length(head);
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

/* "HTTP/1.0" or "HTTP/1.1"; another version of the same form is 505. */
static unsigned parse_version(struct http_head *head, const char *version)
{
    if (strncmp(version, "HTTP/", 5) != 0 || !isdigit((unsigned char)version[5]) || version[6] != '.' ||
        !isdigit((unsigned char)version[7]) || version[8])
        return 400;
    head->minor = version[7] == '0' ? 0 : 1;
    return version[5] == '1' && version[7] <= '1' ? 0 : 505;
}

unsigned http_head_parse(struct http_head *head)
{
    head->text[head->used] = 0;
    char *next = head->text, *line = cut_line(&next), *target = strchr(line, ' ');
    char *version = target ? strchr(target + 1, ' ') : NULL;
    if (!version)
        return 400;
    *target++ = 0;
    *version++ = 0;
    head->method = line;
    unsigned status = http_is_token(line) && *target ? parse_version(head, version) : 400;
    if (status == 0 && !is_known_method(line))
        status = 501;
    while (status == 0 && *next != '\r')
        status = parse_field(head, cut_line(&next));
    if (status == 0)
        status = parse_meaning(head);
    return status ? status : parse_target(head, target);
}
