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

/* There is always one: a slot that a reload removed needs its own no more. */
static struct redfish_setting *redfish_settings_find_free(struct web *web)
{
    struct redfish_setting *setting = web->redfish->settings;
    while (*setting->slot && slots_find(web->slots, setting->slot))
        setting++;
    if (*setting->slot)
        session_detach(&setting->session);
    return setting;
}

struct redfish_setting *redfish_setting(struct web *web, const char *slot)
{
    struct redfish_setting *setting = redfish_settings_find(web->redfish, slot);
    if (setting)
        return setting;
    setting = redfish_settings_find_free(web);
    *setting = (struct redfish_setting){.web = web, .verify = -1};
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
