/*
 * INI files by inih. As packaged, inih cuts lines at 200 bytes and takes " ;"
 * in a value for a comment; a URL or a token needs neither. So its reader is
 * given each line with a stand-in for the value, which is kept aside.
 */
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/text.h"
#include "config/keys.h"
#include "config/sections.h"

#define FILE_MAX (1u << 20)
#define HEAD_MAX 120 /* a line without its value: inih's limit is 200 */

#define SECTIONS_EXPECTED "expected [daemon], [web], [dbus], [host], [http] or [slot NAME]"
/* Those that are there once; slots come behind. */
static const char *const single_sections[] = {
    [KEY_DAEMON] = "daemon", [KEY_WEB] = "web", [KEY_DBUS] = "dbus", [KEY_HOST] = "host", [KEY_HTTP] = "http"};

struct parser {
    struct config *config;
    const char *file_name;
    const char *at;        /* the next line */
    unsigned line;         /* the one inih has */
    char *value;           /* of that line, trimmed */
    char section_name[64]; /* as it stands there */
    bool in_section;
    enum key_section section;
    struct config_slot *slot;
    bool seen[128];              /* keys of the section, by their place in the table */
    bool section_seen[KEY_SLOT]; /* those that are there once */
    bool failed;
    char *error;
};

__attribute__((format(printf, 2, 3))) static int fail(struct parser *p, const char *format, ...)
{
    if (p->failed)
        return 0; /* the first error counts */
    p->failed = true;
    int n = snprintf(p->error, CONFIG_ERROR_MAX, "%s:%u: ", p->file_name, p->line);
    va_list args;
    va_start(args, format);
    if (n > 0 && n < CONFIG_ERROR_MAX)
        vsnprintf(p->error + n, (size_t)(CONFIG_ERROR_MAX - n), format, args);
    va_end(args);
    return 0;
}

static char *trimmed(const char *from, size_t length)
{
    while (length > 0 && (*from == ' ' || *from == '\t')) {
        from++;
        length--;
    }
    while (length > 0 && strchr(" \t\r", from[length - 1]))
        length--;
    char *copy = mem_alloc(length + 1);
    memcpy(copy, from, length);
    return copy;
}

static bool begin_slot(struct parser *p, const char *name)
{
    const char *problem = config_slot_name_problem(name);
    if (problem)
        return fail(p, "%s", problem);
    struct config_slot *slot = config_find_slot(p->config, name);
    if (slot && slot->line > 0)
        return fail(p, "slot \"%s\" is there twice (first in line %u)", name, slot->line);
    slot = slot ? slot : config_add_slot(p->config, name);
    if (!slot)
        return fail(p, "there are more than %d slots", CONFIG_SLOTS_MAX);
    slot->line = p->line;
    p->section = KEY_SLOT;
    p->slot = slot;
    return true;
}

static bool begin_once(struct parser *p, enum key_section section)
{
    if (p->section_seen[section])
        return fail(p, "section [%s] is there twice", p->section_name);
    p->section_seen[section] = true;
    p->section = section;
    return true;
}

/* KEY_SLOT: it is none of the single sections. */
static enum key_section single_section(const char *name)
{
    enum key_section section = KEY_DAEMON;
    while (section < KEY_SLOT && strcmp(single_sections[section], name) != 0)
        section++;
    return section;
}

static bool begin_section(struct parser *p)
{
    memset(p->seen, 0, sizeof p->seen);
    p->in_section = true;
    enum key_section section = single_section(p->section_name);
    if (section < KEY_SLOT)
        return begin_once(p, section);
    if (strncmp(p->section_name, "slot ", 5) == 0)
        return begin_slot(p, p->section_name + 5 + strspn(p->section_name + 5, " \t"));
    return fail(p, "unknown section [%s] (" SECTIONS_EXPECTED ")", p->section_name);
}

/* Sections are seen here, not in the handler: one without keys counts too. */
static bool section_line(struct parser *p, const char *text)
{
    size_t length = strcspn(text, "]");
    if (text[length] != ']' || text[length + 1 + strspn(text + length + 1, " \t")] != '\0')
        return fail(p, "expected [SECTION] alone on its line");
    if (length - 1 >= sizeof p->section_name)
        return fail(p, "the section's name is too long");
    memcpy(p->section_name, text + 1, length - 1);
    p->section_name[length - 1] = '\0';
    return begin_section(p);
}

/* The line for inih: its value replaced. */
static bool shorten(struct parser *p, char *line, char *to, int size)
{
    if (*line == '\0' || *line == '#' || *line == ';') {
        *to = '\0'; /* a comment, however long */
    } else if (*line == '[') {
        if (!section_line(p, line))
            return false;
        *to = '\0';
    } else {
        size_t head = strcspn(line, "=");
        if (line[head] != '=')
            return fail(p, "expected KEY = VALUE");
        if (head == 0 || head > HEAD_MAX)
            return fail(p, head ? "the key is too long" : "there is no key before the =");
        mem_free_secret(p->value);
        p->value = trimmed(line + head + 1, strlen(line + head + 1));
        snprintf(to, (size_t)size, "%.*s=x", (int)head, line);
    }
    strcat(to, "\n");
    return true;
}

/* inih's reader: fgets() on our text. */
static char *next_line(char *to, int size, void *arg)
{
    struct parser *p = arg;
    if (p->failed || *p->at == '\0')
        return NULL;
    size_t length = strcspn(p->at, "\n");
    char *line = trimmed(p->at, length); /* no leading blank: no continuation lines */
    p->at += length + (p->at[length] == '\n');
    p->line++;
    bool good = shorten(p, line, to, size);
    mem_free_secret(line);
    return good ? to : NULL;
}

static int on_value(void *arg, const char *section, const char *name, const char *value)
{
    struct parser *p = arg;
    char expected[256];
    (void)section;
    (void)value;
    if (p->failed)
        return 0;
    if (!p->in_section)
        return fail(p, "\"%.50s\" stands before the first section (" SECTIONS_EXPECTED ")", name);
    const struct key *key = key_find(p->section, name);
    if (!key) {
        const char *near = key_suggest(p->section, name);
        return fail(p, "unknown key \"%.50s\" in [%s]%s%s%s", name, p->section_name, near ? " (did you mean \"" : "",
                    near ? near : "", near ? "\"?)" : "");
    }
    if (p->seen[key - config_keys])
        return fail(p, "key \"%s\" is there twice in [%s]", name, p->section_name);
    p->seen[key - config_keys] = true;
    if (config_assign(p->config, p->section, p->slot, key, p->value, expected, sizeof expected))
        return 1;
    bool secret = key->type == KEY_SECRET;
    return fail(p, "%s = %.60s: expected %s", name, secret ? "..." : p->value, expected);
}

int config_parse(struct config *config, const char *file_name, const char *text, char error[CONFIG_ERROR_MAX])
{
    struct parser p = {.config = config, .file_name = file_name, .at = text, .error = error};
    config_empty(config);
    if (strncmp(text, "\xef\xbb\xbf", 3) == 0)
        p.at += 3;
    int line = ini_parse_stream(next_line, &p, on_value, &p);
    if (line != 0)
        fail(&p, "expected KEY = VALUE");
    mem_free_secret(p.value);
    if (!p.failed)
        return 0;
    config_free(config);
    return -1;
}

static bool holds_secret(const struct config *config)
{
    bool secret = *config->http.password || *config->http.bearer_token;
    for (unsigned i = 0; i < config->slot_count; i++)
        secret = secret || *config->slots[i].http.password || *config->slots[i].http.bearer_token;
    return secret;
}

static char *read_file(const char *file, mode_t *mode, char error[CONFIG_ERROR_MAX])
{
    struct stat st;
    FILE *in = fopen(file, "re");
    if (!in || fstat(fileno(in), &st) != 0 || (S_ISDIR(st.st_mode) && (errno = EISDIR))) {
        snprintf(error, CONFIG_ERROR_MAX, "%s: %s", file, strerror(errno));
        if (in)
            fclose(in);
        return NULL;
    }
    char *text = mem_alloc(FILE_MAX + 2);
    size_t length = fread(text, 1, FILE_MAX + 1, in);
    const char *problem = ferror(in)                   ? "can't be read"
                          : length > FILE_MAX          ? "is larger than 1 MiB"
                          : memchr(text, '\0', length) ? "has a NUL byte: it is not a configuration file"
                                                       : NULL;
    fclose(in);
    *mode = st.st_mode;
    if (!problem)
        return text;
    snprintf(error, CONFIG_ERROR_MAX, "%s: %s", file, problem);
    mem_free(text);
    return NULL;
}

int config_load(struct config *config, const char *file, char error[CONFIG_ERROR_MAX])
{
    mode_t mode;
    char *text = read_file(file, &mode, error);
    if (!text)
        return -1;
    int status = config_parse(config, file, text, error);
    mem_free_secret(text);
    if (status == 0 && mode & 077 && holds_secret(config))
        log_warning("config", "%s holds a secret and others may read it (chmod 600 %s)", file, file);
    return status;
}

static int bad_assignment(char error[CONFIG_ERROR_MAX], const char *what)
{
    snprintf(error, CONFIG_ERROR_MAX,
             "--set: %s (expected daemon.KEY=VALUE, web.KEY=VALUE, dbus.KEY=VALUE, host.KEY=VALUE, http.KEY=VALUE or "
             "slot.NAME.KEY=VALUE)",
             what);
    return -1;
}

static struct config_slot *slot_for(struct config *config, const char *name)
{
    struct config_slot *slot = config_find_slot(config, name);
    return slot ? slot : config_slot_name_problem(name) ? NULL : config_add_slot(config, name);
}

/* "slot.NAME.KEY", cut in place: gives the key's name. */
static char *find_place(struct config *config, char *path, enum key_section *section, struct config_slot **slot)
{
    char *dot = strchr(path, '.');
    if (!dot)
        return NULL;
    *dot++ = '\0';
    *section = single_section(path);
    if (*section != KEY_SLOT)
        return dot;
    char *second = strcmp(path, "slot") == 0 ? strchr(dot, '.') : NULL;
    if (!second)
        return NULL;
    *second++ = '\0';
    *slot = slot_for(config, dot);
    return *slot ? second : NULL;
}

int config_set(struct config *config, const char *assignment, char error[CONFIG_ERROR_MAX])
{
    char path[160], expected[256];
    size_t length = strcspn(assignment, "=");
    enum key_section section;
    struct config_slot *slot = NULL;
    if (assignment[length] != '=' || length >= sizeof path)
        return bad_assignment(error, "there is no = in it");
    memcpy(path, assignment, length);
    path[length] = '\0';
    char *name = find_place(config, path, &section, &slot);
    if (!name)
        return bad_assignment(error, "unknown section");
    const struct key *key = key_find(section, name);
    if (!key)
        return bad_assignment(error, "unknown key");
    if (config_assign(config, section, slot, key, assignment + length + 1, expected, sizeof expected))
        return 0;
    snprintf(error, CONFIG_ERROR_MAX, "--set %s: expected %s", name, expected);
    return -1;
}
