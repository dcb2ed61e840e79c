/* Redfish's manager: this BMC. See api/redfish/internal.h. */
#include "api/redfish/internal.h"

json_t *redfish_managers(struct redfish_call *call)
{
    json_t *collection = redfish_collection(call, "Manager Collection");
    redfish_add_member(collection, REDFISH_ROOT "/Managers", "bmc");
    return collection;
}

json_t *redfish_manager(struct redfish_call *call)
{
    json_t *manager = redfish_resource(TYPE_MANAGER, call->path, "bmc", "Manager");
    json_object_set_new(manager, "ManagerType", json_string("BMC"));
    json_object_set_new(manager, "UUID", redfish_uuid(call->redfish->uuid));
    json_object_set_new(manager, "ServiceEntryPointUUID", redfish_uuid(call->redfish->uuid));
    json_object_set_new(manager, "PowerState", json_string("On"));
    json_object_set_new(manager, "Status", json_pack("{s:s, s:s}", "State", "Enabled", "Health", "OK"));
    json_object_set_new(manager, "VirtualMedia", redfish_link(REDFISH_MEDIA));
    json_object_set_new(manager, "Links",
                        json_pack("{s:i, s:[o]}", "ManagerForServers@odata.count", 1, "ManagerForServers",
                                  redfish_link(REDFISH_SYSTEM)));
    return manager;
}
