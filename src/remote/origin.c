#include "remote/origin.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define HOST_MAX 256

/* --- paths --- */

/* Decodes %XX in place; a percent sign that begins no %XX stays. Gives how many were decoded; -1: one stands for a zero
 * byte. */
static int remote_origin_decode(char *text)
{
    char *to = text;
    int count = 0;
    for (const char *from = text; *from; from++) {
        int byte = text_percent_byte(from);
        if (byte == 0)
            return -1;
        *to++ = byte < 0 ? *from : (char)byte;
        from += byte < 0 ? 0 : 2;
        count += byte >= 0;
    }
    *to = '\0';
    return count;
}

/* Decodes again and again, as servers in a row may do, and takes a backslash for a slash. False: a zero byte. */
static bool decode_all(char *text)
{
    int count;
    do
        count = remote_origin_decode(text);
    while (count > 0);
    for (char *c = text; *c; c++)
        *c = *c == '\\' ? '/' : *c;
    return count == 0;
}

static char *append_name(char *to, const char *name)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    *to++ = '/';
    for (; *name; name++) {
        if (strchr(plain, *name))
            *to++ = *name;
        else
            to += sprintf(to, "%%%02X", (unsigned char)*name);
    }
    *to = '\0';
    return to;
}

static char *drop_name(char *path, char *end)
{
    while (end > path && *--end != '/')
        ;
    *end = '\0';
    return end;
}

/* Adds one name to the path: "" and "." add nothing, and ".." takes the name before it away. */
static bool remote_origin_take_name(char *path, char **end, char *name, bool loose)
{
    if (!loose && remote_origin_decode(name) < 0)
        return false;
    size_t length = loose ? strcspn(name, ";") : strlen(name); /* some servers drop what is behind a semicolon */
    if (length == 0 || (length == 1 && *name == '.'))
        return true;
    if (length == 2 && name[0] == '.' && name[1] == '.')
        *end = drop_name(path, *end);
    else
        *end = append_name(*end, name);
    return true;
}

/* The path as in struct origin; `loose` picks which one. NULL: there is a zero byte in the text. */
static char *clean_path(const char *text, bool loose)
{
    char *copy = mem_strdup(text), *path = mem_alloc(3 * strlen(text) + 2), *end = path, *rest = copy, *name;
    bool good = !loose || decode_all(copy);
    while (good && (name = strsep(&rest, "/")))
        good = remote_origin_take_name(path, &end, name, loose);
    mem_free_secret(copy);
    if (good)
        return path;
    mem_free(path);
    return NULL;
}

/* --- the server --- */

static char *url_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    if (curl_url_get(url, part, &text, 0) != CURLUE_OK)
        return NULL;
    char *copy = mem_strdup(text);
    curl_free(text);
    return copy;
}

/* Gives an IPv6 address its one spelling; `zone` may be NULL. */
static bool same_spelling(char host[HOST_MAX], const char *address, const char *zone)
{
    char plain[HOST_MAX], text[INET6_ADDRSTRLEN];
    struct in6_addr six;
    snprintf(plain, sizeof plain, "%.*s", (int)strcspn(address, "]%"), address);
    if (inet_pton(AF_INET6, plain, &six) != 1)
        return false;
    inet_ntop(AF_INET6, &six, text, sizeof text);
    snprintf(host, HOST_MAX, "%s%s%.*s", text, zone ? "%" : "", IF_NAMESIZE, zone ? zone : "");
    return true;
}

static bool take_name_of_host(char host[HOST_MAX], const char *name)
{
    size_t length = strlen(name);
    length -= length > 0 && name[length - 1] == '.';
    if (length == 0 || length >= HOST_MAX)
        return false;
    for (size_t i = 0; i < length; i++)
        host[i] = (char)tolower((unsigned char)name[i]);
    host[length] = '\0';
    return true;
}

static bool origin_take_host(struct origin *origin, CURLU *url)
{
    char *name = url_part(url, CURLUPART_HOST), *zone = url_part(url, CURLUPART_ZONEID), host[HOST_MAX];
    bool good = name && (*name == '[' ? same_spelling(host, name + 1, zone) : take_name_of_host(host, name));
    origin->host = good ? mem_strdup(host) : NULL;
    mem_free(name);
    mem_free(zone);
    return good;
}

static bool origin_take_port(struct origin *origin, CURLU *url)
{
    static const uint16_t standard[] = {[LOCATION_HTTPS] = 443, [LOCATION_HTTP] = 80,  [LOCATION_FTPS] = 990,
                                        [LOCATION_FTP] = 21,    [LOCATION_SFTP] = 22,  [LOCATION_NFS] = 2049,
                                        [LOCATION_SMB] = 445};
    char *port = url_part(url, CURLUPART_PORT);
    origin->port = port ? (uint16_t)strtoul(port, NULL, 10) : standard[origin->kind];
    mem_free(port);
    return origin->port > 0;
}

static bool origin_take_path(struct origin *origin, CURLU *url, bool server)
{
    char *path = server ? mem_strdup("") : url_part(url, CURLUPART_PATH);
    origin->path = path ? clean_path(path, false) : NULL;
    origin->loose = path ? clean_path(path, true) : NULL;
    mem_free(path);
    return origin->path && origin->loose;
}

static bool read_text(struct origin *origin, const char *text, bool server)
{
    char problem[LOCATION_ERROR_MAX], *plain = location_url(text, problem);
    CURLU *url = plain ? curl_url() : NULL;
    *origin = (struct origin){.kind = location_kind(text)};
    bool good = url &&
                curl_url_set(url, CURLUPART_URL, plain, CURLU_NON_SUPPORT_SCHEME | CURLU_PATH_AS_IS) == CURLUE_OK &&
                origin_take_host(origin, url) && origin_take_port(origin, url) && origin_take_path(origin, url, server);
    curl_url_cleanup(url);
    mem_free_secret(plain);
    if (!good)
        origin_clear(origin);
    return good;
}

bool origin_read(struct origin *origin, const char *text)
{
    return read_text(origin, text, false);
}

bool origin_read_server(struct origin *origin, const char *text)
{
    return read_text(origin, text, true);
}

const char *origin_problem(const char *text)
{
    struct origin origin;
    if (strpbrk(text, "?#"))
        return "an origin ends with a path, without ? and #";
    if (!origin_read(&origin, text))
        return "expected SCHEME://HOST[:PORT][/PATH], without a user";
    origin_clear(&origin);
    return NULL;
}

void origin_clear(struct origin *origin)
{
    mem_free(origin->host);
    mem_free(origin->path);
    mem_free(origin->loose);
    *origin = (struct origin){.kind = LOCATION_UNKNOWN};
}

/* --- what belongs to an origin --- */

static bool remote_origin_is_below(const char *path, const char *top)
{
    size_t length = strlen(top);
    return strncmp(path, top, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

bool origin_holds(const struct origin *origin, const struct origin *url)
{
    return origin->kind != LOCATION_UNKNOWN && origin->kind == url->kind && origin->port == url->port &&
           strcmp(origin->host, url->host) == 0 && remote_origin_is_below(url->path, origin->path) &&
           remote_origin_is_below(url->loose, origin->loose);
}

bool origin_covers(const struct origin *origin, const char *url)
{
    struct origin other;
    bool covers = origin_read(&other, url) && origin_holds(origin, &other);
    origin_clear(&other);
    return covers;
}

unsigned origin_depth(const struct origin *origin)
{
    unsigned depth = 0;
    for (const char *c = origin->path; c && *c; c++)
        depth += *c == '/';
    return depth;
}
