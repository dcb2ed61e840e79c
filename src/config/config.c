#include "config/config.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "config/keys.h"
#include "config/sections.h"

/* Every key of one struct, in the table's order. */
#define for_each_key(key, wanted)                                                                                      \
    for (const struct key *key = config_keys; key < config_keys + config_key_count; key++)                            \
        if (key->section == (wanted))

static void set_standard(enum key_section section, void *base)
{
    char expected[256];
    for_each_key (key, section)
        key_set(key, base, key->standard, expected, sizeof expected);
}

static void own(enum key_section section, void *base)
{
    for_each_key (key, section)
        key_own(key, base);
}

static void clear(enum key_section section, void *base)
{
    for_each_key (key, section)
        key_clear(key, base);
}

static bool equal(enum key_section section, const void *a, const void *b)
{
    for_each_key (key, section)
        if (!key_equal(key, a, b))
            return false;
    return true;
}

void config_empty(struct config *config)
{
    memset(config, 0, sizeof *config);
    set_standard(KEY_DAEMON, config);
    set_standard(KEY_WEB, &config->web);
    set_standard(KEY_DBUS, &config->dbus);
    set_standard(KEY_HOST, &config->host);
    set_standard(KEY_HTTP, &config->http);
    config->slots = mem_alloc(CONFIG_SLOTS_MAX * sizeof *config->slots);
}

void config_default(struct config *config)
{
    config_empty(config);
    config_add_slot(config, "slot0");
    config_add_slot(config, "slot1")->media = MEDIA_DISK;
}

struct config_slot *config_find_slot(struct config *config, const char *name)
{
    for (unsigned i = 0; i < config->slot_count; i++)
        if (strcmp(config->slots[i].name, name) == 0)
            return &config->slots[i];
    return NULL;
}

struct config_slot *config_add_slot(struct config *config, const char *name)
{
    if (config->slot_count == CONFIG_SLOTS_MAX)
        return NULL;
    struct config_slot *slot = &config->slots[config->slot_count++];
    memset(slot, 0, sizeof *slot);
    snprintf(slot->name, sizeof slot->name, "%s", name);
    set_standard(KEY_SLOT, slot);
    slot->http = config->http;
    own(KEY_HTTP, &slot->http);
    return slot;
}

const char *config_slot_name_problem(const char *name)
{
    static const char legal[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t length = strlen(name);
    if (length == 0 || length >= CONFIG_SLOT_NAME_MAX || strspn(name, legal) != length)
        return "a slot's name has 1 to 31 letters, digits, - or _";
    if (strspn(name, "0123456789") == length)
        return "a slot's name must not be a number (numbers are the slots' indexes)";
    return NULL;
}

/* A key of [http] reaches every slot that does not set it itself. */
static bool assign_http(struct config *config, const struct key *key, const char *value, char *expected, size_t size)
{
    if (!key_set(key, &config->http, value, expected, size))
        return false;
    for (unsigned i = 0; i < config->slot_count; i++)
        if (!(config->slots[i].overrides & key_bit(key)))
            key_set(key, &config->slots[i].http, value, expected, size);
    return true;
}

bool config_assign(struct config *config, enum key_section section, struct config_slot *slot, const struct key *key,
                   const char *value, char *expected, size_t size)
{
    if (section == KEY_DAEMON)
        return key_set(key, config, value, expected, size);
    if (section == KEY_WEB)
        return key_set(key, &config->web, value, expected, size);
    if (section == KEY_DBUS)
        return key_set(key, &config->dbus, value, expected, size);
    if (section == KEY_HOST)
        return key_set(key, &config->host, value, expected, size);
    if (section == KEY_HTTP)
        return assign_http(config, key, value, expected, size);
    if (key->section == KEY_SLOT)
        return key_set(key, slot, value, expected, size);
    slot->overrides |= key_bit(key);
    return key_set(key, &slot->http, value, expected, size);
}

void config_slot_clear(struct config_slot *slot)
{
    clear(KEY_SLOT, slot);
    clear(KEY_HTTP, &slot->http);
}

void config_free(struct config *config)
{
    for (unsigned i = 0; i < config->slot_count; i++)
        config_slot_clear(&config->slots[i]);
    clear(KEY_DAEMON, config);
    clear(KEY_WEB, &config->web);
    clear(KEY_DBUS, &config->dbus);
    clear(KEY_HOST, &config->host);
    clear(KEY_HTTP, &config->http);
    mem_free(config->slots);
    memset(config, 0, sizeof *config);
}

void config_slot_copy(struct config_slot *to, const struct config_slot *from)
{
    *to = *from;
    own(KEY_SLOT, to);
    own(KEY_HTTP, &to->http);
}

void config_copy(struct config *to, const struct config *from)
{
    *to = *from;
    own(KEY_DAEMON, to);
    own(KEY_WEB, &to->web);
    own(KEY_DBUS, &to->dbus);
    own(KEY_HOST, &to->host);
    own(KEY_HTTP, &to->http);
    to->slots = mem_alloc(CONFIG_SLOTS_MAX * sizeof *to->slots);
    for (unsigned i = 0; i < from->slot_count; i++)
        config_slot_copy(&to->slots[i], &from->slots[i]);
}

bool config_slot_equal(const struct config_slot *a, const struct config_slot *b)
{
    return strcmp(a->name, b->name) == 0 && equal(KEY_SLOT, a, b) && equal(KEY_HTTP, &a->http, &b->http);
}

/* --- what no single key shows --- */

static void socket_path(const struct config *config, unsigned i, char *out, size_t size)
{
    bool control = i == config->slot_count;
    const char *path = control ? config->control_socket : config->slots[i].socket;
    if (*path)
        snprintf(out, size, "%s", path);
    else
        snprintf(out, size, "%s/%s.sock", config->runtime_dir, control ? "control" : config->slots[i].name);
}

static int invalid(char error[CONFIG_ERROR_MAX], const char *what, const char *where)
{
    snprintf(error, CONFIG_ERROR_MAX, "%.200s%s%s", where, *where ? ": " : "", what);
    return -1;
}

static int validate_sockets(const struct config *config, char error[CONFIG_ERROR_MAX])
{
    for (unsigned i = 0; i <= config->slot_count; i++) {
        char path[512], other[512];
        socket_path(config, i, path, sizeof path);
        if (strlen(path) > 107)
            return invalid(error, "the path of a socket may have 107 characters (choose a shorter runtime-dir)", path);
        for (unsigned j = 0; j < i; j++) {
            socket_path(config, j, other, sizeof other);
            if (strcmp(path, other) == 0)
                return invalid(error, "two sockets have the same path", path);
        }
    }
    return 0;
}

/* N of "/dev/nbdN", or of the slot's place; -1: it is not such a name. */
static int device_number(const struct config *config, unsigned i)
{
    const char *name = config->slots[i].device;
    unsigned number;
    char rest;
    if (!*name)
        return (int)i;
    return sscanf(name, "/dev/nbd%3u%c", &number, &rest) == 1 && number < 256 ? (int)number : -1;
}

static int validate_devices(const struct config *config, char error[CONFIG_ERROR_MAX])
{
    for (unsigned i = 0; i < config->slot_count; i++) {
        if (device_number(config, i) < 0)
            return invalid(error, "nbd-device: expected a name from /dev/nbd0 to /dev/nbd255", config->slots[i].name);
        for (unsigned j = 0; j < i; j++)
            if (device_number(config, i) == device_number(config, j))
                return invalid(error, "two slots have the same nbd-device", config->slots[i].name);
    }
    return 0;
}

static int validate_slot(const struct config_slot *slot, char error[CONFIG_ERROR_MAX])
{
    const struct config_http *http = &slot->http;
    if (*http->client_key && !*http->client_cert)
        return invalid(error, "client-key needs client-certificate", slot->name);
    if (*http->password && !*http->user)
        return invalid(error, "password needs user", slot->name);
    if (*http->bearer_token && *http->user)
        return invalid(error, "give either user and password or bearer-token", slot->name);
    return 0;
}

static int validate_web(const struct config *config, char error[CONFIG_ERROR_MAX])
{
    const struct config_web *web = &config->web;
    if (*web->certificate_key && !*web->certificate)
        return invalid(error, "certificate-key needs certificate", "web");
    if (web->client_certificates == CLIENT_CERTIFICATES_REQUIRED && !*web->client_ca)
        return invalid(error, "client-certificates = required needs client-ca", "web");
    for (unsigned i = 0; *web->root_slot && i <= config->slot_count; i++) {
        if (i == config->slot_count)
            return invalid(error, "root-slot: there is no such slot", "web");
        if (strcmp(config->slots[i].name, web->root_slot) == 0)
            break;
    }
    return 0;
}

static int validate_dbus(const struct config *config, char error[CONFIG_ERROR_MAX])
{
    const struct config_dbus *dbus = &config->dbus;
    bool named =
        strcmp(dbus->bus, "none") == 0 || strcmp(dbus->bus, "system") == 0 || strcmp(dbus->bus, "session") == 0;
    if (!named && (strncmp(dbus->bus, "unix:", 5) != 0 || strchr(dbus->bus, ';')))
        return invalid(error, "bus: expected none, system, session or one address \"unix:...\"", "dbus");
    if (!*dbus->proxy_directory && strlen(config->runtime_dir) > 80)
        return invalid(error, "a socket in runtime-dir/proxy would have too long a path (set proxy-directory)", "dbus");
    return 0;
}

int config_validate(const struct config *config, char error[CONFIG_ERROR_MAX])
{
    if (config->slot_count == 0)
        return invalid(error, "there is no slot (add a section [slot NAME])", "");
    if (config->cache_slot_minimum * config->slot_count > config->cache_size / 2)
        return invalid(error, "cache-slot-minimum times the slots is more than half of cache-size", "");
    for (unsigned i = 0; i < config->slot_count; i++)
        if (validate_slot(&config->slots[i], error) != 0)
            return -1;
    if (validate_web(config, error) != 0 || validate_dbus(config, error) != 0)
        return -1;
    return validate_devices(config, error) != 0 ? -1 : validate_sockets(config, error);
}
