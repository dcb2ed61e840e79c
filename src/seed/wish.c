#include "seed/wish.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wipe.h"
#include "seed/image_files.h"
#include "seed/iso.h"
#include "seed/network.h"
#include "seed/say.h"

#define TEXT(field) offsetof(struct seed_wish, field)

static const char *const config_kinds[] = {"cidata", "config-2", "OEMDRV", "ignition", "autounattend", NULL};
static const char *const network_kinds[] = {"ip", "debian-installer", "provisioner", NULL};

const struct seed_wish_text seed_wish_texts[] = {
    {"config-files", "ConfigFiles", "configFiles", TEXT(files), true, NULL},
    {"config-kind", "ConfigKind", "configKind", TEXT(kind), true, config_kinds},
    {"config-label", "ConfigLabel", "configLabel", TEXT(label), true, NULL},
    {"network-data", "NetworkData", "networkData", TEXT(network_data), false, NULL},
    {"network-kind", "NetworkKind", "networkKind", TEXT(network_kind), false, network_kinds},
    {"menu-default", "MenuDefault", "menuDefault", TEXT(menu_default), false, NULL},
    {"image-files", "ImageFiles", "imageFiles", TEXT(image_files), false, NULL},
    {"serial", "SerialNumber", "serial", TEXT(serial), false, NULL},
    {"uuid", "UUID", "uuid", TEXT(uuid), false, NULL},
    {"mac", "MACAddress", "mac", TEXT(mac), false, NULL},
};
_Static_assert(sizeof seed_wish_texts / sizeof *seed_wish_texts == SEED_WISH_TEXTS, "each text has its row");

bool seed_wish_may_be(unsigned i, const char *text)
{
    const char *const *values = seed_wish_texts[i].values;
    for (; values && *values; values++)
        if (strcmp(*values, text) == 0)
            return true;
    return !values;
}

/* --- as a list --- */

static const char *given(const char *text)
{
    return text ? text : "";
}

struct seed_wish seed_wish_copy(const struct seed_wish *wish)
{
    struct seed_wish copy = {0};
    for (unsigned i = 0; i < SEED_WISH_TEXTS; i++)
        *seed_wish_text(&copy, i) = mem_strdup_nonempty(*seed_wish_text(wish, i));
    return copy;
}

void seed_wish_clear(struct seed_wish *wish)
{
    for (unsigned i = 0; i < SEED_WISH_TEXTS; i++)
        mem_free_secret((char *)(uintptr_t)*seed_wish_text(wish, i));
    memset(wish, 0, sizeof *wish);
}

bool seed_wish_equal(const struct seed_wish *a, const struct seed_wish *b)
{
    bool equal = true;
    for (unsigned i = 0; i < SEED_WISH_TEXTS; i++)
        equal = equal && strcmp(given(*seed_wish_text(a, i)), given(*seed_wish_text(b, i))) == 0;
    return equal;
}

bool seed_wish_any(const struct seed_wish *wish)
{
    static const struct seed_wish nothing;
    return !seed_wish_equal(wish, &nothing);
}

bool seed_wish_is_medium(const struct seed_wish *wish)
{
    bool medium = false;
    for (unsigned i = 0; i < SEED_WISH_TEXTS; i++)
        medium = medium || (seed_wish_texts[i].medium && *given(*seed_wish_text(wish, i)));
    return medium;
}

bool seed_wish_has_secrets(const struct seed_wish *wish)
{
    return *given(wish->files) || seed_image_files_is_json(given(wish->image_files));
}

void seed_wish_put(const struct seed_wish *wish, json_t *object)
{
    for (unsigned i = 0; i < SEED_WISH_TEXTS; i++) {
        const char *text = *seed_wish_text(wish, i);
        if (text && *text)
            json_object_set_new(object, seed_wish_texts[i].name, json_string(text));
    }
}

struct seed_wish seed_wish_get(const json_t *object)
{
    struct seed_wish wish = {0};
    for (unsigned i = 0; i < SEED_WISH_TEXTS; i++)
        *seed_wish_text(&wish, i) = mem_strdup(json_string_value(json_object_get(object, seed_wish_texts[i].name)));
    return wish;
}

/* --- kinds --- */

/* What the readers of a medium look for. */
static const struct kind {
    const char *name, *label;
    const char *folder; /* of the files whose names have none */
    const char *needed; /* a file without which nobody reads the medium; NULL: none */
} kinds[] = {
    {"cidata", "cidata", "", "user-data"},          /* cloud-init, NoCloud */
    {"config-2", "config-2", "openstack/latest/", NULL}, /* OpenStack's config drive: cloud-init, Ignition, ironic's agent */
    {"OEMDRV", "OEMDRV", "", NULL},                 /* anaconda: ks.cfg, and drivers */
    {"ignition", "ignition", "ignition/", NULL},    /* Ignition and Combustion of MicroOS */
    {"autounattend", "AUTOUNATTEND", "", "autounattend.xml"}, /* Windows Setup, by the file's name alone */
};
enum { KINDS_COUNT = sizeof kinds / sizeof *kinds };

static const struct kind *wish_kind(const struct seed_wish *wish)
{
    for (unsigned i = 0; i < KINDS_COUNT; i++)
        if (strcmp(kinds[i].name, given(wish->kind)) == 0)
            return &kinds[i];
    return NULL;
}

static bool is_kind(const struct seed_wish *wish, const char *name)
{
    return strcmp(given(wish->kind), name) == 0;
}

const char *seed_wish_problem(const struct seed_wish *wish)
{
    if (*given(wish->kind) && !wish_kind(wish))
        return "config-kind is cidata, config-2, OEMDRV, ignition or autounattend";
    if (*given(wish->network_kind) && !seed_network_is_kind(wish->network_kind))
        return "network-kind is ip, debian-installer or provisioner";
    if (*given(wish->network_kind) && !*given(wish->network_data))
        return "network-kind says how network-data is given to a kernel, and there is none";
    for (unsigned i = 0; i < SEED_WISH_TEXTS; i++)
        if (seed_wish_texts[i].offset >= TEXT(serial) && strlen(given(*seed_wish_text(wish, i))) >= SEED_FACT_MAX)
            return "serial, uuid and mac have at most 127 bytes";
    return *given(wish->label) ? seed_label_problem(wish->label) : NULL;
}

/* --- the machine --- */

static void put_fact(char to[SEED_FACT_MAX], const char *text)
{
    if (text && *text)
        snprintf(to, SEED_FACT_MAX, "%s", text);
}

void seed_wish_facts(const struct seed_wish *wish, struct seed_facts *facts)
{
    put_fact(facts->serial, wish->serial);
    put_fact(facts->uuid, wish->uuid);
    put_fact(facts->mac, wish->mac);
}

/* --- kernel arguments --- */

static char *joined(const char *a, const char *b)
{
    size_t size = strlen(a) + strlen(b) + 2;
    char *text = mem_alloc(size);
    snprintf(text, size, "%s%s%s", a, *a && *b ? " " : "", b);
    return text;
}

static bool wish_network_arguments(const struct seed_wish *wish, char out[SEED_ARGUMENTS_MAX], char error[SEED_ERROR_MAX])
{
    struct seed_network network;
    *out = '\0';
    return !*given(wish->network_data) ||
           (seed_network_parse(wish->network_data, &network, error) &&
            seed_network_arguments(&network, *given(wish->network_kind) ? wish->network_kind : NULL, out, error));
}

char *seed_wish_arguments(const struct seed_wish *wish, const struct seed_facts *facts, const char *arguments,
                          char error[SEED_ERROR_MAX])
{
    char network[SEED_ARGUMENTS_MAX];
    size_t length;
    *error = '\0';
    if (!wish_network_arguments(wish, network, error) || (!arguments && !*network))
        return NULL;
    char *filled = seed_facts_fill(facts, given(arguments), strlen(given(arguments)), &length, error);
    char *all = filled ? joined(filled, network) : NULL;
    wipe_free(filled);
    return all;
}

/* --- the medium's files --- */

/* Names without a folder are put where the kind's reader looks. */
static bool sort_into_folder(struct seed_files *files, const struct kind *kind, char error[SEED_ERROR_MAX])
{
    struct seed_files given_files = *files;
    bool good = true;
    memset(files, 0, sizeof *files);
    for (unsigned i = 0; i < given_files.count; i++) {
        const struct seed_file *file = &given_files.list[i];
        size_t size = strlen(kind->folder) + strlen(file->name) + 1;
        char *name = mem_alloc(size);
        snprintf(name, size, "%s%s", strchr(file->name, '/') ? "" : kind->folder, file->name);
        good = good && seed_files_add(files, name, file->data, file->size, error);
        if (good)
            files->list[files->count - 1].binary = file->binary;
        mem_free(name);
    }
    seed_files_clear(&given_files);
    return good;
}

/* Unless there is a file of that name. Takes over the reference to `content`. */
static bool add_made(struct seed_files *files, const char *name, json_t *content, char error[SEED_ERROR_MAX])
{
    char *text = json_dumps(content, JSON_INDENT(1));
    json_decref(content);
    if (!text)
        mem_exhausted();
    bool good = seed_files_find(files, name) || seed_files_add(files, name, text, strlen(text), error);
    wipe_free(text);
    return good;
}

/* By which cloud-init knows whether it has set up this machine before. */
static const char *instance_of(const struct seed_facts *facts)
{
    return *facts->uuid ? facts->uuid : *facts->serial ? facts->serial : facts->slot;
}

static bool add_metadata(const struct seed_wish *wish, const struct seed_facts *facts, struct seed_files *files,
                         char error[SEED_ERROR_MAX])
{
    if (is_kind(wish, "cidata")) /* what is JSON is YAML */
        return add_made(files, "meta-data", json_pack("{s:s}", "instance-id", instance_of(facts)), error);
    return !is_kind(wish, "config-2") ||
           add_made(files, "openstack/latest/meta_data.json", json_pack("{s:s}", "uuid", instance_of(facts)), error);
}

static bool add_network(const struct seed_wish *wish, const struct seed_facts *facts, struct seed_files *files,
                        char error[SEED_ERROR_MAX])
{
    struct seed_network network;
    if (!*given(wish->network_data))
        return true;
    if (!seed_network_parse(wish->network_data, &network, error))
        return false;
    if (is_kind(wish, "cidata"))
        return add_made(files, "network-config", seed_network_config(&network, facts->mac), error);
    if (!is_kind(wish, "config-2"))
        return seed_say(error, "network-data becomes a file of a config medium of kind cidata or config-2 only");
    if (!*facts->mac)
        return seed_say(error, "network-data on a config-2 medium is for a network card of a known address (give mac)");
    return add_made(files, "openstack/latest/network_data.json", seed_network_data(&network, facts->mac), error);
}

bool seed_wish_complete(const struct seed_wish *wish, const struct seed_facts *facts, struct seed_files *files,
                        char error[SEED_ERROR_MAX])
{
    static const struct kind none = {"", "CONFIG", "", NULL};
    const struct kind *kind = wish_kind(wish) ? wish_kind(wish) : &none;
    if (files->count == 0)
        return seed_say(error, "the config medium has no files");
    if (kind->needed && !seed_files_find(files, kind->needed))
        return seed_say(error, "a config medium of kind %s is read only with a file %s", kind->name, kind->needed);
    return seed_facts_fill_files(facts, files, error) && sort_into_folder(files, kind, error) &&
           add_metadata(wish, facts, files, error) && add_network(wish, facts, files, error);
}

const char *seed_wish_label(const struct seed_wish *wish)
{
    return *given(wish->label) ? wish->label : wish_kind(wish) ? wish_kind(wish)->label : "CONFIG";
}
