/*
 * The medium of a slot read beside the host, as the host sees it: with what it wrote. For who takes it home. Such reads
 * are in no statistics of the host's and no boot profile, and one that meets the eject fails.
 */
#ifndef SLOT_SLOT_READ_H
#define SLOT_SLOT_READ_H

#include "slot/slot.h"

#define SLOT_READ_MAX (256u << 10) /* bytes of one */

struct slot_read {
    uint64_t offset; /* set by the caller */
    uint32_t length;
    void (*done)(struct slot_read *read);

    int status;         /* -ENODEV: that medium is not in any more; or as the medium says */
    struct slices data; /* of `length` bytes, with status 0; the caller's */

    struct io io; /* private */
    struct defer defer;
};

/* The size of the medium that is in, and what tells it from the next; false: none is there to be read. */
bool slot_readable(const struct slot *slot, uint64_t *size, uint64_t *medium);
/* Reads within that size; not inside the call `done` comes. `slot` NULL: there is none any more. */
void slot_read(uv_loop_t *loop, struct slot *slot, uint64_t medium, struct slot_read *read);

#endif
