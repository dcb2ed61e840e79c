/*
 * For whom a proxy asks: the fields Forwarded (RFC 7239) and X-Forwarded-For. A proxy appends the address that it was
 * asked from, so what is right of the first address that is no proxy of ours was said by our proxies, and what
 * is left of it by anybody. Only for requests that come from a proxy of ours. Pure.
 */
#ifndef HTTP_FORWARDED_H
#define HTTP_FORWARDED_H

#include "net/address.h"

#define FORWARDED_HOPS_MAX 32

/* The right-most address that is not `trusted`, or the left-most if all are. All lines of a field are one text, with
 * commas between; NULL: there is none. False: neither field says so in a form that is right, or each names another
 * client: a proxy that writes one of them hands on what a client wrote into the other. */
bool forwarded_client(const char *forwarded, const char *x_forwarded_for, const struct address_prefixes *trusted,
                      char client[ADDRESS_TEXT_MAX]);

#endif
