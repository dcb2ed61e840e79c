/*
 * A writable source in RAM. It is sparse: a piece is allocated by the first write into it and freed by a TRIM or ZERO
 * of the whole piece; what was never written reads as zeroes. The source's size bounds what it holds. A read gives a
 * copy, so a later write never changes data that a reply still holds.
 */
#ifndef BLOCK_MEMORY_H
#define BLOCK_MEMORY_H

#include "block/source.h"

#define MEMORY_PIECE (64u << 10) /* bytes */

/* `size`: bytes. */
struct source *memory_source_new(uv_loop_t *loop, const char *who, uint64_t size);
/* Bytes in the pieces that are allocated. */
uint64_t memory_source_held(const struct source *source);

#endif
