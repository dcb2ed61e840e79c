/*
 * Query options of a Redfish GET (DSP0266, "Query parameters"): $select, $expand of one
 * level, and $top and $skip of a collection. Every other one that begins with '$' is refused; what does not
 * is ignored, "only" and "excerpt" among it, since the service does not claim them. Pure.
 */
#ifndef API_REDFISH_QUERY_H
#define API_REDFISH_QUERY_H

#include <jansson.h>
#include <stdbool.h>

#define REDFISH_SELECT_MAX 1024
#define REDFISH_OPTION_MAX 64 /* of a name, for messages */

enum redfish_expand { REDFISH_EXPAND_SUBORDINATES = 1 << 0, REDFISH_EXPAND_LINKS = 1 << 1 };

struct redfish_query {
    char select[REDFISH_SELECT_MAX]; /* "": all */
    long top, skip;                  /* -1: not given */
    unsigned expand;                 /* enum redfish_expand */
};

enum redfish_query_verdict { REDFISH_QUERY_OK, REDFISH_QUERY_UNSUPPORTED, REDFISH_QUERY_WRONG };

/* `text`: as in the request's target. `option` gets the name of the one that is refused. */
enum redfish_query_verdict redfish_query_parse(const char *text, struct redfish_query *query,
                                               char option[REDFISH_OPTION_MAX]);
/* Takes out of a collection's Members what $skip and $top leave. */
void redfish_query_page(const struct redfish_query *query, json_t *collection);
/* What $select names of a resource, and what says which one it is. A new reference. */
json_t *redfish_query_select(const char *select, json_t *resource);

#endif
