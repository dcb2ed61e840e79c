/*
 * A source whose lower source can be exchanged for another of the same bytes while it is read: one by a new URL, or
 * with new credentials. An io that the old source has not answered, or fails from then on, is asked of the new one, and
 * nobody above takes notice. The facts stay those of the first lower source, but for `parallel`; the counters go on.
 */
#ifndef BLOCK_EXCHANGE_H
#define BLOCK_EXCHANGE_H

#include "block/source.h"

/* The new source owns `lower`, which must not be open yet. */
struct source *exchange_source_new(struct source *lower);
/* `lower` is open and has the same bytes: the caller has seen to that. The source owns it from now on, and closes and
 * frees the lower source before it. False: the source is not open (any more), and `lower` stays the caller's. */
bool exchange_source_set(struct source *source, struct source *lower);
struct source *exchange_source_lower(const struct source *source);

#endif
