/* VirtualMedia: what the bodies of InsertMedia and of a PATCH may hold, and what clients are told of it. See
 * api/redfish/internal.h. */
#include <stdio.h>
#include <string.h>

#include "api/redfish/internal.h"

/* iLO has BootOnce under a name of its own, which RackN's driver sends to all vendors but Dell. */
#define HPE "Oem/Hpe"

#define TRANSFER                                                                                                       \
    {"Inserted", REDFISH_FLAG_OR_NULL}, {"WriteProtected", REDFISH_FLAG_OR_NULL}, {"UserName", REDFISH_TEXT_OR_NULL},  \
        {"Password", REDFISH_TEXT_OR_NULL}, {"TransferMethod", REDFISH_TEXT_OR_NULL},                                  \
        {"TransferProtocolType", REDFISH_TEXT_OR_NULL}, {"EjectPolicy", REDFISH_TEXT_OR_NULL},                         \
        {"EjectTimeout", REDFISH_TEXT_OR_NULL}

/* What is changed in the boot configurations of an image, and seed_wish_texts. */
#define CHANGES                                                                                                        \
    {REDFISH_KERNEL_ARGUMENTS, REDFISH_TEXT_OR_NULL}, {REDFISH_MENU_TIMEOUT, REDFISH_TEXT_OR_NULL},                    \
        {REDFISH_OEM "/MenuDefault", REDFISH_TEXT_OR_NULL}, {REDFISH_OEM "/ImageFiles", REDFISH_WHOLE_OR_NULL},        \
        {REDFISH_OEM "/ConfigFiles", REDFISH_WHOLE_OR_NULL}, {REDFISH_OEM "/ConfigKind", REDFISH_TEXT_OR_NULL},        \
        {REDFISH_OEM "/ConfigLabel", REDFISH_TEXT_OR_NULL}, {REDFISH_OEM "/NetworkData", REDFISH_WHOLE_OR_NULL},       \
        {REDFISH_OEM "/NetworkKind", REDFISH_TEXT_OR_NULL}, {REDFISH_OEM "/SerialNumber", REDFISH_TEXT_OR_NULL},       \
        {REDFISH_OEM "/UUID", REDFISH_TEXT_OR_NULL}, {REDFISH_OEM "/MACAddress", REDFISH_TEXT_OR_NULL}

/* gofish sends MediaType, which no schema has; it says nothing that the slot does not. */
const struct redfish_property redfish_insert_parameters[] = {
    {"Image", REDFISH_TEXT},
    TRANSFER,
    {"MediaType", REDFISH_IGNORED},
    {"Oem", REDFISH_OBJECT},
    {REDFISH_OEM, REDFISH_OBJECT},
    {REDFISH_BOOT_ONCE, REDFISH_FLAG},
    {REDFISH_RESET, REDFISH_TEXT},
    {REDFISH_PROFILE, REDFISH_TEXT},
    CHANGES,
    {HPE, REDFISH_OBJECT},
    {REDFISH_HPE_BOOT_ONCE, REDFISH_FLAG},
    {NULL, REDFISH_IGNORED},
};

const struct redfish_property redfish_media_properties[] = {
    {"Image", REDFISH_TEXT_OR_NULL},
    TRANSFER,
    {"VerifyCertificate", REDFISH_FLAG},
    {"ImageName", REDFISH_READ_ONLY},
    {"ConnectedVia", REDFISH_READ_ONLY},
    {"MediaTypes", REDFISH_READ_ONLY},
    {"Certificates", REDFISH_READ_ONLY},
    {"ClientCertificates", REDFISH_READ_ONLY},
    {"Status", REDFISH_READ_ONLY},
    {"Actions", REDFISH_READ_ONLY},
    {"Oem", REDFISH_OBJECT},
    {"Oem/OpenBMC", REDFISH_READ_ONLY},
    {REDFISH_OEM, REDFISH_OBJECT},
    {REDFISH_OEM "/State", REDFISH_READ_ONLY},
    {REDFISH_OEM "/SizeBytes", REDFISH_READ_ONLY},
    {REDFISH_OEM "/Statistics", REDFISH_READ_ONLY},
    {REDFISH_BOOT_ONCE, REDFISH_FLAG},
    {REDFISH_RESET, REDFISH_TEXT},
    {REDFISH_PROFILE, REDFISH_TEXT},
    CHANGES,
    {HPE, REDFISH_OBJECT},
    {REDFISH_HPE_BOOT_ONCE, REDFISH_FLAG},
    {"Id", REDFISH_READ_ONLY},
    {"Name", REDFISH_READ_ONLY},
    {"Description", REDFISH_READ_ONLY},
    {NULL, REDFISH_IGNORED},
};

json_t *redfish_media_flatten(json_t *body)
{
    json_t *oem = redfish_flatten(body, "Oem"), *own = redfish_flatten(oem, REDFISH_OEM), *flat = redfish_flatten(own, HPE);
    json_decref(oem);
    json_decref(own);
    return flat;
}

/* --- ActionInfo --- */

/* Those that the platform offers, as far as it has told. */
static json_t *resets(const struct redfish_call *call)
{
    json_t *list = json_array();
    unsigned offered = host_get_state(call->site->host)->resets;
    for (unsigned i = 0; i < HOST_RESETS; i++)
        if (!offered || offered & (1u << i))
            json_array_append_new(list, json_string(host_reset_name((enum host_reset)i)));
    return list;
}

/* Of a text of seed_wish_texts; NULL: any. */
static json_t *seed_values(const char *name)
{
    json_t *list = NULL;
    char own[64];
    for (unsigned i = 0; i < SEED_WISH_TEXTS && !list; i++) {
        const char *const *values = seed_wish_texts[i].values;
        snprintf(own, sizeof own, REDFISH_OEM "/%s", seed_wish_texts[i].member);
        list = values && strcmp(name, own) == 0 ? json_array() : NULL;
        for (; list && *values; values++)
            json_array_append_new(list, json_string(*values));
    }
    return list;
}

static json_t *insert_values(const struct redfish_call *call, const char *name)
{
    struct slot_status s;
    if (strcmp(name, "TransferProtocolType") == 0)
        return redfish_media_protocols(redfish_media_slot(call));
    if (strcmp(name, "TransferMethod") == 0)
        return json_pack("[s]", "Stream");
    slot_get_status(redfish_media_slot(call), &s);
    if (strcmp(name, "EjectPolicy") == 0)
        return redfish_eject_policies(call, &s);
    return strcmp(name, REDFISH_RESET) == 0 ? resets(call) : seed_values(name);
}

json_t *redfish_insert_info(struct redfish_call *call)
{
    if (!redfish_media_slot(call))
        return NULL;
    return redfish_action_info(call, "InsertMedia", redfish_insert_parameters, "Image", insert_values);
}
