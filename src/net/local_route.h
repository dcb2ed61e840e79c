/*
 * What the kernel takes for itself: not only the addresses of interfaces, but whatever a route of type `local` leads
 * to (ip route add local 192.0.2.0/24 dev lo: AnyIP), by the rules and tables that hold now (rtnetlink(7)).
 */
#ifndef NET_LOCAL_ROUTE_H
#define NET_LOCAL_ROUTE_H

#include <netinet/in.h>
#include <stdbool.h>

/* IPv4 addresses are mapped. Asks the kernel, which answers at once. True also if it does not: who can't be told from
 * this machine is not let pass for another. */
bool local_route_has(const struct in6_addr *address);

#endif
