/* Which route a path takes. See api/redfish/call.h. */
#include <stdio.h>
#include <string.h>

#include "api/redfish/call.h"

/* `parts` get the segments that stand for each "*". */
static bool redfish_routes_match(const char *pattern, const char *path, char *parts[2])
{
    for (unsigned n = 0; *pattern; pattern++) {
        if (*pattern != '*') {
            if (*path++ != *pattern)
                return false;
            continue;
        }
        size_t length = strcspn(path, "/");
        if (length == 0 || length >= REDFISH_ID_MAX)
            return false;
        snprintf(parts[n++], REDFISH_ID_MAX, "%.*s", (int)length, path);
        path += length;
    }
    return *path == '\0';
}

const struct redfish_route *redfish_route_find(const struct redfish_routes *routes, const char *sent,
                                               struct redfish_call *call)
{
    char *parts[] = {call->id, call->part};
    size_t length = strlen(sent);
    *call->path = '\0';
    length -= sent[length - 1] == '/';
    if (length >= REDFISH_PATH_MAX)
        return NULL;
    snprintf(call->path, REDFISH_PATH_MAX, "%.*s", (int)length, sent);
    for (size_t i = 0; i < routes->count; i++) {
        *call->id = *call->part = '\0';
        if (redfish_routes_match(routes->at[i].path, call->path, parts))
            return &routes->at[i];
    }
    return NULL;
}

bool redfish_route_has(const struct redfish_route *route, const char *method)
{
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
        return route->get || route->document;
    return (strcmp(method, "POST") == 0 && route->post) || (strcmp(method, "PATCH") == 0 && route->patch) ||
           (strcmp(method, "DELETE") == 0 && route->remove);
}
