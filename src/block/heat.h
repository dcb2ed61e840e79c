/*
 * How much of each part of an image was read: HEAT_BUCKETS equal parts, whatever the image's size. Reading the same
 * bytes again counts again, up to the whole part. Pure.
 */
#ifndef BLOCK_HEAT_H
#define BLOCK_HEAT_H

#include <stdint.h>

#define HEAT_BUCKETS 256

struct heat {
    uint64_t size; /* of the image */
    uint64_t read[HEAT_BUCKETS]; /* bytes, of each part */
};

void heat_init(struct heat *heat, uint64_t size);
void heat_add(struct heat *heat, uint64_t offset, uint64_t length); /* inside the image */
/* For each part, 0: nothing of it was read, 255: as many bytes as it has. */
void heat_get(const struct heat *heat, uint8_t levels[HEAT_BUCKETS]);

#endif
