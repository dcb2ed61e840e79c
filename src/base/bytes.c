#include "base/bytes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/text.h"

#define BYTES_SPARE 64

static struct bytes *spare[BYTES_SPARE];
static unsigned spare_count;
#ifdef SANITIZED
static const unsigned spare_limit = 0; /* no spare pieces, so that a use after free is seen */
#else
static const unsigned spare_limit = BYTES_SPARE;
#endif

/* Maps all pages at once: a fault for each costs a slow processor more than filling them.
 * Kernels before 5.14 can't, and map them one by one. */
static void bytes_populate(struct bytes *bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)bytes->data & ~(page - 1);
    madvise((void *)begin, ((uintptr_t)bytes->data + BYTES_PIECE - begin) & ~(page - 1), MADV_POPULATE_WRITE);
}

static struct bytes *bytes_allocate(uint32_t length)
{
    if (length == BYTES_PIECE && spare_count > 0)
        return spare[--spare_count];
    /* Not mem_alloc(): zeroing what a peer is about to fill would cost a pass over it. */
    struct bytes *bytes = malloc(sizeof *bytes + length);
    if (!bytes)
        mem_exhausted();
    if (length == BYTES_PIECE)
        bytes_populate(bytes);
    return bytes;
}

static void bytes_free(struct bytes *bytes)
{
    if (bytes->length == BYTES_PIECE && spare_count < spare_limit)
        spare[spare_count++] = bytes;
    else
        free(bytes);
}

void bytes_keep_spare(uint64_t pieces)
{
    while (spare_count > pieces)
        free(spare[--spare_count]);
}

struct bytes *bytes_new(uint32_t length)
{
    struct bytes *bytes = bytes_allocate(length);
    bytes->refs = 1;
    bytes->length = length;
    bytes->budget = NULL;
    bytes->secret = false;
    return bytes;
}

struct bytes *bytes_ref(struct bytes *bytes)
{
    bytes->refs++;
    return bytes;
}

void bytes_unref(struct bytes *bytes)
{
    if (!bytes || --bytes->refs > 0)
        return;
    struct budget *budget = bytes->budget;
    uint32_t length = bytes->length;
    if (bytes->secret)
        explicit_bzero(bytes->data, length);
    bytes_free(bytes);
    if (!budget)
        return;
    budget->live -= length;
    if (budget->on_release)
        budget->on_release(budget);
}

void bytes_charge(struct bytes *bytes, struct budget *budget)
{
    assert(!bytes->budget);
    bytes->budget = budget;
    budget->live += bytes->length;
}

void slices_init(struct slices *list)
{
    list->v = list->few;
    list->count = 0;
    list->capacity = sizeof list->few / sizeof list->few[0];
    list->length = 0;
}

void slices_clear(struct slices *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        bytes_unref(list->v[i].bytes);
    if (list->v != list->few)
        free(list->v);
    slices_init(list);
}

static struct slice *slices_append(struct slices *list)
{
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity * 4;
        struct slice *few = list->v == list->few ? list->few : NULL;
        struct slice *v = mem_realloc(few ? NULL : list->v, capacity * sizeof *v);
        if (few)
            memcpy(v, few, list->count * sizeof *v);
        list->v = v;
        list->capacity = capacity;
    }
    return &list->v[list->count++];
}

void slices_add(struct slices *list, struct bytes *bytes, uint32_t offset, uint32_t length)
{
    if (length == 0)
        return;
    assert(offset <= bytes->length && length <= bytes->length - offset);
    list->length += length;
    if (list->count > 0) {
        struct slice *last = &list->v[list->count - 1];
        if (last->bytes == bytes && last->offset + last->length == offset) {
            last->length += length;
            return;
        }
    }
    *slices_append(list) = (struct slice){bytes_ref(bytes), offset, length};
}

void slices_alloc(struct slices *list, uint64_t length, uint32_t piece)
{
    while (length > 0) {
        uint32_t part = length < piece ? (uint32_t)length : piece;
        *slices_append(list) = (struct slice){bytes_new(part), 0, part};
        list->length += part;
        length -= part;
    }
}

void slices_take(struct slices *to, struct slices *from)
{
    for (uint32_t i = 0; i < from->count; i++)
        *slices_append(to) = from->v[i]; /* the reference moves along */
    to->length += from->length;
    if (from->v != from->few)
        free(from->v);
    slices_init(from);
}

void slices_add_part(struct slices *to, const struct slices *from, uint64_t offset, uint64_t length)
{
    assert(offset <= from->length && length <= from->length - offset);
    for (uint32_t i = 0; length > 0; i++) {
        const struct slice *s = &from->v[i];
        if (offset >= s->length) {
            offset -= s->length;
            continue;
        }
        uint32_t part = s->length - offset < length ? (uint32_t)(s->length - offset) : (uint32_t)length;
        slices_add(to, s->bytes, s->offset + (uint32_t)offset, part);
        length -= part;
        offset = 0;
    }
}

void slices_move(struct slices *to, struct slices *from, uint64_t length)
{
    uint32_t whole = 0;
    assert(length <= from->length);
    from->length -= length;
    while (whole < from->count && length >= from->v[whole].length) {
        struct slice *s = &from->v[whole++];
        length -= s->length;
        slices_add(to, s->bytes, s->offset, s->length);
        bytes_unref(s->bytes);
    }
    from->count -= whole;
    memmove(from->v, from->v + whole, from->count * sizeof *from->v);
    if (length == 0)
        return;
    struct slice *first = &from->v[0];
    slices_add(to, first->bytes, first->offset, (uint32_t)length);
    first->offset += (uint32_t)length;
    first->length -= (uint32_t)length;
}

void slices_add_copy(struct slices *list, const void *memory, uint32_t length)
{
    if (length == 0)
        return;
    struct bytes *bytes = bytes_new(length);
    memcpy(bytes->data, memory, length);
    slices_add(list, bytes, 0, length);
    bytes_unref(bytes);
}

enum copy_kind { COPY_OUT, COPY_IN, COPY_ZERO };

static void slices_copy(const struct slices *list, uint64_t offset, unsigned char *memory, uint64_t length,
                        enum copy_kind kind)
{
    assert(offset <= list->length && length <= list->length - offset);
    for (uint32_t i = 0; length > 0; i++) {
        const struct slice *s = &list->v[i];
        if (offset >= s->length) {
            offset -= s->length;
            continue;
        }
        size_t part = s->length - offset < length ? (size_t)(s->length - offset) : (size_t)length;
        unsigned char *here = slice_data(s) + offset;
        if (kind == COPY_ZERO)
            memset(here, 0, part);
        else if (kind == COPY_OUT)
            memcpy(memory, here, part);
        else
            memcpy(here, memory, part);
        if (memory)
            memory += part;
        length -= part;
        offset = 0;
    }
}

void slices_copy_out(const struct slices *list, uint64_t offset, void *to, size_t length)
{
    slices_copy(list, offset, to, length, COPY_OUT);
}

void slices_copy_in(struct slices *list, uint64_t offset, const void *from, size_t length)
{
    slices_copy(list, offset, (unsigned char *)(uintptr_t)from, length, COPY_IN);
}

void slices_zero(struct slices *list, uint64_t offset, uint64_t length)
{
    slices_copy(list, offset, NULL, length, COPY_ZERO);
}
