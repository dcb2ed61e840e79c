/* What an action may be given (@Redfish.ActionInfo), from the table by which its body is read. See
 * api/redfish/answer.h. */
#include <stdio.h>
#include <string.h>

#include "api/redfish/answer.h"

static const char *data_type(enum redfish_kind kind)
{
    switch (kind) {
    case REDFISH_TEXT:
    case REDFISH_TEXT_OR_NULL:
        return "String";
    case REDFISH_FLAG:
    case REDFISH_FLAG_OR_NULL:
        return "Boolean";
    case REDFISH_NUMBER:
        return "Number";
    case REDFISH_LIST:
        return "ObjectArray";
    case REDFISH_OBJECT:
    case REDFISH_WHOLE_OR_NULL:
        return "Object";
    case REDFISH_READ_ONLY:
    case REDFISH_IGNORED:
        break;
    }
    return NULL;
}

/* AllowableValues is there, though empty, where any value of the kind may be sent: DMTF's interop validator warns
 * where it is missing, and Ansible refuses a flag, which is no text, that is not in a list of some. */
static json_t *parameter(const struct redfish_call *call, const struct redfish_property *property, const char *name,
                         const char *required, redfish_values *values)
{
    json_t *allowable = values(call, property->name);
    json_t *json = json_pack("{s:s, s:b, s:s}", "Name", name, "Required", strcmp(property->name, required) == 0,
                             "DataType", data_type(property->kind));
    json_object_set_new(json, "AllowableValues", allowable ? allowable : json_array());
    return json;
}

/* The members of the object `folder`, which ends with a slash; "": what is in no object. */
static json_t *parameters(const struct redfish_call *call, const struct redfish_property *properties,
                          const char *folder, const char *required, redfish_values *values)
{
    json_t *list = json_array();
    size_t length = strlen(folder);
    for (; properties->name; properties++) {
        const char *name = properties->name + length;
        if (strncmp(properties->name, folder, length) == 0 && !strchr(name, '/') && data_type(properties->kind))
            json_array_append_new(list, parameter(call, properties, name, required, values));
    }
    return list;
}

json_t *redfish_action_info(const struct redfish_call *call, const char *action,
                            const struct redfish_property *properties, const char *required, redfish_values *values)
{
    char id[64], name[64];
    snprintf(id, sizeof id, "%sActionInfo", action);
    snprintf(name, sizeof name, "Parameters of %s", action);
    json_t *info = redfish_resource(TYPE_ACTION_INFO, call->path, id, name);
    json_object_set_new(info, "Parameters", parameters(call, properties, "", required, values));
    json_t *own = parameters(call, properties, REDFISH_OEM "/", required, values);
    if (json_array_size(own) > 0)
        json_object_set_new(info, "Oem",
                            json_pack("{s:{s:s, s:o}}", "NbdProxy", "@odata.type",
                                      "#NbdProxyActionInfo.v1_0_0.Parameters", "Parameters", json_incref(own)));
    json_decref(own);
    return info;
}

/* --- what a PATCH may change --- */

void redfish_set_writeable(json_t *json, const char *folder, const struct redfish_property *properties)
{
    json_t *list = json_array();
    size_t length = strlen(folder);
    for (; properties->name; properties++) {
        const char *name = properties->name + length;
        bool member = strncmp(properties->name, folder, length) == 0 && !strchr(name, '/');
        if (member && properties->kind != REDFISH_OBJECT && data_type(properties->kind))
            json_array_append_new(list, json_string(name));
    }
    json_object_set_new(json, "@Redfish.WriteableProperties", list);
}
