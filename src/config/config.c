#include "config/config.h"

#include <build-config.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "config/keys.h"
#include "config/sections.h"
#include "net/address.h"
#include "net/tcp_listener.h"
#include "remote/origin.h"

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

static void config_own(enum key_section section, void *base)
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

static void new_items(struct config *config)
{
    config->credentials = mem_alloc(CONFIG_CREDENTIALS_MAX * sizeof *config->credentials);
    config->slots = mem_alloc(CONFIG_SLOTS_MAX * sizeof *config->slots);
}

void config_empty(struct config *config)
{
    memset(config, 0, sizeof *config);
    new_items(config);
    sections_each(config, set_standard);
}

void config_default(struct config *config)
{
    config_empty(config);
    config_add(config, KEY_SLOT, "slot0");
    struct config_slot *second = config_add(config, KEY_SLOT, "slot1");
    second->media = MEDIA_DISK;
}

void *config_add(struct config *config, enum key_section section, const char *name)
{
    void *item = section_add(config, section, name);
    if (item)
        set_standard(section, item);
    if (item && section == KEY_SLOT) {
        struct config_slot *slot = item;
        slot->http = config->http;
        config_own(KEY_HTTP, &slot->http);
    }
    return item;
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

/* A key of [http] in a slot's section. */
static bool override_http(struct config_slot *slot, const struct key *key, const char *value, char *expected, size_t size)
{
    slot->overrides |= key_bit(key);
    return key_set(key, &slot->http, value, expected, size);
}

bool config_assign(struct config *config, enum key_section section, void *item, const struct key *key,
                   const char *value, char *expected, size_t size)
{
    if (section == KEY_HTTP)
        return assign_http(config, key, value, expected, size);
    if (section == KEY_SLOT && key->section == KEY_HTTP)
        return override_http(item, key, value, expected, size);
    return key_set(key, item ? item : section_struct(config, section), value, expected, size);
}

void config_slot_clear(struct config_slot *slot)
{
    clear(KEY_SLOT, slot);
    clear(KEY_HTTP, &slot->http);
}

void config_free(struct config *config)
{
    sections_each(config, clear);
    mem_free(config->credentials);
    mem_free(config->slots);
    memset(config, 0, sizeof *config);
}

void config_slot_copy(struct config_slot *to, const struct config_slot *from)
{
    *to = *from;
    config_own(KEY_SLOT, to);
    config_own(KEY_HTTP, &to->http);
}

void config_credentials_clear(struct config_credentials *credentials)
{
    clear(KEY_CREDENTIALS, credentials);
}

void config_credentials_copy(struct config_credentials *to, const struct config_credentials *from)
{
    *to = *from;
    config_own(KEY_CREDENTIALS, to);
}

void config_copy(struct config *to, const struct config *from)
{
    *to = *from;
    new_items(to);
    memcpy(to->credentials, from->credentials, from->credentials_count * sizeof *from->credentials);
    memcpy(to->slots, from->slots, from->slot_count * sizeof *from->slots);
    sections_each(to, config_own);
}

bool config_slot_equal(const struct config_slot *a, const struct config_slot *b)
{
    return strcmp(a->name, b->name) == 0 && equal(KEY_SLOT, a, b) && equal(KEY_HTTP, &a->http, &b->http);
}

/* --- what no single key shows --- */

static void config_socket_path(const struct config *config, unsigned i, char *out, size_t size)
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
        config_socket_path(config, i, path, sizeof path);
        if (strlen(path) > 107)
            return invalid(error, "the path of a socket may have 107 characters (choose a shorter runtime-dir)", path);
        for (unsigned j = 0; j < i; j++) {
            config_socket_path(config, j, other, sizeof other);
            if (strcmp(path, other) == 0)
                return invalid(error, "two sockets have the same path", path);
        }
    }
    return 0;
}

static int validate_images(const struct config *config, char error[CONFIG_ERROR_MAX])
{
    for (unsigned i = 0; i < config->slot_count; i++)
        if (*config->slots[i].image && *config->slots[i].config)
            return invalid(error, "image and config are both given (a slot has one medium)", config->slots[i].name);
    return 0;
}

/* N of the slot's "/dev/nbdN", without a name the slot's index; -1: the name is not of that form. */
static int config_device_number(const struct config *config, unsigned i)
{
    const char *name = config->slots[i].device;
    unsigned number;
    char rest;
    if (!*name)
        return (int)i;
    return sscanf(name, "/dev/nbd%3u%c", &number, &rest) == 1 && number < 256 ? (int)number : -1;
}

void config_gadget_name(const struct config_slot *slot, char name[CONFIG_GADGET_MAX])
{
    if (*slot->usb.gadget)
        snprintf(name, CONFIG_GADGET_MAX, "%s", slot->usb.gadget);
    else
        snprintf(name, CONFIG_GADGET_MAX, CONFIG_GADGET_PREFIX "%s", slot->name);
}

static bool is_same_gadget(const struct config_slot *a, const struct config_slot *b)
{
    char one[CONFIG_GADGET_MAX], other[CONFIG_GADGET_MAX];
    config_gadget_name(a, one);
    config_gadget_name(b, other);
    return strcmp(one, other) == 0;
}

static int validate_gadget(const struct config *config, unsigned i, char error[CONFIG_ERROR_MAX])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    const struct config_slot *slot = &config->slots[i];
    if (slot->usb.gadget[strspn(slot->usb.gadget, letters)] || slot->usb.function[strspn(slot->usb.function, letters)])
        return invalid(error, "usb-gadget and usb-function: expected letters, digits, _ and -", slot->name);
    for (unsigned j = 0; j < i; j++)
        if (is_same_gadget(slot, &config->slots[j]))
            return invalid(error, "two slots have the same usb-gadget", slot->name);
    return 0;
}

static int validate_devices(const struct config *config, char error[CONFIG_ERROR_MAX])
{
    for (unsigned i = 0; i < config->slot_count; i++) {
        if (config_device_number(config, i) < 0)
            return invalid(error, "nbd-device: expected a name from /dev/nbd0 to /dev/nbd255", config->slots[i].name);
        for (unsigned j = 0; j < i; j++)
            if (config_device_number(config, i) == config_device_number(config, j))
                return invalid(error, "two slots have the same nbd-device", config->slots[i].name);
        if (validate_gadget(config, i, error) != 0)
            return -1;
    }
    return 0;
}

static int validate_login(const struct config_login *login, const char *where, char error[CONFIG_ERROR_MAX])
{
    if (*login->client_key && !*login->client_cert)
        return invalid(error, "client-key needs client-certificate", where);
    if (*login->password && !*login->user)
        return invalid(error, "password needs user", where);
    if (*login->bearer_token && *login->user)
        return invalid(error, "give either user and password or bearer-token", where);
    return 0;
}

static bool is_same_origin(const char *a, const char *b)
{
    struct origin one;
    bool same = origin_read(&one, a) && origin_covers(&one, b);
    origin_clear(&one);
    return same;
}

/* Two [credentials] of one origin are an error: chance would decide which one is sent. */
static int validate_alone(const struct config *config, unsigned index, char error[CONFIG_ERROR_MAX])
{
    const struct config_credentials *items = config->credentials;
    for (unsigned i = 0; i < index; i++)
        if (is_same_origin(items[i].origin, items[index].origin) && is_same_origin(items[index].origin, items[i].origin))
            return invalid(error, "another section [credentials NAME] has the same origin", items[index].name);
    return 0;
}

static int validate_credentials(const struct config *config, unsigned index, char error[CONFIG_ERROR_MAX])
{
    const struct config_credentials *item = &config->credentials[index];
    const struct config_login *login = &item->login;
    const char *problem = *item->origin ? origin_problem(item->origin) : "it is missing (like https://HOST/PATH/)";
    char words[256];
    if (problem) {
        snprintf(words, sizeof words, "origin: %s", problem);
        return invalid(error, words, item->name);
    }
    if (!*login->user && !*login->bearer_token && !*login->client_cert && !*login->ssh_key)
        return invalid(error, "there is nothing to send (expected user, bearer-token, client-certificate or ssh-key)",
                       item->name);
    return validate_login(login, item->name, error) != 0 ? -1 : validate_alone(config, index, error);
}

static bool is_local_address(const char *text)
{
    struct sockaddr_storage address;
    return strncmp(text, TCP_ADDRESS_UNIX, sizeof TCP_ADDRESS_UNIX - 1) == 0 || !tcp_address_parse(text, &address) ||
           tcp_address_is_loopback(&address);
}

static int validate_plain(const struct config_web *web, char error[CONFIG_ERROR_MAX])
{
    char *copy = mem_strdup(web->listen_plain), *rest, *word = strtok_r(copy, " ,\t", &rest);
    while (word && is_local_address(word))
        word = strtok_r(NULL, " ,\t", &rest);
    if (word)
        snprintf(error, CONFIG_ERROR_MAX, "web: listen-plain: %.200s: plain HTTP is served on loopback addresses and unix: only "
                 "(use listen for HTTPS)", word);
    mem_free(copy);
    return word ? -1 : 0;
}

static int validate_web(const struct config *config, char error[CONFIG_ERROR_MAX])
{
    const struct config_web *web = &config->web;
    if (*web->certificate_key && !*web->certificate)
        return invalid(error, "certificate-key needs certificate", "web");
    if (web->client_certificates == CLIENT_CERTIFICATES_REQUIRED && !*web->client_ca)
        return invalid(error, "client-certificates = required needs client-ca", "web");
    if (!web->accounts)
        return invalid(error, "accounts: expected file, pam or both", "web");
#ifndef HAVE_PAM
    if (web->accounts & ACCOUNTS_PAM)
        return invalid(error, "accounts = pam: this nbd-proxy was built without PAM", "web");
#endif
    if (validate_plain(web, error) != 0)
        return -1;
    struct address_prefixes proxies;
    if (!address_prefixes_parse(&proxies, web->trusted_proxies))
        return invalid(error, "trusted-proxies: expected up to 32 addresses or prefixes, like 192.0.2.1 2001:db8::/32", "web");
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
        if (validate_login(&config->slots[i].http.login, config->slots[i].name, error) != 0)
            return -1;
    for (unsigned i = 0; i < config->credentials_count; i++)
        if (validate_credentials(config, i, error) != 0)
            return -1;
    if (validate_web(config, error) != 0 || validate_dbus(config, error) != 0)
        return -1;
    if (validate_images(config, error) != 0)
        return -1;
    return validate_devices(config, error) != 0 ? -1 : validate_sockets(config, error);
}
