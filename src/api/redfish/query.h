/*
 * Query options of a Redfish GET (DSP0266, "Query parameters"): $select, $expand of one
 * level, and $top and $skip of a collection. Other options that begin with '$' are refused; those without
 * '$' are ignored, "only" and "excerpt" too, since the service does not claim them. Pure.
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

/* `text`: as in the request's target. `option` gets the name of an option that is refused. */
enum redfish_query_verdict redfish_query_parse(const char *text, struct redfish_query *query,
                                               char option[REDFISH_OPTION_MAX]);
/* Removes from a collection's Members all but what $skip and $top ask for. */
void redfish_query_page(const struct redfish_query *query, json_t *collection);
/* The properties that $select names, with those that identify the resource. A new reference. */
json_t *redfish_query_select(const char *select, json_t *resource);

#endif
