/*
 * What an internet address means to this machine: the URL of an image is a stranger's
 * word, and must not lead to the machine itself or to what only it can reach.
 *
 * An IPv6 address that carries an IPv4 address means the IPv4 one: mapped and compatible
 * (RFC 4291, 2.5.5), translated (RFC 2765, 2.1), NAT64's (RFC 6052, 2.1), 6to4's (RFC 3056, 2).
 */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#define ADDRESS_TEXT_MAX INET6_ADDRSTRLEN
#define ADDRESS_REFUSAL_MAX 192

enum address_kind {
    ADDRESS_REMOTE,
    ADDRESS_LINK, /* on a link of ours, no router in between: 169.254.0.0/16, fe80::/10 */
    ADDRESS_OWN,  /* this machine: loopback, unspecified (0.0.0.0/8, ::), an interface's */
    ADDRESS_MANY, /* multicast, broadcast */
    ADDRESS_TRANSLATED, /* 64:ff9b:1::/48 (RFC 8215): an IPv4 address in a form that only its network knows */
};

/* From which addresses an image may come, besides those of other machines behind a router. */
enum address_local {
    ADDRESS_LOCAL_NONE,
    ADDRESS_LOCAL_LINK, /* neighbours on a link, but not this machine */
    ADDRESS_LOCAL_ALL
};

/* IPv6 addresses; IPv4 ones are mapped into IPv6. Zeroed: an empty list. */
struct address_list {
    struct in6_addr *items;
    unsigned count;
};

/* "192.0.2.1", "192.0.2.0/24", "2001:db8::/32" */
#define ADDRESS_PREFIXES_MAX 32
struct address_prefixes {
    struct {
        struct in6_addr address; /* IPv4 ones mapped */
        unsigned length;         /* of the prefix, in bits of `address` */
    } items[ADDRESS_PREFIXES_MAX];
    unsigned count;
};

/* Prefixes separated by blanks or commas. False: one of them is no prefix, or there are too many. */
bool address_prefixes_parse(struct address_prefixes *prefixes, const char *text);
/* An IPv4 address that is mapped into IPv6 is looked for as the IPv4 address; other forms that carry one are not. */
bool address_prefixes_have(const struct address_prefixes *prefixes, const struct sockaddr *address);

/* `own`: what address_list_read() gave. An address of another family than the internet's counts as our own. */
enum address_kind address_kind(const struct sockaddr *address, const struct address_list *own);
/* May an image come from the address? What counts is its kind, and whether the kernel's routes lead
 * back to this machine (net/local_route.h). If it may not, `refusal` says why, in words. */
bool address_admitted(const struct sockaddr *address, const struct address_list *own, enum address_local local,
                      char refusal[ADDRESS_REFUSAL_MAX]);
/* Fills the list anew with the addresses of all interfaces. 0 or a negative errno. */
int address_list_read(struct address_list *list);
void address_list_clear(struct address_list *list);

/* Reads an address in numbers, without a port; false: the text is none. */
bool address_parse(const char *text, struct sockaddr_storage *address);
void address_text(const struct sockaddr *address, char text[ADDRESS_TEXT_MAX]);

#endif
