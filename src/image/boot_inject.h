/*
 * Gives arguments to the kernels that an image boots, and its menus a timeout and a default, while it is read: the planner of an inject source
 * (block/inject.h), which reads what image/boot_plan.h asks for.
 */
#ifndef IMAGE_BOOT_INJECT_H
#define IMAGE_BOOT_INJECT_H

#include "block/inject.h"
#include "image/boot_edit.h"

/* The wish is copied; boot_wish_problem() has been asked. For an inject source of a loop, which owns it. */
struct inject_planner *boot_inject_new(uv_loop_t *loop, const struct boot_wish *wish);

/* Valid once the source is open; the planner's. */
struct boot_injected {
    unsigned files, kernels, timeouts, defaults; /* that were changed */
    unsigned reads;          /* of the image, that it took */
    const char *warnings;    /* see struct boot_plan */
    const char *diff;
};
void boot_inject_told(const struct inject_planner *planner, struct boot_injected *told);

#endif
