/*
 * A source whose lower one can be exchanged for another of the same bytes while it is read: by a new URL, with new
 * credentials. An io that the old one has not answered, or fails from then on, is asked of the new one; nobody above
 * takes notice. Facts stay those of the first; the counters go on.
 */
#ifndef BLOCK_EXCHANGE_H
#define BLOCK_EXCHANGE_H

#include "block/source.h"

/* It owns `lower`, which must not be open yet. */
struct source *exchange_source_new(struct source *lower);
/* `lower` is open and has the same bytes, which the caller has seen to. It is owned from now on, and the one before is
 * closed and freed. False: the source is not open (any more), and `lower` stays the caller's. */
bool exchange_source_set(struct source *source, struct source *lower);
struct source *exchange_source_lower(const struct source *source);

#endif
