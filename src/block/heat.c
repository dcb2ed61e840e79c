#include "block/heat.h"

#include <string.h>

/* The first byte of a part; sizes up to 2^63 times 256 need 128 bits. */
static uint64_t start_of(const struct heat *heat, unsigned bucket)
{
    return (uint64_t)((unsigned __int128)heat->size * bucket / HEAT_BUCKETS);
}

static unsigned bucket_of(const struct heat *heat, uint64_t offset)
{
    unsigned bucket = (unsigned)((unsigned __int128)offset * HEAT_BUCKETS / heat->size);
    while (bucket + 1 < HEAT_BUCKETS && start_of(heat, bucket + 1) <= offset)
        bucket++; /* of an image that is smaller than the parts are many, some are empty */
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
        levels[b] = read == 0 ? 0 : read >= size ? 255 : (uint8_t)(1 + (unsigned __int128)read * 253 / size);
    }
}
