/*
 * What the kernel takes for itself: not only the addresses of interfaces, but whatever a route of type `local` leads
 * to (ip route add local 192.0.2.0/24 dev lo: AnyIP), by the rules and tables that hold now (rtnetlink(7)).
 */
#ifndef NET_LOCAL_ROUTE_H
#define NET_LOCAL_ROUTE_H

#include <netinet/in.h>
#include <stdbool.h>

/* IPv4 addresses are mapped into IPv6. Asks the kernel, which answers at once. True also if it does not answer: an
 * address that can't be told from this machine's must not pass for another's. */
bool local_route_has(const struct in6_addr *address);

#endif
