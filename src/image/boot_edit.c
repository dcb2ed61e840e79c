#include "image/boot_edit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "image/boot_edit_internal.h"

#define TIMEOUT_SIZE 24

/* --- writing --- */

void boot_editor_put(struct boot_editor *editor, const char *bytes, size_t length)
{
    editor->too_long |= length > BOOT_TEXT_MAX - editor->used;
    if (editor->too_long)
        return;
    if (!editor->out || editor->used + length > editor->room) { /* what is empty is a text, too */
        editor->room = 2 * (editor->used + length) + 1;
        editor->out = mem_realloc(editor->out, editor->room);
    }
    if (length > 0)
        memcpy(editor->out + editor->used, bytes, length);
    editor->used += length;
}

void boot_editor_put_text(struct boot_editor *editor, const char *text)
{
    boot_editor_put(editor, text, strlen(text));
}

void boot_editor_copy_to(struct boot_editor *editor, size_t at)
{
    boot_editor_put(editor, editor->text + editor->copied, at - editor->copied);
    editor->copied = at;
}

struct boot_edited boot_editor_made(const struct boot_editor *editor)
{
    return (struct boot_edited){.text = editor->out, .length = editor->used, .too_long = editor->too_long};
}

void boot_editor_append(struct boot_editor *editor, size_t divider, size_t end)
{
    if (divider && *editor->before) {
        boot_editor_copy_to(editor, divider);
        boot_editor_put_text(editor, editor->before);
        boot_editor_put_text(editor, " ");
    }
    boot_editor_copy_to(editor, end);
    if (!divider && *editor->before) {
        boot_editor_put_text(editor, " ");
        boot_editor_put_text(editor, editor->before);
    }
    if (*editor->after) {
        boot_editor_put_text(editor, " ");
        boot_editor_put_text(editor, editor->after);
    }
    editor->kernels++;
}

bool boot_editor_appends(const struct boot_editor *editor)
{
    return *editor->before || *editor->after;
}

void boot_editor_set_timeout(struct boot_editor *editor, size_t start, size_t end)
{
    if (!editor->timeout)
        return;
    boot_editor_copy_to(editor, start);
    boot_editor_put_text(editor, editor->timeout);
    editor->copied = end;
    editor->timeouts++;
}

/* --- lines --- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool boot_line_next(const struct boot_editor *editor, struct boot_line *line)
{
    const char *text = editor->text;
    size_t at = line->next;
    if (at >= editor->length)
        return false;
    const char *newline = memchr(text + at, '\n', editor->length - at);
    line->start = at;
    line->end = newline ? (size_t)(newline - text) : editor->length;
    line->next = line->end + (newline != NULL);
    while (line->end > at && (is_blank(text[line->end - 1]) || text[line->end - 1] == '\r'))
        line->end--;
    while (at < line->end && is_blank(text[at]))
        at++;
    line->word = at;
    while (at < line->end && !is_blank(text[at]))
        at++;
    line->word_length = at - line->word;
    while (at < line->end && is_blank(text[at]))
        at++;
    line->rest = at;
    return true;
}

bool boot_line_is(const struct boot_editor *editor, const struct boot_line *line, const char *word)
{
    return line->word_length == strlen(word) && strncasecmp(editor->text + line->word, word, line->word_length) == 0;
}

static bool is_divider(const char *word, size_t length)
{
    return length == 3 && memcmp(word, "---", 3) == 0;
}

size_t boot_line_divider(const struct boot_editor *editor, const struct boot_line *line)
{
    const char *text = editor->text;
    for (size_t at = line->rest, end; at < line->end; at = end) {
        while (at < line->end && is_blank(text[at]))
            at++;
        for (end = at; end < line->end && !is_blank(text[end]); end++)
            ;
        if (is_divider(text + at, end - at))
            return at;
    }
    return 0;
}

/* --- the arguments --- */

static bool has_control_characters(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return true;
    return false;
}

static const char *arguments_problem(const char *arguments)
{
    bool quoted = false, some = false;
    if (strlen(arguments) > BOOT_ARGUMENTS_MAX)
        return "the kernel's arguments are too long (2000 bytes at most)";
    if (has_control_characters(arguments))
        return "the kernel's arguments hold control characters";
    for (const char *p = arguments; *p; p++) {
        some |= *p != ' ' && *p != '-';
        quoted ^= *p == '"';
    }
    if (quoted)
        return "a quote of the kernel's arguments is not closed";
    return some ? NULL : "the kernel's arguments are empty";
}

const char *boot_wish_problem(const struct boot_wish *wish)
{
    uint64_t seconds;
    if (wish->menu_timeout && (!text_parse_uint(wish->menu_timeout, &seconds) || seconds > BOOT_TIMEOUT_MAX))
        return "the menu's timeout is not a number of seconds up to 3600";
    if (wish->menu_default && (strlen(wish->menu_default) > BOOT_DEFAULT_MAX || has_control_characters(wish->menu_default)))
        return "the menu's default is an entry's title, id, label or number (200 bytes at most)";
    return wish->arguments ? arguments_problem(wish->arguments) : NULL;
}

static char *boot_trimmed(const char *text, size_t length)
{
    while (length > 0 && *text == ' ') {
        text++;
        length--;
    }
    while (length > 0 && text[length - 1] == ' ')
        length--;
    char *copy = mem_alloc(length + 1);
    memcpy(copy, text, length);
    return copy;
}

/* Without "---" all of it is for the line's end. */
static void split(const char *arguments, char **before, char **after)
{
    const char *rest = arguments;
    for (const char *p = strstr(arguments, "---"); p; p = strstr(p + 3, "---"))
        if ((p == arguments || p[-1] == ' ') && (p[3] == ' ' || p[3] == '\0')) {
            rest = p + 3;
            *before = boot_trimmed(arguments, (size_t)(p - arguments));
            *after = boot_trimmed(rest, strlen(rest));
            return;
        }
    *before = mem_strdup("");
    *after = boot_trimmed(arguments, strlen(arguments));
}

static void quote_for_grub(char **arguments)
{
    char *quoted = boot_grub_quoted(*arguments);
    mem_free(*arguments);
    *arguments = quoted;
}

static void edit(enum boot_syntax syntax, struct boot_editor *editor)
{
    switch (syntax) {
    case BOOT_GRUB:
        boot_edit_grub(editor);
        break;
    case BOOT_SYSLINUX:
        boot_edit_syslinux(editor);
        break;
    case BOOT_ENTRY:
        boot_edit_entry(editor);
        break;
    case BOOT_LOADER:
        boot_edit_loader(editor);
        break;
    }
    boot_editor_copy_to(editor, editor->length);
}

void boot_editor_put_first(struct boot_editor *editor, const char *words, const char *value)
{
    struct boot_editor first = {0};
    boot_editor_put_text(&first, words);
    boot_editor_put_text(&first, value);
    boot_editor_put_text(&first, "\n");
    boot_editor_put(&first, editor->out, editor->used);
    mem_free(editor->out);
    editor->out = first.out;
    editor->used = first.used;
    editor->room = first.room;
    editor->too_long |= first.too_long;
}

static void make_timeout(enum boot_syntax syntax, bool is_main, struct boot_editor *editor)
{
    if (!editor->timeout || editor->timeouts > 0)
        return;
    bool grub = syntax == BOOT_GRUB && editor->kernels > 0;
    if (!grub && !(syntax == BOOT_SYSLINUX && is_main))
        return;
    boot_editor_put_first(editor, grub ? "set timeout=" : "timeout ", editor->timeout);
    editor->timeouts++;
}

/* Seconds, but tenths of one for syslinux, where 0 would be for ever. */
static void write_timeout(enum boot_syntax syntax, const char *given, char out[TIMEOUT_SIZE])
{
    uint64_t seconds = 0;
    text_parse_uint(given, &seconds);
    if (syntax == BOOT_SYSLINUX)
        seconds = seconds > 0 ? 10 * seconds : 1;
    snprintf(out, TIMEOUT_SIZE, "%" PRIu64, seconds);
}

bool boot_edit(enum boot_syntax syntax, bool is_main, const char *text, size_t length, const struct boot_wish *wish,
               struct boot_edited *edited)
{
    char *before, *after, timeout[TIMEOUT_SIZE];
    split(wish->arguments ? wish->arguments : "", &before, &after);
    if (syntax == BOOT_GRUB) {
        quote_for_grub(&before);
        quote_for_grub(&after);
    }
    struct boot_editor editor = {.text = text, .length = length, .before = before, .after = after};
    if (wish->menu_timeout) {
        write_timeout(syntax, wish->menu_timeout, timeout);
        editor.timeout = timeout;
    }
    edit(syntax, &editor);
    make_timeout(syntax, is_main, &editor);
    mem_free(before);
    mem_free(after);
    *edited = boot_editor_made(&editor);
    edited->kernels = wish->arguments ? editor.kernels : 0;
    edited->timeouts = editor.timeouts;
    if (edited->kernels > 0 || edited->timeouts > 0)
        return true;
    mem_free(editor.out);
    return false;
}

/* --- padding --- */

/* Where the last line begins, if it is a comment or empty; the length if not. */
static size_t without_last(const char *text, size_t length)
{
    size_t start = length;
    if (start > 0 && text[start - 1] == '\n')
        start--;
    while (start > 0 && text[start - 1] != '\n')
        start--;
    size_t at = start;
    while (at < length && is_blank(text[at]))
        at++;
    return at == length || text[at] == '#' || text[at] == '\n' || text[at] == '\r' ? start : length;
}

size_t boot_edit_without_padding(const char *text, size_t length, size_t room)
{
    size_t left = length;
    while (left > room) {
        size_t less = without_last(text, left);
        if (less == left)
            return length;
        left = less;
    }
    return left;
}
