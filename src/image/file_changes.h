/*
 * What somebody wants other in files of an image beside its boot configurations: a whole file in a file's place, or
 * lines that are put into a text. The file must be there: none is made.
 *
 * The contents may be secrets: they are in no message.
 */
#ifndef IMAGE_FILE_CHANGES_H
#define IMAGE_FILE_CHANGES_H

#include <stdbool.h>
#include <stddef.h>

#define FILE_CHANGES_MAX      32
#define FILE_CHANGES_SIZE_MAX (64u << 10) /* bytes of all contents */
#define FILE_CHANGES_PATH_MAX 160

enum file_change_how { FILE_REPLACED, FILE_LINES_AT_END, FILE_LINES_AFTER, FILE_LINES_BEFORE };

struct file_change {
    char *path; /* from the image's root, as /boot/grub/grub.cfg; letters' case does not matter */
    enum file_change_how how;
    char *mark; /* AFTER, BEFORE: the first line that has this in it */
    char *text; /* for wipe_free() */
    size_t length;
};

/* Zeroed: empty. */
struct file_changes {
    struct file_change list[FILE_CHANGES_MAX];
    unsigned count;
    size_t size; /* of all contents */
};

/* Takes over the change's memory, whatever it answers. NULL, or why it can't be one of them. */
const char *file_changes_add(struct file_changes *changes, struct file_change *change);
void file_changes_clear(struct file_changes *changes);
/* The text with the change made, for mem_free(). NULL: the line is not there. */
char *file_change_make(const struct file_change *change, const char *text, size_t length, size_t *made);

#endif
