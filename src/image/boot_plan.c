#include "image/boot_plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "image/partitions.h"
#include "image/text_diff.h"

#define PADDING_BLOCKS 150

_Static_assert(VIEW_HELD_MAX + CHANGES_MAX * sizeof(struct changes_sector) < (1u << 20), "a plan takes less than 1 MiB");

static const struct file_changes no_changes;

void boot_plan_init(struct boot_plan *plan, uint64_t size, const struct boot_wish *wish)
{
    memset(plan, 0, sizeof *plan);
    view_init(&plan->view, size);
    changes_init(&plan->changes, &plan->view);
    plan->wish = *wish;
    if (!plan->wish.files)
        plan->wish.files = &no_changes;
    boot_menu_init(&plan->menu, wish->menu_default);
}

static void forget_run(struct boot_plan *plan)
{
    boot_files_clear(&plan->found);
    changes_clear(&plan->changes);
    boot_menu_clear(&plan->menu);
    mem_free(plan->diff);
    plan->diff = NULL;
    plan->files = plan->kernels = plan->timeouts = plan->defaults = plan->file_changes = 0;
    memset(plan->changes_made, 0, sizeof plan->changes_made);
    *plan->warnings = '\0';
}

void boot_plan_clear(struct boot_plan *plan)
{
    forget_run(plan);
    view_clear(&plan->view);
}

__attribute__((format(printf, 2, 3))) static void boot_plan_warn(struct boot_plan *plan, const char *format, ...)
{
    char words[sizeof plan->warnings];
    size_t used = strlen(plan->warnings);
    va_list args;
    if (used > 0 && used < sizeof plan->warnings - 2)
        used += (size_t)snprintf(plan->warnings + used, sizeof plan->warnings - used, "; ");
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    text_escape(words, plan->warnings + used, sizeof plan->warnings - used); /* a file's name may have any bytes */
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
    char path[BOOT_PATH_MAX];
    text_escape(file->path, path, sizeof path);
    fprintf(diff, "--- %s (%s)\n+++ %s%s\n", path, file->tree->name, path,
            length > room_of(file) ? file->fat ? " (in further clusters)" : " (behind the image's end)" : "");
    if (memchr(before, '\0', file->entry.length) || memchr(after, '\0', length))
        fprintf(diff, "binary: %u bytes by %zu\n", file->entry.length, length);
    else
        text_diff(diff, before, file->entry.length, after, length);
}

/* A file's text on its way to what it is to be. */
struct boot_draft {
    char *text;
    size_t length;
    bool changed, too_long;
    unsigned kernels, timeouts, defaults, file_changes;
};

/* False: it is not known yet, or can't be read. */
static bool draft_begin(struct boot_plan *plan, const struct boot_file *file, struct boot_draft *draft)
{
    *draft = (struct boot_draft){.text = mem_alloc(file->entry.length + 1), .length = file->entry.length};
    bool read = file->tree->read(file->tree, &plan->view, &file->entry, draft->text);
    if (!read)
        mem_free(draft->text);
    return read;
}

static void draft_take(struct boot_draft *draft, const struct boot_edited *edited)
{
    mem_free(draft->text);
    draft->text = edited->text;
    draft->length = edited->length;
    draft->too_long |= edited->too_long;
    draft->changed = true;
    draft->kernels += edited->kernels;
    draft->timeouts += edited->timeouts;
}

static bool is_named_by(const struct boot_file *file, unsigned change)
{
    return file->named >> change & 1;
}

/* What somebody wants of this file by its name. */
static void draft_change(struct boot_plan *plan, const struct boot_file *file, struct boot_draft *draft)
{
    for (unsigned i = 0; i < plan->wish.files->count; i++) {
        const struct file_change *change = &plan->wish.files->list[i];
        size_t length;
        char *made = is_named_by(file, i) ? file_change_make(change, draft->text, draft->length, &length) : NULL;
        if (!made)
            continue;
        mem_free(draft->text);
        draft->text = made;
        draft->length = length;
        draft->changed = plan->changes_made[i] = true;
        draft->file_changes++;
    }
}

static void draft_edit(struct boot_plan *plan, const struct boot_file *file, struct boot_draft *draft)
{
    struct boot_edited edited;
    if (!file->is_config)
        return;
    if (boot_edit(file->syntax, file->is_main, draft->text, draft->length, &plan->wish, &edited))
        draft_take(draft, &edited);
    if (!boot_menu_set_default(&plan->menu, file->syntax, file->is_main, draft->text, draft->length, &edited))
        return;
    draft_take(draft, &edited);
    draft->defaults++;
}

static void apply_draft(struct boot_plan *plan, struct boot_file *file, const char *before,
                        const struct boot_draft *draft, FILE *diff, uint64_t *behind)
{
    if (file->is_signed) {
        boot_plan_warn(plan, "%s is signed, and stays as it is", file->path);
        return;
    }
    if (draft->too_long) {
        view_refuse(&plan->view, "%s would be larger than %u KiB", file->path, BOOT_TEXT_MAX >> 10);
        return;
    }
    bool may_lose = draft->file_changes == 0; /* what somebody gave is not padding */
    size_t length = may_lose ? boot_edit_without_padding(draft->text, draft->length, room_of(file)) : draft->length;
    boot_plan_replace(plan, file, draft->text, length, behind);
    show_change(diff, file, before, draft->text, length);
    file->changed = true;
    plan->files++;
    plan->kernels += draft->kernels;
    plan->timeouts += draft->timeouts;
    plan->defaults += draft->defaults;
    plan->file_changes += draft->file_changes;
}

/* By El Torito, or as a partition that lies in the file. */
static bool is_booted(const struct boot_files *found, const struct boot_file *file)
{
    uint64_t start = (uint64_t)file->entry.start * ISO_BLOCK;
    for (unsigned i = 0; i < found->iso.boot_count && !file->fat; i++)
        if (found->iso.boots[i] == start)
            return true;
    for (unsigned i = 0; i < found->fat_count && !file->fat; i++)
        if (found->fats[i].at == start)
            return true;
    return false;
}

/* The first path by which the file is named, `but` for that one: blocks may have several names. NULL: there is none. */
static const char *named_path(const struct boot_plan *plan, const struct boot_file *file, const char *but)
{
    for (unsigned i = 0; i < plan->wish.files->count; i++)
        if (is_named_by(file, i) && (!but || strcasecmp(plan->wish.files->list[i].path, but) != 0))
            return plan->wish.files->list[i].path;
    return NULL;
}

/* What firmware starts, or checks, is no file that somebody may name, and one file is not two. Always the same answer as
 * view_refuse()'s opposite. */
static bool names_wrongly(struct boot_plan *plan, const struct boot_file *file, const char *text)
{
    size_t length = strlen(file->path);
    bool efi = length > 4 && strcasecmp(file->path + length - 4, ".efi") == 0;
    bool program = file->entry.length >= 2 && memcmp(text, "MZ", 2) == 0;
    const char *path = named_path(plan, file, NULL), *other = named_path(plan, file, path);
    if (file->is_signed)
        return !view_refuse(&plan->view, "%s is signed, and stays as it is", file->path);
    if (efi || program)
        return !view_refuse(&plan->view, "%s is a program that may be signed, and stays as it is", file->path);
    if (other)
        return !view_refuse(&plan->view, "%s and %s are one file on the image (change it by one of its names)", path, other);
    return is_booted(&plan->found, file) &&
           !view_refuse(&plan->view, "%s is what the firmware boots, and stays as it is", file->path);
}

static void change_file(struct boot_plan *plan, struct boot_file *file, FILE *diff, uint64_t *behind)
{
    struct boot_draft before, draft;
    if (!draft_begin(plan, file, &before))
        return;
    if (file->named && names_wrongly(plan, file, before.text)) {
        mem_free(before.text);
        return;
    }
    if (draft_begin(plan, file, &draft)) {
        draft_change(plan, file, &draft);
        draft_edit(plan, file, &draft);
        if (draft.changed)
            apply_draft(plan, file, before.text, &draft, diff, behind);
        mem_free(draft.text);
    }
    mem_free(before.text);
}

static void find_default(struct boot_plan *plan)
{
    struct boot_draft draft;
    for (unsigned i = 0; i < plan->found.count && plan->wish.menu_default; i++) {
        const struct boot_file *file = &plan->found.files[i];
        if (file->is_signed || !file->is_config || !draft_begin(plan, file, &draft))
            continue;
        draft_change(plan, file, &draft);
        boot_menu_look(&plan->menu, file->syntax, file->path, draft.text, draft.length);
        mem_free(draft.text);
    }
}

static void change_files(struct boot_plan *plan, FILE *diff, uint64_t *behind)
{
    find_default(plan);
    for (unsigned i = 0; i < plan->found.count; i++)
        change_file(plan, &plan->found.files[i], diff, behind);
}

/* --- what goes with it --- */

static bool is_changed_by_name(const struct boot_plan *plan, const struct tree_entry *entry)
{
    for (unsigned i = 0; i < plan->found.count; i++) {
        const struct boot_file *file = &plan->found.files[i];
        if (!file->fat && file->named != 0 && file->entry.start == entry->start)
            return true;
    }
    return false;
}

/* Does a list of checksums name one of the changed files? One that is too long to be looked through may, and one that
 * somebody has changed is right. */
static bool checksums_name_changed(struct boot_plan *plan, const struct tree_entry *list)
{
    if (is_changed_by_name(plan, list))
        return false;
    if (list->odd || list->length > VIEW_ONE_MAX)
        return true;
    const unsigned char *text = view_at(&plan->view, (uint64_t)list->start * ISO_BLOCK, list->length);
    for (unsigned i = 0; text && i < plan->found.count; i++) {
        const char *path = plan->found.files[i].path;
        if (plan->found.files[i].changed && !plan->found.files[i].fat && memmem(text, list->length, path, strlen(path)))
            return true;
    }
    return false;
}

static void boot_plan_warn_all(struct boot_plan *plan)
{
    if (plan->files == 0)
        return;
    for (unsigned i = 0; i < plan->found.checksums_count; i++)
        if (checksums_name_changed(plan, &plan->found.checksums[i]))
            boot_plan_warn(plan, "%s on the medium has the sums of what was changed: a check by it fails", plan->found.checksums[i].name);
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

static unsigned count_configs(const struct boot_plan *plan)
{
    unsigned count = 0;
    for (unsigned i = 0; i < plan->found.count; i++)
        count += plan->found.files[i].is_config;
    return count;
}

/* What was looked for, and is nowhere. */
static void refuse_without(struct boot_plan *plan, const char *what, const char *has)
{
    if (*plan->warnings)
        view_refuse(&plan->view, "%s: %s", what, plan->warnings);
    else if (count_configs(plan) > 0)
        view_refuse(&plan->view, "%s: none of the image's %u boot configurations (%s%s) %s", what, count_configs(plan),
                    plan->found.files[0].path, plan->found.count > 1 ? " and others" : "", has);
    else
        view_refuse(&plan->view, "%s: the image has no boot configuration (looked for: %s)", what, BOOT_LOOKED_FOR);
}

static void refuse_default(struct boot_plan *plan)
{
    if (boot_menu_found(&plan->menu))
        refuse_without(plan, "no menu was given a default", "says what is booted");
    else if (*plan->menu.seen)
        view_refuse(&plan->view, "no boot menu of the image has an entry \"%s\" (there are: %s)", plan->wish.menu_default,
                    plan->menu.seen);
    else
        refuse_without(plan, "no menu was given a default", "has entries");
}

static bool is_found(const struct boot_plan *plan, unsigned change)
{
    for (unsigned i = 0; i < plan->found.count; i++)
        if (is_named_by(&plan->found.files[i], change))
            return true;
    return false;
}

/* The first of the changes that could not be made. */
static void refuse_unmade(struct boot_plan *plan)
{
    for (unsigned i = 0; i < plan->wish.files->count; i++) {
        const struct file_change *change = &plan->wish.files->list[i];
        if (plan->changes_made[i])
            continue;
        if (is_found(plan, i))
            view_refuse(&plan->view, "%s has no line with \"%s\" in it", change->path, change->mark ? change->mark : "");
        else
            view_refuse(&plan->view, "there is no file %s on the image (a path begins at its root, as /boot/grub/grub.cfg)",
                        change->path);
    }
}

/* Arguments that no kernel has, and a default that no menu has, are mistakes; that no menu waits beside them is none. */
static void refuse_unchanged(struct boot_plan *plan)
{
    const struct boot_wish *wish = &plan->wish;
    refuse_unmade(plan);
    if (wish->arguments && plan->kernels == 0)
        refuse_without(plan, "no kernel was given arguments", "starts one");
    else if (wish->menu_default && plan->defaults == 0)
        refuse_default(plan);
    else if (!wish->arguments && !wish->menu_default && wish->files->count == 0 && plan->timeouts == 0)
        refuse_without(plan, "no menu was given a timeout", "has one or starts a kernel");
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
    boot_files_find(&plan->found, &plan->view, plan->wish.files);
    make_changes(plan);
    boot_plan_warn_all(plan);
    if (view_is_whole(&plan->view))
        refuse_unchanged(plan);
    changes_sort(&plan->changes);
    return boot_plan_status(&plan->view);
}
