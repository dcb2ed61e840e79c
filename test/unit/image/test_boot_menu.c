/* Which entry of a boot menu somebody means, and how it is made the default in each loader's way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "base/text.h"
#include "image/boot_menu.h"

/* A configuration of an image, up to one without a text; `expected` NULL: it stays as it is. */
struct config {
    enum boot_syntax syntax;
    const char *path, *text, *expected;
};

static char *exact(const char *text)
{
    char *copy = malloc(strlen(text) + 1); /* of its own size, for the sanitizer */
    memcpy(copy, text, strlen(text) + 1);
    return copy;
}

static bool is_main(const char *path)
{
    return strcmp(path, "/isolinux.cfg") == 0;
}

static void check_config(const struct boot_menu *menu, const struct config *config)
{
    struct boot_edited edited;
    char *text = exact(config->text);
    bool changed = boot_menu_set_default(menu, config->syntax, is_main(config->path), text, strlen(text), &edited);
    free(text);
    assert_int_equal(changed, config->expected != NULL);
    if (!changed)
        return;
    char *ended = calloc(1, edited.length + 1);
    memcpy(ended, edited.text, edited.length);
    assert_string_equal(ended, config->expected);
    free(ended);
    mem_free(edited.text);
}

static void look(struct boot_menu *menu, const struct config *configs)
{
    for (; configs->text; configs++) {
        char *text = exact(configs->text);
        boot_menu_look(menu, configs->syntax, configs->path, text, strlen(text));
        free(text);
    }
}

static void check(const char *wanted, const struct config *configs)
{
    struct boot_menu menu;
    boot_menu_init(&menu, wanted);
    look(&menu, configs);
    assert_true(boot_menu_found(&menu));
    for (; configs->text; configs++)
        check_config(&menu, configs);
    boot_menu_clear(&menu);
}

static void check_grub(const char *wanted, const char *text, const char *expected)
{
    check(wanted, (const struct config[]){{BOOT_GRUB, "/boot/grub/grub.cfg", text, expected}, {0}});
}

static void check_syslinux(const char *wanted, const char *text, const char *expected)
{
    check(wanted, (const struct config[]){{BOOT_SYSLINUX, "/isolinux.cfg", text, expected}, {0}});
}

#define ENTRIES                                                                                                        \
    "menuentry --hotkey=i 'Install now' { linux /k }\n"                                                                \
    "if x; then menuentry \"Re\\\"scue\" --class os $menuentry_id_option 'rescue-id' {\nlinux /k\n}; fi\n"               \
    "submenu 'Ad>vanced' --id=more { set default=9\n menuentry \"Deep $x\" --id deep {\n linux /k }\n }\n"             \
    "menuentry ${title} { true; }\n"

static void grub_takes_titles_ids_numbers_and_ways_into_submenus(void **state)
{
    (void)state;
    check_grub("install NOW", "set default=\"0\"\n" ENTRIES, "set default='Install now'\n" ENTRIES);
    check_grub("re\"scue", "default=1;x=2\n" ENTRIES, "default='rescue-id';x=2\n" ENTRIES);
    check_grub("rescue-id", "if y; then set default=a; else\nset default=b; fi\n" ENTRIES,
               "if y; then set default='rescue-id'; else\nset default='rescue-id'; fi\n" ENTRIES);
    check_grub("Ad>vanced", "set default=0\n" ENTRIES, "set default='more'\n" ENTRIES);
    check_grub("deep", "set default=0\n" ENTRIES, "set default='more>deep'\n" ENTRIES);
    check_grub("Ad>vanced>Deep $x", ENTRIES, "set default='more>deep'\n" ENTRIES);
    check_grub("3", ENTRIES, "set default='3'\n" ENTRIES); /* its title is only known to GRUB */
    check_grub("03", ENTRIES, "set default='3'\n" ENTRIES); /* GRUB takes 010 for 8 */
    check_grub("a>b", "menuentry 'a>b' {}", "set default='a>>b'\nmenuentry 'a>b' {}");
}

static void what_is_no_default_of_grub_stays(void **state)
{
    (void)state;
    const char *text = "set default_x=1\n# set default=1\necho set default=1\nset defaults=2\nmenuentry a { set default=1; }\n";
    char *expected = malloc(strlen(text) + 32);
    strcat(strcpy(expected, "set default='a'\n"), text);
    check_grub("a", text, expected);
    free(expected);
}

static void grubs_default_may_be_in_another_script_than_the_entry(void **state)
{
    (void)state;
    check("b", (const struct config[]){
                   {BOOT_GRUB, "/EFI/BOOT/grub.cfg", "set default=0\nsource /boot/grub/menu.cfg\n", "set default='b'\nsource /boot/grub/menu.cfg\n"},
                   {BOOT_GRUB, "/boot/grub/menu.cfg", "menuentry a {}\nmenuentry b {}\n", "set default='b'\nmenuentry a {}\nmenuentry b {}\n"},
                   {BOOT_GRUB, "/boot/grub/theme.cfg", "set x=1\n", NULL},
                   {BOOT_SYSLINUX, "/isolinux.cfg", "default x\nlabel x\n kernel k\n", NULL},
                   {BOOT_LOADER, "/loader/loader.conf", "default x\n", NULL},
                   {0}});
}

static void syslinux_takes_labels_titles_and_numbers(void **state)
{
    (void)state;
    const char *text = "default a\nprompt 0\nlabel a\n kernel k\nlabel b\n menu label ^Big one\n kernel k\n",
               *changed = "ontimeout b\ndefault b\nprompt 0\nlabel a\n kernel k\nlabel b\n\tmenu default\n menu label ^Big one\n kernel k\n";
    check_syslinux("b", text, changed);
    check_syslinux("big ONE", text, changed);
    check_syslinux("1", text, changed);
    check_syslinux("A", "ui menu.c32\r\nlabel a\r\n kernel k\r\n", "ontimeout a\nui menu.c32\r\nlabel a\n\tmenu default\r\n kernel k\r\n");
    check_syslinux("a", "label a\n kernel k\n", "default a\nontimeout a\nlabel a\n\tmenu default\n kernel k\n");
    check_syslinux("b", "default vesamenu.c32\nontimeout a\nlabel a\n menu default\n kernel k\nlabel b\n kernel k\n",
                   "default vesamenu.c32\nontimeout b\nlabel a\n kernel k\nlabel b\n\tmenu default\n kernel k\n");
}

static void syslinux_has_its_menu_in_many_files(void **state)
{
    (void)state;
    check("install", (const struct config[]){
                         {BOOT_SYSLINUX, "/isolinux.cfg", "include menu.cfg\ndefault vesamenu.c32\n",
                          "ontimeout install\ninclude menu.cfg\ndefault vesamenu.c32\n"},
                         {BOOT_SYSLINUX, "/gtk.cfg", "label gtk\n menu default\n kernel k\n", "label gtk\n kernel k\n"},
                         {BOOT_SYSLINUX, "/txt.cfg", "label install\n kernel k", "label install\n\tmenu default\n kernel k"},
                         {BOOT_SYSLINUX, "/prompt.cfg", "prompt 1\n", NULL},
                         {0}});
    /* Another menu, which does not have the entry. */
    check("install", (const struct config[]){
                         {BOOT_SYSLINUX, "/isolinux.cfg", "default x\nlabel x\n kernel k\n", NULL},
                         {BOOT_SYSLINUX, "/txt.cfg", "label install\n kernel k\n", "label install\n\tmenu default\n kernel k\n"},
                         {0}});
}

static void systemd_boot_takes_files_and_titles(void **state)
{
    (void)state;
    const char *const names[] = {"b", "b.conf", "A Title"};
    for (unsigned i = 0; i < 3; i++)
        check(names[i], (const struct config[]){{BOOT_LOADER, "/loader/loader.conf", "timeout 3\ndefault a*\n", "timeout 3\ndefault b.conf\n"},
                                                {BOOT_ENTRY, "/loader/entries/a.conf", "title x\nlinux /k\n", NULL},
                                                {BOOT_ENTRY, "/loader/entries/b.conf", "title   A Title\nlinux /k\n", NULL},
                                                {0}});
    check("b", (const struct config[]){{BOOT_LOADER, "/loader/loader.conf", "timeout 3", "default b.conf\ntimeout 3"},
                                       {BOOT_ENTRY, "/loader/entries/b.conf", "linux /k\n", NULL},
                                       {0}});
}

static void what_there_is_is_told(void **state)
{
    (void)state;
    struct boot_menu menu;
    char long_title[BOOT_MENU_NAME_MAX * 2], text[sizeof long_title * 2 + 64];
    boot_menu_init(&menu, "z");
    look(&menu, (const struct config[]){{BOOT_GRUB, "/grub.cfg", "menuentry a {}\nmenuentry a {}\nsubmenu b { menuentry \"c\td\" {} }", NULL},
                                        {BOOT_SYSLINUX, "/isolinux.cfg", "label x\n", NULL},
                                        {BOOT_ENTRY, "/loader/entries/e.conf", "linux /k\n", NULL},
                                        {0}});
    assert_false(boot_menu_found(&menu));
    assert_string_equal(menu.seen, "\"a\", \"b\", \"b>c?d\", \"x\", \"e\"");
    for (int i = 0; i < 100; i++) {
        memset(long_title, 'a' + i % 26, sizeof long_title);
        long_title[i % 2 ? sizeof long_title - 1 : 200] = '\0';
        snprintf(text, sizeof text, "submenu %s {\n menuentry %s {}\n", long_title, long_title);
        look(&menu, (const struct config[]){{BOOT_GRUB, "/grub.cfg", text, NULL}, {0}});
    }
    assert_true(strlen(menu.seen) < sizeof menu.seen);
    assert_string_equal(menu.seen + strlen(menu.seen) - 5, ", ...");
    boot_menu_clear(&menu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grub_takes_titles_ids_numbers_and_ways_into_submenus),
        cmocka_unit_test(what_is_no_default_of_grub_stays),
        cmocka_unit_test(grubs_default_may_be_in_another_script_than_the_entry),
        cmocka_unit_test(syslinux_takes_labels_titles_and_numbers),
        cmocka_unit_test(syslinux_has_its_menu_in_many_files),
        cmocka_unit_test(systemd_boot_takes_files_and_titles),
        cmocka_unit_test(what_there_is_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
