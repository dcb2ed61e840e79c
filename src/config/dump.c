/* A configuration as text: what is in force, and the commented sample. */
#include <string.h>

#include "base/text.h"
#include "config/keys.h"
#include "config/sections.h"

#define COLUMNS 88

/* As it stands it would be read as something else: config/parse.c. */
static bool wants_quotes(const char *text)
{
    size_t length = strlen(text);
    return length && (strchr("\"# \t", text[0]) || strchr(" \t\r", text[length - 1]) || strstr(text, " #") || strstr(text, "\t#"));
}

static void dump_text(FILE *out, const char *text)
{
    if (!wants_quotes(text)) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++)
        fprintf(out, "%s%c", *text == '"' || *text == '\\' ? "\\" : "", *text);
    fputc('"', out);
}

static void dump_key(FILE *out, const struct key *key, const void *base)
{
    char *text = mem_alloc(KEY_TEXT_MAX);
    key_get(key, base, text, KEY_TEXT_MAX);
    if (key->type == KEY_SECRET && *text) {
        fprintf(out, "# %s = (not shown)\n", key->name);
    } else {
        fprintf(out, "%s = ", key->name);
        dump_text(out, text);
        fputc('\n', out);
    }
    mem_free_secret(text);
}

static void dump_keys(FILE *out, enum key_section section, const void *base, uint64_t bits)
{
    for (unsigned i = 0; i < config_key_count; i++)
        if (config_keys[i].section == section && (section != KEY_HTTP || bits & key_bit(&config_keys[i])))
            dump_key(out, &config_keys[i], base);
}

static void dump_items(FILE *out, const struct config *config, enum key_section section)
{
    for (unsigned i = 0; i < section_count(config, section); i++) {
        const void *item = section_item(config, section, i);
        const struct config_slot *slot = section == KEY_SLOT ? item : NULL;
        fprintf(out, "\n[%s %s]\n", config_sections[section].name, (const char *)item);
        dump_keys(out, section, item, 0);
        if (slot)
            dump_keys(out, KEY_HTTP, &slot->http, slot->overrides);
    }
}

void config_dump(const struct config *config, FILE *out)
{
    for (int section = 0; section < KEY_SECTIONS; section++) {
        if (section_repeats(section)) {
            dump_items(out, config, section);
            continue;
        }
        fprintf(out, "%s[%s]\n", section > 0 ? "\n" : "", config_sections[section].name);
        dump_keys(out, section, section_struct(config, section), UINT64_MAX);
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

static void sample_section(FILE *out, enum key_section section)
{
    const struct section *row = &config_sections[section];
    comment(out, row->about ? row->about : "");
    if (row->heading)
        fprintf(out, "%s\n\n", row->heading);
    else
        fprintf(out, "[%s]\n\n", row->name);
    sample_keys(out, section);
}

void config_sample(FILE *out)
{
    comment(out, "nbd-proxy.conf: see nbd-proxy.conf(5). Every key stands here with its default. A comment begins with # or ; on "
                 "a line of its own, or with # behind a value and a blank. Sizes are like 64K, 8M, 1G; times like 500ms, 25s, "
                 "2m.");
    fputc('\n', out);
    for (int section = 0; section < KEY_SECTIONS; section++)
        sample_section(out, section);
    fputs("[slot slot1]\nmedia = disk\n", out);
}
