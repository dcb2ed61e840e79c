/*
 * A local file or block device as a source. Its calls may block, so each runs
 * on the thread pool, at most FILE_JOBS at a time; the rest wait in order.
 */
#ifndef SOURCE_FILE_H
#define SOURCE_FILE_H

#include "block/source.h"

#define FILE_JOBS 4 /* calls on the pool at a time, one source */

struct file_source_options {
    const char *path; /* absolute */
    /* NULL or "": anywhere; else the path must lie beneath it, links resolved (before Linux 5.6
     * there may be none). */
    const char *directory;
    bool writable;
    /* If not 0, a file that is missing or empty is made with so many bytes, sparse, for
     * its owner only. A file with content keeps its size. */
    uint64_t create_size;
    bool remove_at_close; /* only if the file was made here: one that was there may be anybody's */
    bool fresh;           /* with create_size: what is there is removed first */
};

struct source *file_source_new(uv_loop_t *loop, const char *who, const struct file_source_options *options);
/* Whether closing unlinks the file, made here or not; until source_close(). A device is
 * left alone, and so is another file that has taken the name. */
void file_source_remove_at_close(struct source *source, bool remove);

#endif
