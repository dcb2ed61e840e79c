#include "http/target.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

/* Percent-decodes in place. What would be a separator or a control byte once decoded is refused. */
static bool http_target_percent_decode(char *text)
{
    char *to = text;
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '%') {
            int byte = text_percent_byte(p);
            if (byte < 0 || byte == '/')
                return false;
            c = (unsigned char)byte;
            p += 2;
        }
        if (c == 0 || c == '\\' || c == '\t' || http_is_control(c))
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

/* Decodes and cleans the path in place; false: the request must be refused. */
static bool path_decode(char *path)
{
    return path[0] == '/' && http_target_percent_decode(path) && clean_segments(path);
}

static bool is_target(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p <= 0x20 || *p >= 0x7f || strchr("\"<>#", *p))
            return false;
    return true;
}

/* uri-host [ ":" port ], RFC 9110 7.2. */
bool http_is_host(const char *text)
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

/* The authority of an absolute target must be that of Host. Gives its path; NULL: it is no absolute target, or one of
 * another host. */
static char *path_of_absolute(char *target, const char *host)
{
    size_t scheme = strncasecmp(target, "http://", 7) == 0 ? 7 : strncasecmp(target, "https://", 8) == 0 ? 8 : 0;
    size_t authority = strcspn(target + scheme, "/?");
    if (scheme == 0 || strlen(host) != authority || strncasecmp(host, target + scheme, authority) != 0)
        return NULL;
    target += scheme + authority;
    if (*target != '/') { /* an empty path; its place is taken from the authority */
        target--;
        *target = '/';
    }
    return target;
}

bool http_target_read(struct http_target *to, char *target, const char *method, const char *host)
{
    if (!is_target(target))
        return false;
    *to = (struct http_target){.path = target, .query = ""};
    if (strcmp(target, "*") == 0 && strcmp(method, "OPTIONS") == 0)
        return true;
    char *path = *target == '/' ? target : path_of_absolute(target, host);
    char *query = path ? strchr(path, '?') : NULL;
    if (query)
        *query++ = 0;
    if (query)
        to->query = query;
    to->path = path;
    return path && path_decode(path);
}
