/* Redfish's manager: this BMC. See api/redfish/internal.h. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/redfish/internal.h"
#include "base/text.h"

#define MACHINE_ID "/etc/machine-id"

/* --- who it is --- */

/* The machine's id itself is not for others (machine-id(5)): a UUID is derived for each use. */
static void make_uuid(const char *machine, const char *use, char uuid[37])
{
    char text[128];
    unsigned char d[SECRET_DIGEST];
    snprintf(text, sizeof text, "nbd-proxy %s %s", use, machine);
    secret_digest(text, d);
    d[6] = (unsigned char)((d[6] & 0x0f) | 0x80); /* RFC 9562: version 8, made in a way of one's own */
    d[8] = (unsigned char)((d[8] & 0x3f) | 0x80);
    snprintf(uuid, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", d[0], d[1], d[2], d[3],
             d[4], d[5], d[6], d[7], d[8], d[9], d[10], d[11], d[12], d[13], d[14], d[15]);
}

static bool read_machine_id(char id[33])
{
    int fd = open(MACHINE_ID, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, id, 32);
    if (fd >= 0)
        close(fd);
    id[length > 0 ? length : 0] = '\0';
    return length == 32 && strspn(id, "0123456789abcdef") == 32;
}

struct redfish *redfish_new(void)
{
    struct redfish *redfish = mem_alloc(sizeof *redfish);
    char id[33];
    redfish->started = time(NULL);
    if (read_machine_id(id)) {
        make_uuid(id, "redfish service", redfish->uuid);
        make_uuid(id, "redfish system", redfish->system_uuid);
    }
    return redfish;
}

void redfish_free(struct redfish *redfish)
{
    mem_free(redfish);
}

json_t *redfish_uuid(const char *uuid)
{
    return *uuid ? json_string(uuid) : json_null();
}

/* --- managers --- */

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
    json_object_set_new(manager, "UUID", redfish_uuid(call->web->redfish->uuid));
    json_object_set_new(manager, "ServiceEntryPointUUID", redfish_uuid(call->web->redfish->uuid));
    json_object_set_new(manager, "PowerState", json_string("On"));
    json_object_set_new(manager, "Status", json_pack("{s:s, s:s}", "State", "Enabled", "Health", "OK"));
    json_object_set_new(manager, "VirtualMedia", redfish_link(REDFISH_MEDIA));
    json_object_set_new(manager, "Links",
                        json_pack("{s:i, s:[o]}", "ManagerForServers@odata.count", 1, "ManagerForServers",
                                  redfish_link(REDFISH_SYSTEM)));
    return manager;
}
