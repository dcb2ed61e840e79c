/*
 * Copy-on-write: a source that reads like `lower` but takes writes, which go to `store`. The lower source is never
 * written to.
 *
 * The store is a writable source (block/memory.h, or a sparse file) whose fixed size bounds what can be written;
 * overlay_store_size() says how large it must be. Blocks of 4 KiB are given the store's slots one after the other, so a
 * sparse file grows with what is written. When the store is full, writes to new places fail with ENOSPC, and everything
 * else goes on.
 *
 * A write is answered when its data and then its place in the index are in the store: a process that is killed loses no
 * answered write. A FLUSH makes the store stable, then says so in the store's header: what was flushed outlasts a loss
 * of power, and of what was not flushed, each block is old or new. The kernel's boot id in the header tells whether the
 * machine has gone down since: if not, nothing is lost.
 *
 * A store that is not empty is continued, if it is undamaged and belongs to this image (size, and identity); else
 * opening fails, and nothing in the store is changed.
 *
 * The first write to part of a block reads the rest of the block from `lower`. Other writes to that block wait
 * meanwhile: they are ios that are outstanding anyway, so this needs no bound of its own.
 */
#ifndef BLOCK_OVERLAY_H
#define BLOCK_OVERLAY_H

#include "block/source.h"

struct overlay_options {
    const char *store_name; /* for messages: the file's path, or "memory" */
    /* The running kernel's boot id (/proc/sys/kernel/random/boot_id): when the store has the same one, the machine has
     * not gone down since. NULL or "": unknown, so it may have. */
    const char *boot_id;
    /* Closing flushes, so that all writes outlast a loss of power too. Only of use for a store that is kept. */
    bool sync_at_close;
};

/* The source owns `lower` and `store`; `options` are copied. */
struct source *overlay_source_new(struct source *lower, struct source *store, const struct overlay_options *options);
/* The size, in bytes, of a store that holds `bytes` of changed data (rounded up to blocks). */
uint64_t overlay_store_size(uint64_t bytes);

struct overlay_usage {
    uint64_t used, bound; /* bytes of changed blocks: now, and at most */
    uint64_t memory;      /* bytes that the map of these blocks takes */
};
/* All 0 until the store is loaded. */
void overlay_source_used(const struct source *source, struct overlay_usage *usage);
/* What lies below, for asking a source there what only that one knows. */
struct source *overlay_source_lower(struct source *source);
struct source *overlay_source_store(struct source *source);

#endif
