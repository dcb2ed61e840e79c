/*
 * A source on a source that is a little larger than the lower one: some drives' sizes must be a multiple of a sector,
 * or have a minimum. What lies past the lower source's end reads as zeroes, and takes no write but zeroes (ENOSPC). The
 * lower source never gets a request past its end; a request that lies before that end is handed straight on.
 */
#ifndef BLOCK_PAD_H
#define BLOCK_PAD_H

#include "block/source.h"

/* The source owns `lower`. Its size is the lower one's or `minimum`, whichever is more, rounded up to a multiple of
 * `multiple` (1: any); both in bytes. */
struct source *pad_source_new(struct source *lower, uint32_t multiple, uint64_t minimum);
/* What lies below, for asking a lower source what only that one knows. */
struct source *pad_source_lower(struct source *source);

#endif
