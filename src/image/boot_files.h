/*
 * Finds the boot configurations of an image: in the folders where boot loaders look, in every file system that the image
 * has for them (the trees of ISO 9660, the FAT images of El Torito, FAT partitions); and the files that somebody names. The
 * rest of the image is not looked at.
 */
#ifndef IMAGE_BOOT_FILES_H
#define IMAGE_BOOT_FILES_H

#include "image/boot_edit.h"
#include "image/fat.h"
#include "image/file_changes.h"
#include "image/iso9660.h"

#define BOOT_FILES_MAX 64
#define BOOT_FATS_MAX 4
#define BOOT_CHECKSUMS_MAX 4
#define BOOT_ENTRIES_MAX (256u << 10) /* of directories, each time one is looked through: names may be there many times, in a ring */
#define BOOT_PATH_MAX 320 /* FILE_CHANGES_PATH_MAX, and one more name */
#define BOOT_LOOKED_FOR                                                                                                \
    "grub.cfg and its like below boot/grub, boot/grub2, grub and EFI, isolinux.cfg, syslinux.cfg and their like, "     \
    "loader/loader.conf and loader/entries/*.conf"

struct boot_file {
    char path[BOOT_PATH_MAX]; /* with a leading slash, as the first tree that has it writes it */
    bool is_config; /* else it is only named */
    enum boot_syntax syntax; /* of a configuration */
    uint32_t named; /* by which of the changes: a bit for each */
    bool is_main; /* the one that a boot loader reads first, by its name */
    const struct tree *tree;
    const struct fat *fat; /* NULL: ISO 9660 */
    struct tree_entry entry;
    struct iso_record records[ISO_RECORDS_MAX]; /* of all trees of ISO 9660 */
    unsigned record_count;
    bool is_signed; /* a signature of it lies beside it */
    bool changed;   /* the plan's */
};

struct boot_files {
    struct iso iso;
    bool has_iso;
    struct fat fats[BOOT_FATS_MAX];
    unsigned fat_count;
    struct boot_file *files;
    unsigned count;
    struct tree_entry checksums[BOOT_CHECKSUMS_MAX]; /* lists at the top of ISO 9660: md5sum.txt, SHA256SUMS and their like */
    unsigned checksums_count;
    unsigned looked_at; /* entries of directories */
};

/* Everything that can be found with what is known of the image (see struct view); to be cleared in any case. */
void boot_files_find(struct boot_files *found, struct view *view, const struct file_changes *named);
void boot_files_clear(struct boot_files *found);

#endif
