/*
 * ISO 9660 (ECMA-119) with Rock Ridge's names (RRIP 1.12), Joliet, and El Torito's catalogue, as far as it takes to find
 * files, replace them, and tell the volume of it.
 *
 * A file that fits into its blocks is replaced there. One that has grown is laid behind the end of the image; every
 * directory record of it that was found points there, in whatever tree it is. The volume's size grows with it.
 *
 * An image may have the volume once more, with trees of its own for the same files, as the partition that a stick's reader sees
 * (xorriso's -partition_offset; Ubuntu's installers, live-build). Blocks are counted from the partition's beginning there.
 */
#ifndef IMAGE_ISO9660_H
#define IMAGE_ISO9660_H

#include "image/tree.h"

#define ISO_BLOCK 2048u
#define ISO_TREES_MAX 8   /* volume descriptors that have a directory */
#define ISO_BOOTS_MAX 8   /* El Torito's images without emulation */
#define ISO_RECORDS_MAX 16 /* of one file */

struct iso_tree {
    struct tree tree;
    uint64_t descriptor; /* where the image has it */
    uint32_t blocks;     /* the volume's */
    uint32_t base;       /* the block of the image from which its own are counted; an entry's is the image's */
    bool joliet;
    int skip; /* bytes before Rock Ridge's in a record's system use; -1: there is no Rock Ridge */
};

/* A directory's record of a file. */
struct iso_record {
    uint64_t at; /* in the image */
    uint32_t base; /* its tree's */
};

struct iso {
    struct iso_tree trees[ISO_TREES_MAX];
    unsigned tree_count;
    uint64_t boots[ISO_BOOTS_MAX]; /* where the images of El Torito begin */
    unsigned boot_count;
    bool udf;         /* there is a second file system on it, with directories of its own */
    bool has_md5;     /* the volume says its own checksum (isomd5sum) */
};

/* False: there is no such volume, or it is not known yet (see struct view). */
bool iso_open(struct iso *iso, struct view *view);
/* Adds the trees of a volume that begins there; a multiple of the block. */
void iso_open_partition(struct iso *iso, struct view *view, uint64_t offset);
uint32_t iso_base(const struct tree *tree); /* of one of its trees */
/* Replaces a file by its records. *behind is where the next block behind the end is free, and moves on when the file
 * is laid there. False as above. */
bool iso_replace(struct changes *changes, const struct iso_record *records, unsigned count, const struct tree_entry *file,
                 const char *text, uint32_t length, uint64_t *behind);
/* The volume ends there, if it has ended before. */
bool iso_grow(struct changes *changes, const struct iso *iso, uint64_t end);

#endif
