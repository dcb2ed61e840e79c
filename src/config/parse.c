/*
 * INI files by inih. As packaged, inih cuts lines at 200 bytes and takes " ;"
 * in a value for a comment; a URL or a token needs neither. So its reader is
 * given each line with a stand-in for the value, which is kept aside, and read
 * here: in "quotes", or up to a comment, which is a # with a blank before it.
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

#define SECTIONS_TEXT_MAX 256

struct parser {
    struct config *config;
    const char *file_name;
    const char *at;        /* the next line */
    unsigned line;         /* the one inih has */
    char *value;           /* of that line, trimmed */
    bool commented;        /* a comment was behind it */
    char section_name[64]; /* as the file has it */
    bool in_section;
    enum key_section section;
    void *item;                      /* of a section with a name; NULL: the section has none */
    bool seen[160];                  /* keys of the section, by their place in the table */
    bool section_seen[KEY_SECTIONS]; /* sections that may be there only once */
    bool probing; /* what values name must be there */
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

static char *config_trimmed(const char *from, size_t length)
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

/* Where a comment begins behind a value, or the text's end. */
static size_t comment_begin(const char *text)
{
    size_t at = 0;
    while (text[at] && !(text[at] == '#' && at > 0 && strchr(" \t", text[at - 1])))
        at++;
    return at;
}

/* In quotes \" and \\ stand for " and \. NULL: no quote closes it; else *rest is what is behind that. */
static char *config_unquote(const char *text, const char **rest)
{
    char *copy = mem_alloc(strlen(text)), *to = copy;
    for (text++; *text && *text != '"'; text++) {
        if (*text == '\\' && (text[1] == '"' || text[1] == '\\'))
            text++;
        *to++ = *text;
    }
    *to = '\0';
    if (*text) {
        *rest = text + 1;
        return copy;
    }
    mem_free_secret(copy);
    return NULL;
}

/* `text`: all that is behind the =. */
static bool take_value(struct parser *p, const char *text)
{
    const char *from = text + strspn(text, " \t"), *rest = "";
    size_t end = comment_begin(text);
    bool quoted = *from == '"';
    mem_free_secret(p->value);
    p->commented = !quoted && text[end];
    p->value = quoted ? config_unquote(from, &rest) : config_trimmed(text, end);
    if (!p->value)
        return fail(p, "a quote is not closed");
    rest += strspn(rest, " \t");
    return !*rest || *rest == '#' || fail(p, "expected the line's end or a comment behind the closing quote");
}

static bool begin_item(struct parser *p, enum key_section section, const char *name)
{
    const char *problem = section_name_problem(section, name), *kind = config_sections[section].name;
    if (problem)
        return fail(p, "%s", problem);
    void *item = section_find(p->config, section, name);
    if (item && *section_line_of(section, item) > 0)
        return fail(p, "%s \"%s\" is there twice (first in line %u)", kind, name, *section_line_of(section, item));
    item = item ? item : config_add(p->config, section, name);
    if (!item)
        return fail(p, "there are more than %u sections [%s NAME]", config_sections[section].most, kind);
    *section_line_of(section, item) = p->line;
    p->section = section;
    p->item = item;
    return true;
}

static bool begin_once(struct parser *p, enum key_section section)
{
    if (p->section_seen[section])
        return fail(p, "section [%s] is there twice", p->section_name);
    p->section_seen[section] = true;
    p->section = section;
    p->item = NULL;
    return true;
}

/* The row of that name; KEY_SECTIONS: there is none. */
static enum key_section config_find_section(const char *name, size_t length)
{
    int section = 0;
    while (section < KEY_SECTIONS && (strlen(config_sections[section].name) != length ||
                                      strncmp(config_sections[section].name, name, length) != 0))
        section++;
    return (enum key_section)section;
}

static bool begin_section(struct parser *p)
{
    char expected[SECTIONS_TEXT_MAX];
    size_t word = strcspn(p->section_name, " \t");
    enum key_section section = config_find_section(p->section_name, word);
    const char *name = p->section_name + word + strspn(p->section_name + word, " \t");
    memset(p->seen, 0, sizeof p->seen);
    p->in_section = true;
    if (section < KEY_SECTIONS && section_repeats(section) && p->section_name[word])
        return begin_item(p, section, name);
    if (section < KEY_SECTIONS && !section_repeats(section) && !p->section_name[word])
        return begin_once(p, section);
    sections_expected(expected, sizeof expected);
    return fail(p, "unknown section [%s] (expected %s)", p->section_name, expected);
}

/* Sections are noticed here, not in inih's handler, which hears nothing of a section without keys. */
static bool section_line(struct parser *p, const char *text)
{
    size_t length = strcspn(text, "]");
    const char *rest = text[length] ? text + length + 1 + strspn(text + length + 1, " \t") : NULL;
    if (!rest || (*rest && *rest != '#'))
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
        if (!take_value(p, line + head + 1))
            return false;
        snprintf(to, (size_t)size, "%.*s=x", (int)head, line);
    }
    strcat(to, "\n");
    return true;
}

/* inih's reader: fgets() on our text. */
static char *config_next_line(char *to, int size, void *arg)
{
    struct parser *p = arg;
    if (p->failed || *p->at == '\0')
        return NULL;
    size_t length = strcspn(p->at, "\n");
    char *line = config_trimmed(p->at, length); /* no leading blank: no continuation lines */
    p->at += length + (p->at[length] == '\n');
    p->line++;
    bool good = shorten(p, line, to, size);
    mem_free_secret(line);
    return good ? to : NULL;
}

static int on_config_parse_value(void *arg, const char *section, const char *name, const char *value)
{
    struct parser *p = arg;
    char expected[SECTIONS_TEXT_MAX];
    (void)section;
    (void)value;
    if (p->failed)
        return 0;
    if (!p->in_section) {
        sections_expected(expected, sizeof expected);
        return fail(p, "\"%.50s\" stands before the first section (expected %s)", name, expected);
    }
    const struct key *key = key_find(p->section, name);
    if (!key) {
        const char *near = key_suggest(p->section, name);
        return fail(p, "unknown key \"%.50s\" in [%s]%s%s%s", name, p->section_name, near ? " (did you mean \"" : "",
                    near ? near : "", near ? "\"?)" : "");
    }
    if (p->seen[key - config_keys])
        return fail(p, "key \"%s\" is there twice in [%s]", name, p->section_name);
    p->seen[key - config_keys] = true;
    bool secret = key->type == KEY_SECRET;
    if (secret && p->commented) /* cut short, it would be a wrong one */
        return fail(p, "%s: a # behind a blank begins a comment (put the value in \"quotes\" if it is part of it, else the "
                       "comment on a line of its own)", name);
    if (config_assign(p->config, p->section, p->item, key, p->value, expected, sizeof expected) &&
        (!p->probing || key_probe(key, p->value, expected, sizeof expected)))
        return 1;
    bool hidden = secret || key->type == KEY_IMAGE; /* a URL may hold a password */
    return fail(p, "%s = %.60s: expected %s", name, hidden ? "..." : p->value, expected);
}

static int config_parse_text(struct config *config, const char *file_name, const char *text, bool probing,
                             char error[CONFIG_ERROR_MAX])
{
    struct parser p = {.config = config, .file_name = file_name, .at = text, .probing = probing, .error = error};
    config_empty(config);
    if (strncmp(text, "\xef\xbb\xbf", 3) == 0)
        p.at += 3;
    int line = ini_parse_stream(config_next_line, &p, on_config_parse_value, &p);
    if (line != 0)
        fail(&p, "expected KEY = VALUE");
    mem_free_secret(p.value);
    if (!p.failed)
        return 0;
    config_free(config);
    return -1;
}

int config_parse(struct config *config, const char *file_name, const char *text, char error[CONFIG_ERROR_MAX])
{
    return config_parse_text(config, file_name, text, false, error);
}

static bool is_secret(const struct config_login *login)
{
    return *login->password || *login->bearer_token;
}

static bool holds_secret(const struct config *config)
{
    bool secret = is_secret(&config->http.login);
    for (unsigned i = 0; i < config->slot_count; i++)
        secret = secret || is_secret(&config->slots[i].http.login);
    for (unsigned i = 0; i < config->credentials_count; i++)
        secret = secret || is_secret(&config->credentials[i].login);
    return secret;
}

static char *read_file(const char *file, mode_t *mode, char error[CONFIG_ERROR_MAX])
{
    struct stat st;
    FILE *in = fopen(file, "re");
    if (!in || fstat(fileno(in), &st) != 0 || (S_ISDIR(st.st_mode) && (errno = EISDIR))) {
        snprintf(error, CONFIG_ERROR_MAX, "%s: %s%s", file, strerror(errno),
                 errno == EACCES ? " (chgrp it to the daemon's group, chmod 640)" : "");
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

int config_load(struct config *config, const char *file, bool probing, char error[CONFIG_ERROR_MAX])
{
    mode_t mode;
    char *text = read_file(file, &mode, error);
    if (!text)
        return -1;
    int status = config_parse_text(config, file, text, probing, error);
    mem_free_secret(text);
    if (status == 0 && mode & 077 && holds_secret(config))
        log_warning("config", "%s holds a secret and others may read it (chmod 600 %s)", file, file);
    return status;
}

static int bad_assignment(char error[CONFIG_ERROR_MAX], const char *what)
{
    char expected[SECTIONS_TEXT_MAX];
    sections_assignments(expected, sizeof expected);
    snprintf(error, CONFIG_ERROR_MAX, "--set: %s (expected %s)", what, expected);
    return -1;
}

static void *item_for(struct config *config, enum key_section section, const char *name)
{
    void *item = section_find(config, section, name);
    return item ? item : section_name_problem(section, name) ? NULL : config_add(config, section, name);
}

/* "SECTION.KEY" or "SECTION.NAME.KEY", cut in place: gives the key's name. */
static char *find_place(struct config *config, char *path, enum key_section *section, void **item)
{
    size_t word = strcspn(path, ".");
    *section = config_find_section(path, word);
    if (!path[word] || *section == KEY_SECTIONS)
        return NULL;
    char *name = path + word + 1;
    if (!section_repeats(*section))
        return name;
    char *dot = strchr(name, '.');
    if (!dot)
        return NULL;
    *dot++ = '\0';
    *item = item_for(config, *section, name);
    return *item ? dot : NULL;
}

int config_set(struct config *config, const char *assignment, char error[CONFIG_ERROR_MAX])
{
    char path[160], expected[256];
    size_t length = strcspn(assignment, "=");
    enum key_section section;
    void *item = NULL;
    if (assignment[length] != '=' || length >= sizeof path)
        return bad_assignment(error, "there is no = in it");
    memcpy(path, assignment, length);
    path[length] = '\0';
    char *name = find_place(config, path, &section, &item);
    if (!name)
        return bad_assignment(error, "unknown section");
    const struct key *key = key_find(section, name);
    if (!key)
        return bad_assignment(error, "unknown key");
    if (config_assign(config, section, item, key, assignment + length + 1, expected, sizeof expected))
        return 0;
    snprintf(error, CONFIG_ERROR_MAX, "--set %s: expected %s", name, expected);
    return -1;
}
