/*
 * A hash from block numbers to pointers: open addressing, linear probing, no tombstones. Its memory follows the most
 * entries that it has had at a time, not the image's size.
 */
#ifndef BLOCK_BLOCK_TABLE_H
#define BLOCK_BLOCK_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct block_table {
    struct block_entry {
        uint64_t block;
        void *value; /* NULL: the entry is free */
    } *entries;
    uint32_t mask, count; /* entries - 1 (0 when none are allocated); entries in use */
};

void block_table_init(struct block_table *table);
/* Frees the table, not what its values point to. */
void block_table_free(struct block_table *table);
void *block_table_get(const struct block_table *table, uint64_t block); /* NULL: the block has none */
/* `value` is not NULL; it takes the place of the one before. */
void block_table_set(struct block_table *table, uint64_t block, void *value);
void block_table_remove(struct block_table *table, uint64_t block);
size_t block_table_memory(const struct block_table *table); /* bytes */

#endif
