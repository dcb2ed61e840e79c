#include "seed/iso.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"

#define SECTOR     2048u
#define FIRST      16u /* the sector of the first descriptor; what is before is free for the system */
#define IDENT_MAX  16
#define NODES_MAX  (SEED_FILES_MAX * (SEED_DEPTH_MAX + 1) + 1)
#define RECORD_MAX 255
#define RECORD     33 /* bytes of a record before its identifier */

enum tree { PRIMARY, JOLIET, TREES };

/* A file, or a folder. */
struct node {
    struct node *parent; /* the root's: itself */
    const char *name;    /* `length` bytes */
    size_t length;
    unsigned depth;
    const struct seed_file *file; /* NULL: a folder */
    char ident[IDENT_MAX];        /* in the primary tree: 8.3, without version */
    /* A file has its contents once, for both trees. */
    uint32_t extent[TREES], size[TREES];
    unsigned number[TREES]; /* of a folder, in the path table; counted from 1 */
};

struct iso {
    struct node nodes[NODES_MAX]; /* the root is the first */
    unsigned count;
    struct node *order[TREES][NODES_MAX]; /* as the path tables, and the folders, have them */
    uint32_t path_size[TREES], path[TREES][2]; /* bytes, and the sectors of both byte orders */
    uint32_t sectors;
    unsigned char *image; /* NULL while all is only measured */
};

static uint32_t sectors_of(size_t size)
{
    return (uint32_t)((size + SECTOR - 1) / SECTOR);
}

/* --- numbers (ECMA-119, 7) --- */

static void little(unsigned char *to, unsigned bytes, uint32_t value)
{
    for (unsigned i = 0; i < bytes; i++)
        to[i] = (unsigned char)(value >> 8 * i);
}

static void big(unsigned char *to, unsigned bytes, uint32_t value)
{
    for (unsigned i = 0; i < bytes; i++)
        to[bytes - 1 - i] = (unsigned char)(value >> 8 * i);
}

static void both(unsigned char *to, unsigned bytes, uint32_t value)
{
    little(to, bytes, value);
    big(to + bytes, bytes, value);
}

/* --- the nodes --- */

static struct node *child_of(struct iso *iso, const struct node *parent, const char *name, size_t length)
{
    for (unsigned i = 1; i < iso->count; i++) {
        struct node *node = &iso->nodes[i];
        if (node->parent == parent && node->length == length && memcmp(node->name, name, length) == 0)
            return node;
    }
    return NULL;
}

static char ident_character(char c)
{
    if (c >= 'a' && c <= 'z')
        return (char)(c - 'a' + 'A');
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_';
}

/* `number` tells those apart that would be the same; 0: none is needed. */
static void make_ident(struct node *node, unsigned number)
{
    size_t base = node->length, extension = 0, used = 0;
    for (size_t i = 1; i < node->length && node->file; i++)
        if (node->name[i] == '.')
            base = i;
    if (base < node->length)
        extension = node->length - base - 1;
    for (size_t i = 0; i < base && i < (number > 0 ? 5 : 8); i++)
        node->ident[used++] = ident_character(node->name[i]);
    used += number > 0 ? (size_t)snprintf(node->ident + used, 4, "%03u", number % 1000) : 0;
    if (node->file)
        node->ident[used++] = '.';
    for (size_t i = 0; i < extension && i < 3; i++)
        node->ident[used++] = ident_character(node->name[base + 1 + i]);
    node->ident[used] = '\0';
}

static bool ident_is_taken(const struct iso *iso, const struct node *node)
{
    for (const struct node *other = iso->nodes + 1; other < node; other++)
        if (other->parent == node->parent && strcmp(other->ident, node->ident) == 0)
            return true;
    return false;
}

static struct node *add_node(struct iso *iso, struct node *parent, const char *name, size_t length, const struct seed_file *file)
{
    struct node *node = &iso->nodes[iso->count++];
    *node = (struct node){.parent = parent, .name = name, .length = length, .depth = parent->depth + 1, .file = file};
    make_ident(node, 0);
    for (unsigned number = 1; ident_is_taken(iso, node); number++)
        make_ident(node, number);
    return node;
}

static void add_path(struct iso *iso, const struct seed_file *file)
{
    struct node *parent = iso->nodes;
    const char *part = file->name;
    for (const char *slash; (slash = strchr(part, '/')) != NULL; part = slash + 1) {
        size_t length = (size_t)(slash - part);
        struct node *folder = child_of(iso, parent, part, length);
        parent = folder ? folder : add_node(iso, parent, part, length, NULL);
    }
    add_node(iso, parent, part, strlen(part), file);
}

/* --- the order (ECMA-119, 6.9.1 and 9.3) --- */

static int compare_idents(const struct node *a, const struct node *b, enum tree tree)
{
    if (tree == PRIMARY)
        return strcmp(a->ident, b->ident);
    int order = memcmp(a->name, b->name, a->length < b->length ? a->length : b->length); /* UTF-8 and UCS-2 have one order */
    return order != 0 ? order : a->length < b->length ? -1 : a->length > b->length;
}

static int compare(const struct node *a, const struct node *b, enum tree tree)
{
    if (a == b)
        return 0;
    if (a->depth != b->depth)
        return a->depth < b->depth ? -1 : 1;
    int order = compare(a->parent, b->parent, tree);
    return order != 0 ? order : compare_idents(a, b, tree);
}

static int compare_primary(const void *a, const void *b)
{
    return compare(*(struct node *const *)a, *(struct node *const *)b, PRIMARY);
}

static int compare_joliet(const void *a, const void *b)
{
    return compare(*(struct node *const *)a, *(struct node *const *)b, JOLIET);
}

static void sort_tree(struct iso *iso, enum tree tree)
{
    unsigned number = 0;
    for (unsigned i = 0; i < iso->count; i++)
        iso->order[tree][i] = &iso->nodes[i];
    qsort(iso->order[tree], iso->count, sizeof iso->order[tree][0], tree == PRIMARY ? compare_primary : compare_joliet);
    for (unsigned i = 0; i < iso->count; i++)
        if (!iso->order[tree][i]->file)
            iso->order[tree][i]->number[tree] = ++number;
}

/* --- identifiers --- */

static size_t ucs2(const char *text, size_t length, unsigned char *to)
{
    size_t used = 0;
    uint32_t code;
    for (size_t at = 0; at < length; used += 2) {
        at += text_character(text + at, &code);
        big(to + used, 2, code);
    }
    return used;
}

/* The node's identifier as the tree has it. */
static size_t put_ident(const struct node *node, enum tree tree, unsigned char *to)
{
    size_t length = strlen(node->ident);
    if (tree == JOLIET) {
        length = ucs2(node->name, node->length, to);
        return node->file ? length + ucs2(";1", 2, to + length) : length;
    }
    memcpy(to, node->ident, length);
    if (node->file)
        memcpy(to + length, ";1", 2);
    return node->file ? length + 2 : length;
}

/* --- Rock Ridge --- */

static size_t put_px(unsigned char *to, const struct node *node)
{
    memcpy(to, "PX\x24\x01", 4);
    both(to + 4, 4, node->file ? S_IFREG | 0400 : S_IFDIR | 0500);
    both(to + 12, 4, node->file ? 1 : 2);
    return 36;
}

/* Of the root's own record: that there is Rock Ridge at all. */
static size_t put_sp_and_er(unsigned char *to)
{
    static const char sp[] = "SP\x07\x01\xbe\xef\x00", er[] = "ER\x12\x01\x0a\x00\x00\x01" "RRIP_1991A";
    memcpy(to, sp, 7);
    memcpy(to + 7, er, 18);
    return 25;
}

static size_t put_nm(unsigned char *to, const struct node *node)
{
    memcpy(to, "NM", 2);
    to[2] = (unsigned char)(5 + node->length);
    to[3] = 1;
    to[4] = 0;
    memcpy(to + 5, node->name, node->length);
    return 5 + node->length;
}

/* --- folders (ECMA-119, 9.1) --- */

enum record_kind { RECORD_SELF, RECORD_PARENT, RECORD_CHILD, RECORD_ROOT /* in a volume descriptor */ };

static void put_date(unsigned char *to)
{
    memcpy(to, "\x64\x01\x01\x00\x00\x00\x00", 7); /* 2000-01-01 */
}

static size_t put_susp(unsigned char *to, const struct node *node, enum record_kind kind)
{
    bool is_root = kind == RECORD_SELF && node->parent == node;
    size_t used = is_root ? put_sp_and_er(to) : 0;
    used += put_px(to + used, node);
    return kind == RECORD_CHILD ? used + put_nm(to + used, node) : used;
}

/* The record's length. */
static size_t put_record(unsigned char to[RECORD_MAX], const struct node *node, enum tree tree, enum record_kind kind)
{
    memset(to, 0, RECORD_MAX);
    size_t ident = 1, used;
    if (kind == RECORD_CHILD)
        ident = put_ident(node, tree, to + RECORD);
    else
        to[RECORD] = kind == RECORD_PARENT;
    used = RECORD + ident + (ident % 2 == 0);
    if (tree == PRIMARY && kind != RECORD_ROOT)
        used += put_susp(to + used, node, kind);
    used += used % 2;
    both(to + 2, 4, node->extent[tree]);
    both(to + 10, 4, node->size[tree]);
    put_date(to + 18);
    to[25] = node->file ? 0 : 2;
    both(to + 28, 2, 1);
    to[32] = (unsigned char)ident;
    to[0] = (unsigned char)used;
    return used;
}

/* A record does not cross a sector's end. */
static void append_record(struct iso *iso, const struct node *folder, size_t *at, const struct node *node, enum tree tree,
                          enum record_kind kind)
{
    unsigned char record[RECORD_MAX];
    size_t length = put_record(record, node, tree, kind);
    if (*at % SECTOR + length > SECTOR)
        *at += SECTOR - *at % SECTOR;
    if (iso->image)
        memcpy(iso->image + (size_t)folder->extent[tree] * SECTOR + *at, record, length);
    *at += length;
}

/* Writes the folder, or only measures it. */
static uint32_t do_folder(struct iso *iso, const struct node *folder, enum tree tree)
{
    size_t at = 0;
    append_record(iso, folder, &at, folder, tree, RECORD_SELF);
    append_record(iso, folder, &at, folder->parent, tree, RECORD_PARENT);
    for (unsigned i = 0; i < iso->count; i++) {
        const struct node *node = iso->order[tree][i];
        if (node->parent == folder && node != folder)
            append_record(iso, folder, &at, node, tree, RECORD_CHILD);
    }
    return sectors_of(at) * SECTOR;
}

/* --- path tables (ECMA-119, 9.4) --- */

static uint32_t do_path_table(struct iso *iso, enum tree tree, bool is_big)
{
    unsigned char ident[2 * SEED_PART_MAX + 4], *to = iso->image ? iso->image + (size_t)iso->path[tree][is_big] * SECTOR : NULL;
    uint32_t used = 0;
    for (unsigned i = 0; i < iso->count; i++) {
        const struct node *node = iso->order[tree][i];
        size_t length = node == iso->nodes ? 1 : put_ident(node, tree, ident);
        if (node->file)
            continue;
        if (node == iso->nodes)
            ident[0] = 0;
        if (to) {
            unsigned char *record = to + used;
            record[0] = (unsigned char)length;
            (is_big ? big : little)(record + 2, 4, node->extent[tree]);
            (is_big ? big : little)(record + 6, 2, node->parent->number[tree]);
            memcpy(record + 8, ident, length);
        }
        used += 8 + (uint32_t)length + length % 2;
    }
    return used;
}

/* --- volume descriptors (ECMA-119, 8) --- */

/* Blanks to the field's end, as the tree writes them. */
static void put_field(unsigned char *to, size_t size, const char *text, enum tree tree)
{
    size_t length = strlen(text);
    for (size_t i = 0; i < size; i++)
        to[i] = tree == JOLIET && i % 2 == 0 ? 0 : ' ';
    if (tree == JOLIET)
        ucs2(text, length < size / 2 ? length : size / 2, to);
    else
        memcpy(to, text, length < size ? length : size);
}

static void put_dates(unsigned char *to)
{
    static const char day[] = "2000010100000000", none[] = "0000000000000000";
    for (unsigned i = 0; i < 4; i++) /* made, changed, expires, effective; each has a time zone behind it */
        memcpy(to + (size_t)i * 17, i < 2 ? day : none, 16);
}

static void put_volume(struct iso *iso, enum tree tree, const char *label)
{
    unsigned char *to = iso->image + (size_t)(FIRST + tree) * SECTOR, root[RECORD_MAX];
    to[0] = tree == PRIMARY ? 1 : 2;
    memcpy(to + 1, "CD001\x01", 6);
    put_field(to + 8, 32, "", tree);
    put_field(to + 40, 32, label, tree);
    both(to + 80, 4, iso->sectors);
    if (tree == JOLIET)
        memcpy(to + 88, "%/E", 3);
    both(to + 120, 2, 1);
    both(to + 124, 2, 1);
    both(to + 128, 2, SECTOR);
    both(to + 132, 4, iso->path_size[tree]);
    little(to + 140, 4, iso->path[tree][0]);
    big(to + 148, 4, iso->path[tree][1]);
    put_record(root, iso->nodes, tree, RECORD_ROOT);
    memcpy(to + 156, root, 34);
    for (unsigned i = 0; i < 4; i++) /* set, publisher, preparer, application */
        put_field(to + 190 + (size_t)i * 128, 128, "", tree);
    for (unsigned i = 0; i < 3; i++) /* copyright, abstract, bibliography */
        put_field(to + 702 + (size_t)i * 37, 37, "", tree);
    put_dates(to + 813);
    to[881] = 1;
}

static void put_terminator(struct iso *iso)
{
    unsigned char *to = iso->image + (size_t)(FIRST + TREES) * SECTOR;
    memcpy(to, "\xff" "CD001\x01", 7);
}

/* --- all of it --- */

static uint32_t take_sectors(struct iso *iso, size_t size)
{
    uint32_t first = iso->sectors;
    iso->sectors += sectors_of(size);
    return first;
}

static void lay_out_tree(struct iso *iso, enum tree tree)
{
    for (unsigned i = 0; i < 2; i++)
        iso->path[tree][i] = take_sectors(iso, iso->path_size[tree] = do_path_table(iso, tree, i));
    for (unsigned i = 0; i < iso->count; i++) {
        struct node *node = iso->order[tree][i];
        if (!node->file)
            node->extent[tree] = take_sectors(iso, node->size[tree] = do_folder(iso, node, tree));
    }
}

static void lay_out(struct iso *iso)
{
    iso->sectors = FIRST + TREES + 1;
    for (enum tree tree = 0; tree < TREES; tree++) {
        sort_tree(iso, tree);
        lay_out_tree(iso, tree);
    }
    for (unsigned i = 1; i < iso->count; i++) {
        struct node *node = &iso->nodes[i];
        if (!node->file)
            continue;
        node->size[PRIMARY] = node->size[JOLIET] = (uint32_t)node->file->size;
        node->extent[PRIMARY] = node->extent[JOLIET] = node->file->size > 0 ? take_sectors(iso, node->file->size) : 0;
    }
}

static void write_all(struct iso *iso, const char *label)
{
    for (enum tree tree = 0; tree < TREES; tree++) {
        put_volume(iso, tree, label);
        do_path_table(iso, tree, false);
        do_path_table(iso, tree, true);
        for (unsigned i = 0; i < iso->count; i++)
            if (!iso->order[tree][i]->file)
                do_folder(iso, iso->order[tree][i], tree);
    }
    put_terminator(iso);
    for (unsigned i = 1; i < iso->count; i++)
        if (iso->nodes[i].file)
            memcpy(iso->image + (size_t)iso->nodes[i].extent[PRIMARY] * SECTOR, iso->nodes[i].file->data,
                   iso->nodes[i].file->size);
}

struct bytes *seed_iso_write(const struct seed_files *files, const char *label)
{
    struct iso *iso = mem_alloc(sizeof *iso);
    iso->nodes[0] = (struct node){.parent = iso->nodes, .name = ""};
    iso->count = 1;
    for (unsigned i = 0; i < files->count; i++)
        add_path(iso, &files->list[i]);
    lay_out(iso);
    struct bytes *bytes = bytes_new(iso->sectors * SECTOR);
    bytes->secret = true;
    memset(bytes->data, 0, bytes->length);
    iso->image = bytes->data;
    write_all(iso, label);
    mem_free(iso);
    return bytes;
}

const char *seed_label_problem(const char *label)
{
    size_t length = strlen(label);
    for (size_t i = 0; i < length; i++)
        if (label[i] <= ' ' || label[i] > '~')
            return "a config medium's label is of printable ASCII, without blanks";
    return length > 0 && length <= SEED_LABEL_MAX ? NULL : "a config medium's label has 1 to 32 characters";
}
