#include "image/boot_files.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "image/partitions.h"

/* Folders with boot configurations; a star is any one folder's name. */
static const struct place {
    const char *path;
    bool entries; /* of systemd-boot: everything there is its */
} places[] = {
    {"", false},
    {"boot", false},
    {"boot/grub", false},
    {"boot/grub2", false},
    {"grub", false},
    {"grub2", false},
    {"efi/*", false},
    {"isolinux", false},
    {"syslinux", false},
    {"boot/isolinux", false},
    {"boot/syslinux", false},
    {"boot/x86_64/loader", false},
    {"arch/boot/syslinux", false},
    {"loader", true},
    {"loader/entries", true},
};

/* --- which files --- */

static bool has_ending(const char *name, const char *ending)
{
    size_t length = strlen(name), n = strlen(ending);
    return length > n && strcasecmp(name + length - n, ending) == 0;
}

static bool begins(const char *text, const char *with)
{
    return strncasecmp(text, with, strlen(with)) == 0;
}

static bool is_configuration(const struct place *place, const char *name)
{
    if (place->entries)
        return has_ending(name, ".conf") && (strchr(place->path, '/') || strcasecmp(name, "loader.conf") == 0);
    return has_ending(name, ".cfg") || strcasecmp(name, "extlinux.conf") == 0;
}

/* isolinux and GRUB may have their files in one folder, EFI/BOOT say. */
static enum boot_syntax syntax_of(const struct place *place, const char *name)
{
    if (place->entries)
        return strchr(place->path, '/') ? BOOT_ENTRY : BOOT_LOADER;
    if (begins(name, "isolinux") || begins(name, "syslinux") || begins(name, "extlinux"))
        return BOOT_SYSLINUX;
    bool grub = begins(name, "grub") || begins(name, "loopback") || begins(place->path, "efi") ||
                strstr(place->path, "grub");
    return grub ? BOOT_GRUB : BOOT_SYSLINUX;
}

static bool is_main(const char *name)
{
    return strcasecmp(name, "isolinux.cfg") == 0 || strcasecmp(name, "syslinux.cfg") == 0 ||
           strcasecmp(name, "extlinux.conf") == 0;
}

/* --- what was found --- */

/* One that was found before: its names in several trees are records of the same blocks. */
static struct boot_file *find_same(struct boot_files *found, const struct fat *fat, const struct tree_entry *entry)
{
    for (unsigned i = 0; i < found->count; i++) {
        struct boot_file *file = &found->files[i];
        bool blocks = !fat && entry->length > 0 && file->entry.start == entry->start && file->entry.length == entry->length;
        if (file->fat == fat && (file->entry.record == entry->record || blocks))
            return file;
    }
    return NULL;
}

static struct boot_file *new_file(struct boot_files *found, struct view *view)
{
    if (found->count == BOOT_FILES_MAX) {
        view_refuse(view, "the image has more than %d boot configurations", BOOT_FILES_MAX);
        return NULL;
    }
    if (!found->files)
        found->files = mem_alloc(BOOT_FILES_MAX * sizeof *found->files);
    return &found->files[found->count++];
}

/* Where a search is: a folder of a place's path. */
struct search {
    struct boot_files *found;
    struct view *view;
    const struct tree *tree;
    const struct fat *fat;
    const struct place *place; /* NULL: a file of that name only */
    const char *name;
    unsigned change;
};
_Static_assert(FILE_CHANGES_MAX <= 32, "a file has a bit for each");

static void add_record(const struct search *search, struct boot_file *file, uint64_t record)
{
    for (unsigned i = 0; i < file->record_count; i++)
        if (file->records[i].at == record)
            return;
    if (file->record_count < ISO_RECORDS_MAX)
        file->records[file->record_count++] = (struct iso_record){record, search->fat ? 0 : iso_base(search->tree)};
    else
        view_refuse(search->view, "the boot configuration %s has too many names", file->path);
}

static void add_file(const struct search *search, const char *folder, const struct tree_entry *entry)
{
    struct boot_file *file = find_same(search->found, search->fat, entry);
    if (!file) {
        file = new_file(search->found, search->view);
        if (!file)
            return;
        snprintf(file->path, sizeof file->path, "%s/%s", folder, entry->name);
        file->is_main = is_main(entry->name);
        file->tree = search->tree;
        file->fat = search->fat;
        file->entry = *entry;
    }
    if (search->place) {
        file->is_config = true;
        file->syntax = syntax_of(search->place, entry->name);
    } else {
        file->named |= UINT32_C(1) << search->change;
    }
    add_record(search, file, entry->record);
}

static bool search_next(const struct search *search, const struct tree_entry *folder, uint32_t *position, struct tree_entry *entry)
{
    if (*search->view->error)
        return false;
    if (search->found->looked_at++ == BOOT_ENTRIES_MAX)
        return view_refuse(search->view, "the image's directories have too many entries to be looked through");
    return search->tree->next(search->tree, search->view, folder, position, entry);
}

/* GRUB checks configurations that have a signature beside them. */
static void note_signature(const struct search *search, const char *folder, const char *name)
{
    char path[BOOT_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%.*s", folder, (int)(strlen(name) - strlen(".sig")), name);
    for (unsigned i = 0; n > 0 && i < search->found->count; i++)
        if (strcasecmp(search->found->files[i].path, path) == 0 && search->found->files[i].fat == search->fat)
            search->found->files[i].is_signed = true;
}

static void note_signatures(const struct search *search, const struct tree_entry *folder, const char *path)
{
    struct tree_entry entry;
    uint32_t position = 0;
    while (search_next(search, folder, &position, &entry))
        if (has_ending(entry.name, ".sig"))
            note_signature(search, path, entry.name);
}

/* Also the file that another tree of the image has by that name: Joliet and ISO 9660 can't have each of Rock Ridge's. */
static bool is_named(const struct search *search, const struct tree_entry *entry)
{
    const struct boot_file *same = search->fat ? NULL : find_same(search->found, NULL, entry);
    return strcasecmp(entry->name, search->name) == 0 || (same && same->named >> search->change & 1);
}

static void list_named(const struct search *search, const struct tree_entry *folder, const char *path)
{
    struct tree_entry entry;
    uint32_t position = 0;
    while (search_next(search, folder, &position, &entry)) {
        if (entry.directory || !is_named(search, &entry))
            continue;
        if (entry.odd || entry.length > VIEW_ONE_MAX)
            view_refuse(search->view, "%s/%s is too large to be changed (%u KiB at most)", path, entry.name, VIEW_ONE_MAX >> 10);
        else if (entry.length == 0)
            view_refuse(search->view, "%s/%s is empty or a link, and stays as it is", path, entry.name);
        else
            add_file(search, path, &entry);
    }
    note_signatures(search, folder, path);
}

/* md5sum.txt and sha256sum.txt of Debian's, MD5SUMS and SHA256SUMS of others. */
static bool is_checksums(const char *name)
{
    return (begins(name, "md5") || begins(name, "sha")) && (has_ending(name, "sum.txt") || has_ending(name, "sums"));
}

static void add_checksums(struct boot_files *found, const struct tree_entry *entry)
{
    for (unsigned i = 0; i < found->checksums_count; i++)
        if (found->checksums[i].start == entry->start)
            return;
    if (found->checksums_count < BOOT_CHECKSUMS_MAX)
        found->checksums[found->checksums_count++] = *entry;
}

static void list_folder(const struct search *search, const struct tree_entry *folder, const char *path)
{
    struct tree_entry entry;
    uint32_t position = 0;
    while (search_next(search, folder, &position, &entry)) {
        bool plain = !entry.directory && !entry.odd && entry.length > 0 && entry.length <= VIEW_ONE_MAX;
        if (plain && is_configuration(search->place, entry.name))
            add_file(search, path, &entry);
        if (!entry.directory && !*path && !search->fat && is_checksums(entry.name))
            add_checksums(search->found, &entry);
    }
    note_signatures(search, folder, path); /* all files are known then */
}

/* --- the way to a folder --- */

/* Only the places have stars. */
static bool is_step(const struct search *search, const char *pattern, size_t length, const char *name)
{
    if (search->place && length == 1 && *pattern == '*')
        return true;
    return strlen(name) == length && strncasecmp(pattern, name, length) == 0;
}

static void boot_files_walk(const struct search *search, const struct tree_entry *folder, const char *path, const char *pattern)
{
    struct tree_entry entry;
    uint32_t position = 0;
    if (!*pattern) {
        (search->place ? list_folder : list_named)(search, folder, path);
        return;
    }
    size_t length = strcspn(pattern, "/");
    const char *rest = pattern + length + (pattern[length] == '/');
    while (search_next(search, folder, &position, &entry)) {
        char below[BOOT_PATH_MAX];
        int n = snprintf(below, sizeof below, "%s/%s", path, entry.name);
        if (entry.directory && is_step(search, pattern, length, entry.name) && n > 0 && (size_t)n < sizeof below - TREE_NAME_MAX)
            boot_files_walk(search, &entry, below, rest);
    }
}

static void search_named(struct search *search, const struct file_changes *named, unsigned i)
{
    const struct file_change *change = &named->list[i];
    char folder[FILE_CHANGES_PATH_MAX + 1];
    const char *slash = strrchr(change->path, '/');
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - change->path), change->path);
    search->place = NULL;
    search->name = slash + 1;
    search->change = i;
    boot_files_walk(search, &search->tree->root, "", *folder ? folder + 1 : folder);
}

static void search_all_named(struct search *search, const struct file_changes *named)
{
    for (unsigned i = 0; i < named->count && !*search->view->error; i++)
        search_named(search, named, i);
}

static void search_tree(struct boot_files *found, struct view *view, const struct tree *tree, const struct fat *fat,
                        const struct file_changes *named)
{
    struct search search = {.found = found, .view = view, .tree = tree, .fat = fat};
    for (size_t i = 0; i < sizeof places / sizeof *places && !*view->error; i++) {
        search.place = &places[i];
        boot_files_walk(&search, &tree->root, "", places[i].path);
    }
    search_all_named(&search, named);
}

/* --- all file systems --- */

static void search_fat(struct boot_files *found, struct view *view, uint64_t at, const struct file_changes *named)
{
    for (unsigned i = 0; i < found->fat_count; i++)
        if (found->fats[i].at == at)
            return;
    if (found->fat_count == BOOT_FATS_MAX)
        return;
    struct fat *fat = &found->fats[found->fat_count];
    if (!fat_open(fat, view, at))
        return;
    found->fat_count++;
    search_tree(found, view, &fat->tree, fat, named);
}

void boot_files_find(struct boot_files *found, struct view *view, const struct file_changes *named)
{
    struct partitions partitions;
    memset(found, 0, sizeof *found);
    partitions_read(&partitions, view);
    found->has_iso = iso_open(&found->iso, view);
    for (unsigned i = 0; i < partitions.early_count && found->has_iso; i++)
        iso_open_partition(&found->iso, view, partitions.early[i]);
    for (unsigned i = 0; i < found->iso.tree_count; i++)
        search_tree(found, view, &found->iso.trees[i].tree, NULL, named);
    for (unsigned i = 0; i < found->iso.tree_count; i++) { /* once more: now it is known which blocks have those names */
        struct search search = {.found = found, .view = view, .tree = &found->iso.trees[i].tree};
        search_all_named(&search, named);
    }
    for (unsigned i = 0; i < found->iso.boot_count; i++)
        search_fat(found, view, found->iso.boots[i], named);
    for (unsigned i = 0; i < partitions.count; i++)
        search_fat(found, view, partitions.starts[i], named);
    if (!found->has_iso)
        search_fat(found, view, 0, named);
}

void boot_files_clear(struct boot_files *found)
{
    mem_free(found->files);
    memset(found, 0, sizeof *found);
}
