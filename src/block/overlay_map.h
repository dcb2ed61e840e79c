/*
 * Which block of the image lies in which slot of an overlay's store: a hash from block to slot, and an array from slot
 * to block with the slot's state. They take about 14 to 24 bytes a slot in use, whatever the image's size. Pure: no
 * source, no loop.
 *
 * A slot that was once given to a block stays that block's: if the write fails the slot is merely reserved, and the
 * next write to the block goes there.
 */
#ifndef BLOCK_OVERLAY_MAP_H
#define BLOCK_OVERLAY_MAP_H

#include <stddef.h>
#include <stdint.h>

#define OVERLAY_NO_SLOT UINT32_MAX

enum slot_state {
    SLOT_FREE,
    SLOT_RESERVED, /* given to a block that has no data in it */
    SLOT_COPYING,  /* a write fills the slot */
    SLOT_VALID,    /* the slot holds its block's data */
};

struct overlay_map {
    uint64_t *blocks; /* by slot: the block, and the state above it */
    uint32_t *hash;   /* slots, by their blocks; OVERLAY_NO_SLOT: a free place */
    uint64_t mask;    /* places of `hash` - 1, once it is allocated */
    uint32_t room;    /* entries in `blocks` */
    uint32_t capacity, next, used; /* slots in all; no slot below `next` is free; slots that were given */
};

void overlay_map_init(struct overlay_map *map, uint32_t capacity);
void overlay_map_free(struct overlay_map *map);

uint32_t overlay_map_find(const struct overlay_map *map, uint64_t block); /* OVERLAY_NO_SLOT: none */
uint32_t overlay_map_next(struct overlay_map *map); /* the lowest free slot; OVERLAY_NO_SLOT: full */
/* Gives a free slot to a block that has none: RESERVED from now on. */
void overlay_map_give(struct overlay_map *map, uint32_t slot, uint64_t block);

enum slot_state overlay_map_state(const struct overlay_map *map, uint32_t slot);
uint64_t overlay_map_block(const struct overlay_map *map, uint32_t slot); /* the block that the slot was given to */
void overlay_map_set(struct overlay_map *map, uint32_t slot, enum slot_state state);

size_t overlay_map_memory(const struct overlay_map *map); /* bytes */

#endif
