/*
 * A source on a source that sees each io that passes. It counts how much of each part of the image is read, and, when
 * the log is switched on, logs each io: what, where, how long it took and how it ended.
 */
#ifndef BLOCK_TRACE_H
#define BLOCK_TRACE_H

#include "block/heat.h"
#include "block/source.h"

/* The source owns `lower`. The log is off at first. */
struct source *trace_source_new(struct source *lower);
void trace_source_set(struct source *source, bool on);
const struct heat *trace_source_heat(struct source *source); /* valid once the source is open */
/* What lies below, for asking a lower source what only that one knows. */
struct source *trace_source_lower(struct source *source);

#endif
