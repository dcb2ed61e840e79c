#include "config/sections.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define ONCE(text, field) .name = text, .offset = offsetof(struct config, field)
#define SEVERAL(text, items, number, type, bound)                                                                      \
    .name = text, .offset = offsetof(struct config, items), .count = offsetof(struct config, number),                  \
    .size = sizeof(type), .line = offsetof(type, line), .most = bound

_Static_assert(offsetof(struct config_slot, name) == 0 && offsetof(struct config_credentials, name) == 0,
               "an item begins with its name");

const struct section config_sections[KEY_SECTIONS] = {
    [KEY_DAEMON] = {.name = "daemon"},
    [KEY_WEB] = {ONCE("web", web), .about = "The web page, its API and its accounts."},
    [KEY_DBUS] = {ONCE("dbus", dbus), .about = "The D-Bus service that OpenBMC's bmcweb drives."},
    [KEY_HOST] = {ONCE("host", host),
                  .about = "The host's power and boot source, which the daemon itself has no way to."},
    [KEY_HTTP] = {ONCE("http", http),
                  .about = "Defaults for every slot's images on web servers. Any of these keys may also stand in a "
                           "slot's section. What says who we are (user, password, bearer-token, client-certificate, "
                           "client-key, ssh-key) goes to the server of the slot's image alone, the one that is "
                           "configured; for other servers there are sections [credentials NAME]."},
    [KEY_CREDENTIALS] = {SEVERAL("credentials", credentials, credentials_count, struct config_credentials,
                                 CONFIG_CREDENTIALS_MAX),
                         .about = "Who we are for the images of one origin, whoever inserts them. Of several sections "
                                  "that an image is of, the one with the longest path serves.",
                         .heading = "#[credentials images]"},
    [KEY_SLOT] = {SEVERAL("slot", slots, slot_count, struct config_slot, CONFIG_SLOTS_MAX),
                  .about = "A drive of the host. Slots are counted from 0 in the order in which they stand here.",
                  .heading = "[slot slot0]"},
};

static void list(char *out, size_t size, const char *begin, const char *name, const char *end)
{
    size_t used = 0;
    for (int i = 0; i < KEY_SECTIONS && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s%s%s%s",
                                 i == 0 ? "" : i == KEY_SECTIONS - 1 ? " or " : ", ", begin, config_sections[i].name,
                                 section_repeats(i) ? name : "", end);
}

void sections_expected(char *out, size_t size)
{
    list(out, size, "[", " NAME", "]");
}

void sections_assignments(char *out, size_t size)
{
    list(out, size, "", ".NAME", ".KEY=VALUE");
}

/* --- what the table's offsets lead to --- */

static void *at(const struct config *config, size_t offset)
{
    return (char *)(uintptr_t)config + offset;
}

void *section_struct(const struct config *config, enum key_section section)
{
    return at(config, config_sections[section].offset);
}

unsigned section_count(const struct config *config, enum key_section section)
{
    return *(unsigned *)at(config, config_sections[section].count);
}

void *section_item(const struct config *config, enum key_section section, unsigned index)
{
    char *items;
    memcpy(&items, at(config, config_sections[section].offset), sizeof items);
    return items + index * config_sections[section].size;
}

void *section_find(const struct config *config, enum key_section section, const char *name)
{
    for (unsigned i = 0; i < section_count(config, section); i++)
        if (strcmp(section_item(config, section, i), name) == 0)
            return section_item(config, section, i);
    return NULL;
}

void *section_add(struct config *config, enum key_section section, const char *name)
{
    unsigned *count = at(config, config_sections[section].count);
    if (*count == config_sections[section].most)
        return NULL;
    char *item = section_item(config, section, (*count)++);
    memset(item, 0, config_sections[section].size);
    snprintf(item, CONFIG_NAME_MAX, "%s", name);
    return item;
}

unsigned *section_line_of(enum key_section section, void *item)
{
    return (unsigned *)(void *)((char *)item + config_sections[section].line);
}

const char *section_name_problem(enum key_section section, const char *name)
{
    static const char legal[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t length = strlen(name);
    bool slot = section == KEY_SLOT;
    if (length == 0 || length >= CONFIG_NAME_MAX || strspn(name, legal) != length)
        return slot ? "a slot's name has 1 to 31 letters, digits, - or _"
                    : "the name of such a section has 1 to 31 letters, digits, - or _";
    if (slot && strspn(name, "0123456789") == length)
        return "a slot's name must not be a number (numbers are the slots' indexes)";
    if (slot && (strcmp(name, "ctl") == 0 || strcmp(name, "doctor") == 0 || strcmp(name, "passwd") == 0))
        return "a slot can't be called ctl, doctor or passwd (with these nbd-proxy NAME means something else)";
    return NULL;
}

static void each_item(const struct config *config, enum key_section section,
                      void (*visit)(enum key_section section, void *base))
{
    for (unsigned i = 0; i < section_count(config, section); i++) {
        void *item = section_item(config, section, i);
        visit(section, item);
        if (section == KEY_SLOT)
            visit(KEY_HTTP, &((struct config_slot *)item)->http);
    }
}

void sections_each(const struct config *config, void (*visit)(enum key_section section, void *base))
{
    for (int section = 0; section < KEY_SECTIONS; section++)
        if (section_repeats(section))
            each_item(config, section, visit);
        else
            visit(section, section_struct(config, section));
}
