/* Where the registries of messages are; our own is served. See api/redfish/internal.h. */
#include <stdio.h>
#include <string.h>

#include "api/redfish/internal.h"

#define PUBLISHED "https://redfish.dmtf.org/registries/"

static const struct {
    const char *id, *registry;
    const char *version; /* the version that DMTF has published; NULL: the registry is our own */
} registries[] = {
    {"Base", "Base.1.18", "1.18.0"},
    {"NbdProxy", "NbdProxy.1.0", NULL},
    {"ResourceEvent", "ResourceEvent.1.3", "1.3.0"},
    {"TaskEvent", "TaskEvent.1.0", "1.0.3"},
};
#define REGISTRIES (sizeof registries / sizeof *registries)

json_t *redfish_registries(struct redfish_call *call)
{
    json_t *collection = redfish_collection(call, "Message Registry File Collection");
    for (size_t i = 0; i < REGISTRIES; i++)
        redfish_add_member(collection, REDFISH_REGISTRY, registries[i].id);
    return collection;
}

json_t *redfish_registry_file(struct redfish_call *call)
{
    char name[64], url[128];
    size_t i = 0;
    while (i < REGISTRIES && strcmp(call->id, registries[i].id) != 0)
        i++;
    if (i == REGISTRIES)
        return NULL;
    snprintf(name, sizeof name, "%s Message Registry File", registries[i].id);
    if (registries[i].version)
        snprintf(url, sizeof url, PUBLISHED "%s.%s.json", registries[i].id, registries[i].version);
    else
        snprintf(url, sizeof url, REDFISH_OWN_REGISTRY);
    json_t *file = redfish_resource(TYPE_REGISTRY_FILE, call->path, call->id, name);
    json_object_set_new(file, "Registry", json_string(registries[i].registry));
    json_object_set_new(file, "Languages", json_pack("[s]", "en"));
    json_object_set_new(
        file, "Location",
        json_pack("[{s:s, s:s}]", "Language", "en", registries[i].version ? "PublicationUri" : "Uri", url));
    return file;
}

/* --- our own --- */

static json_t *redfish_registries_show(const struct redfish_entry *entry)
{
    json_t *types = json_array();
    for (char n = '1'; n <= '9'; n++) {
        const char argument[] = {'%', n, '\0'};
        if (strstr(entry->text, argument))
            json_array_append_new(types, json_string("string"));
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:o, s:s}", "Description", entry->description, "Message", entry->text,
                     "Severity", entry->severity, "MessageSeverity", entry->severity, "NumberOfArgs",
                     (json_int_t)json_array_size(types), "ParamTypes", types, "Resolution", entry->resolution);
}

void redfish_own_registry(struct redfish_call *call)
{
    size_t count;
    const struct redfish_entry *entries = redfish_entries(&count);
    json_t *messages = json_object();
    for (size_t i = 0; i < count; i++)
        if (strcmp(entries[i].registry, REDFISH_OWN_MESSAGES) == 0)
            json_object_set_new(messages, entries[i].key, redfish_registries_show(&entries[i]));
    redfish_reply_json(call, 200,
                       json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "@odata.type",
                                 "#" REDFISH_REGISTRY_TYPE ".MessageRegistry", "Id", "NbdProxy.1.0.0", "Name",
                                 "NbdProxy Message Registry", "Description",
                                 "What nbd-proxy says beside the messages of DMTF's registries.", "Language", "en",
                                 "RegistryPrefix", "NbdProxy", "RegistryVersion", "1.0.0", "OwningEntity", "nbd-proxy",
                                 "Messages", messages));
}
