#include "block/overlay_format.h"

#include <endian.h>
#include <string.h>

#include "base/text.h"

#define VERSION 1
#define ENTRY   sizeof(uint64_t)

static const char magic[8] = {'n', 'b', 'd', '-', 'o', 'v', 'l', 'y'};

/* As stored; `sum` is the hash of the whole block with 0 in the place of `sum`. */
struct stored_header {
    char magic[8];
    uint32_t version, block;
    uint64_t image_size, identity;
    uint32_t capacity, synced;
    char boot_id[OVERLAY_BOOT_ID];
    uint64_t sum;
};
_Static_assert(sizeof(struct stored_header) == 112, "no padding, and well within a sector");

/* A change of any one byte always changes the hash. */
uint64_t overlay_format_hash(const void *data, size_t length)
{
    return text_hash(TEXT_HASH_START, data, length);
}

void overlay_format_encode(const struct overlay_header *header, uint8_t out[OVERLAY_HEADER])
{
    struct stored_header stored = {
        .version = htole32(VERSION),
        .block = htole32(OVERLAY_BLOCK),
        .image_size = htole64(header->image_size),
        .identity = htole64(header->identity),
        .capacity = htole32(header->capacity),
        .synced = htole32(header->synced),
    };
    memcpy(stored.magic, magic, sizeof magic);
    memcpy(stored.boot_id, header->boot_id, strnlen(header->boot_id, OVERLAY_BOOT_ID - 1));
    memset(out, 0, OVERLAY_HEADER);
    memcpy(out, &stored, sizeof stored);
    stored.sum = htole64(overlay_format_hash(out, OVERLAY_HEADER));
    memcpy(out, &stored, sizeof stored);
}

static int is_zero(const uint8_t *bytes, size_t length)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}

static int sum_matches(const uint8_t in[OVERLAY_HEADER], struct stored_header stored)
{
    uint8_t copy[OVERLAY_HEADER];
    uint64_t sum = le64toh(stored.sum);
    stored.sum = 0;
    memcpy(copy, in, sizeof copy);
    memcpy(copy, &stored, sizeof stored);
    return overlay_format_hash(copy, sizeof copy) == sum;
}

enum overlay_verdict overlay_format_decode(const uint8_t in[OVERLAY_HEADER], struct overlay_header *header)
{
    struct stored_header stored;
    memcpy(&stored, in, sizeof stored);
    if (is_zero(in, OVERLAY_HEADER))
        return OVERLAY_EMPTY;
    if (memcmp(stored.magic, magic, sizeof magic) != 0)
        return OVERLAY_FOREIGN;
    if (le32toh(stored.version) != VERSION)
        return OVERLAY_VERSION;
    if (!sum_matches(in, stored) || le32toh(stored.block) != OVERLAY_BLOCK)
        return OVERLAY_DAMAGED;
    *header = (struct overlay_header){
        .image_size = le64toh(stored.image_size),
        .identity = le64toh(stored.identity),
        .capacity = le32toh(stored.capacity),
        .synced = le32toh(stored.synced),
    };
    memcpy(header->boot_id, stored.boot_id, OVERLAY_BOOT_ID - 1);
    if (header->capacity == 0 || header->capacity > OVERLAY_SLOTS_MAX || header->synced > OVERLAY_EPOCH_MAX)
        return OVERLAY_DAMAGED;
    return OVERLAY_GOOD;
}

uint64_t overlay_format_entry(uint64_t block, uint32_t epoch)
{
    return htole64(block << OVERLAY_EPOCH_BITS | epoch);
}

uint64_t overlay_entry_block(uint64_t entry)
{
    return le64toh(entry) >> OVERLAY_EPOCH_BITS;
}

uint32_t overlay_entry_epoch(uint64_t entry)
{
    return (uint32_t)(le64toh(entry) & OVERLAY_EPOCH_MAX);
}

uint64_t overlay_format_index(uint32_t slot)
{
    return OVERLAY_HEADER + (uint64_t)slot * ENTRY;
}

uint64_t overlay_format_data(uint32_t capacity)
{
    uint64_t end = overlay_format_index(capacity);
    return (end + OVERLAY_BLOCK - 1) / OVERLAY_BLOCK * OVERLAY_BLOCK;
}

uint64_t overlay_format_size(uint32_t capacity)
{
    return overlay_format_data(capacity) + (uint64_t)capacity * OVERLAY_BLOCK;
}

uint32_t overlay_format_capacity(uint64_t store_size)
{
    if (store_size >= overlay_format_size(OVERLAY_SLOTS_MAX))
        return OVERLAY_SLOTS_MAX;
    if (store_size < overlay_format_size(1))
        return 0;
    /* An upper bound: the index takes whole blocks, so there may be room for fewer. */
    uint32_t capacity = (uint32_t)((store_size - OVERLAY_HEADER) / (OVERLAY_BLOCK + ENTRY));
    while (overlay_format_size(capacity) > store_size)
        capacity--;
    return capacity;
}
