/*
 * Gives arguments to the kernels that an image boots, while it is read: the planner of an inject source
 * (block/inject.h), which reads what image/boot_plan.h asks for.
 */
#ifndef IMAGE_BOOT_INJECT_H
#define IMAGE_BOOT_INJECT_H

#include "block/inject.h"

/* `arguments` are copied; boot_arguments_problem() has been asked. For an inject source of a loop, which owns it. */
struct inject_planner *boot_inject_new(uv_loop_t *loop, const char *arguments);

/* Valid once the source is open; the planner's. */
struct boot_injected {
    unsigned files, kernels; /* that have the arguments now */
    unsigned reads;          /* of the image, that it took */
    const char *warnings;    /* see struct boot_plan */
    const char *diff;
};
void boot_inject_told(const struct inject_planner *planner, struct boot_injected *told);

#endif
