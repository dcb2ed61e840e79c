/*
 * Entity tags of Redfish resources, as clients send them back. Pure.
 *
 * A tag is strong, of letters and digits only, in quotes: clients that mangle tags
 * (strip "W/", or the quotes) can then still be understood.
 */
#ifndef API_REDFISH_ETAG_H
#define API_REDFISH_ETAG_H

#include <jansson.h>
#include <stdbool.h>

#define REDFISH_ETAG_SIZE 19 /* 16 digits, quotes, NUL */

/* Makes the tag of the resource's present content. */
void redfish_etag(const json_t *resource, char etag[REDFISH_ETAG_SIZE]);
/* Is the tag in the value of an If-Match or If-None-Match field? "*" has every one. A weak
 * form counts as the tag, and so does one without its quotes. */
bool redfish_etag_listed(const char *list, const char *etag);

#endif
