/* $expand: resources in the place of links, one level deep. See api/redfish/answer.h. */
#include <string.h>

#include "api/redfish/answer.h"

static void expand(const struct redfish_call *call, json_t *value, bool in_links);

/* A link is an object that has nothing but "@odata.id". */
static const char *path_of(const json_t *value)
{
    return json_object_size(value) == 1 ? json_string_value(json_object_get(value, "@odata.id")) : NULL;
}

/* What a GET of that path would give to this call's user; NULL: nothing. */
static json_t *redfish_look_up(const struct redfish_call *call, const char *path)
{
    struct redfish_call other = *call;
    other.route = redfish_route_find(call->routes, path, &other);
    if (!other.route || !other.route->get || !*call->user || !auth_allows(call->role, other.route->reading))
        return NULL;
    json_t *resource = other.route->get(&other);
    char etag[REDFISH_ETAG_SIZE];
    if (resource)
        redfish_tag(&other, resource, etag);
    return resource;
}

/* What is to take the value's place: a new reference. */
static json_t *expanded(const struct redfish_call *call, json_t *value, bool in_links)
{
    const char *path = path_of(value);
    bool wanted = call->query.expand & (in_links ? REDFISH_EXPAND_LINKS : REDFISH_EXPAND_SUBORDINATES);
    json_t *resource = path && wanted ? redfish_look_up(call, path) : NULL;
    if (resource)
        return resource;
    expand(call, value, in_links);
    return json_incref(value);
}

static void expand(const struct redfish_call *call, json_t *value, bool in_links)
{
    for (size_t i = 0; i < json_array_size(value); i++)
        json_array_set_new(value, i, expanded(call, json_array_get(value, i), in_links));
    for (void *at = json_object_iter(value); at; at = json_object_iter_next(value, at)) {
        bool links = in_links || strcmp(json_object_iter_key(at), "Links") == 0;
        json_object_iter_set_new(value, at, expanded(call, json_object_iter_value(at), links));
    }
}

void redfish_expand(const struct redfish_call *call, json_t *resource)
{
    expand(call, resource, false);
}
