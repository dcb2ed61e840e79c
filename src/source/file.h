/*
 * A local file or block device as a source. Its calls may block, so each runs
 * on the thread pool, at most FILE_JOBS at a time; the rest wait in order.
 */
#ifndef SOURCE_FILE_H
#define SOURCE_FILE_H

#include "block/source.h"

#define FILE_JOBS 4 /* calls on the pool at a time, one source */

struct file_source_options {
    const char *path;      /* absolute */
    const char *directory; /* NULL or "": anywhere; else the path must lie beneath it, links resolved */
    bool writable;
};

struct source *file_source_new(uv_loop_t *loop, const char *who, const struct file_source_options *options);

#endif
