/* What the menus of each syntax share. See image/boot_menu.h. */
#ifndef IMAGE_BOOT_MENU_INTERNAL_H
#define IMAGE_BOOT_MENU_INTERNAL_H

#include "image/boot_edit_internal.h"
#include "image/boot_menu.h"

/* Notes a title or label, so that people can be told what there is. */
void boot_menu_see(struct boot_menu *menu, const char *name);
bool boot_menu_is_wanted(const struct boot_menu *menu, const char *name);
bool boot_menu_is_number(const struct boot_menu *menu, unsigned index);

/* The entry as GRUB calls it, if the script has it; for mem_free(). */
char *boot_menu_grub_find(struct boot_menu *menu, const char *text, size_t length);
/* How often the script says what is the default, which is replaced. */
unsigned boot_menu_grub_set(struct boot_editor *editor, const char *value);

#endif
