/*
 * Boot configurations as text, by the syntax of each boot loader: arguments are appended to every line that starts a
 * kernel, and a menu's timeout is set. Pure. Arguments that hold "---" are two lists, as installers of Debian and Ubuntu have them: what comes before
 * it goes before the "---" of a line that has one (the installer's), the rest to the line's end (also for what is
 * installed).
 */
#ifndef IMAGE_BOOT_EDIT_H
#define IMAGE_BOOT_EDIT_H

#include <stdbool.h>
#include <stddef.h>

#define BOOT_TIMEOUT_MAX 3600
#define BOOT_DEFAULT_MAX 200 /* bytes */
#define BOOT_ARGUMENTS_MAX 2000 /* bytes; a kernel takes 2048 in all on x86 */
#define BOOT_TEXT_MAX (512u << 10) /* bytes of what an edit makes of a text: each of its lines may grow by all arguments */

enum boot_syntax {
    BOOT_GRUB,     /* linux, linux16, linuxefi in grub.cfg */
    BOOT_SYSLINUX, /* APPEND, or KERNEL and LINUX without one, in isolinux.cfg and its like */
    BOOT_ENTRY,    /* options in an entry of systemd-boot (the Boot Loader Specification's type 1) */
    BOOT_LOADER,   /* its loader.conf: has a timeout, but starts no kernel */
};
#define BOOT_SYNTAXES 4

struct file_changes;

/* What is to be changed; NULL: not that. */
struct boot_wish {
    const char *arguments;    /* further ones for every kernel */
    const char *menu_timeout; /* seconds, as decimal digits: how long a menu waits before it boots its default */
    const char *menu_default; /* the entry that is to be that: image/boot_menu.h */
    const struct file_changes *files; /* image/file_changes.h */
};

/* Why this can't be wished; NULL: it can. */
const char *boot_wish_problem(const struct boot_wish *wish);

struct boot_edited {
    char *text; /* for mem_free() */
    size_t length;
    bool too_long; /* it would be longer than BOOT_TEXT_MAX, and is not whole */
    unsigned kernels, timeouts; /* that were changed or made */
};
/* False: nothing of the text is changed by the wish. A timeout is made where there is none in a configuration that starts
 * kernels (GRUB), or is the first that is read (`is_main`; syslinux). */
bool boot_edit(enum boot_syntax syntax, bool is_main, const char *text, size_t length, const struct boot_wish *wish,
               struct boot_edited *edited);
/* The length without as many comment lines at the text's end as it takes to be no longer than `room`: some images have
 * them there so that a configuration can grow (they begin with # in each syntax). The text's own length, if that is not enough. */
size_t boot_edit_without_padding(const char *text, size_t length, size_t room);

#endif
