#include "image/changes.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

void changes_init(struct changes *changes, struct view *view)
{
    *changes = (struct changes){.view = view, .size = view->size};
}

void changes_clear(struct changes *changes)
{
    mem_free(changes->sectors);
    changes_init(changes, changes->view);
}

static struct changes_sector *find_sector(struct changes *changes, uint64_t number)
{
    for (unsigned i = changes->count; i > 0; i--) /* what was written last is written to again */
        if (changes->sectors[i - 1].number == number)
            return &changes->sectors[i - 1];
    return NULL;
}

static struct changes_sector *add_sector(struct changes *changes, uint64_t number)
{
    if (changes->count == CHANGES_MAX) {
        view_refuse(changes->view, "more than %u KiB of the image would have to be changed",
                    CHANGES_MAX * CHANGES_SECTOR >> 10);
        return NULL;
    }
    if (changes->count == changes->room) {
        changes->room = changes->room ? 2 * changes->room : 16;
        changes->sectors = mem_realloc(changes->sectors, changes->room * sizeof *changes->sectors);
    }
    struct changes_sector *sector = &changes->sectors[changes->count++];
    memset(sector, 0, sizeof *sector);
    sector->number = number;
    return sector;
}

/* The sector as it is to be, to be written to. What lies behind the image's end is zeroes. `whole`: it is written to
 * from its beginning to its end. */
static struct changes_sector *open_sector(struct changes *changes, uint64_t number, bool whole)
{
    struct changes_sector *sector = find_sector(changes, number);
    uint64_t start = number * CHANGES_SECTOR, size = changes->view->size;
    uint32_t there = start >= size ? 0 : size - start < CHANGES_SECTOR ? (uint32_t)(size - start) : CHANGES_SECTOR;
    if (sector || whole || there == 0)
        return sector ? sector : add_sector(changes, number);
    const unsigned char *bytes = view_at(changes->view, start, there);
    sector = bytes ? add_sector(changes, number) : NULL;
    if (sector)
        memcpy(sector->bytes, bytes, there);
    return sector;
}

static uint32_t in_sector(uint64_t offset, uint32_t length)
{
    uint32_t rest = CHANGES_SECTOR - (uint32_t)(offset % CHANGES_SECTOR);
    return length < rest ? length : rest;
}

bool changes_read(struct changes *changes, uint64_t offset, void *to, uint32_t length)
{
    unsigned char *out = to;
    for (uint32_t n; length > 0; offset += n, out += n, length -= n) {
        n = in_sector(offset, length);
        const struct changes_sector *sector = find_sector(changes, offset / CHANGES_SECTOR);
        const unsigned char *bytes = sector ? sector->bytes + offset % CHANGES_SECTOR : view_at(changes->view, offset, n);
        if (!bytes)
            return false;
        memcpy(out, bytes, n);
    }
    return true;
}

bool changes_write(struct changes *changes, uint64_t offset, const void *from, uint32_t length)
{
    const unsigned char *in = from;
    for (uint32_t n; length > 0; offset += n, in += n, length -= n) {
        n = in_sector(offset, length);
        struct changes_sector *sector = open_sector(changes, offset / CHANGES_SECTOR, n == CHANGES_SECTOR);
        if (!sector)
            return false;
        memcpy(sector->bytes + offset % CHANGES_SECTOR, in, n);
    }
    return true;
}

bool changes_fill(struct changes *changes, uint64_t offset, const void *from, uint32_t length, uint32_t room)
{
    for (uint32_t at = 0; at < room; at += CHANGES_SECTOR) {
        unsigned char sector[CHANGES_SECTOR] = {0};
        if (at < length)
            memcpy(sector, (const unsigned char *)from + at, length - at < CHANGES_SECTOR ? length - at : CHANGES_SECTOR);
        if (!changes_write(changes, offset + at, sector, CHANGES_SECTOR))
            return false;
    }
    return true;
}

static int compare_sectors(const void *a, const void *b)
{
    const struct changes_sector *one = a, *other = b;
    return one->number < other->number ? -1 : one->number > other->number;
}

void changes_sort(struct changes *changes)
{
    if (changes->count > 0)
        qsort(changes->sectors, changes->count, sizeof *changes->sectors, compare_sectors);
}
