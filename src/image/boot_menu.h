/*
 * The entries of boot menus, and the one of them that is to be the default. Whoever wishes one says it in one way for all
 * boot loaders: the entry's title, its id or label, or its number from 0 on (GRUB, syslinux). Letters' case does not
 * matter. An entry of a submenu of GRUB may be given as "submenu>entry".
 *
 * All configurations of an image are looked at before any is changed: the default is often set in another file than the
 * entry is in.
 */
#ifndef IMAGE_BOOT_MENU_H
#define IMAGE_BOOT_MENU_H

#include "image/boot_edit.h"

#define BOOT_MENU_NAME_MAX 256 /* bytes of a title; a longer one is cut */
#define BOOT_MENU_SEEN_MAX 384

struct boot_menu {
    const char *wanted;
    char *values[BOOT_SYNTAXES]; /* the entry, as each of the loaders calls it; NULL: it has none of that name */
    char seen[BOOT_MENU_SEEN_MAX]; /* the entries that there are, for people */
};

/* `wanted` is the caller's. */
void boot_menu_init(struct boot_menu *menu, const char *wanted);
void boot_menu_clear(struct boot_menu *menu);
/* Looks for the entry in one more configuration. `path` is the file's. */
void boot_menu_look(struct boot_menu *menu, enum boot_syntax syntax, const char *path, const char *text, size_t length);
bool boot_menu_found(const struct boot_menu *menu);
/* Makes it the default, once all are looked at. False: nothing in that configuration says what is the default.
 * edited->kernels and ->timeouts are 0. */
bool boot_menu_set_default(const struct boot_menu *menu, enum boot_syntax syntax, bool is_main, const char *text,
                           size_t length, struct boot_edited *edited);

#endif
