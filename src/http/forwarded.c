#include "http/forwarded.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"

#define NODE_MAX 64 /* "[IPv6]:port" */

struct hops {
    char host[FORWARDED_HOST_MAX]; /* of the first that says one; "" */
    struct sockaddr_storage at[FORWARDED_HOPS_MAX]; /* AF_UNSPEC: the hop does not say who ("unknown", "_name") */
    unsigned count;
};

static const char blanks[] = " \t";
static const char token[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* --- one address --- */

static bool is_port(const char *text)
{
    uint64_t port;
    return text_parse_uint(text, &port) && port <= UINT16_MAX;
}

/* An IPv4 address that is mapped into IPv6 is written as itself: it is the same client. */
static void http_forwarded_unmap(struct sockaddr_storage *address)
{
    struct sockaddr_in6 six;
    struct sockaddr_in four = {.sin_family = AF_INET};
    memcpy(&six, address, sizeof six);
    if (six.sin6_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&six.sin6_addr))
        return;
    memcpy(&four.sin_addr, six.sin6_addr.s6_addr + 12, sizeof four.sin_addr);
    memset(address, 0, sizeof *address);
    memcpy(address, &four, sizeof four);
}

/* "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80". */
static bool parse_node(char *text, struct sockaddr_storage *address)
{
    char *end = *text == '[' ? strchr(text, ']') : NULL, *colon = strchr(text, ':');
    if (*text == '[') {
        if (!end || (end[1] && (end[1] != ':' || !is_port(end + 2))))
            return false;
        *end = '\0';
        return strchr(text + 1, ':') && address_parse(text + 1, address);
    }
    if (colon && !strchr(colon + 1, ':')) {
        if (!is_port(colon + 1))
            return false;
        *colon = '\0';
    }
    return address_parse(text, address);
}

static bool is_hidden(const char *text)
{
    return strcasecmp(text, "unknown") == 0 || (*text == '_' && strspn(text, token) == strlen(text));
}

/* Adds a hop; `node` NULL: a hop that does not say who. */
static bool add_hop(struct hops *hops, char *node)
{
    if (hops->count == FORWARDED_HOPS_MAX)
        return false;
    struct sockaddr_storage *hop = &hops->at[hops->count++];
    memset(hop, 0, sizeof *hop);
    if (!node || is_hidden(node))
        return true;
    bool good = parse_node(node, hop);
    http_forwarded_unmap(hop);
    return good;
}

/* --- X-Forwarded-For --- */

static bool parse_list(const char *text, struct hops *hops)
{
    while (true) {
        char node[NODE_MAX];
        text += strspn(text, blanks);
        size_t length = strcspn(text, ","), used = length;
        while (used > 0 && strchr(blanks, text[used - 1]))
            used--;
        if (used == 0 || used >= sizeof node)
            return false;
        memcpy(node, text, used);
        node[used] = '\0';
        if (!add_hop(hops, node))
            return false;
        if (!text[length])
            return true;
        text += length + 1;
    }
}

/* --- Forwarded --- */

/* A token or a quoted string; false: neither, or a longer one than any host. */
static bool http_forwarded_take_value(const char **at, char value[FORWARDED_HOST_MAX])
{
    const char *text = *at;
    size_t used = 0;
    if (*text != '"') {
        used = strspn(text, token);
        if (used == 0 || used >= FORWARDED_HOST_MAX)
            return false;
        memcpy(value, text, used);
        text += used;
    } else {
        for (text++; *text && *text != '"'; text++) {
            text += *text == '\\';
            if (!*text || used == FORWARDED_HOST_MAX - 1)
                return false;
            value[used++] = *text;
        }
        if (*text++ != '"')
            return false;
    }
    value[used] = '\0';
    *at = text;
    return true;
}

static bool is_named_pair(const char *name, size_t length, const char *wanted)
{
    return length == strlen(wanted) && strncasecmp(name, wanted, length) == 0;
}

/* Takes one pair: "for=...", which gives `node`, "host=...", or another. */
static bool take_pair(const char **at, char node[NODE_MAX], bool *found, struct hops *hops)
{
    char value[FORWARDED_HOST_MAX];
    const char *name = *at;
    size_t length = strspn(name, token);
    *at = name + length + 1;
    if (length == 0 || name[length] != '=' || !http_forwarded_take_value(at, value))
        return false;
    bool is_for = is_named_pair(name, length, "for");
    if (is_for && (*found || strlen(value) >= NODE_MAX))
        return false;
    if (is_for)
        strcpy(node, value);
    if (is_named_pair(name, length, "host") && !*hops->host)
        strcpy(hops->host, value);
    *found = *found || is_for;
    return true;
}

static bool take_element(const char **at, struct hops *hops)
{
    char node[NODE_MAX];
    bool found = false;
    do {
        *at += strspn(*at, " \t;");
        if (!take_pair(at, node, &found, hops))
            return false;
        *at += strspn(*at, blanks);
    } while (**at == ';');
    return add_hop(hops, found ? node : NULL);
}

static bool parse_forwarded(const char *text, struct hops *hops)
{
    do {
        if (!take_element(&text, hops))
            return false;
    } while (*text++ == ',');
    return !text[-1];
}

/* --- who it is --- */

static bool find_client(const struct hops *hops, const struct address_prefixes *trusted, char client[ADDRESS_TEXT_MAX])
{
    const struct sockaddr *found = NULL;
    for (unsigned i = hops->count; i > 0 && hops->at[i - 1].ss_family != AF_UNSPEC; i--) {
        found = (const struct sockaddr *)&hops->at[i - 1];
        if (!address_prefixes_have(trusted, found))
            break;
    }
    if (found)
        address_text(found, client);
    return found;
}

bool forwarded_client(const char *forwarded, const char *x_forwarded_for, const struct address_prefixes *trusted,
                      char client[ADDRESS_TEXT_MAX])
{
    struct hops hops = {.count = 0}, others = {.count = 0};
    char other[ADDRESS_TEXT_MAX];
    bool one = forwarded && *forwarded, two = x_forwarded_for && *x_forwarded_for;
    if ((!one && !two) || (one && !(parse_forwarded(forwarded, &hops) && find_client(&hops, trusted, client))) ||
        (two && !(parse_list(x_forwarded_for, &others) && find_client(&others, trusted, other))))
        return false;
    if (one && two)
        return strcmp(client, other) == 0;
    if (two)
        memcpy(client, other, sizeof other);
    return true;
}

bool forwarded_host(const char *forwarded, const char *x_forwarded_host, char host[FORWARDED_HOST_MAX])
{
    struct hops hops = {.count = 0};
    const char *text = x_forwarded_host ? x_forwarded_host + strspn(x_forwarded_host, blanks) : "";
    size_t length = strcspn(text, " \t,");
    *host = '\0';
    if (forwarded && *forwarded && parse_forwarded(forwarded, &hops))
        strcpy(host, hops.host);
    if (!*host && length < FORWARDED_HOST_MAX) {
        memcpy(host, text, length);
        host[length] = '\0';
    }
    return *host;
}
