/*
 * A file system of an image as what looks for boot configurations sees it: directories whose entries are listed, and
 * files that are read and replaced. ISO 9660 and FAT are ones; each has its own of struct tree_entry's numbers.
 */
#ifndef IMAGE_TREE_H
#define IMAGE_TREE_H

#include "image/changes.h"

#define TREE_NAME_MAX 128 /* a longer name is none that is looked for */

struct tree_entry {
    char name[TREE_NAME_MAX];
    bool directory;
    bool odd;        /* a file that is not one run of plain bytes */
    uint32_t start;  /* ISO 9660: block; FAT: cluster */
    uint32_t length; /* bytes */
    uint64_t record; /* where in the image the directory has it */
};

struct tree {
    const char *name; /* for people: "ISO 9660", "Joliet", "the EFI partition" */
    struct tree_entry root;
    /* The next entry that is neither the directory itself nor the one above; *position begins with 0. False: there
     * is none (any more), it is missing or wrong. */
    bool (*next)(const struct tree *tree, struct view *view, const struct tree_entry *directory, uint32_t *position,
                 struct tree_entry *entry);
    bool (*read)(const struct tree *tree, struct view *view, const struct tree_entry *file, char *to);
};

#endif
