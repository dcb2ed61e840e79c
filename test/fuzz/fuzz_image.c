/*
 * An image whose kernels are to get arguments: file systems, partition tables and boot configurations. The first byte,
 * bit 0: the rest stands where the descriptors of a volume are, so that an input need not begin with 32 KiB of nothing; 1: no
 * arguments; 2: a timeout.
 * Whatever it is, the plan ends, within its bounds, and what it would change lies in the image as it is to be.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "image/boot_plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void give_missing(struct view *view, const unsigned char *image)
{
    struct view_range missing[VIEW_MISSING_MAX];
    unsigned count = view->missing_count;
    memcpy(missing, view->missing, sizeof missing);
    for (unsigned i = 0; i < count; i++) {
        must(missing[i].length > 0 && missing[i].length <= VIEW_ONE_MAX);
        must(missing[i].offset <= view->size && missing[i].length <= view->size - missing[i].offset);
        unsigned char *bytes = mem_alloc(missing[i].length);
        memcpy(bytes, image + missing[i].offset, missing[i].length);
        view_add(view, &missing[i], bytes);
    }
}

/* Files that the seeds have. */
static const struct file_changes named = {
    .list = {{(char[]){"/boot/grub/grub.cfg"}, FILE_LINES_AFTER, (char[]){"e"}, (char[]){"x"}, 1},
             {(char[]){"/EFI/BOOT/grub.cfg"}, FILE_REPLACED, NULL, (char[]){"x"}, 1}},
    .count = 2,
};

static void check_changes(const struct changes *changes)
{
    must(changes->size >= changes->view->size && changes->count > 0);
    for (unsigned i = 0; i < changes->count; i++) {
        must(i == 0 || changes->sectors[i].number > changes->sectors[i - 1].number);
        must(changes->sectors[i].number * CHANGES_SECTOR < changes->size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t before = data[0] & 1 ? 32768 : 0, length = before + size - 1;
    unsigned char *image = calloc(1, length + !length);
    memcpy(image + before, data + 1, size - 1);
    struct boot_plan plan;
    int status, rounds = 0;
    boot_plan_init(&plan, length, &(struct boot_wish){data[0] & 2 ? NULL : "a=b --- c=\"d e\"", data[0] & 4 ? "5" : NULL,
                                                      data[0] & 8 ? "1" : NULL, data[0] & 16 ? &named : NULL});
    while ((status = boot_plan_run(&plan)) == -EAGAIN) {
        give_missing(&plan.view, image);
        must(++rounds <= VIEW_PARTS_MAX + 1);
    }
    must((status == 0) == !*plan.view.error);
    if (status == 0)
        check_changes(&plan.changes);
    boot_plan_clear(&plan);
    free(image);
    return 0;
}
