/* Menus in GRUB's scripts (its manual, "menuentry", "submenu", "default"). See image/boot_menu.h. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "image/boot_menu_internal.h"

#define SUBMENUS_MAX 4 /* in each other; what is deeper is not looked at */
#define GRUB_NAME_MAX (SUBMENUS_MAX * (BOOT_MENU_NAME_MAX + 1))

/* --- reading entries --- */

/* menuentry or submenu, as far as its words are read. */
struct grub_entry {
    unsigned words;
    bool entry, submenu;
    bool id_follows, value_follows, titled;
    char title[BOOT_MENU_NAME_MAX], id[BOOT_MENU_NAME_MAX];
};

struct grub_menu {
    struct boot_menu *menu;
    const char *text;
    unsigned braces; /* that are open */
    struct grub_level {
        unsigned braces; /* where it ends */
        char title[BOOT_MENU_NAME_MAX], key[BOOT_MENU_NAME_MAX];
    } levels[SUBMENUS_MAX];
    unsigned depth;
    unsigned count; /* entries of the first menu */
    char *found;
};

/* What the word is without its quotes. */
static void without_quotes(const char *text, size_t start, size_t end, char out[BOOT_MENU_NAME_MAX])
{
    size_t used = 0;
    char quote = '\0';
    for (size_t at = start; at < end && used < BOOT_MENU_NAME_MAX - 1; at++) {
        char c = text[at];
        if (c == quote)
            quote = '\0';
        else if (!quote && (c == '\'' || c == '"'))
            quote = c;
        else if (c == '\\' && quote != '\'' && at + 1 < end)
            out[used++] = text[++at];
        else
            out[used++] = c;
    }
    out[used] = '\0';
}

static bool has_value(const char *option)
{
    static const char *const names[] = {"--class", "--users", "--hotkey", "--source", "--function", NULL};
    for (const char *const *name = names; *name; name++)
        if (strcmp(*name, option) == 0)
            return true;
    return false;
}

/* Debian's and Fedora's scripts have --id in a variable, since GRUB had not always known it. */
static bool is_id_option(const char *word)
{
    return strcmp(word, "--id") == 0 || strcmp(word, "$menuentry_id_option") == 0 || strcmp(word, "${menuentry_id_option}") == 0;
}

static void add_entry_word(struct grub_entry *entry, const char word[BOOT_MENU_NAME_MAX])
{
    if (entry->id_follows)
        memcpy(entry->id, word, BOOT_MENU_NAME_MAX);
    bool value = entry->id_follows || entry->value_follows;
    entry->id_follows = entry->value_follows = false;
    if (value)
        return;
    entry->id_follows = is_id_option(word);
    entry->value_follows = has_value(word);
    if (strncmp(word, "--id=", 5) == 0)
        snprintf(entry->id, sizeof entry->id, "%s", word + 5);
    if (entry->titled || entry->id_follows || strncmp(word, "--", 2) == 0)
        return;
    memcpy(entry->title, word, BOOT_MENU_NAME_MAX);
    entry->titled = true;
}

static void add_grub_word(const struct grub_menu *menu, struct grub_entry *entry, size_t start, size_t end)
{
    char word[BOOT_MENU_NAME_MAX];
    if (entry->words == 0 && boot_grub_is_keyword(menu->text + start, end - start))
        return;
    without_quotes(menu->text, start, end, word);
    if (entry->words == 0) {
        entry->submenu = strcmp(word, "submenu") == 0;
        entry->entry = entry->submenu || strcmp(word, "menuentry") == 0;
    } else if (entry->entry) {
        add_entry_word(entry, word);
    }
    entry->words++;
}

/* --- which one --- */

/* The id, or the title, in which ">" would be a step into a submenu. */
static void grub_key_of(const struct grub_entry *entry, char key[BOOT_MENU_NAME_MAX])
{
    size_t used = 0;
    for (const char *p = *entry->id ? entry->id : entry->title; *p && used < BOOT_MENU_NAME_MAX - 2; p++) {
        key[used++] = *p;
        if (*p == '>')
            key[used++] = '>';
    }
    key[used] = '\0';
}

static void take_entry(struct grub_menu *menu, const struct grub_entry *entry, const char key[BOOT_MENU_NAME_MAX])
{
    char titles[GRUB_NAME_MAX + BOOT_MENU_NAME_MAX] = "", keys[GRUB_NAME_MAX + BOOT_MENU_NAME_MAX] = "", decimal[16];
    size_t title = 0, used = 0;
    for (unsigned i = 0; i < menu->depth; i++) {
        title += (size_t)snprintf(titles + title, sizeof titles - title, "%s>", menu->levels[i].title);
        used += (size_t)snprintf(keys + used, sizeof keys - used, "%s>", menu->levels[i].key);
    }
    snprintf(titles + title, sizeof titles - title, "%s", entry->title);
    snprintf(keys + used, sizeof keys - used, "%s", key);
    snprintf(decimal, sizeof decimal, "%u", menu->count);
    boot_menu_see(menu->menu, titles);
    bool number = menu->depth == 0 && boot_menu_is_number(menu->menu, menu->count);
    if (menu->found)
        return;
    if (number) /* also where a title or an id is only known to GRUB, for which 010 is 8 */
        menu->found = mem_strdup(decimal);
    else if (boot_menu_is_wanted(menu->menu, entry->title) || boot_menu_is_wanted(menu->menu, entry->id) ||
             boot_menu_is_wanted(menu->menu, titles))
        menu->found = mem_strdup(keys);
}

static void open_brace(struct grub_menu *menu, const struct grub_entry *entry)
{
    char key[BOOT_MENU_NAME_MAX];
    grub_key_of(entry, key);
    if (entry->entry && menu->depth < SUBMENUS_MAX) {
        take_entry(menu, entry, key);
        menu->count += menu->depth == 0;
    }
    if (entry->submenu && menu->depth < SUBMENUS_MAX) {
        struct grub_level *level = &menu->levels[menu->depth++];
        level->braces = menu->braces;
        memcpy(level->title, entry->title, sizeof level->title);
        memcpy(level->key, key, sizeof level->key);
    }
    menu->braces++;
}

static void close_brace(struct grub_menu *menu)
{
    if (menu->braces > 0)
        menu->braces--;
    if (menu->depth > 0 && menu->levels[menu->depth - 1].braces == menu->braces)
        menu->depth--;
}

char *boot_menu_grub_find(struct boot_menu *menu, const char *text, size_t length)
{
    struct grub_menu all = {.menu = menu, .text = text};
    struct grub_entry entry = {0};
    enum boot_grub_token token;
    for (size_t start, end = 0; (token = boot_grub_next(text, length, &start, &end)) != GRUB_END;) {
        if (token == GRUB_WORD) {
            add_grub_word(&all, &entry, start, end);
            continue;
        }
        if (text[start] == '{')
            open_brace(&all, &entry);
        else if (text[start] == '}')
            close_brace(&all);
        entry = (struct grub_entry){0};
    }
    return all.found;
}

/* --- the default --- */

/* The place behind "default=" of a command's word; 0: it is another. */
static size_t default_value(const struct boot_editor *editor, unsigned word, bool set, size_t start, size_t end)
{
    bool place = word == 0 || (word == 1 && set);
    return place && end - start >= 8 && memcmp(editor->text + start, "default=", 8) == 0 ? start + 8 : 0;
}

unsigned boot_menu_grub_set(struct boot_editor *editor, const char *value)
{
    unsigned count = 0, words = 0, braces = 0;
    bool set = false;
    enum boot_grub_token token;
    for (size_t start, end = 0; (token = boot_grub_next(editor->text, editor->length, &start, &end)) != GRUB_END;) {
        const char *word = editor->text + start;
        if (token == GRUB_BREAK) {
            braces = *word == '{' ? braces + 1 : *word == '}' && braces > 0 ? braces - 1 : braces;
            words = 0;
            continue;
        }
        if (words == 0 && boot_grub_is_keyword(word, end - start))
            continue;
        size_t at = braces == 0 ? default_value(editor, words, set, start, end) : 0;
        if (at > 0) {
            boot_editor_copy_to(editor, at);
            boot_grub_put_quoted(editor, value);
            editor->copied = end;
            count++;
        }
        set = words++ == 0 && end - start == 3 && memcmp(word, "set", 3) == 0;
    }
    return count;
}
