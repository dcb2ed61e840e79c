#include "image/boot_plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "image/partitions.h"
#include "image/text_diff.h"

#define PADDING_BLOCKS 150

void boot_plan_init(struct boot_plan *plan, uint64_t size, const struct boot_wish *wish)
{
    memset(plan, 0, sizeof *plan);
    view_init(&plan->view, size);
    changes_init(&plan->changes, &plan->view);
    plan->wish = *wish;
}

static void forget_run(struct boot_plan *plan)
{
    boot_files_clear(&plan->found);
    changes_clear(&plan->changes);
    mem_free(plan->diff);
    plan->diff = NULL;
    plan->files = plan->kernels = plan->timeouts = 0;
    *plan->warnings = '\0';
}

void boot_plan_clear(struct boot_plan *plan)
{
    forget_run(plan);
    view_clear(&plan->view);
}

__attribute__((format(printf, 2, 3))) static void boot_plan_warn(struct boot_plan *plan, const char *format, ...)
{
    size_t used = strlen(plan->warnings);
    va_list args;
    if (used > 0 && used < sizeof plan->warnings - 2)
        used += (size_t)snprintf(plan->warnings + used, sizeof plan->warnings - used, "; ");
    va_start(args, format);
    vsnprintf(plan->warnings + used, sizeof plan->warnings - used, format, args);
    va_end(args);
}

/* --- one file --- */

static uint32_t room_of(const struct boot_file *file)
{
    uint32_t block = file->fat ? file->fat->cluster : ISO_BLOCK;
    return (file->entry.length + block - 1) / block * block;
}

static void boot_plan_replace(struct boot_plan *plan, const struct boot_file *file, const char *text, size_t length,
                         uint64_t *behind)
{
    if (file->fat)
        fat_replace(&plan->changes, file->fat, &file->entry, text, (uint32_t)length);
    else
        iso_replace(&plan->changes, file->records, file->record_count, &file->entry, text, (uint32_t)length, behind);
}

static void show_change(FILE *diff, const struct boot_file *file, const char *before, const char *after, size_t length)
{
    fprintf(diff, "--- %s (%s)\n+++ %s%s\n", file->path, file->tree->name, file->path,
            length > room_of(file) ? file->fat ? " (in further clusters)" : " (behind the image's end)" : "");
    text_diff(diff, before, file->entry.length, after, length);
}

static void change_file(struct boot_plan *plan, const struct boot_file *file, const char *before, FILE *diff,
                        uint64_t *behind)
{
    struct boot_edited edited;
    if (!boot_edit(file->syntax, file->is_main, before, file->entry.length, &plan->wish, &edited))
        return;
    if (file->is_signed) {
        boot_plan_warn(plan, "%s is signed, and stays as it is", file->path);
    } else {
        size_t length = boot_edit_without_padding(edited.text, edited.length, room_of(file));
        boot_plan_replace(plan, file, edited.text, length, behind);
        show_change(diff, file, before, edited.text, length);
        plan->files++;
        plan->kernels += edited.kernels;
        plan->timeouts += edited.timeouts;
    }
    mem_free(edited.text);
}

static void change_files(struct boot_plan *plan, FILE *diff, uint64_t *behind)
{
    for (unsigned i = 0; i < plan->found.count; i++) {
        const struct boot_file *file = &plan->found.files[i];
        char *text = mem_alloc(file->entry.length + 1);
        if (file->tree->read(file->tree, &plan->view, &file->entry, text))
            change_file(plan, file, text, diff, behind);
        mem_free(text);
    }
}

/* --- what goes with it --- */

/* Does a list of checksums name one of the changed files? One that is too long to be looked through may. */
static bool checksums_name_changed(struct boot_plan *plan)
{
    const struct tree_entry *list = &plan->found.checksums;
    if (list->odd || list->length > VIEW_ONE_MAX)
        return true;
    const unsigned char *text = view_at(&plan->view, (uint64_t)list->start * ISO_BLOCK, list->length);
    for (unsigned i = 0; text && i < plan->found.count; i++) {
        const char *path = plan->found.files[i].path;
        if (!plan->found.files[i].fat && memmem(text, list->length, path, strlen(path)))
            return true;
    }
    return false;
}

static void boot_plan_warn_all(struct boot_plan *plan)
{
    if (*plan->found.checksums.name && checksums_name_changed(plan))
        boot_plan_warn(plan, "md5sum.txt on the medium has the sums of what was changed: a check by it fails");
    if (plan->found.iso.has_md5)
        boot_plan_warn(plan, "the medium has a checksum of itself (isomd5sum): a check by it fails");
    if (plan->found.iso.udf)
        boot_plan_warn(plan, "the medium has a UDF file system too, whose files stay as they are");
}

static uint64_t volume_end(const struct iso *iso)
{
    return iso->tree_count > 0 ? (uint64_t)iso->trees[0].blocks * ISO_BLOCK : 0;
}

/* Something lies behind the image's end: the volume grows, and so do the partitions. Firmware and boot loaders read ahead,
 * and get it wrong where the medium ends, so the end is as far away as mkisofs makes it. A GPT has its last sector there. */
static void grow(struct boot_plan *plan, uint64_t behind)
{
    struct partitions partitions;
    uint64_t end = behind + (uint64_t)PADDING_BLOCKS * ISO_BLOCK;
    partitions_read(&partitions, &plan->view);
    iso_grow(&plan->changes, &plan->found.iso, end);
    plan->changes.size = end;
    partitions_grow(&plan->changes, &partitions, volume_end(&plan->found.iso), plan->changes.size);
}

static uint64_t first_behind(uint64_t size)
{
    return (size + ISO_BLOCK - 1) / ISO_BLOCK * ISO_BLOCK;
}

static void make_changes(struct boot_plan *plan)
{
    size_t size;
    uint64_t begin = first_behind(plan->view.size), behind = begin;
    FILE *diff = open_memstream(&plan->diff, &size);
    if (!diff)
        mem_exhausted();
    change_files(plan, diff, &behind);
    if (fclose(diff) != 0)
        mem_exhausted();
    if (behind > begin)
        grow(plan, behind);
}

static void refuse_unchanged(struct boot_plan *plan)
{
    const char *what = plan->wish.arguments ? "no kernel was given arguments" : "no menu was given a timeout";
    if (*plan->warnings)
        view_refuse(&plan->view, "%s: %s", what, plan->warnings);
    else if (plan->found.count > 0)
        view_refuse(&plan->view, "%s: none of the image's %u boot configurations (%s%s) %s", what, plan->found.count,
                    plan->found.files[0].path, plan->found.count > 1 ? " and others" : "",
                    plan->wish.arguments ? "starts one" : "has one or starts a kernel");
    else
        view_refuse(&plan->view, "%s: the image has no boot configuration (looked for: %s)", what, BOOT_LOOKED_FOR);
}

static int boot_plan_status(struct view *view)
{
    if (*view->error)
        return -EINVAL;
    view_join_missing(view);
    return view->missing_count > 0 ? -EAGAIN : 0;
}

int boot_plan_run(struct boot_plan *plan)
{
    forget_run(plan);
    view_forget_missing(&plan->view);
    boot_files_find(&plan->found, &plan->view);
    make_changes(plan);
    boot_plan_warn_all(plan);
    if ((plan->wish.arguments ? plan->kernels : plan->timeouts) == 0 && view_is_whole(&plan->view))
        refuse_unchanged(plan);
    changes_sort(&plan->changes);
    return boot_plan_status(&plan->view);
}
