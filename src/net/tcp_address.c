/* Addresses with ports as text: see net/tcp_listener.h. */
#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/text.h"
#include "net/tcp_listener.h"

static bool tcp_address_parse_port(const char *text, in_port_t *port)
{
    uint64_t value;
    if (!text_parse_uint(text, &value) || value > UINT16_MAX)
        return false;
    *port = htons((uint16_t)value);
    return true;
}

static bool parse_ipv6(char *host, struct sockaddr_in6 *in6)
{
    char *scope = strchr(host, '%');
    if (scope) {
        *scope++ = 0;
        in6->sin6_scope_id = if_nametoindex(scope);
        if (in6->sin6_scope_id == 0)
            return false;
    }
    in6->sin6_family = AF_INET6;
    return inet_pton(AF_INET6, host, &in6->sin6_addr) == 1;
}

bool tcp_address_parse(const char *text, struct sockaddr_storage *address)
{
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)address;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)address;
    char host[TCP_ADDRESS_SIZE];
    const char *colon = strrchr(text, ':');
    memset(address, 0, sizeof *address);
    if (!colon || (size_t)(colon - text) >= sizeof host)
        return false;
    size_t length = (size_t)(colon - text);
    memcpy(host, text, length);
    host[length] = 0;
    if (strcmp(host, "*") == 0) {
        in6->sin6_family = AF_INET6;
        return tcp_address_parse_port(colon + 1, &in6->sin6_port);
    }
    if (host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = 0;
        return parse_ipv6(host + 1, in6) && tcp_address_parse_port(colon + 1, &in6->sin6_port);
    }
    in->sin_family = AF_INET;
    return inet_pton(AF_INET, host, &in->sin_addr) == 1 && tcp_address_parse_port(colon + 1, &in->sin_port);
}

void tcp_address_unmap(const struct sockaddr_storage *from, struct sockaddr_storage *to)
{
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)from;
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)to;
    *to = *from;
    if (from->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
        return;
    memset(to, 0, sizeof *to);
    in->sin_family = AF_INET;
    in->sin_port = in6->sin6_port;
    memcpy(&in->sin_addr, in6->sin6_addr.s6_addr + 12, sizeof in->sin_addr);
}

void tcp_address_text(const struct sockaddr_storage *address, char text[TCP_ADDRESS_SIZE])
{
    struct sockaddr_storage plain;
    char host[INET6_ADDRSTRLEN] = "", scope[IF_NAMESIZE + 1] = "";
    tcp_address_unmap(address, &plain);
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)&plain;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)&plain;
    if (plain.ss_family == AF_INET) {
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(text, TCP_ADDRESS_SIZE, "%s:%u", host, ntohs(in->sin_port));
    } else if (plain.ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        if (in6->sin6_scope_id && if_indextoname(in6->sin6_scope_id, scope + 1))
            scope[0] = '%';
        snprintf(text, TCP_ADDRESS_SIZE, "[%s%s]:%u", host, scope, ntohs(in6->sin6_port));
    } else {
        snprintf(text, TCP_ADDRESS_SIZE, "unix");
    }
}

bool tcp_address_is_loopback(const struct sockaddr_storage *address)
{
    struct sockaddr_storage plain;
    tcp_address_unmap(address, &plain);
    if (plain.ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)&plain)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    if (plain.ss_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)&plain)->sin6_addr);
    return plain.ss_family == AF_UNIX;
}

/* Without the scope, whose interface may come later. */
static bool is_written_well(const char *text)
{
    struct sockaddr_storage address;
    char plain[TCP_ADDRESS_SIZE];
    size_t scope = strcspn(text, "%"), end = strcspn(text, "]");
    if (text[0] != '[' || scope > end || !text[end])
        return tcp_address_parse(text, &address);
    int length = snprintf(plain, sizeof plain, "%.*s%s", (int)scope, text, text + end);
    return length < (int)sizeof plain && end - scope > 1 && end - scope <= IF_NAMESIZE && tcp_address_parse(plain, &address);
}

bool tcp_address_is_written(const char *text)
{
    size_t prefix = sizeof TCP_ADDRESS_UNIX - 1;
    return strncmp(text, TCP_ADDRESS_UNIX, prefix) == 0 ? text[prefix] == '/' : is_written_well(text);
}
