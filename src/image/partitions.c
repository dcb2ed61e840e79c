#include "image/partitions.h"

#include <string.h>

#include "image/numbers.h"

#define SECTOR 512u
#define MBR_TABLE 446u
#define MBR_ENTRIES 4u
#define MBR_ENTRY 16u
#define MBR_PROTECTIVE 0xee
#define GPT_HEADER 92u
#define GPT_ENTRIES_MAX 128u
#define GPT_ENTRY_MIN 128u

/* --- MBR --- */

static bool mbr_copy(struct changes *changes, unsigned char mbr[SECTOR])
{
    return changes->view->size >= SECTOR && changes_read(changes, 0, mbr, SECTOR) && mbr[510] == 0x55 && mbr[511] == 0xaa;
}

static void add_start(struct partitions *partitions, const struct view *view, uint64_t sector)
{
    bool inside = sector > 0 && sector < view->size / SECTOR;
    if (inside && partitions->count < PARTITIONS_MAX)
        partitions->starts[partitions->count++] = sector * SECTOR;
}

static void add_early(struct partitions *partitions, uint64_t sector)
{
    uint64_t start = sector * SECTOR;
    if (sector == 0 || sector > PARTITIONS_EARLY / SECTOR || start % 2048 != 0 || partitions->early_count == PARTITIONS_EARLY_MAX)
        return;
    for (unsigned i = 0; i < partitions->early_count; i++)
        if (partitions->early[i] == start)
            return;
    partitions->early[partitions->early_count++] = start;
}

/* FAT12, FAT16 and FAT32 by their types, and EFI's. */
static bool may_be_fat(unsigned char type)
{
    static const unsigned char types[] = {0x01, 0x04, 0x06, 0x0b, 0x0c, 0x0e, 0xef};
    return memchr(types, type, sizeof types);
}

static void read_mbr(struct partitions *partitions, struct view *view, const unsigned char *mbr)
{
    for (unsigned i = 0; i < MBR_ENTRIES; i++) {
        const unsigned char *entry = mbr + MBR_TABLE + i * MBR_ENTRY;
        if (little32(entry + 12) > 0)
            add_early(partitions, little32(entry + 8));
        if (may_be_fat(entry[4]))
            add_start(partitions, view, little32(entry + 8));
    }
}

/* --- GPT --- */

static uint32_t crc32_of(const unsigned char *bytes, size_t length)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static bool gpt_is_valid(const unsigned char *sector)
{
    unsigned char header[GPT_HEADER];
    memcpy(header, sector, sizeof header);
    put_little32(header + 16, 0);
    return memcmp(sector, "EFI PART", 8) == 0 && little32(sector + 12) == GPT_HEADER &&
           crc32_of(header, sizeof header) == little32(sector + 16);
}

static void gpt_seal(unsigned char *sector)
{
    put_little32(sector + 16, 0);
    put_little32(sector + 16, crc32_of(sector, GPT_HEADER));
}

static bool is_fat_by_guid(const unsigned char *entry)
{
    static const unsigned char efi[16] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
                                          0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};
    static const unsigned char data[16] = {0xa2, 0xa0, 0xd0, 0xeb, 0xe5, 0xb9, 0x33, 0x44,
                                           0x87, 0xc0, 0x68, 0xb6, 0xb7, 0x26, 0x99, 0xc7};
    return memcmp(entry, efi, 16) == 0 || memcmp(entry, data, 16) == 0;
}

static void read_gpt_entries(struct partitions *partitions, struct view *view, const unsigned char *header)
{
    uint64_t at = little64(header + 72);
    uint32_t count = little32(header + 80), size = little32(header + 84);
    if (size < GPT_ENTRY_MIN || size > SECTOR || at > view->size / SECTOR)
        return;
    count = count < GPT_ENTRIES_MAX ? count : GPT_ENTRIES_MAX;
    const unsigned char *entries = view_at(view, at * SECTOR, count * size);
    for (unsigned i = 0; entries && i < count; i++) {
        add_early(partitions, little64(entries + i * size + 32));
        if (is_fat_by_guid(entries + i * size))
            add_start(partitions, view, little64(entries + i * size + 32));
    }
}

static void read_gpt(struct partitions *partitions, struct view *view)
{
    unsigned char sector[SECTOR];
    struct changes none;
    changes_init(&none, view);
    if (view->size < 2 * SECTOR || !changes_read(&none, SECTOR, sector, SECTOR) || !gpt_is_valid(sector))
        return;
    uint64_t last = little64(sector + 32);
    if (last < view->size / SECTOR)
        partitions->gpt_end = (last + 1) * SECTOR;
    read_gpt_entries(partitions, view, sector);
}

void partitions_read(struct partitions *partitions, struct view *view)
{
    unsigned char mbr[SECTOR];
    struct changes none;
    changes_init(&none, view);
    memset(partitions, 0, sizeof *partitions);
    if (!mbr_copy(&none, mbr))
        return;
    read_mbr(partitions, view, mbr);
    read_gpt(partitions, view);
}

/* --- another end --- */

static bool ends_with_image(const unsigned char *entry, uint64_t volume, uint64_t size)
{
    uint64_t end = ((uint64_t)little32(entry + 8) + little32(entry + 12)) * SECTOR;
    return little32(entry + 12) > 0 && (end == volume || end == size);
}

static bool grow_mbr(struct changes *changes, uint64_t volume, uint64_t end)
{
    unsigned char mbr[SECTOR];
    bool changed = false;
    if (!mbr_copy(changes, mbr))
        return changes->view->missing_count == 0;
    for (unsigned i = 0; i < MBR_ENTRIES; i++) {
        unsigned char *entry = mbr + MBR_TABLE + i * MBR_ENTRY;
        uint64_t sectors = end / SECTOR - little32(entry + 8);
        if (entry[4] == 0 && little32(entry + 12) == 0)
            continue;
        if (ends_with_image(entry, volume, changes->view->size) && sectors <= UINT32_MAX) {
            put_little32(entry + 12, (uint32_t)sectors);
            changed = true;
        }
    }
    return !changed || changes_write(changes, 0, mbr, SECTOR);
}

/* The second header goes to the new end; it, and the first one, say so. Its table of entries may stand anywhere before
 * it, and stays where it is. */
static bool grow_gpt(struct changes *changes, const struct partitions *partitions, uint64_t end)
{
    unsigned char first[SECTOR], second[SECTOR];
    uint64_t last = end / SECTOR - 1;
    if (partitions->gpt_end == 0)
        return true;
    if (!changes_read(changes, SECTOR, first, SECTOR) ||
        !changes_read(changes, partitions->gpt_end - SECTOR, second, SECTOR))
        return false;
    if (!gpt_is_valid(second)) /* it was no better before */
        return true;
    put_little64(first + 32, last);
    put_little64(second + 24, last);
    gpt_seal(first);
    gpt_seal(second);
    return changes_write(changes, SECTOR, first, SECTOR) && changes_write(changes, end - SECTOR, second, SECTOR);
}

bool partitions_grow(struct changes *changes, const struct partitions *partitions, uint64_t volume, uint64_t end)
{
    bool grown = grow_mbr(changes, volume, end);
    return grow_gpt(changes, partitions, end) && grown;
}
