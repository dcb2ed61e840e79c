#include "image/fat.h"

#include <string.h>

#include "base/list.h"
#include "image/numbers.h"

#define SECTOR 512u
#define ENTRY 32u
#define DIRECTORY_MAX (64u << 10)  /* bytes of one that are looked at */
#define TABLE_SEARCHED (64u << 10) /* bytes of the table in which a free cluster is looked for */
#define HEAD (16u << 10)            /* bytes from the beginning that are read at once: a small one has its tables there */
#define TABLE_PIECE 8192u          /* of which so much is read at a time */
#define ATTRIBUTE_LABEL 0x08
#define ATTRIBUTE_DIRECTORY 0x10
#define ATTRIBUTE_LONG 0x0f
#define LONG_CHARACTERS 13u

static const struct fat *fat_of(const struct tree *tree)
{
    return (const struct fat *)(const void *)((const char *)tree - offsetof(struct fat, tree));
}

static uint64_t cluster_at(const struct fat *fat, uint32_t cluster)
{
    return fat->data + (uint64_t)(cluster - 2) * fat->cluster;
}

static bool is_cluster(const struct fat *fat, uint32_t cluster)
{
    return cluster >= 2 && cluster - 2 < fat->clusters;
}

/* --- the table --- */

static uint64_t link_at(const struct fat *fat, uint32_t cluster)
{
    return fat->tables + (uint64_t)cluster * fat->bits / 8;
}

static uint32_t link_in(const struct fat *fat, const unsigned char *bytes, uint32_t cluster)
{
    if (fat->bits == 32)
        return little32(bytes) & 0x0fffffff;
    if (fat->bits == 16)
        return little16(bytes);
    return cluster % 2 ? little16(bytes) >> 4 : little16(bytes) & 0x0fff;
}

/* A piece of the table is asked for, and not each link by itself. */
static bool read_link(struct changes *changes, const struct fat *fat, uint32_t cluster, uint32_t *link)
{
    unsigned char bytes[4];
    uint32_t at = (uint32_t)(link_at(fat, cluster) - fat->tables), start = at / TABLE_PIECE * TABLE_PIECE;
    uint32_t rest = fat->table - start, length = fat->bits == 32 ? 4 : 2;
    view_at(changes->view, fat->tables + start, rest < TABLE_PIECE ? rest : TABLE_PIECE);
    if (!changes_read(changes, fat->tables + at, bytes, length))
        return false;
    *link = link_in(fat, bytes, cluster);
    return true;
}

/* In every table. What is reserved of FAT32's links, and the other half of FAT12's, stays. */
static bool write_link(struct changes *changes, const struct fat *fat, uint32_t cluster, uint32_t link)
{
    for (unsigned i = 0; i < fat->table_count; i++) {
        unsigned char bytes[4];
        uint32_t length = fat->bits == 32 ? 4 : 2;
        uint64_t at = link_at(fat, cluster) + (uint64_t)i * fat->table;
        if (!changes_read(changes, at, bytes, length))
            return false;
        if (fat->bits == 32)
            put_little32(bytes, (little32(bytes) & 0xf0000000) | link);
        else if (fat->bits == 16)
            put_little16(bytes, (uint16_t)link);
        else if (cluster % 2)
            put_little16(bytes, (uint16_t)((little16(bytes) & 0x000f) | link << 4));
        else
            put_little16(bytes, (uint16_t)((little16(bytes) & 0xf000) | link));
        if (!changes_write(changes, at, bytes, length))
            return false;
    }
    return true;
}

static uint32_t last_link(const struct fat *fat)
{
    return fat->bits == 32 ? 0x0fffffff : fat->bits == 16 ? 0xffff : 0x0fff;
}

/* The cluster behind this one. *next is 0 at the chain's end. */
static bool next_cluster(struct changes *changes, const struct fat *fat, uint32_t cluster, uint32_t *next)
{
    if (!read_link(changes, fat, cluster, next))
        return false;
    if (!is_cluster(fat, *next))
        *next = 0;
    return true;
}

/* --- directories and files --- */

/* The bytes of a chain from `offset` on, which lie in one cluster. NULL: not there. */
static const unsigned char *chain_at(const struct fat *fat, struct view *view, uint32_t cluster, uint32_t offset,
                                     uint32_t length, uint64_t *at)
{
    struct changes none;
    changes_init(&none, view);
    for (; offset >= fat->cluster && is_cluster(fat, cluster); offset -= fat->cluster)
        if (!next_cluster(&none, fat, cluster, &cluster))
            return NULL;
    if (!is_cluster(fat, cluster))
        return NULL;
    *at = cluster_at(fat, cluster) + offset;
    const unsigned char *whole = view_at(view, cluster_at(fat, cluster), fat->cluster);
    return whole && length <= fat->cluster - offset ? whole + offset : NULL;
}

static const unsigned char *directory_at(const struct fat *fat, struct view *view, const struct tree_entry *directory,
                                         uint32_t offset, uint64_t *at)
{
    if (directory->start != 0)
        return offset < DIRECTORY_MAX ? chain_at(fat, view, directory->start, offset, ENTRY, at) : NULL;
    const unsigned char *root = offset < directory->length ? view_at(view, fat->root, directory->length) : NULL;
    *at = fat->root + offset;
    return root ? root + offset : NULL;
}

/* An entry of a long name: its part of the name goes to where its number says. */
static void add_long(char name[TREE_NAME_MAX], const unsigned char *entry)
{
    static const unsigned char places[LONG_CHARACTERS] = {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};
    unsigned number = entry[0] & 0x3f;
    if (entry[0] & 0x40)
        memset(name, 0, TREE_NAME_MAX);
    for (unsigned i = 0; number > 0 && i < LONG_CHARACTERS; i++) {
        unsigned at = (number - 1) * LONG_CHARACTERS + i;
        uint16_t character = little16(entry + places[i]);
        if (at < TREE_NAME_MAX - 1)
            name[at] = character == 0xffff ? '\0' : character < 0x7f ? (char)character : '?';
    }
}

static void read_short(char *to, const unsigned char *entry)
{
    unsigned n = 0;
    for (unsigned i = 0; i < 11; i++) {
        if (i == 8 && entry[8] != ' ')
            to[n++] = '.';
        if (entry[i] != ' ')
            to[n++] = (char)entry[i];
    }
    to[n] = '\0';
}

static void fat_read_entry(const struct fat *fat, const unsigned char *bytes, uint64_t at, struct tree_entry *entry)
{
    entry->directory = bytes[11] & ATTRIBUTE_DIRECTORY;
    entry->start = little16(bytes + 26) | (fat->bits == 32 ? (uint32_t)little16(bytes + 20) << 16 : 0);
    entry->length = little32(bytes + 28);
    entry->odd = !entry->directory && entry->length > 0 && !is_cluster(fat, entry->start);
    entry->record = at;
    if (!*entry->name)
        read_short(entry->name, bytes);
}

static bool fat_next(const struct tree *tree, struct view *view, const struct tree_entry *directory, uint32_t *position,
                     struct tree_entry *entry)
{
    const struct fat *fat = fat_of(tree);
    const unsigned char *bytes;
    uint64_t at;
    memset(entry, 0, sizeof *entry);
    while ((bytes = directory_at(fat, view, directory, *position, &at)) != NULL && bytes[0] != 0) {
        *position += ENTRY;
        if (bytes[0] != 0xe5 && (bytes[11] & 0x3f) == ATTRIBUTE_LONG) {
            add_long(entry->name, bytes);
        } else if (bytes[0] == 0xe5 || bytes[0] == '.' || (bytes[11] & ATTRIBUTE_LABEL)) {
            *entry->name = '\0';
        } else {
            fat_read_entry(fat, bytes, at, entry);
            return !entry->directory || is_cluster(fat, entry->start);
        }
    }
    return false;
}

static bool fat_read(const struct tree *tree, struct view *view, const struct tree_entry *file, char *to)
{
    const struct fat *fat = fat_of(tree);
    bool whole = true;
    if (file->length > VIEW_ONE_MAX)
        return view_refuse(view, "a boot configuration of the image is larger than %u KiB", VIEW_ONE_MAX >> 10);
    for (uint32_t offset = 0, n; offset < file->length; offset += n) {
        uint64_t at;
        uint32_t rest = file->length - offset;
        n = rest < fat->cluster ? rest : fat->cluster;
        const unsigned char *bytes = chain_at(fat, view, file->start, offset, n, &at);
        if (bytes)
            memcpy(to + offset, bytes, n);
        whole &= bytes != NULL;
    }
    return whole || (view->missing_count == 0 && view_refuse(view, "the image's EFI partition is damaged"));
}

/* --- opening --- */

static bool is_power(uint32_t n)
{
    return n > 0 && (n & (n - 1)) == 0;
}

/* What the boot sector says (3.1). */
struct layout {
    uint32_t sector, reserved, tables, root_entries, sectors, table_sectors;
    uint64_t data; /* the first sector of cluster 2, from the beginning */
};

static bool read_layout(const unsigned char *b, struct layout *l)
{
    l->sector = little16(b + 11);
    l->reserved = little16(b + 14);
    l->tables = b[16];
    l->root_entries = little16(b + 17);
    l->sectors = little16(b + 19) ? little16(b + 19) : little32(b + 32);
    l->table_sectors = little16(b + 22) ? little16(b + 22) : little32(b + 36);
    l->data = l->reserved + (uint64_t)l->tables * l->table_sectors +
              ((uint64_t)l->root_entries * ENTRY + SECTOR - 1) / SECTOR;
    return b[510] == 0x55 && b[511] == 0xaa && l->sector == SECTOR && is_power(b[13]) && l->reserved > 0 && l->tables > 0 &&
           l->tables <= 2 && l->table_sectors > 0 && l->table_sectors < (1u << 22) && l->data < l->sectors;
}

/* To those that the table has links of, and that are in the image. */
static void clip_clusters(struct fat *fat, uint64_t links, uint64_t size)
{
    uint64_t there = size > fat->data ? (size - fat->data) / fat->cluster : 0;
    uint64_t linked = links > 2 ? links - 2 : 0;
    if (fat->clusters > linked)
        fat->clusters = (uint32_t)linked;
    if (fat->clusters > there)
        fat->clusters = (uint32_t)there;
}

/* The number of clusters alone says which of the three it is (3.5). */
static void set_kind(struct fat *fat, const unsigned char *b, const struct layout *l, uint64_t size)
{
    fat->clusters = (uint32_t)((l->sectors - l->data) / b[13]);
    fat->bits = fat->clusters < 4085 ? 12 : fat->clusters < 65525 ? 16 : 32;
    clip_clusters(fat, (uint64_t)fat->table * 8 / fat->bits, size);
    if (fat->bits == 32)
        fat->tree.root.start = little32(b + 44);
    else
        fat->tree.root.length = l->root_entries * ENTRY;
}

bool fat_open(struct fat *fat, struct view *view, uint64_t at)
{
    struct layout l;
    memset(fat, 0, sizeof *fat);
    if (at > view->size || view->size - at < SECTOR)
        return false;
    uint64_t rest = view->size - at;
    const unsigned char *b = view_at(view, at, rest < HEAD ? (uint32_t)rest : HEAD);
    if (!b || !read_layout(b, &l))
        return false;
    fat->at = at;
    fat->cluster = b[13] * SECTOR;
    fat->tables = at + (uint64_t)l.reserved * SECTOR;
    fat->table = l.table_sectors * SECTOR;
    fat->table_count = l.tables;
    fat->root = fat->tables + (uint64_t)l.tables * fat->table;
    fat->data = at + l.data * SECTOR;
    fat->tree = (struct tree){.name = "the EFI partition", .next = fat_next, .read = fat_read};
    fat->tree.root.directory = true;
    set_kind(fat, b, &l, view->size);
    return fat->clusters > 0 && (fat->bits != 32 || is_cluster(fat, fat->tree.root.start));
}

/* --- replacing --- */

/* The next one from *cluster on; those before it have been seen. */
static bool find_free(struct changes *changes, const struct fat *fat, uint32_t *cluster)
{
    for (uint32_t c = *cluster; is_cluster(fat, c) && link_at(fat, c) - fat->tables < TABLE_SEARCHED; c++) {
        uint32_t link;
        if (!read_link(changes, fat, c, &link))
            return false;
        *cluster = c;
        if (link == 0)
            return true;
    }
    return view_refuse(changes->view, "the image's EFI partition has no room for a boot configuration that has grown");
}

/* The cluster behind `cluster`, which is made if there is none. */
static bool fat_extend(struct changes *changes, const struct fat *fat, uint32_t *cluster, uint32_t *unused)
{
    uint32_t next;
    if (!next_cluster(changes, fat, *cluster, &next))
        return false;
    if (next == 0 && (!find_free(changes, fat, unused) || !write_link(changes, fat, *unused, last_link(fat)) ||
                      !write_link(changes, fat, *cluster, *unused)))
        return false;
    *cluster = next ? next : *unused;
    return true;
}

/* The chain ends at that cluster; what was behind it is free. */
static bool fat_end_chain(struct changes *changes, const struct fat *fat, uint32_t cluster)
{
    uint32_t next, after;
    if (!next_cluster(changes, fat, cluster, &next))
        return false;
    if (next == 0)
        return true;
    if (!write_link(changes, fat, cluster, last_link(fat)))
        return false;
    for (uint32_t freed = 0; next != 0 && freed < VIEW_ONE_MAX / SECTOR; freed++, next = after)
        if (!next_cluster(changes, fat, next, &after) || !write_link(changes, fat, next, 0))
            return false;
    return true;
}

bool fat_replace(struct changes *changes, const struct fat *fat, const struct tree_entry *file, const char *text,
                 uint32_t length)
{
    unsigned char size[4];
    uint32_t cluster = file->start, unused = 2;
    put_little32(size, length);
    if (!is_cluster(fat, cluster))
        return view_refuse(changes->view, "the image's EFI partition is damaged");
    for (uint32_t offset = 0;;) {
        uint32_t rest = length - offset, n = rest < fat->cluster ? rest : fat->cluster;
        if (!changes_fill(changes, cluster_at(fat, cluster), text + offset, n, fat->cluster))
            return false;
        offset += n;
        if (offset == length)
            break;
        if (!fat_extend(changes, fat, &cluster, &unused))
            return false;
    }
    return fat_end_chain(changes, fat, cluster) && changes_write(changes, file->record + 28, size, sizeof size);
}
