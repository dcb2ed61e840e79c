/*
 * For whom a proxy asks: the fields Forwarded (RFC 7239) and X-Forwarded-For. A proxy appends the address that it was
 * asked from, so, read from the right, all addresses up to the first that is no proxy of ours were written by our
 * proxies; what is left of that one may be written by anybody. Only for requests that come from a proxy of ours.
 * Pure.
 */
#ifndef HTTP_FORWARDED_H
#define HTTP_FORWARDED_H

#include "net/address.h"

#define FORWARDED_HOPS_MAX 32

/* The right-most address that is not `trusted`, or the left-most if all are. All lines of a field are given as one
 * text, with commas between; NULL: the field is missing. False: neither field is well-formed, or they name different
 * clients: a proxy that writes one field hands on what a client wrote into the other. */
bool forwarded_client(const char *forwarded, const char *x_forwarded_for, const struct address_prefixes *trusted,
                      char client[ADDRESS_TEXT_MAX]);

#endif
