/*
 * Copy-on-write: a source that reads like `lower` but takes writes, which go to
 * `store`. The lower source is never written to.
 *
 * The store is a writable source of a fixed size that bounds what can be written
 * (block/memory.h, or a sparse file); overlay_store_size() says how large. Blocks
 * of 4 KiB are given slots of it one after the other, so a sparse file grows with
 * what is written. When it is full, writes to new places fail with ENOSPC, and
 * everything else goes on.
 *
 * A write is answered when its data and then its place in the index are in the
 * store: a process that is killed loses no answered write. A FLUSH makes the
 * store stable, then says so in its header: what was flushed outlasts a loss of
 * power, and of what was not, each block is old or new. Whatever the kernel did
 * not lose is told by its boot id.
 *
 * A store that is not empty is continued, if it is undamaged and belongs to this
 * image (size, and identity); else opening fails, and nothing in it is changed.
 *
 * A write to part of a block reads the rest from `lower` first. Writes to a block
 * that gets its slot wait for that, at most those that are outstanding anyway.
 */
#ifndef BLOCK_OVERLAY_H
#define BLOCK_OVERLAY_H

#include "block/source.h"

struct overlay_options {
    const char *store_name; /* for messages: the file's path, or "memory" */
    /* The running kernel's (/proc/sys/kernel/random/boot_id): equal to that in
     * the store, the machine has not gone down since. NULL or "": unknown. */
    const char *boot_id;
    /* Closing flushes, so that all of it outlasts the power too. Only for a
     * store that is kept. */
    bool sync_at_close;
};

/* Owns both. */
struct source *overlay_source_new(struct source *lower, struct source *store, const struct overlay_options *options);
/* The size of a store that holds `bytes` of changed data (rounded up to blocks). */
uint64_t overlay_store_size(uint64_t bytes);

struct overlay_usage {
    uint64_t used, bound; /* bytes of changed blocks: now, and at most */
    uint64_t memory;      /* bytes of the map of them */
};
/* All 0 unless it is open. */
void overlay_source_used(const struct source *source, struct overlay_usage *usage);
/* What lies below; for asking it what only it knows. */
struct source *overlay_source_lower(struct source *source);
struct source *overlay_source_store(struct source *source);

#endif
