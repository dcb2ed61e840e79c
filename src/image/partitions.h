/*
 * The partition tables of an image: MBR and GPT (UEFI 2.10, 5). Hybrid images have one beside a volume, so that they
 * boot from a stick as from a disc.
 */
#ifndef IMAGE_PARTITIONS_H
#define IMAGE_PARTITIONS_H

#include "image/changes.h"

#define PARTITIONS_MAX 16
#define PARTITIONS_EARLY_MAX 4
#define PARTITIONS_EARLY (1u << 20) /* the first so many bytes of the image */

struct partitions {
    uint64_t starts[PARTITIONS_MAX]; /* in the image; of those that may hold a FAT file system */
    unsigned count;
    uint64_t early[PARTITIONS_EARLY_MAX]; /* of those that begin early, at a block of 2048 bytes: the image's volume may be in it again */
    unsigned early_count;
    uint64_t gpt_end; /* where the image ends by its GPT, the second header included; 0: there is no valid GPT */
};

void partitions_read(struct partitions *partitions, struct view *view);
/* The image ends at `end` now. What ended where the image ended, or where the volume on it did, ends there as well, and
 * the second header of a GPT stands in the last sector, which is free for it. False: something is missing, or wrong. */
bool partitions_grow(struct changes *changes, const struct partitions *partitions, uint64_t volume, uint64_t end);

#endif
