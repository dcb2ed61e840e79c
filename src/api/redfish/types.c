/* The schemas in use. See api/redfish/answer.h. */
#include "api/redfish/answer.h"

static const struct {
    const char *name, *space;
} types[REDFISH_TYPES] = {
    [TYPE_NONE] = {"", ""},
    [TYPE_ACCOUNT_SERVICE] = {"AccountService", "AccountService.v1_15_0"},
    [TYPE_ACTION_INFO] = {"ActionInfo", "ActionInfo.v1_4_0"},
    [TYPE_CERTIFICATE] = {"Certificate", "Certificate.v1_8_0"},
    [TYPE_CERTIFICATES] = {"CertificateCollection", "CertificateCollection"},
    [TYPE_COMPUTER_SYSTEM] = {"ComputerSystem", "ComputerSystem.v1_22_0"},
    [TYPE_COMPUTER_SYSTEMS] = {"ComputerSystemCollection", "ComputerSystemCollection"},
    [TYPE_EVENT_DESTINATION] = {"EventDestination", "EventDestination.v1_13_0"},
    [TYPE_EVENT_DESTINATIONS] = {"EventDestinationCollection", "EventDestinationCollection"},
    [TYPE_EVENT_SERVICE] = {"EventService", "EventService.v1_10_0"},
    [TYPE_JSON_SCHEMA_FILE] = {"JsonSchemaFile", "JsonSchemaFile.v1_1_4"},
    [TYPE_JSON_SCHEMA_FILES] = {"JsonSchemaFileCollection", "JsonSchemaFileCollection"},
    [TYPE_MANAGER] = {"Manager", "Manager.v1_14_0"},
    [TYPE_MANAGERS] = {"ManagerCollection", "ManagerCollection"},
    [TYPE_MANAGER_ACCOUNT] = {"ManagerAccount", "ManagerAccount.v1_7_0"},
    [TYPE_MANAGER_ACCOUNTS] = {"ManagerAccountCollection", "ManagerAccountCollection"},
    [TYPE_REGISTRY_FILE] = {"MessageRegistryFile", "MessageRegistryFile.v1_1_3"},
    [TYPE_REGISTRY_FILES] = {"MessageRegistryFileCollection", "MessageRegistryFileCollection"},
    [TYPE_ROLE] = {"Role", "Role.v1_3_1"},
    [TYPE_ROLES] = {"RoleCollection", "RoleCollection"},
    [TYPE_SERVICE_ROOT] = {"ServiceRoot", "ServiceRoot.v1_18_0"},
    [TYPE_SESSION] = {"Session", "Session.v1_7_0"},
    [TYPE_SESSIONS] = {"SessionCollection", "SessionCollection"},
    [TYPE_SESSION_SERVICE] = {"SessionService", "SessionService.v1_1_8"},
    [TYPE_TASK] = {"Task", "Task.v1_7_2"},
    [TYPE_TASKS] = {"TaskCollection", "TaskCollection"},
    [TYPE_TASK_SERVICE] = {"TaskService", "TaskService.v1_2_1"},
    [TYPE_VIRTUAL_MEDIA] = {"VirtualMedia", "VirtualMedia.v1_6_0"},
    [TYPE_VIRTUAL_MEDIAS] = {"VirtualMediaCollection", "VirtualMediaCollection"},
};

const char *redfish_type_name(enum redfish_type type)
{
    return types[type].name;
}

const char *redfish_type_namespace(enum redfish_type type)
{
    return types[type].space;
}
