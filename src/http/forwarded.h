/*
 * For whom a proxy asks: the fields Forwarded (RFC 7239), X-Forwarded-For and X-Forwarded-Host. A proxy appends the address that it was
 * asked from, so, read from the right, all addresses up to the first that is no proxy of ours were written by our
 * proxies; what is left of that one may be written by anybody. Only for requests that come from a proxy of ours.
 * Pure.
 */
#ifndef HTTP_FORWARDED_H
#define HTTP_FORWARDED_H

#include "net/address.h"

#define FORWARDED_HOPS_MAX 32
#define FORWARDED_HOST_MAX 256

/* The right-most address that is not `trusted`, or the left-most if all are. All lines of a field are given as one
 * text, with commas between; NULL: the field is missing. False: neither field is well-formed, or they name different
 * clients: a proxy that writes one field hands on what a client wrote into the other. */
bool forwarded_client(const char *forwarded, const char *x_forwarded_for, const struct address_prefixes *trusted,
                      char client[ADDRESS_TEXT_MAX]);

/* The Host that the browser sent, if a proxy says so: that of the first element of Forwarded that has one, or the first of
 * X-Forwarded-Host. A browser lets no page of another site set these fields, so this is good to tell such a page from our
 * own, whoever wrote it; and for nothing else. */
bool forwarded_host(const char *forwarded, const char *x_forwarded_host, char host[FORWARDED_HOST_MAX]);

#endif
