/*
 * Gives arguments to the kernels that an image boots, and its menus a timeout and a default, while it is read: the planner of an inject source
 * (block/inject.h), which reads what image/boot_plan.h asks for.
 */
#ifndef IMAGE_BOOT_INJECT_H
#define IMAGE_BOOT_INJECT_H

#include "block/inject.h"
#include "image/boot_edit.h"
#include "image/file_changes.h"

#define BOOT_INJECT_FILES_MAX (256u << 10) /* bytes of the text that says what is changed in files */

/* Changes of files that are read from elsewhere, before the image is looked at. */
struct boot_inject_files {
    struct source *source; /* has the text; not opened */
    /* 0, or a negative errno and why it is no such text; on the loop. */
    int (*take)(void *arg, const char *text, size_t length, struct file_changes *changes, char error[SOURCE_ERROR_MAX]);
    void *arg; /* for mem_free() */
};

/* The wish is copied, but for its files; boot_wish_problem() has been asked. `changes` for mem_free(), or NULL, and
 * `files`, of which the source may be NULL, are taken over. For an inject source of a loop, which owns it. */
struct inject_planner *boot_inject_new(uv_loop_t *loop, const struct boot_wish *wish, struct file_changes *changes,
                                       const struct boot_inject_files *files);

/* Valid once the source is open; the planner's. */
struct boot_injected {
    unsigned files, kernels, timeouts, defaults; /* that were changed */
    unsigned file_changes; /* that were made by name */
    unsigned reads;          /* of the image, that it took */
    const char *warnings;    /* see struct boot_plan */
    const char *diff;
};
void boot_inject_told(const struct inject_planner *planner, struct boot_injected *told);

#endif
