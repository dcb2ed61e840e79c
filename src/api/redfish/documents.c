/* Redfish's root, and the documents that describe the service. See api/redfish/internal.h. */
#include <stdio.h>
#include <string.h>

#include "api/redfish/internal.h"
#include "base/text.h"

#define METADATA_MAX 16384
#define SCHEMAS_URL  "http://redfish.dmtf.org/schemas/v1/"

static const struct {
    const char *name, *folder;
} children[] = {
    {"Systems", "Systems"},
    {"Managers", "Managers"},
    {"SessionService", "SessionService"},
    {"AccountService", "AccountService"},
    {"EventService", "EventService"},
    {"Registries", "Registries"},
    {"JsonSchemas", "JsonSchemas"},
    {"Tasks", "TaskService"},
};
#define CHILDREN (sizeof children / sizeof *children)

void redfish_versions(struct redfish_call *call)
{
    redfish_reply_json(call, 200, json_pack("{s:s}", "v1", REDFISH_ROOT "/"));
}

static json_t *features(void)
{
    return json_pack("{s:b, s:b, s:b, s:b, s:b, s:b, s:{s:b, s:b, s:b, s:b, s:i}, s:{s:b, s:b}}", "ExcerptQuery", 0,
                     "FilterQuery", 0, "MultipleHTTPRequests", 1, "OnlyMemberQuery", 0, "SelectQuery", 1,
                     "TopSkipQuery", 1, "ExpandQuery", "ExpandAll", 1, "Levels", 1, "Links", 1, "NoLinks", 1,
                     "MaxLevels", 1, "DeepOperations", "DeepPATCH", 0, "DeepPOST", 0);
}

json_t *redfish_root(struct redfish_call *call)
{
    char path[REDFISH_PATH_MAX];
    json_t *root = redfish_resource(TYPE_SERVICE_ROOT, REDFISH_ROOT "/", "RootService", "Root Service");
    json_object_set_new(root, "RedfishVersion", json_string("1.18.0"));
    json_object_set_new(root, "Vendor", json_string("nbd-proxy"));
    json_object_set_new(root, "Product", json_string("nbd-proxy"));
    if (*call->redfish->uuid)
        json_object_set_new(root, "UUID", json_string(call->redfish->uuid));
    json_object_set_new(root, "ProtocolFeaturesSupported", features());
    for (size_t i = 0; i < CHILDREN; i++) {
        snprintf(path, sizeof path, REDFISH_ROOT "/%s", children[i].folder);
        json_object_set_new(root, children[i].name, redfish_link(path));
    }
    json_object_set_new(root, "Links", json_pack("{s:o}", "Sessions", redfish_link(REDFISH_SESSIONS)));
    return root;
}

void redfish_odata(struct redfish_call *call)
{
    char path[REDFISH_PATH_MAX];
    json_t *list = json_pack("[{s:s, s:s, s:s}]", "name", "Service", "kind", "Singleton", "url", REDFISH_ROOT "/");
    for (size_t i = 0; i < CHILDREN; i++) {
        snprintf(path, sizeof path, REDFISH_ROOT "/%s", children[i].folder);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s}", "name", children[i].name, "kind", "Singleton", "url", path));
    }
    json_array_append_new(
        list, json_pack("{s:s, s:s, s:s}", "name", "Sessions", "kind", "Singleton", "url", REDFISH_SESSIONS));
    redfish_reply_json(call, 200, json_pack("{s:s, s:o}", "@odata.context", REDFISH_ROOT "/$metadata", "value", list));
}

/* --- $metadata --- */

static size_t redfish_documents_put(char *text, size_t used, const char *more)
{
    int length = snprintf(text + used, METADATA_MAX - used, "%s", more);
    return used + (size_t)length < METADATA_MAX ? used + (size_t)length : METADATA_MAX - 1;
}

static size_t put_reference(char *text, size_t used, const char *name, const char *space, const char *alias)
{
    char line[512];
    snprintf(line, sizeof line, "  <edmx:Reference Uri=\"" SCHEMAS_URL "%s_v1.xml\">\n", name);
    used = redfish_documents_put(text, used, line);
    if (!alias) {
        snprintf(line, sizeof line, "    <edmx:Include Namespace=\"%s\"/>\n", name);
        used = redfish_documents_put(text, used, line);
    }
    if (strcmp(name, space) != 0) {
        snprintf(line, sizeof line, "    <edmx:Include Namespace=\"%s\"%s%s%s/>\n", space, alias ? " Alias=\"" : "",
                 alias ? alias : "", alias ? "\"" : "");
        used = redfish_documents_put(text, used, line);
    }
    return redfish_documents_put(text, used, "  </edmx:Reference>\n");
}

void redfish_metadata(struct redfish_call *call)
{
    char line[512], *text = mem_alloc(METADATA_MAX);
    size_t used =
        redfish_documents_put(text, 0,
                              "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                              "<edmx:Edmx xmlns:edmx=\"http://docs.oasis-open.org/odata/ns/edmx\" Version=\"4.0\">\n");
    for (enum redfish_type type = TYPE_NONE + 1; type < REDFISH_TYPES; type++)
        used = put_reference(text, used, redfish_type_name(type), redfish_type_namespace(type), NULL);
    used = put_reference(text, used, "Event", REDFISH_EVENT_TYPE, NULL);
    used = put_reference(text, used, "Message", "Message.v1_1_2", NULL);
    used = put_reference(text, used, "MessageRegistry", REDFISH_REGISTRY_TYPE, NULL);
    used = put_reference(text, used, "RedfishExtensions", "RedfishExtensions.v1_0_0", "Redfish");
    snprintf(line, sizeof line,
             "  <edmx:DataServices>\n"
             "    <Schema xmlns=\"http://docs.oasis-open.org/odata/ns/edm\" Namespace=\"Service\">\n"
             "      <EntityContainer Name=\"Service\" Extends=\"%s.ServiceContainer\"/>\n"
             "    </Schema>\n"
             "  </edmx:DataServices>\n"
             "</edmx:Edmx>\n",
             redfish_type_namespace(TYPE_SERVICE_ROOT));
    redfish_documents_put(text, used, line);
    redfish_reply_text(call, "application/xml;charset=utf-8", text);
    mem_free(text);
}

/* --- JsonSchemas: where DMTF publishes them --- */

json_t *redfish_schemas(struct redfish_call *call)
{
    json_t *collection = redfish_collection(call, "JsonSchema Collection");
    for (enum redfish_type type = TYPE_NONE + 1; type < REDFISH_TYPES; type++)
        redfish_add_member(collection, REDFISH_SCHEMAS, redfish_type_namespace(type));
    return collection;
}

json_t *redfish_schema(struct redfish_call *call)
{
    char name[128], schema[128], url[256];
    enum redfish_type type = TYPE_NONE + 1;
    while (type < REDFISH_TYPES && strcmp(call->id, redfish_type_namespace(type)) != 0)
        type++;
    if (type == REDFISH_TYPES)
        return NULL;
    snprintf(name, sizeof name, "%s Schema File", redfish_type_name(type));
    snprintf(schema, sizeof schema, "#%s.%s", redfish_type_namespace(type), redfish_type_name(type));
    snprintf(url, sizeof url, SCHEMAS_URL "%s.json", redfish_type_namespace(type));
    json_t *file = redfish_resource(TYPE_JSON_SCHEMA_FILE, call->path, call->id, name);
    json_object_set_new(file, "Schema", json_string(schema));
    json_object_set_new(file, "Languages", json_pack("[s]", "en"));
    json_object_set_new(file, "Location", json_pack("[{s:s, s:s}]", "Language", "en", "PublicationUri", url));
    return file;
}
