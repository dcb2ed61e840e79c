/* Which slot a path of VirtualMedia is about. See api/redfish/internal.h. */
#include <stdio.h>
#include <string.h>

#include "api/redfish/internal.h"

#define SLOT_PREFIX "Slot_"

void redfish_media_id(unsigned index, char id[REDFISH_SLOT_ID])
{
    snprintf(id, REDFISH_SLOT_ID, SLOT_PREFIX "%u", index);
}

void redfish_media_path(unsigned index, char path[REDFISH_PATH_MAX])
{
    snprintf(path, REDFISH_PATH_MAX, REDFISH_MEDIA "/" SLOT_PREFIX "%u", index);
}

struct slot *redfish_media_slot(const struct redfish_call *call)
{
    char id[REDFISH_SLOT_ID];
    for (unsigned i = 0; i < slots_count(call->site->slots); i++) {
        redfish_media_id(i, id);
        if (strcmp(id, call->id) == 0)
            return slots_get(call->site->slots, i);
    }
    return NULL;
}
