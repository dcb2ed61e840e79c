/*
 * One request on a block source, and what it carries.
 *
 * The caller owns the io, fills it, hands it to source_submit(), and gets it
 * back in `done`, exactly once and never inside source_submit(). Between the
 * two the io belongs to the source: its link and its deferral too.
 */
#ifndef BLOCK_IO_H
#define BLOCK_IO_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/defer.h"
#include "base/list.h"

enum io_op {
    IO_READ,
    IO_WRITE,
    IO_FLUSH,   /* offset and length are 0 */
    IO_TRIM,    /* the range's content becomes unspecified */
    IO_ZERO,    /* the range reads as zeroes afterwards */
    IO_CACHE,   /* a hint: the range will be read soon; returns no data */
    IO_EXTENTS, /* which parts of the range are allocated */
};

enum io_flags {
    IO_FUA = 1 << 0,       /* WRITE, TRIM, ZERO: stable before done */
    IO_PREFETCH = 1 << 1,  /* READ: speculative; every demand read overtakes it (until source_promote()) */
    IO_PROMOTED = 1 << 4,  /* READ: was speculative; whoever waits for the io asks again if it fails */
    IO_ASIDE = 1 << 5,     /* READ: not the host's: nothing is learned of how it boots */
    IO_NO_HOLE = 1 << 2,   /* ZERO: keep the range allocated */
    IO_FAST_ZERO = 1 << 3, /* ZERO: fail with ENOTSUP if it would be as slow as a write */
};

/* One run of an IO_EXTENTS answer; `flags` as base:allocation of the NBD
 * protocol has them (doc/proto.md, "Metadata querying"). */
enum { EXTENT_HOLE = 1, EXTENT_ZERO = 2 };
struct io_extent {
    uint32_t length, flags;
};

struct io {
    enum io_op op;
    unsigned flags;
    uint64_t offset; /* bytes */
    uint32_t length; /* bytes */

    /* READ: empty when submitted; at done with status 0 it holds exactly
     * `length` bytes. WRITE: set by the caller. The caller clears it. */
    struct slices data;

    /* EXTENTS: the caller's array, its capacity, and at done how many are set.
     * They cover the range from its start, perhaps not to its end. */
    struct io_extent *extents;
    uint32_t extent_capacity, extent_count;

    /* When the host asked (loop time, ms), wherever the request has waited since: deadlines are counted from it. Set by
     * the first source_submit(); an io that is made for the sake of another one gets that one's. 0: nobody waits. */
    uint64_t since;

    int status; /* valid in done: 0, or a negative errno */
    void (*done)(struct io *io);

    /* READ: a caller that can use the beginning before the rest is there sets both, and may change `part_at` until
     * `done`. A source that is able to calls `part` from the loop, before `done`, once `part_at` bytes are there: the
     * first `ready` bytes of `data` (the source's) are final then. `part_at` 0: no call is wanted. */
    uint32_t part_at;
    void (*part)(struct io *io, const struct slices *data, uint32_t ready);

    /* The source's, while submitted. */
    struct link link;
    struct defer defer;
    unsigned failures;
};

void io_init(struct io *io, enum io_op op, uint64_t offset, uint32_t length, void (*done)(struct io *io));

/* For sources: the io is speculative no more. */
void io_promote(struct io *io);
/* For sources. io_finish() calls `done` at once and so may only be used from a callback of the loop, never inside
 * submit; io_finish_later() defers the call. Both drop a failed read's data. */
void io_finish(struct io *io, int status);
void io_finish_later(uv_loop_t *loop, struct io *io, int status);

#endif
