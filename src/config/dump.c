/* A configuration as text: what is in force, and the commented sample. */
#include <string.h>

#include "base/text.h"
#include "config/keys.h"
#include "config/sections.h"

#define COLUMNS 88

static void dump_key(FILE *out, const struct key *key, const void *base)
{
    char *text = mem_alloc(KEY_TEXT_MAX);
    key_get(key, base, text, KEY_TEXT_MAX);
    if (key->type == KEY_SECRET && *text)
        fprintf(out, "# %s = (not shown)\n", key->name);
    else
        fprintf(out, "%s = %s\n", key->name, text);
    mem_free_secret(text);
}

static void dump_keys(FILE *out, enum key_section section, const void *base, uint64_t bits)
{
    for (unsigned i = 0; i < config_key_count; i++)
        if (config_keys[i].section == section && (section != KEY_HTTP || bits & key_bit(&config_keys[i])))
            dump_key(out, &config_keys[i], base);
}

void config_dump(const struct config *config, FILE *out)
{
    fputs("[daemon]\n", out);
    dump_keys(out, KEY_DAEMON, config, 0);
    fputs("\n[web]\n", out);
    dump_keys(out, KEY_WEB, &config->web, 0);
    fputs("\n[dbus]\n", out);
    dump_keys(out, KEY_DBUS, &config->dbus, 0);
    fputs("\n[host]\n", out);
    dump_keys(out, KEY_HOST, &config->host, 0);
    fputs("\n[http]\n", out);
    dump_keys(out, KEY_HTTP, &config->http, UINT64_MAX);
    for (unsigned i = 0; i < config->slot_count; i++) {
        fprintf(out, "\n[slot %s]\n", config->slots[i].name);
        dump_keys(out, KEY_SLOT, &config->slots[i], 0);
        dump_keys(out, KEY_HTTP, &config->slots[i].http, config->slots[i].overrides);
    }
}

/* Comment lines, broken at blanks. */
static void comment(FILE *out, const char *text)
{
    while (*text) {
        size_t length = strlen(text);
        if (length > COLUMNS) {
            length = COLUMNS;
            while (text[length] != ' ')
                length--;
        }
        fprintf(out, "# %.*s\n", (int)length, text);
        text += length + (text[length] == ' ');
    }
}

static void sample_keys(FILE *out, enum key_section section)
{
    for (unsigned i = 0; i < config_key_count; i++) {
        if (config_keys[i].section != section)
            continue;
        comment(out, config_keys[i].help);
        fprintf(out, "#%s = %s\n\n", config_keys[i].name, config_keys[i].standard);
    }
}

void config_sample(FILE *out)
{
    comment(out, "nbd-proxy.conf: see nbd-proxy.conf(5). Every key stands here with its default. A comment has a line "
                 "of its own, beginning with # or ;. Sizes are like 64K, 8M, 1G; times like 500ms, 25s, 2m.");
    fputs("\n[daemon]\n\n", out);
    sample_keys(out, KEY_DAEMON);
    comment(out, "The web page, its API and its accounts.");
    fputs("[web]\n\n", out);
    sample_keys(out, KEY_WEB);
    comment(out, "The D-Bus service that OpenBMC's bmcweb drives.");
    fputs("[dbus]\n\n", out);
    sample_keys(out, KEY_DBUS);
    comment(out, "The host's power and boot source, which the daemon itself has no way to.");
    fputs("[host]\n\n", out);
    sample_keys(out, KEY_HOST);
    comment(out, "Defaults for every slot's images on web servers. Any of these keys may also stand in a slot's section.");
    fputs("[http]\n\n", out);
    sample_keys(out, KEY_HTTP);
    comment(out, "A drive of the host. Slots are counted from 0 in the order in which they stand here.");
    fputs("[slot slot0]\n\n", out);
    sample_keys(out, KEY_SLOT);
    fputs("[slot slot1]\nmedia = disk\n", out);
}
