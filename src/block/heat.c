#include "block/heat.h"

#include <string.h>

/* The first byte of a part: size * bucket / HEAT_BUCKETS in 64 bits, by quotient and remainder. */
static uint64_t start_of(const struct heat *heat, unsigned bucket)
{
    return heat->size / HEAT_BUCKETS * bucket + heat->size % HEAT_BUCKETS * bucket / HEAT_BUCKETS;
}

/* The last part that starts at or before the offset: an image of fewer bytes than parts has empty parts. */
static unsigned bucket_of(const struct heat *heat, uint64_t offset)
{
    unsigned bucket = 0;
    for (unsigned step = HEAT_BUCKETS / 2; step > 0; step /= 2) {
        if (start_of(heat, bucket + step) <= offset)
            bucket += step;
    }
    return bucket;
}

void heat_init(struct heat *heat, uint64_t size)
{
    memset(heat, 0, sizeof *heat);
    heat->size = size;
}

void heat_add(struct heat *heat, uint64_t offset, uint64_t length)
{
    if (offset >= heat->size)
        return;
    for (unsigned b = bucket_of(heat, offset); length > 0 && b < HEAT_BUCKETS; b++) {
        uint64_t part = start_of(heat, b + 1) - offset;
        part = part < length ? part : length;
        heat->read[b] += part;
        offset += part;
        length -= part;
    }
}

void heat_get(const struct heat *heat, uint8_t levels[HEAT_BUCKETS])
{
    for (unsigned b = 0; b < HEAT_BUCKETS; b++) {
        uint64_t size = start_of(heat, b + 1) - start_of(heat, b), read = heat->read[b];
        /* A part is at most 2^56 bytes: times 253 fits. */
        levels[b] = read == 0 ? 0 : read >= size ? 255 : (uint8_t)(1 + read * 253 / size);
    }
}
