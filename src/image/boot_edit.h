/*
 * Boot configurations as text, by the syntax of each boot loader: arguments are appended to every line that starts a
 * kernel. Pure. Arguments that hold "---" are two lists, as installers of Debian and Ubuntu have them: what comes before
 * it goes before the "---" of a line that has one (the installer's), the rest to the line's end (also for what is
 * installed).
 */
#ifndef IMAGE_BOOT_EDIT_H
#define IMAGE_BOOT_EDIT_H

#include <stdbool.h>
#include <stddef.h>

#define BOOT_ARGUMENTS_MAX 2000 /* bytes; a kernel takes 2048 in all on x86 */

enum boot_syntax {
    BOOT_GRUB,     /* linux, linux16, linuxefi in grub.cfg */
    BOOT_SYSLINUX, /* APPEND, or KERNEL and LINUX without one, in isolinux.cfg and its like */
    BOOT_ENTRY,    /* options in an entry of systemd-boot (the Boot Loader Specification's type 1) */
};

/* Why these can't be arguments of a kernel; NULL: they can. */
const char *boot_arguments_problem(const char *arguments);
/* The changed text, for mem_free(), and its length; how many kernels have the arguments now. NULL: no line starts one. */
char *boot_edit(enum boot_syntax syntax, const char *text, size_t length, const char *arguments, size_t *changed_length,
                unsigned *kernels);
/* The length without as many comment lines at the text's end as it takes to be no longer than `room`: some images have
 * them there so that a configuration can grow (they begin with # in each syntax). The text's own length, if that is not enough. */
size_t boot_edit_without_padding(const char *text, size_t length, size_t room);

#endif
