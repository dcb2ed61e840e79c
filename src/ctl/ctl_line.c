#include "ctl/ctl_line.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/control/command.h"
#include "auth/prompt.h"
#include "base/text.h"
#include "ctl/ctl_usage.h"

#define SECRET_FILE "-file" /* --password-file is where a password is */
#define SECRET_MAX  1024

__attribute__((format(printf, 2, 3))) static bool line_refuse(char error[CTL_ERROR_MAX], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, CTL_ERROR_MAX, format, args);
    va_end(args);
    return false;
}

static void add_byte(struct ctl_line *line, char byte)
{
    if (line->used + 2 >= sizeof line->text)
        line->overflow = true;
    else
        line->text[line->used++] = byte;
}

bool ctl_line_add(struct ctl_line *line, const char *word)
{
    bool quoted = !*word || word[strcspn(word, " \t\"\\")];
    line->broken = line->broken || strpbrk(word, "\r\n");
    if (line->used > 0)
        add_byte(line, ' ');
    if (quoted)
        add_byte(line, '"');
    for (; *word; word++) {
        if (quoted && strchr("\"\\", *word))
            add_byte(line, '\\');
        add_byte(line, *word);
    }
    if (quoted)
        add_byte(line, '"');
    line->text[line->used] = '\0';
    return !line->overflow;
}

void ctl_line_clear(struct ctl_line *line)
{
    explicit_bzero(line, sizeof *line);
}

static bool line_add_option(struct ctl_line *line, const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + 2;
    char *word = mem_alloc(size);
    snprintf(word, size, "%s=%s", name, value);
    line->has_user = line->has_user || strcmp(name, "user") == 0;
    line->has_password = line->has_password || strcmp(name, "password") == 0;
    bool fits = ctl_line_add(line, word);
    mem_free_secret(word);
    return fits;
}

/* --- secrets --- */

/* The first line of a file, or of stdin ("-"). */
static bool read_secret(const char *path, char secret[SECRET_MAX], char error[CTL_ERROR_MAX])
{
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (!in)
        return line_refuse(error, "%s: %s", path, strerror(errno));
    bool read = fgets(secret, SECRET_MAX, in);
    bool whole = read && (strchr(secret, '\n') || feof(in));
    if (in != stdin)
        fclose(in);
    if (!whole)
        return line_refuse(error, "%s: %s", path, read ? "its first line is too long" : "nothing is in it");
    secret[strcspn(secret, "\r\n")] = '\0';
    return true;
}

static bool add_secret_of(struct ctl_line *line, const char *name, const char *path, char error[CTL_ERROR_MAX])
{
    char secret[SECRET_MAX];
    bool good = read_secret(path, secret, error);
    if (good)
        line_add_option(line, name, secret);
    explicit_bzero(secret, sizeof secret);
    return good;
}

static bool ask_password(struct ctl_line *line, char error[CTL_ERROR_MAX])
{
    char password[SECRET_MAX];
    const char *why;
    bool good = prompt_password("Password for the image's server: ", password, sizeof password, &why);
    if (!good)
        return line_refuse(error, "%s", why);
    if (*password)
        line_add_option(line, "password", password);
    explicit_bzero(password, sizeof password);
    return true;
}

/* --- paths --- */

/* Of a file of this folder, for mem_free(); of others a copy. */
static char *absolute(const char *path)
{
    char whole[PATH_MAX];
    bool ours = *path && *path != '/' && access(path, F_OK) == 0 && realpath(path, whole);
    return mem_strdup(ours ? whole : path);
}

/* "config=FILE" too. */
static bool add_image(struct ctl_line *line, const char *word)
{
    bool config = strncmp(word, "config=", 7) == 0;
    char *path = absolute(config ? word + 7 : word);
    bool fits = config ? line_add_option(line, "config", path) : ctl_line_add(line, path);
    mem_free(path);
    return fits;
}

static bool add_value(struct ctl_line *line, const struct ctl_option *option, const char *value)
{
    bool is_path = strstr(option->value, "FILE") || (strstr(option->value, "URL") && strpbrk(value, "./"));
    char *path = is_path ? absolute(value) : mem_strdup(value);
    bool fits = line_add_option(line, option->name, path);
    mem_free_secret(path);
    return fits;
}

/* --- words --- */

struct words {
    int count, at;
    char **word;
};

/* The value of "--NAME=VALUE", or the next word's. NULL: there is none. */
static const char *value_of(struct words *words, const char *equals)
{
    if (equals)
        return equals + 1;
    return words->at + 1 < words->count ? words->word[++words->at] : NULL;
}

static bool take_option(struct ctl_line *line, const struct control_command *command, struct words *words, char error[CTL_ERROR_MAX])
{
    const char *name = words->word[words->at] + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name), tail = strlen(SECRET_FILE);
    struct ctl_option option;
    if (ctl_usage_find_option(command->usage, name, length, &option)) {
        bool needs = option.kind == CTL_VALUE, dashed = option.dashed;
        const char *value = needs ? value_of(words, equals) : equals ? equals + 1 : NULL;
        if (needs && !value)
            return line_refuse(error, "--%s needs a value: %s", option.name, option.value);
        if (option.kind == CTL_FLAG && value)
            return line_refuse(error, "--%s has no value", option.name);
        return value ? add_value(line, &option, value) : ctl_line_add(line, dashed ? words->word[words->at] : option.name);
    }
    if (length > tail && strncmp(name + length - tail, SECRET_FILE, tail) == 0 &&
        ctl_usage_find_option(command->usage, name, length - tail, &option)) {
        const char *path = value_of(words, equals);
        return path ? add_secret_of(line, option.name, path, error) : line_refuse(error, "--%.*s needs a file", (int)length, name);
    }
    return line_refuse(error, "%s has no option --%.*s (try: help %s)", command->name, (int)length, name, command->name);
}

static bool take_word(struct ctl_line *line, const struct control_command *command, struct words *words, int place,
                      char error[CTL_ERROR_MAX])
{
    const char *word = words->word[words->at], *equals = strchr(word, '=');
    struct ctl_option option;
    if (strcmp(word, "--json") == 0)
        return line->json = true;
    if (strncmp(word, "--", 2) == 0)
        return take_option(line, command, words, error);
    if (strcmp(command->name, "insert") == 0 && place == 2)
        add_image(line, word);
    else if (equals && ctl_usage_find_option(command->usage, word, (size_t)(equals - word), &option))
        add_value(line, &option, equals + 1);
    else
        ctl_line_add(line, word);
    return true;
}

bool ctl_line_make(struct ctl_line *line, int count, char **word, bool ask, char error[CTL_ERROR_MAX])
{
    struct words words = {.count = count, .word = word};
    const struct control_command *command = control_find_command(word[0]);
    int place = 0;
    *line = (struct ctl_line){0};
    if (!command)
        return line_refuse(error, "unknown command \"%.40s\" (try: help)", word[0]);
    if (strcmp(word[0], "serve") == 0)
        return line_refuse(error, "serve is for programs, which hand over two descriptors: start nbd-proxy SLOT");
    snprintf(line->name, sizeof line->name, "%s", command->name);
    for (; words.at < count; words.at++) {
        bool plain = strncmp(word[words.at], "--", 2) != 0;
        if (!take_word(line, command, &words, place, error))
            return line->overflow ? line_refuse(error, "the command is too long: %d bytes at most", CONTROL_LINE_MAX - 1) : false;
        place += plain;
    }
    if (place - 1 < command->least)
        return line_refuse(error, "usage: %s", command->usage);
    if (line->broken)
        return line_refuse(error, "a word, or the path of a file, can't have a line's end in it");
    if (line->has_user && !line->has_password && ask && !ask_password(line, error))
        return false;
    return !line->overflow || line_refuse(error, "the command is too long: %d bytes at most", CONTROL_LINE_MAX - 1);
}
