/*
 * FAT12, FAT16 and FAT32 (Microsoft's specification 1.03; ECMA-107 for the first two), as an EFI partition or an El
 * Torito image is one: files are found by their long and short names, read, and replaced. A file that has grown gets
 * free clusters of it; the file system keeps its size.
 */
#ifndef IMAGE_FAT_H
#define IMAGE_FAT_H

#include "image/tree.h"

struct fat {
    struct tree tree;
    uint64_t at;      /* where it begins in the image */
    unsigned bits;    /* 12, 16, 32 */
    uint32_t cluster; /* bytes */
    uint32_t clusters; /* 2 ... clusters + 1 */
    uint64_t tables;  /* where the first one begins in the image */
    uint32_t table;   /* bytes of each */
    unsigned table_count;
    uint64_t root;    /* of FAT12 and FAT16: where the root directory is; its length is the tree's */
    uint64_t data;    /* where cluster 2 is */
};

/* False: there is none at that place, or it is not known yet. */
bool fat_open(struct fat *fat, struct view *view, uint64_t at);
bool fat_replace(struct changes *changes, const struct fat *fat, const struct tree_entry *file, const char *text,
                 uint32_t length);

#endif
