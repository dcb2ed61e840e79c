#include "block/overlay_map.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

#define HASH_MIN    64u
#define ROOM_MIN    32u
#define STATE_SHIFT 62
#define BLOCK_MASK  ((1ull << STATE_SHIFT) - 1)

void overlay_map_init(struct overlay_map *map, uint32_t capacity)
{
    assert(capacity < OVERLAY_NO_SLOT);
    memset(map, 0, sizeof *map);
    map->capacity = capacity;
}

void overlay_map_free(struct overlay_map *map)
{
    mem_free(map->blocks);
    mem_free(map->hash);
    overlay_map_init(map, map->capacity);
}

enum slot_state overlay_map_state(const struct overlay_map *map, uint32_t slot)
{
    return slot < map->room ? (enum slot_state)(map->blocks[slot] >> STATE_SHIFT) : SLOT_FREE;
}

uint64_t overlay_map_block(const struct overlay_map *map, uint32_t slot)
{
    assert(overlay_map_state(map, slot) != SLOT_FREE);
    return map->blocks[slot] & BLOCK_MASK;
}

void overlay_map_set(struct overlay_map *map, uint32_t slot, enum slot_state state)
{
    map->blocks[slot] = overlay_map_block(map, slot) | (uint64_t)state << STATE_SHIFT;
}

/* Where the block's slot is in the hash, or the free place where it would go. */
static uint64_t overlay_map_probe(const struct overlay_map *map, uint64_t block)
{
    uint64_t i = ((block * 0x9e3779b97f4a7c15ull) >> 32) & map->mask;
    while (map->hash[i] != OVERLAY_NO_SLOT && (map->blocks[map->hash[i]] & BLOCK_MASK) != block)
        i = (i + 1) & map->mask;
    return i;
}

uint32_t overlay_map_find(const struct overlay_map *map, uint64_t block)
{
    return map->hash ? map->hash[overlay_map_probe(map, block)] : OVERLAY_NO_SLOT;
}

uint32_t overlay_map_next(struct overlay_map *map)
{
    while (map->next < map->capacity && overlay_map_state(map, map->next) != SLOT_FREE)
        map->next++;
    return map->next < map->capacity ? map->next : OVERLAY_NO_SLOT;
}

static void grow_blocks(struct overlay_map *map, uint32_t slot)
{
    uint64_t room = (uint64_t)map->room + map->room / 2;
    room = room < ROOM_MIN ? ROOM_MIN : room;
    room = room <= slot ? (uint64_t)slot + 1 : room;
    room = room > map->capacity ? map->capacity : room;
    map->blocks = mem_realloc(map->blocks, (size_t)room * sizeof *map->blocks);
    memset(map->blocks + map->room, 0, (size_t)(room - map->room) * sizeof *map->blocks);
    map->room = (uint32_t)room;
}

static void grow_hash(struct overlay_map *map)
{
    uint32_t *old = map->hash;
    uint64_t count = old ? map->mask + 1 : 0;
    map->mask = (old ? 2 * count : HASH_MIN) - 1;
    size_t size = (size_t)(map->mask + 1) * sizeof *map->hash;
    map->hash = mem_alloc(size);
    memset(map->hash, 0xff, size);
    for (uint64_t i = 0; i < count; i++)
        if (old[i] != OVERLAY_NO_SLOT)
            map->hash[overlay_map_probe(map, map->blocks[old[i]] & BLOCK_MASK)] = old[i];
    mem_free(old);
}

void overlay_map_give(struct overlay_map *map, uint32_t slot, uint64_t block)
{
    assert(slot < map->capacity && block <= BLOCK_MASK && overlay_map_state(map, slot) == SLOT_FREE);
    if (slot >= map->room)
        grow_blocks(map, slot);
    if (!map->hash || (map->used + 1ull) * 3 > (map->mask + 1) * 2)
        grow_hash(map);
    uint64_t i = overlay_map_probe(map, block);
    assert(map->hash[i] == OVERLAY_NO_SLOT);
    map->hash[i] = slot;
    map->blocks[slot] = block | (uint64_t)SLOT_RESERVED << STATE_SHIFT;
    map->used++;
}

size_t overlay_map_memory(const struct overlay_map *map)
{
    return map->room * sizeof *map->blocks + (map->hash ? (size_t)(map->mask + 1) * sizeof *map->hash : 0);
}
