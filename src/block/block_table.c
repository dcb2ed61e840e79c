#include "block/block_table.h"

#include "base/text.h"

#define TABLE_MIN 64u

void block_table_init(struct block_table *table)
{
    table->entries = NULL;
    table->mask = table->count = 0;
}

void block_table_free(struct block_table *table)
{
    mem_free(table->entries);
    block_table_init(table);
}

/* Fibonacci hashing: neighbouring blocks spread over the table. */
static uint32_t block_table_slot_of(const struct block_table *table, uint64_t block)
{
    return (uint32_t)((block * 0x9e3779b97f4a7c15ull) >> 32) & table->mask;
}

/* The index of the block's entry, or of the free entry where the block would go. */
static uint32_t block_table_probe(const struct block_table *table, uint64_t block)
{
    uint32_t i = block_table_slot_of(table, block);
    while (table->entries[i].value && table->entries[i].block != block)
        i = (i + 1) & table->mask;
    return i;
}

void *block_table_get(const struct block_table *table, uint64_t block)
{
    return table->entries ? table->entries[block_table_probe(table, block)].value : NULL;
}

static void resize(struct block_table *table, uint32_t capacity)
{
    struct block_table old = *table;
    table->entries = mem_alloc(capacity * sizeof *table->entries);
    table->mask = capacity - 1;
    for (uint32_t i = 0; old.entries && i <= old.mask; i++)
        if (old.entries[i].value)
            table->entries[block_table_probe(table, old.entries[i].block)] = old.entries[i];
    mem_free(old.entries);
}

void block_table_set(struct block_table *table, uint64_t block, void *value)
{
    if (!table->entries)
        resize(table, TABLE_MIN);
    uint32_t i = block_table_probe(table, block);
    if (!table->entries[i].value && (table->count + 1) * 2 > table->mask) {
        resize(table, (table->mask + 1) * 2);
        i = block_table_probe(table, block);
    }
    table->count += !table->entries[i].value;
    table->entries[i] = (struct block_entry){block, value};
}

void block_table_remove(struct block_table *table, uint64_t block)
{
    if (!table->entries)
        return;
    uint32_t hole = block_table_probe(table, block);
    if (!table->entries[hole].value)
        return;
    table->count--;
    table->entries[hole].value = NULL;
    /* Entries that probed past the hole move back into it. */
    for (uint32_t i = (hole + 1) & table->mask; table->entries[i].value; i = (i + 1) & table->mask) {
        uint32_t home = block_table_slot_of(table, table->entries[i].block);
        if (((i - home) & table->mask) < ((i - hole) & table->mask))
            continue; /* the entry's home lies after the hole */
        table->entries[hole] = table->entries[i];
        table->entries[i].value = NULL;
        hole = i;
    }
}

size_t block_table_memory(const struct block_table *table)
{
    return table->entries ? ((size_t)table->mask + 1) * sizeof *table->entries : 0;
}
