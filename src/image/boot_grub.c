/* GRUB's scripts (its manual, "Shell-like scripting"), as far as it takes to find where a command's words begin and end. */
#include <string.h>

#include "base/text.h"
#include "image/boot_edit_internal.h"

/* What must be quoted for GRUB to take it as it is. */
static bool is_special(char c)
{
    return strchr("{}|&$;<>\"'\\#*?", c) != NULL;
}

/* --- writing arguments --- */

/* A word of the kernel's: blanks and quotes in it are GRUB's matter, which quotes for the kernel by itself. */
static size_t word_of(const char *from, char *word, bool *quote)
{
    size_t used = 0;
    bool quoted = false;
    const char *p = from;
    for (; *p && (quoted || *p != ' '); p++) {
        *quote |= *p == ' ' || is_special(*p);
        if (*p == '"')
            quoted = !quoted;
        else
            word[used++] = *p;
    }
    word[used] = '\0';
    return (size_t)(p - from);
}

void boot_grub_put_quoted(struct boot_editor *out, const char *word)
{
    if (!strchr(word, '\'')) {
        boot_editor_put_text(out, "'");
        boot_editor_put_text(out, word);
        boot_editor_put_text(out, "'");
        return;
    }
    boot_editor_put_text(out, "\"");
    for (; *word; word++) {
        if (*word == '"' || *word == '\\' || *word == '$')
            boot_editor_put_text(out, "\\");
        boot_editor_put(out, word, 1);
    }
    boot_editor_put_text(out, "\"");
}

char *boot_grub_quoted(const char *arguments)
{
    struct boot_editor out = {0};
    char *word = mem_alloc(strlen(arguments) + 1);
    for (const char *p = arguments; *p;) {
        bool quote = false;
        if (*p == ' ') {
            p++;
            continue;
        }
        p += word_of(p, word, &quote);
        if (out.used > 0)
            boot_editor_put_text(&out, " ");
        if (quote)
            boot_grub_put_quoted(&out, word);
        else
            boot_editor_put_text(&out, word);
    }
    mem_free(word);
    boot_editor_put(&out, "", 1);
    return out.out;
}

/* --- reading scripts --- */

static bool grub_ends_word(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || strchr(";{}|&<>", c) != NULL;
}

/* The place behind a quoted text that begins at `at`. */
static size_t skip_quoted(const char *text, size_t length, size_t at)
{
    char quote = text[at++];
    for (; at < length && text[at] != quote; at++)
        if (quote == '"' && text[at] == '\\')
            at++;
    return at < length ? at + 1 : length;
}

/* The place behind ${...}. */
static size_t skip_variable(const char *text, size_t length, size_t at)
{
    while (at < length && text[at] != '}' && text[at] != '\n')
        at++;
    return at < length && text[at] == '}' ? at + 1 : at;
}

static size_t skip_word(const char *text, size_t length, size_t at)
{
    while (at < length && text[at] && !grub_ends_word(text[at])) {
        if (text[at] == '\'' || text[at] == '"')
            at = skip_quoted(text, length, at);
        else if (text[at] == '$' && at + 1 < length && text[at + 1] == '{')
            at = skip_variable(text, length, at);
        else
            at += text[at] == '\\' && at + 1 < length ? 2 : 1;
    }
    return at < length ? at : length;
}

static bool is_word(const char *word, size_t length, const char *const *known)
{
    for (; *known; known++)
        if (strlen(*known) == length && memcmp(*known, word, length) == 0)
            return true;
    return false;
}

bool boot_grub_is_keyword(const char *word, size_t length)
{
    static const char *const words[] = {"if", "then", "else", "elif", "while", "until", "do", "!", NULL};
    return is_word(word, length, words);
}

/* Also through a variable, as $linux and linux$suffix are used where one entry serves several firmwares. */
static bool starts_kernel(const char *word, size_t length)
{
    static const char *const words[] = {"linux", "linux16", "linuxefi", "$linux", "${linux}", "$linuxefi", "${linuxefi}", NULL};
    return is_word(word, length, words) || (length > 6 && memcmp(word, "linux$", 6) == 0);
}

/* A command that is read, word by word. */
struct command {
    unsigned words;
    bool kernel, set;
    size_t divider, end;
};

static void end_command(struct boot_editor *editor, struct command *command)
{
    if (command->kernel && command->words > 1)
        boot_editor_append(editor, command->divider, command->end);
    *command = (struct command){0};
}

static void add_word(struct boot_editor *editor, struct command *command, size_t start, size_t end)
{
    const char *word = editor->text + start;
    size_t length = end - start;
    if (command->words == 0 && boot_grub_is_keyword(word, length))
        return;
    if (command->words == 0)
        command->kernel = starts_kernel(word, length);
    if (command->words == 1 && command->set && length > 8 && memcmp(word, "timeout=", 8) == 0)
        boot_editor_set_timeout(editor, start + 8, end);
    command->set = command->words == 0 && length == 3 && memcmp(word, "set", 3) == 0;
    if (length == 3 && memcmp(word, "---", 3) == 0)
        command->divider = start;
    command->words++;
    command->end = end;
}

static size_t skip_comment(const char *text, size_t length, size_t at)
{
    while (at < length && text[at] != '\n')
        at++;
    return at;
}

enum boot_grub_token boot_grub_next(const char *text, size_t length, size_t *start, size_t *end)
{
    for (size_t at = *end; at < length; at = *end) {
        char c = text[at];
        *start = at;
        *end = at + 1;
        if (c == '\\' && *end < length && (text[*end] == '\n' || text[*end] == '\r')) {
            *end += text[*end] == '\r' && *end + 1 < length && text[*end + 1] == '\n' ? 2 : 1;
        } else if (c == '#') {
            *end = skip_comment(text, length, at);
        } else if (c && strchr("\n;{}|&<>", c)) {
            return GRUB_BREAK;
        } else if (c && !grub_ends_word(c)) {
            *end = skip_word(text, length, at);
            return GRUB_WORD;
        }
    }
    return GRUB_END;
}

void boot_edit_grub(struct boot_editor *editor)
{
    struct command command = {0};
    enum boot_grub_token token;
    for (size_t start, end = 0; (token = boot_grub_next(editor->text, editor->length, &start, &end)) != GRUB_END;)
        if (token == GRUB_WORD)
            add_word(editor, &command, start, end);
        else
            end_command(editor, &command);
    end_command(editor, &command);
}
