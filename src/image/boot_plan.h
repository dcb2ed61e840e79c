/*
 * What is to be changed of an image so that every kernel that it boots is given further arguments, and its menus boot
 * what they shall, by themselves. A plain function of what is known of the image (see image/view.h), that is run again when more of it is known.
 *
 * A configuration whose signature lies beside it stays as it is, and so does everything that is neither named in
 * BOOT_LOOKED_FOR nor by the wish. Programs, which firmware may check, are never changed.
 */
#ifndef IMAGE_BOOT_PLAN_H
#define IMAGE_BOOT_PLAN_H

#include "image/boot_files.h"
#include "image/boot_menu.h"

#define BOOT_WARNINGS_MAX 512

struct boot_plan {
    struct view view;
    struct boot_wish wish; /* the texts are the caller's; boot_wish_problem() has been asked */
    /* Valid once boot_plan_run() gave 0. */
    struct boot_files found;
    struct changes changes;
    struct boot_menu menu;
    unsigned files, kernels, timeouts, defaults; /* that were changed */
    unsigned file_changes;                       /* that were made, each perhaps in several trees */
    bool changes_made[FILE_CHANGES_MAX];
    char warnings[BOOT_WARNINGS_MAX]; /* what somebody may have to know, as sentences; "" for nothing */
    char *diff;                       /* for people */
};

void boot_plan_init(struct boot_plan *plan, uint64_t size, const struct boot_wish *wish);
/* 0; -EAGAIN: what view.missing has is to be added first; -EINVAL: view.error says why it can't be done. */
int boot_plan_run(struct boot_plan *plan);
void boot_plan_clear(struct boot_plan *plan);

#endif
