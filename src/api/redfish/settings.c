/* What is remembered beside a slot. See api/redfish/internal.h. */
#include <stdio.h>
#include <string.h>

#include "api/redfish/internal.h"

static struct redfish_setting *redfish_settings_find(struct redfish *redfish, const char *slot)
{
    for (unsigned i = 0; i < CONFIG_SLOTS_MAX; i++)
        if (strcmp(redfish->settings[i].slot, slot) == 0)
            return &redfish->settings[i];
    return NULL;
}

/* There is always a free one: the entry of a slot that a reload removed is needed no more. */
static struct redfish_setting *redfish_settings_find_free(struct redfish *redfish)
{
    struct redfish_setting *setting = redfish->settings;
    while (*setting->slot && slots_find(redfish->site->slots, setting->slot))
        setting++;
    if (*setting->slot)
        session_detach(&setting->session);
    return setting;
}

struct redfish_setting *redfish_setting(struct redfish *redfish, const char *slot)
{
    struct redfish_setting *setting = redfish_settings_find(redfish, slot);
    if (setting)
        return setting;
    setting = redfish_settings_find_free(redfish);
    *setting = (struct redfish_setting){.slots = redfish->site->slots, .verify = -1};
    snprintf(setting->slot, sizeof setting->slot, "%s", slot);
    list_init(&setting->session.link);
    return setting;
}

void redfish_setting_over(struct redfish *redfish, const char *slot)
{
    struct redfish_setting *setting = redfish_settings_find(redfish, slot);
    if (setting)
        session_detach(&setting->session);
}

void redfish_settings_stop(struct redfish *redfish)
{
    for (unsigned i = 0; i < CONFIG_SLOTS_MAX; i++)
        if (*redfish->settings[i].slot)
            session_detach(&redfish->settings[i].session);
}
