#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "net/local_route.h"

/* Where an IPv6 address carries an IPv4 one. ::1 and :: are in the first: 0.0.0.1 and 0.0.0.0. */
static const struct carrier {
    unsigned char prefix[12];
    unsigned length, at;
} carriers[] = {
    {{0}, 12, 12},                             /* ::a.b.c.d */
    {{[10] = 0xff, [11] = 0xff}, 12, 12},      /* ::ffff:a.b.c.d */
    {{[8] = 0xff, [9] = 0xff}, 12, 12},        /* ::ffff:0:a.b.c.d */
    {{0x00, 0x64, 0xff, 0x9b}, 12, 12},        /* 64:ff9b::a.b.c.d */
    {{0x20, 0x02}, 2, 2},                      /* 2002:aabb:ccdd:: */
};

static struct in6_addr map(const void *ipv4)
{
    struct in6_addr mapped = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(mapped.s6_addr + 12, ipv4, 4);
    return mapped;
}

static struct in6_addr unwrap(const struct in6_addr *address)
{
    for (size_t i = 0; i < sizeof carriers / sizeof *carriers; i++)
        if (memcmp(address->s6_addr, carriers[i].prefix, carriers[i].length) == 0)
            return map(address->s6_addr + carriers[i].at);
    return *address;
}

/* False: the address is of another family. */
static bool plain_form(const struct sockaddr *address, struct in6_addr *plain)
{
    if (address->sa_family == AF_INET)
        *plain = map(&((const struct sockaddr_in *)(const void *)address)->sin_addr);
    else if (address->sa_family == AF_INET6)
        *plain = unwrap(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
    else
        return false;
    return true;
}

static enum address_kind kind_of_ipv4(const unsigned char *a)
{
    if (a[0] == 127 || a[0] == 0)
        return ADDRESS_OWN;
    if (a[0] == 169 && a[1] == 254)
        return ADDRESS_LINK;
    if ((a[0] & 0xf0) == 224 || (a[0] & a[1] & a[2] & a[3]) == 255)
        return ADDRESS_MANY;
    return ADDRESS_REMOTE;
}

static enum address_kind kind_of_ipv6(const unsigned char *a)
{
    static const unsigned char local_use[6] = {0x00, 0x64, 0xff, 0x9b, 0x00, 0x01};
    if (a[0] == 0xff)
        return ADDRESS_MANY;
    if (memcmp(a, local_use, sizeof local_use) == 0)
        return ADDRESS_TRANSLATED;
    return a[0] == 0xfe && (a[1] & 0xc0) == 0x80 ? ADDRESS_LINK : ADDRESS_REMOTE;
}

static bool address_is_in(const struct in6_addr *address, const struct address_list *list)
{
    for (unsigned i = 0; i < list->count; i++)
        if (memcmp(address, &list->items[i], sizeof *address) == 0)
            return true;
    return false;
}

enum address_kind address_kind(const struct sockaddr *address, const struct address_list *own)
{
    struct in6_addr plain;
    if (!plain_form(address, &plain) || address_is_in(&plain, own))
        return ADDRESS_OWN;
    return IN6_IS_ADDR_V4MAPPED(&plain) ? kind_of_ipv4(plain.s6_addr + 12) : kind_of_ipv6(plain.s6_addr);
}

static const char *refusal_words(enum address_kind kind, enum address_local local)
{
    if (kind == ADDRESS_MANY)
        return "is not the address of one machine";
    if (kind == ADDRESS_OWN && local != ADDRESS_LOCAL_ALL)
        return "is this machine itself, from where no image may come (see allow-local)";
    if (kind == ADDRESS_TRANSLATED && local != ADDRESS_LOCAL_ALL)
        return "is for translation within a network and may lead to this machine itself (see allow-local)";
    if (kind == ADDRESS_LINK && local == ADDRESS_LOCAL_NONE)
        return "is a link-local address, from where no image may come (see allow-local)";
    return NULL;
}

bool address_admitted(const struct sockaddr *address, const struct address_list *own, enum address_local local,
                      char refusal[ADDRESS_REFUSAL_MAX])
{
    char text[ADDRESS_TEXT_MAX];
    struct in6_addr plain;
    enum address_kind kind = address_kind(address, own);
    if (kind == ADDRESS_REMOTE && local != ADDRESS_LOCAL_ALL && plain_form(address, &plain) && local_route_has(&plain))
        kind = ADDRESS_OWN;
    const char *words = refusal_words(kind, local);
    if (!words)
        return true;
    address_text(address, text);
    snprintf(refusal, ADDRESS_REFUSAL_MAX, "%s %s", text, words);
    return false;
}

int address_list_read(struct address_list *list)
{
    struct ifaddrs *all;
    unsigned count = 0;
    address_list_clear(list);
    if (getifaddrs(&all) != 0)
        return -errno;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next)
        count++;
    list->items = mem_alloc((count + 1) * sizeof *list->items);
    for (const struct ifaddrs *i = all; i; i = i->ifa_next)
        if (i->ifa_addr && plain_form(i->ifa_addr, &list->items[list->count]))
            list->count++;
    freeifaddrs(all);
    return 0;
}

void address_list_clear(struct address_list *list)
{
    mem_free(list->items);
    *list = (struct address_list){0};
}

bool address_parse(const char *text, struct sockaddr_storage *address)
{
    struct sockaddr_in *four = (struct sockaddr_in *)address;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1)
        address->ss_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1)
        address->ss_family = AF_INET6;
    else
        return false;
    return true;
}

void address_text(const struct sockaddr *address, char text[ADDRESS_TEXT_MAX])
{
    const void *bytes = address->sa_family == AF_INET6
                            ? (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr
                            : (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
    if (!inet_ntop(address->sa_family, bytes, text, ADDRESS_TEXT_MAX))
        snprintf(text, ADDRESS_TEXT_MAX, "?");
}

/* --- prefixes --- */

/* The address as IPv6: an IPv4 one is mapped, and nothing is unwrapped. False: it is of another family. */
static bool wide_form(const struct sockaddr *address, struct in6_addr *wide)
{
    if (address->sa_family == AF_INET)
        *wide = map(&((const struct sockaddr_in *)(const void *)address)->sin_addr);
    else if (address->sa_family == AF_INET6)
        *wide = ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    else
        return false;
    return true;
}

static bool parse_prefix(struct address_prefixes *prefixes, char *text)
{
    struct sockaddr_storage address;
    char *slash = strchr(text, '/');
    uint64_t length = 128;
    if (slash)
        *slash = '\0';
    if (prefixes->count == ADDRESS_PREFIXES_MAX || !address_parse(text, &address))
        return false;
    unsigned before = address.ss_family == AF_INET ? 96 : 0; /* of the mapped form */
    if (slash && (!text_parse_uint(slash + 1, &length) || (length += before) > 128))
        return false;
    wide_form((const struct sockaddr *)&address, &prefixes->items[prefixes->count].address);
    prefixes->items[prefixes->count++].length = (unsigned)length;
    return true;
}

bool address_prefixes_parse(struct address_prefixes *prefixes, const char *text)
{
    char *copy = mem_strdup(text), *rest;
    bool good = true;
    prefixes->count = 0;
    for (char *word = strtok_r(copy, " ,\t", &rest); word && good; word = strtok_r(NULL, " ,\t", &rest))
        good = parse_prefix(prefixes, word);
    mem_free(copy);
    return good;
}

static bool begins_alike(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    return memcmp(a, b, whole) == 0 && (rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0);
}

bool address_prefixes_have(const struct address_prefixes *prefixes, const struct sockaddr *address)
{
    struct in6_addr wide;
    if (!wide_form(address, &wide))
        return false;
    for (unsigned i = 0; i < prefixes->count; i++)
        if (begins_alike(wide.s6_addr, prefixes->items[i].address.s6_addr, prefixes->items[i].length))
            return true;
    return false;
}
