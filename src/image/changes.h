/*
 * What is to be other bytes in an image: sectors, made from what the image has there when they are first written to.
 * They may lie behind its end, which then is another one.
 */
#ifndef IMAGE_CHANGES_H
#define IMAGE_CHANGES_H

#include "image/view.h"

#define CHANGES_SECTOR 512u
#define CHANGES_MAX 512u /* sectors: 256 KiB */

struct changes {
    struct view *view;
    uint64_t size; /* the image's new one, a multiple of the sector when it has grown */
    struct changes_sector {
        uint64_t number;
        unsigned char bytes[CHANGES_SECTOR];
    } *sectors;
    unsigned count, room;
};

void changes_init(struct changes *changes, struct view *view);
void changes_clear(struct changes *changes);
/* As it is with what was changed so far. False: missing, or wrong. */
bool changes_read(struct changes *changes, uint64_t offset, void *to, uint32_t length);
/* False: the rest of a sector is missing, or it would be too much. */
bool changes_write(struct changes *changes, uint64_t offset, const void *from, uint32_t length);
/* The same for whole sectors: behind the `length` bytes are zeroes up to `room`, and nothing is missing for that. */
bool changes_fill(struct changes *changes, uint64_t offset, const void *from, uint32_t length, uint32_t room);
/* Sorted; nothing is changed after that. */
void changes_sort(struct changes *changes);

#endif
