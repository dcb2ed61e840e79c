/*
 * A config medium as a source: a read-only ISO 9660 in memory, made of files that are given as text, or are read from
 * another source, which is closed again before this one is open. What it holds is overwritten with its last use.
 */
#ifndef SEED_MEDIUM_H
#define SEED_MEDIUM_H

#include "block/source.h"
#include "seed/wish.h"

/* `lower`: has the files' JSON or tar, and is this source's; NULL: the wish has it. Copies the wish, whose problem() was
 * asked, and the facts. */
struct source *seed_medium_new(uv_loop_t *loop, const char *who, struct source *lower, const struct seed_wish *wish,
                               const struct seed_facts *facts);

#endif
