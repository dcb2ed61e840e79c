#include "image/boot_menu.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "image/boot_menu_internal.h"

void boot_menu_init(struct boot_menu *menu, const char *wanted)
{
    *menu = (struct boot_menu){.wanted = wanted};
}

void boot_menu_clear(struct boot_menu *menu)
{
    for (unsigned i = 0; i < BOOT_SYNTAXES; i++)
        mem_free(menu->values[i]);
    boot_menu_init(menu, menu->wanted);
}

bool boot_menu_found(const struct boot_menu *menu)
{
    for (unsigned i = 0; i < BOOT_SYNTAXES; i++)
        if (menu->values[i])
            return true;
    return false;
}

/* --- entries --- */

void boot_menu_see(struct boot_menu *menu, const char *name)
{
    char quoted[BOOT_MENU_NAME_MAX + 4];
    size_t used = strlen(menu->seen), room = sizeof menu->seen - used;
    snprintf(quoted, sizeof quoted, "\"%.*s\"", BOOT_MENU_NAME_MAX, name);
    for (char *p = quoted; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    bool full = used >= 3 && strcmp(menu->seen + used - 3, "...") == 0;
    if (full || strstr(menu->seen, quoted))
        return;
    bool fits = strlen(quoted) + sizeof ", , ..." < room;
    snprintf(menu->seen + used, room, "%s%s", used > 0 ? ", " : "", fits ? quoted : "...");
}

bool boot_menu_is_wanted(const struct boot_menu *menu, const char *name)
{
    return *name && strcasecmp(menu->wanted, name) == 0;
}

bool boot_menu_is_number(const struct boot_menu *menu, unsigned index)
{
    uint64_t number;
    return text_parse_uint(menu->wanted, &number) && number == index;
}

/* The rest of a line; without the "^" that marks a key, if it is a title. */
static void rest_of(const struct boot_editor *editor, size_t start, size_t end, bool title, char out[BOOT_MENU_NAME_MAX])
{
    size_t used = 0;
    for (; start < end && used < BOOT_MENU_NAME_MAX - 1; start++)
        if (!title || editor->text[start] != '^')
            out[used++] = editor->text[start];
    out[used] = '\0';
}

/* --- syslinux --- */

/* "menu WORD ...": where what follows begins; 0: it is another line. */
static size_t menu_words(const struct boot_editor *editor, const struct boot_line *line, const char *word)
{
    size_t length = strlen(word), at = line->rest + length;
    if (!boot_line_is(editor, line, "menu") || at > line->end || strncasecmp(editor->text + line->rest, word, length) != 0)
        return 0;
    if (at < line->end && editor->text[at] != ' ' && editor->text[at] != '\t')
        return 0;
    while (at < line->end && (editor->text[at] == ' ' || editor->text[at] == '\t'))
        at++;
    return at;
}

/* The label of the entry that is wanted, for mem_free(). */
static char *find_label(struct boot_menu *menu, const struct boot_editor *editor)
{
    struct boot_line line = {0};
    char label[BOOT_MENU_NAME_MAX] = "", title[BOOT_MENU_NAME_MAX], *found = NULL;
    unsigned count = 0;
    while (boot_line_next(editor, &line)) {
        size_t words = menu_words(editor, &line, "label");
        bool wanted = false;
        if (boot_line_is(editor, &line, "label")) {
            rest_of(editor, line.rest, line.end, false, label);
            boot_menu_see(menu, label);
            wanted = boot_menu_is_wanted(menu, label) || boot_menu_is_number(menu, count);
            count++;
        } else if (words > 0) {
            rest_of(editor, words, line.end, true, title);
            wanted = boot_menu_is_wanted(menu, title);
        }
        if (wanted && *label && !found)
            found = mem_strdup(label);
    }
    return found;
}

/* What a configuration of syslinux is, beside its entries. */
struct syslinux_menu {
    bool has_entry, has_labels, includes, has_default;
};

static struct syslinux_menu look_through(const struct boot_editor *editor, const char *label)
{
    struct syslinux_menu seen = {0};
    struct boot_line line = {0};
    char name[BOOT_MENU_NAME_MAX];
    while (boot_line_next(editor, &line)) {
        if (boot_line_is(editor, &line, "label")) {
            rest_of(editor, line.rest, line.end, false, name);
            seen.has_labels = true;
            seen.has_entry |= strcmp(name, label) == 0;
        }
        seen.includes |= boot_line_is(editor, &line, "include") || menu_words(editor, &line, "include") > 0;
        seen.has_default |= boot_line_is(editor, &line, "default") || boot_line_is(editor, &line, "ui");
    }
    return seen;
}

/* What is booted when nobody chooses: the menu's own mark, the command line's default, and what follows a timeout. */
static unsigned edit_syslinux_line(struct boot_editor *editor, const struct boot_line *line, const char *label)
{
    char name[BOOT_MENU_NAME_MAX];
    rest_of(editor, line->rest, line->end, false, name);
    bool starts = boot_line_is(editor, line, "default") && !boot_names_no_kernel(name, strlen(name));
    if (boot_line_is(editor, line, "label") && strcmp(name, label) == 0) {
        boot_editor_copy_to(editor, line->end);
        boot_editor_put_text(editor, "\n\tmenu default");
        return 1;
    }
    if (line->rest < line->end && (starts || boot_line_is(editor, line, "ontimeout"))) {
        boot_editor_copy_to(editor, line->rest);
        boot_editor_put_text(editor, label);
        editor->copied = line->end;
        return 1;
    }
    if (menu_words(editor, line, "default") == 0)
        return 0;
    boot_editor_copy_to(editor, line->start);
    editor->copied = line->next;
    return 1;
}

/* A menu whose entries are all others is another menu's matter. What is new goes before all else, where no label is open. */
static unsigned set_syslinux(struct boot_editor *editor, bool is_main, const char *label)
{
    struct boot_line line = {0};
    struct syslinux_menu seen = look_through(editor, label);
    unsigned count = 0;
    bool ontimeout = false;
    if (is_main && seen.has_labels && !seen.has_entry && !seen.includes)
        return 0;
    while (boot_line_next(editor, &line)) {
        count += edit_syslinux_line(editor, &line, label);
        ontimeout |= boot_line_is(editor, &line, "ontimeout");
    }
    boot_editor_copy_to(editor, editor->length);
    if (!is_main)
        return count;
    if (!ontimeout)
        boot_editor_put_first(editor, "ontimeout ", label);
    if (!seen.has_default)
        boot_editor_put_first(editor, "default ", label);
    return count + 1;
}

/* --- systemd-boot --- */

/* An entry's id is its file's name. */
static char *find_entry(struct boot_menu *menu, const char *path, const struct boot_editor *editor)
{
    struct boot_line line = {0};
    char title[BOOT_MENU_NAME_MAX] = "", id[BOOT_MENU_NAME_MAX], name[BOOT_MENU_NAME_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(id, sizeof id, "%s", slash ? slash + 1 : path);
    snprintf(name, sizeof name, "%.*s", (int)(strlen(id) - strlen(".conf")), id);
    while (boot_line_next(editor, &line))
        if (boot_line_is(editor, &line, "title"))
            rest_of(editor, line.rest, line.end, false, title);
    boot_menu_see(menu, *title ? title : name);
    bool wanted = boot_menu_is_wanted(menu, id) || boot_menu_is_wanted(menu, name) || boot_menu_is_wanted(menu, title);
    return wanted ? mem_strdup(id) : NULL;
}

static unsigned set_loader(struct boot_editor *editor, const char *id)
{
    struct boot_line line = {0};
    unsigned count = 0;
    while (boot_line_next(editor, &line))
        if (boot_line_is(editor, &line, "default") && line.rest < line.end) {
            boot_editor_copy_to(editor, line.rest);
            boot_editor_put_text(editor, id);
            editor->copied = line.end;
            count++;
        }
    boot_editor_copy_to(editor, editor->length);
    if (count == 0)
        boot_editor_put_first(editor, "default ", id);
    return count > 0 ? count : 1;
}

/* --- all of them --- */

static char *find_in(struct boot_menu *menu, enum boot_syntax syntax, const char *path, const char *text, size_t length)
{
    const struct boot_editor editor = {.text = text, .length = length};
    switch (syntax) {
    case BOOT_GRUB:
        return boot_menu_grub_find(menu, text, length);
    case BOOT_SYSLINUX:
        return find_label(menu, &editor);
    case BOOT_ENTRY:
        return find_entry(menu, path, &editor);
    case BOOT_LOADER:
        break;
    }
    return NULL;
}

void boot_menu_look(struct boot_menu *menu, enum boot_syntax syntax, const char *path, const char *text, size_t length)
{
    char *value = find_in(menu, syntax, path, text, length);
    enum boot_syntax loader = syntax == BOOT_ENTRY ? BOOT_LOADER : syntax;
    if (menu->values[loader])
        mem_free(value);
    else
        menu->values[loader] = value;
}

/* A script's own entry is called by its own names. Where no script has the default it is set before the entries. */
static unsigned set_grub(const struct boot_menu *menu, struct boot_editor *editor)
{
    struct boot_menu again;
    boot_menu_init(&again, menu->wanted);
    char *own = boot_menu_grub_find(&again, editor->text, editor->length);
    unsigned count = boot_menu_grub_set(editor, own ? own : menu->values[BOOT_GRUB]);
    boot_editor_copy_to(editor, editor->length);
    if (own && count == 0) {
        struct boot_editor quoted = {0};
        boot_grub_put_quoted(&quoted, own);
        boot_editor_put(&quoted, "", 1);
        boot_editor_put_first(editor, "set default=", quoted.out);
        mem_free(quoted.out);
        count++;
    }
    mem_free(own);
    return count;
}

static unsigned set_in(const struct boot_menu *menu, enum boot_syntax syntax, bool is_main, struct boot_editor *editor)
{
    if (!menu->values[syntax])
        return 0;
    switch (syntax) {
    case BOOT_GRUB:
        return set_grub(menu, editor);
    case BOOT_SYSLINUX:
        return set_syslinux(editor, is_main, menu->values[syntax]);
    case BOOT_LOADER:
        return set_loader(editor, menu->values[syntax]);
    case BOOT_ENTRY:
        break;
    }
    return 0;
}

bool boot_menu_set_default(const struct boot_menu *menu, enum boot_syntax syntax, bool is_main, const char *text,
                           size_t length, struct boot_edited *edited)
{
    struct boot_editor editor = {.text = text, .length = length};
    if (set_in(menu, syntax, is_main, &editor) == 0) {
        mem_free(editor.out);
        return false;
    }
    *edited = boot_editor_made(&editor);
    return true;
}
