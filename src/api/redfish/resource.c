/* Resources, and what is in many of them, in JSON. See api/redfish/answer.h. */
#include <stdio.h>
#include <time.h>

#include "api/redfish/answer.h"
#include "api/trouble.h"

json_t *redfish_link(const char *path)
{
    return json_pack("{s:s}", "@odata.id", path);
}

json_t *redfish_time(time_t time)
{
    char text[TROUBLE_TIME_MAX];
    api_time(time, text);
    return json_string(text);
}

static json_t *redfish_resource_begin(enum redfish_type type, const char *path)
{
    char text[128];
    snprintf(text, sizeof text, "#%s.%s", redfish_type_namespace(type), redfish_type_name(type));
    return json_pack("{s:s, s:s}", "@odata.id", path, "@odata.type", text);
}

json_t *redfish_resource(enum redfish_type type, const char *path, const char *id, const char *name)
{
    json_t *resource = redfish_resource_begin(type, path);
    json_object_set_new(resource, "Id", json_string(id));
    json_object_set_new(resource, "Name", json_string(name));
    return resource;
}

json_t *redfish_collection(const struct redfish_call *call, const char *name)
{
    json_t *collection = redfish_resource_begin(call->route->type, call->path);
    json_object_set_new(collection, "Name", json_string(name));
    json_object_set_new(collection, "Members@odata.count", json_integer(0));
    json_object_set_new(collection, "Members", json_array());
    return collection;
}

void redfish_add_member(json_t *collection, const char *folder, const char *id)
{
    char path[REDFISH_PATH_MAX];
    json_t *members = json_object_get(collection, "Members");
    snprintf(path, sizeof path, "%s/%s", folder, id);
    json_array_append_new(members, redfish_link(path));
    json_object_set_new(collection, "Members@odata.count", json_integer((json_int_t)json_array_size(members)));
}

json_t *redfish_uuid(const char *uuid)
{
    return *uuid ? json_string(uuid) : json_null();
}

void redfish_tag(struct redfish_call *call, json_t *resource, char etag[REDFISH_ETAG_SIZE])
{
    redfish_etag(resource, etag);
    json_object_set_new(resource, "@odata.etag", json_string(etag));
    if (call->route->volatiles)
        call->route->volatiles(call, resource);
}
