/*
 * Refcounted bytes, and slices of them. Everything else in the daemon has one
 * owner; only the bytes of an image are shared, between the cache and the
 * replies that are still being sent.
 *
 * A `struct bytes` may be charged to a `struct budget`: it then counts in
 * `budget->live` until its last reference goes, whoever holds that.
 * `budget->on_release` is called from inside that last bytes_unref(); it must
 * not free or submit anything itself, only take note (defer).
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The piece in which large buffers are made: small enough that one held piece
 * does not hold much, a multiple of every block size in use. */
#define BYTES_PIECE (256u << 10)
/* From this size on malloc() maps each piece by itself, so that a freed piece goes back
 * to the system. With a threshold that moves, as is the default, such pieces are kept in
 * the heap, where small ones break it up, and memory grows past every budget. */
#define BYTES_MAPPED (64u << 10)

struct budget {
    uint64_t live; /* bytes charged and not yet freed */
    void (*on_release)(struct budget *budget);
};

struct bytes {
    unsigned refs;
    uint32_t length;
    struct budget *budget; /* NULL: not charged */
    bool secret;           /* overwritten with the last reference; set by who made them */
    _Alignas(16) unsigned char data[];
};

struct slice {
    struct bytes *bytes;
    uint32_t offset, length;
};

/* An ordered list of slices; the list holds one reference for each slice. */
struct slices {
    struct slice *v; /* `few`, or a heap array */
    uint32_t count, capacity;
    uint64_t length; /* sum of the slices' lengths */
    struct slice few[2];
};

/* Uninitialised bytes with one reference. Never NULL: when there is no memory the process ends. */
struct bytes *bytes_new(uint32_t length);
struct bytes *bytes_ref(struct bytes *bytes);
void bytes_unref(struct bytes *bytes); /* NULL is allowed */
/* Freed pieces are kept for the next ones, since mapping a piece and touching its
 * pages anew costs more than filling it. Spare pieces count in no budget: whoever has a
 * budget says here how many may stay. */
void bytes_keep_spare(uint64_t pieces);
/* Charges bytes that are not charged yet. The budget must outlive them. */
void bytes_charge(struct bytes *bytes, struct budget *budget);

static inline unsigned char *slice_data(const struct slice *s)
{
    return s->bytes->data + s->offset;
}

void slices_init(struct slices *list);
/* Drops every slice; the list is empty and may be used again. */
void slices_clear(struct slices *list);
/* Appends a reference to part of `bytes` (takes a reference of its own). A
 * slice that continues the last one in the same bytes is merged with it. */
void slices_add(struct slices *list, struct bytes *bytes, uint32_t offset, uint32_t length);
/* Appends fresh bytes of `length` in pieces of at most `piece` bytes. */
void slices_alloc(struct slices *list, uint64_t length, uint32_t piece);
/* Moves all slices of `from` behind those of `to`. */
void slices_take(struct slices *to, struct slices *from);
/* Appends references to part of `from`; the range must lie inside it. */
void slices_add_part(struct slices *to, const struct slices *from, uint64_t offset, uint64_t length);
/* Moves the first `length` bytes of `from`, which has them, behind those of `to`. */
void slices_move(struct slices *to, struct slices *from, uint64_t length);
/* Appends a copy of memory, in bytes of its own. */
void slices_add_copy(struct slices *list, const void *memory, uint32_t length);
/* Copies out of, into, or zeroes the range; it must lie inside the list. */
void slices_copy_out(const struct slices *list, uint64_t offset, void *to, size_t length);
void slices_copy_in(struct slices *list, uint64_t offset, const void *from, size_t length);
void slices_zero(struct slices *list, uint64_t offset, uint64_t length);

#endif
