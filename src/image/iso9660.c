#include "image/iso9660.h"

#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "image/numbers.h"

#define DESCRIPTORS_AT (16 * ISO_BLOCK)
#define DESCRIPTORS_MAX 16
#define BOOT_RECORD 0
#define PRIMARY 1
#define SUPPLEMENTARY 2
#define TERMINATOR 255
#define RECORD_MIN 34u
#define FLAG_DIRECTORY 0x02
#define FLAG_MORE_EXTENTS 0x80

/* --- directory records (9.1) --- */

static const struct iso_tree *iso_tree_of(const struct tree *tree)
{
    return (const struct iso_tree *)(const void *)((const char *)tree - offsetof(struct iso_tree, tree));
}

uint32_t iso_base(const struct tree *tree)
{
    return iso_tree_of(tree)->base;
}

/* Of the image. */
static uint32_t image_block(const struct iso_tree *tree, uint32_t block)
{
    return block <= UINT32_MAX - tree->base ? block + tree->base : UINT32_MAX;
}

static void read_plain_name(char *to, const unsigned char *name, unsigned length)
{
    unsigned n = 0;
    for (; n < length && n < TREE_NAME_MAX - 1 && name[n] != ';'; n++)
        to[n] = (char)name[n];
    while (n > 0 && to[n - 1] == '.')
        n--;
    to[n] = '\0';
}

/* UCS-2, the most significant byte first. What is not ASCII is in no name that is looked for. */
static void read_joliet_name(char *to, const unsigned char *name, unsigned length)
{
    unsigned n = 0;
    for (; 2 * n + 1 < length && n < TREE_NAME_MAX - 1; n++) {
        if (name[2 * n] == 0 && name[2 * n + 1] == ';')
            break;
        to[n] = name[2 * n] == 0 && name[2 * n + 1] < 0x7f ? (char)name[2 * n + 1] : '?';
    }
    to[n] = '\0';
}

/* Rock Ridge's NM of a record, if it is in the record itself: a name as short as those that are looked for is. */
static void read_rock_ridge_name(char *to, const unsigned char *use, unsigned length)
{
    size_t used = 0;
    bool found = false;
    char name[TREE_NAME_MAX];
    while (length >= 4 && use[2] >= 4 && use[2] <= length) {
        unsigned size = use[2];
        if (use[0] == 'N' && use[1] == 'M' && size >= 5 && used + size - 5 < sizeof name) {
            memcpy(name + used, use + 5, size - 5);
            used += size - 5;
            found = true;
        }
        use += size;
        length -= size;
    }
    if (found) {
        name[used] = '\0';
        memcpy(to, name, used + 1);
    }
}

static void read_name(const struct iso_tree *tree, const unsigned char *record, char *to)
{
    unsigned length = record[0], name = record[32], use = 33 + name + (name % 2 == 0);
    if (tree->joliet)
        read_joliet_name(to, record + 33, name);
    else
        read_plain_name(to, record + 33, name);
    if (tree->skip >= 0 && use + (unsigned)tree->skip < length)
        read_rock_ridge_name(to, record + use + tree->skip, length - use - (unsigned)tree->skip);
}

static bool is_self_or_parent(const unsigned char *record)
{
    return record[32] == 1 && record[33] <= 1;
}

static void read_entry(const struct iso_tree *tree, const unsigned char *record, struct tree_entry *entry)
{
    memset(entry, 0, sizeof *entry);
    entry->directory = record[25] & FLAG_DIRECTORY;
    entry->odd = (record[25] & FLAG_MORE_EXTENTS) || record[1] != 0 || record[26] != 0;
    entry->start = image_block(tree, little32(record + 2));
    entry->length = little32(record + 10);
    read_name(tree, record, entry->name);
}

/* A record lies within one block. False: there is none at `at`, but in the next block there may be. */
static bool is_record(const unsigned char *record, uint32_t at)
{
    uint32_t rest = ISO_BLOCK - at % ISO_BLOCK;
    return rest >= RECORD_MIN && record[0] >= RECORD_MIN && record[0] <= rest && 33u + record[32] <= record[0];
}

static bool iso_next(const struct tree *tree, struct view *view, const struct tree_entry *directory, uint32_t *position,
                     struct tree_entry *entry)
{
    uint64_t start = (uint64_t)directory->start * ISO_BLOCK;
    uint32_t length = directory->length - directory->length % ISO_BLOCK; /* it has whole blocks */
    const unsigned char *bytes = view_at(view, start, length);
    while (bytes && *position < length) {
        uint32_t at = *position;
        if (!is_record(bytes + at, at)) {
            *position = at + (ISO_BLOCK - at % ISO_BLOCK);
            continue;
        }
        *position = at + bytes[at];
        if (is_self_or_parent(bytes + at))
            continue;
        read_entry(iso_tree_of(tree), bytes + at, entry);
        entry->record = start + at;
        return true;
    }
    return false;
}

static bool iso_read(const struct tree *tree, struct view *view, const struct tree_entry *file, char *to)
{
    (void)tree;
    const unsigned char *bytes = view_at(view, (uint64_t)file->start * ISO_BLOCK, file->length);
    if (bytes)
        memcpy(to, bytes, file->length);
    return bytes;
}

/* --- El Torito --- */

#define CATALOG_ENTRIES (ISO_BLOCK / 32)

static void add_boot(struct iso *iso, const unsigned char *entry)
{
    uint64_t at = (uint64_t)little32(entry + 8) * ISO_BLOCK;
    bool emulates = entry[1] & 0x0f;
    if (at > 0 && !emulates && iso->boot_count < ISO_BOOTS_MAX)
        iso->boots[iso->boot_count++] = at;
}

/* The default entry, and those of the sections behind it; what does not boot counts as well. */
static void read_catalog(struct iso *iso, struct view *view, uint32_t block)
{
    const unsigned char *catalog = view_at(view, (uint64_t)block * ISO_BLOCK, ISO_BLOCK);
    if (!catalog || catalog[0] != 1 || catalog[30] != 0x55 || catalog[31] != 0xaa)
        return;
    for (unsigned i = 1; i < CATALOG_ENTRIES; i++) {
        const unsigned char *entry = catalog + 32 * i;
        if (entry[0] == 0x88 || entry[0] == 0)
            add_boot(iso, entry);
    }
}

/* --- volume descriptors (8) --- */

static bool is_joliet(const unsigned char *d)
{
    return d[0] == SUPPLEMENTARY && d[88] == '%' && d[89] == '/' && (d[90] == '@' || d[90] == 'C' || d[90] == 'E');
}

/* "SP" in the root directory's own record says that there is Rock Ridge, and how much comes before it (SUSP 5.3). */
static int rock_ridge_skip(struct view *view, const struct tree_entry *root)
{
    const unsigned char *r = view_at(view, (uint64_t)root->start * ISO_BLOCK, ISO_BLOCK);
    if (!r || r[0] < RECORD_MIN + 7 || r[32] != 1)
        return -1;
    const unsigned char *sp = r + 34;
    return sp[0] == 'S' && sp[1] == 'P' && sp[4] == 0xbe && sp[5] == 0xef ? sp[6] : -1;
}

static void add_tree(struct iso *iso, struct view *view, const unsigned char *d, uint64_t at, uint32_t base)
{
    if (iso->tree_count == ISO_TREES_MAX || little16(d + 128) != ISO_BLOCK)
        return;
    struct iso_tree *tree = &iso->trees[iso->tree_count++];
    *tree = (struct iso_tree){.descriptor = at, .blocks = little32(d + 80), .base = base, .joliet = is_joliet(d), .skip = -1};
    tree->tree = (struct tree){.name = tree->joliet ? "Joliet" : "ISO 9660", .next = iso_next, .read = iso_read};
    tree->tree.root = (struct tree_entry){.directory = true, .start = image_block(tree, little32(d + 158)), .length = little32(d + 166)};
    if (!tree->joliet)
        tree->skip = rock_ridge_skip(view, &tree->tree.root);
    iso->has_md5 |= memcmp(d + 883, "ISO MD5SUM = ", 13) == 0;
}

/* What is of the whole image stands in the first volume. */
static void read_descriptor(struct iso *iso, struct view *view, const unsigned char *d, uint64_t at, uint32_t base)
{
    if (memcmp(d + 1, "NSR0", 4) == 0)
        iso->udf = true;
    if (memcmp(d + 1, "CD001", 5) != 0)
        return;
    if (d[0] == PRIMARY || d[0] == SUPPLEMENTARY)
        add_tree(iso, view, d, at, base);
    else if (base == 0 && d[0] == BOOT_RECORD && memcmp(d + 7, "EL TORITO SPECIFICATION", 23) == 0)
        read_catalog(iso, view, little32(d + 71));
}

static void read_descriptors(struct iso *iso, struct view *view, uint32_t base)
{
    uint64_t begin = DESCRIPTORS_AT + (uint64_t)base * ISO_BLOCK;
    uint64_t room = view->size > begin ? (view->size - begin) / ISO_BLOCK : 0;
    unsigned count = room < DESCRIPTORS_MAX ? (unsigned)room : DESCRIPTORS_MAX;
    const unsigned char *d = count ? view_at(view, begin, count * ISO_BLOCK) : NULL;
    for (unsigned i = 0; d && i < count; i++)
        read_descriptor(iso, view, d + i * ISO_BLOCK, begin + i * ISO_BLOCK, base);
}

bool iso_open(struct iso *iso, struct view *view)
{
    memset(iso, 0, sizeof *iso);
    read_descriptors(iso, view, 0);
    return iso->tree_count > 0;
}

void iso_open_partition(struct iso *iso, struct view *view, uint64_t offset)
{
    if (offset / ISO_BLOCK <= UINT32_MAX)
        read_descriptors(iso, view, (uint32_t)(offset / ISO_BLOCK));
}

/* --- replacing --- */

static uint64_t whole_blocks(uint64_t length)
{
    return (length + ISO_BLOCK - 1) / ISO_BLOCK * ISO_BLOCK;
}

static bool point_records(struct changes *changes, const struct iso_record *records, unsigned count, uint32_t start,
                          uint32_t length)
{
    bool good = true;
    for (unsigned i = 0; i < count; i++) {
        unsigned char place[16];
        put_both32(place, start - records[i].base);
        put_both32(place + 8, length);
        good &= changes_write(changes, records[i].at + 2, place, sizeof place);
    }
    return good;
}

bool iso_replace(struct changes *changes, const struct iso_record *records, unsigned count, const struct tree_entry *file,
                 const char *text, uint32_t length, uint64_t *behind)
{
    uint64_t room = whole_blocks(file->length), at = (uint64_t)file->start * ISO_BLOCK;
    if (length > room || at + room > changes->view->size) {
        room = whole_blocks(length);
        at = *behind;
        *behind += room;
        if (at / ISO_BLOCK > UINT32_MAX)
            return view_refuse(changes->view, "the image is too large for a file behind its end");
    }
    bool written = changes_fill(changes, at, text, length, (uint32_t)room);
    return point_records(changes, records, count, (uint32_t)(at / ISO_BLOCK), length) && written;
}

bool iso_grow(struct changes *changes, const struct iso *iso, uint64_t end)
{
    bool good = true;
    for (unsigned i = 0; i < iso->tree_count; i++) {
        unsigned char blocks[8];
        uint32_t all = (uint32_t)(end / ISO_BLOCK) - iso->trees[i].base;
        put_both32(blocks, all);
        if (iso->trees[i].blocks < all)
            good &= changes_write(changes, iso->trees[i].descriptor + 80, blocks, sizeof blocks);
    }
    return good;
}
