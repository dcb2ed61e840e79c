/*
 * A source on a source that logs each io that passes: what, where, how long it
 * took and how it ended. Switched off it hands ios straight on.
 */
#ifndef BLOCK_TRACE_H
#define BLOCK_TRACE_H

#include "block/source.h"

/* Owns `lower`. */
struct source *trace_source_new(struct source *lower);
void trace_source_set(struct source *source, bool on);
/* What lies below; for asking a lower source what only it knows. */
struct source *trace_source_lower(struct source *source);

#endif
