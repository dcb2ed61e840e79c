/* The padding: the contract, a model, and that the lower source sees no more
 * than it has. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "block/cache.h"
#include "block/memory.h"
#include "block/pad.h"
#include "by_hand.h"
#include "contract.h"
#include "fake_source.h"

#define SIZE     (300u * 1024 + 77)
#define MULTIPLE 4096u
#define PADDED   (304u * 1024)
#define MINIMUM  (1u << 20)

static unsigned char *content, *pristine; /* MINIMUM bytes; zeroes from SIZE on */
static struct fake_stats stats;

static void restore(void *arg)
{
    (void)arg;
    memcpy(content, pristine, MINIMUM);
}

static int make_content(void **state)
{
    (void)state;
    content = calloc(1, MINIMUM);
    pristine = calloc(1, MINIMUM);
    for (uint32_t i = 0; i < SIZE; i++)
        pristine[i] = (unsigned char)random();
    restore(NULL);
    return 0;
}

static int free_content(void **state)
{
    (void)state;
    free(content);
    free(pristine);
    return 0;
}

struct padding {
    bool writable, cached;
    uint32_t multiple;
    uint64_t minimum, size;
};

static struct source *make_pad(uv_loop_t *loop, void *context, void *arg)
{
    const struct padding *padding = arg;
    struct fake_options options = {content, SIZE, padding->writable, 5, 0, "it", 8, false};
    struct source *pad = pad_source_new(fake_source_new(loop, &options, &stats), padding->multiple, padding->minimum);
    return padding->cached ? cache_source_new(context, pad, true) : pad;
}

static void *begin_cache(uv_loop_t *loop, void *arg)
{
    (void)loop;
    return ((const struct padding *)arg)->cached ? cache_new(1 << 20, 64 << 10) : NULL;
}

static void end_cache(void *context, void *arg)
{
    (void)arg;
    if (context)
        cache_free(context); /* asserts that no memory is counted any more */
}

static void check(struct padding padding)
{
    struct contract contract = {.content = pristine,
                                .size = padding.size,
                                .writable = padding.writable,
                                .begin = begin_cache,
                                .end = end_cache,
                                .make = make_pad,
                                .restore = restore,
                                .arg = &padding};
    contract_check(&contract);
}

static void pad_keeps_the_contract(void **state)
{
    (void)state;
    for (int writable = 0; writable < 2; writable++) {
        check((struct padding){writable, false, 1, 0, SIZE}); /* nothing to pad */
        check((struct padding){writable, false, MULTIPLE, 0, PADDED});
        check((struct padding){writable, false, MULTIPLE, MINIMUM, MINIMUM});
        check((struct padding){writable, false, 512, SIZE + 1, (SIZE / 512 + 1) * 512});
        check((struct padding){writable, true, MULTIPLE, MINIMUM, MINIMUM}); /* under the cache */
    }
}

/* --- one at a time --- */

struct rig {
    uv_loop_t loop;
    struct source *pad;
};

static void rig_begin(struct rig *rig, struct source *lower, uint64_t minimum)
{
    rig->pad = pad_source_new(lower, MULTIPLE, minimum);
    assert_int_equal(by_hand_open(&rig->loop, rig->pad), 0);
}

static void rig_begin_fake(struct rig *rig, uint64_t minimum)
{
    struct fake_options options = {content, SIZE, true, 3, 0, "it", 8, false};
    memset(&stats, 0, sizeof stats);
    test_loop_begin(&rig->loop);
    rig_begin(rig, fake_source_new(&rig->loop, &options, &stats), minimum);
}

static void rig_end(struct rig *rig)
{
    source_close(rig->pad);
    test_loop_end(&rig->loop);
    restore(NULL);
}

static int perform(struct rig *rig, struct io *io)
{
    return by_hand_ask(&rig->loop, rig->pad, io);
}

/* Writes `length` bytes of `byte`, the last one of `last`. */
static int write_bytes(struct rig *rig, uint64_t offset, uint32_t length, int byte, int last)
{
    struct io io;
    unsigned char *bytes = malloc(length);
    memset(bytes, byte, length);
    bytes[length - 1] = (unsigned char)last;
    by_hand_io(&io, IO_WRITE, offset, length);
    slices_alloc(&io.data, length, 1000);
    slices_copy_in(&io.data, 0, bytes, length);
    int status = perform(rig, &io);
    slices_clear(&io.data);
    free(bytes);
    return status;
}

static void reads_never_go_past_the_end(void **state)
{
    (void)state;
    struct rig rig;
    struct io io;
    unsigned char *back = malloc(MINIMUM);
    rig_begin_fake(&rig, MINIMUM);
    assert_int_equal(rig.pad->size, MINIMUM);
    srandom(2);
    for (int round = 0; round < 300; round++) {
        uint64_t offset = (uint64_t)random() % MINIMUM;
        uint32_t length = 1 + (uint32_t)random() % 300000;
        length = offset + length > MINIMUM ? (uint32_t)(MINIMUM - offset) : length;
        uint64_t before = stats.read_bytes, inside = offset < SIZE ? SIZE - offset : 0;
        by_hand_io(&io, IO_READ, offset, length);
        assert_int_equal(perform(&rig, &io), 0); /* a source answers EINVAL past its end */
        slices_copy_out(&io.data, 0, back, length);
        assert_memory_equal(back, content + offset, length);
        slices_clear(&io.data);
        assert_int_equal(stats.read_bytes - before, length < inside ? length : inside);
    }
    rig_end(&rig);
    free(back);
}

static void the_padding_takes_zeroes_only(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin_fake(&rig, MINIMUM);
    assert_int_equal(write_bytes(&rig, SIZE - 1, 1, 7, 7), 0);
    assert_int_equal(content[SIZE - 1], 7);
    assert_int_equal(write_bytes(&rig, SIZE - 10, 20, 9, 0), -ENOSPC);
    assert_int_equal(content[SIZE - 10], pristine[SIZE - 10]); /* nothing of it */
    assert_int_equal(write_bytes(&rig, SIZE, 1, 1, 1), -ENOSPC);
    assert_int_equal(write_bytes(&rig, SIZE + 50000, 5000, 0, 1), -ENOSPC);
    assert_int_equal(write_bytes(&rig, SIZE - 5000, 10000, 0, 0), 0);
    assert_int_equal(content[SIZE - 5000] | content[SIZE - 1], 0);
    assert_int_equal(write_bytes(&rig, MINIMUM - 5000, 5000, 0, 0), 0);
    assert_int_equal(write_bytes(&rig, MINIMUM - 1, 2, 0, 0), -ENOSPC); /* past the padding */
    for (uint32_t i = SIZE; i < MINIMUM; i++)
        assert_int_equal(content[i], 0);
    rig_end(&rig);
}

static void other_requests_are_clipped(void **state)
{
    (void)state;
    struct rig rig;
    struct io io;
    const enum io_op ops[] = {IO_ZERO, IO_TRIM, IO_CACHE};
    rig_begin_fake(&rig, MINIMUM);
    for (unsigned i = 0; i < 3; i++) {
        by_hand_io(&io, ops[i], SIZE - 100, 5000);
        assert_int_equal(perform(&rig, &io), 0);
        by_hand_io(&io, ops[i], SIZE, MINIMUM - SIZE);
        assert_int_equal(perform(&rig, &io), 0);
    }
    assert_int_equal(content[SIZE - 1], 0);
    by_hand_io(&io, IO_FLUSH, 0, 0);
    assert_int_equal(perform(&rig, &io), 0);
    rig_end(&rig);
}

static void the_padding_is_a_hole(void **state)
{
    (void)state;
    struct rig rig;
    struct io io;
    struct io_extent extents[3];
    test_loop_begin(&rig.loop);
    rig_begin(&rig, memory_source_new(&rig.loop, "memory", SIZE), MINIMUM);
    by_hand_io(&io, IO_EXTENTS, SIZE - 100, 5000);
    io.extents = extents;
    io.extent_capacity = 3;
    assert_int_equal(perform(&rig, &io), 0);
    assert_int_equal(io.extent_count, 1);
    assert_int_equal(extents[0].length, 100);
    by_hand_io(&io, IO_EXTENTS, SIZE, 5000);
    io.extents = extents;
    io.extent_capacity = 3;
    assert_int_equal(perform(&rig, &io), 0);
    assert_int_equal(io.extent_count, 1);
    assert_int_equal(extents[0].length, 5000);
    assert_int_equal(extents[0].flags, EXTENT_HOLE | EXTENT_ZERO);
    rig_end(&rig);
}

/* Padded bytes are other bytes: a cache must not take one for the other. */
static void the_identity_tells_the_padding(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin_fake(&rig, 0);
    assert_int_equal(rig.pad->size, PADDED);
    assert_string_not_equal(rig.pad->identity, "it");
    rig_end(&rig);
    test_loop_begin(&rig.loop);
    struct fake_options options = {content, PADDED, false, 3, 0, "it", 8, false};
    rig_begin(&rig, fake_source_new(&rig.loop, &options, &stats), PADDED - 5);
    assert_int_equal(rig.pad->size, PADDED);
    assert_string_equal(rig.pad->identity, "it");
    rig_end(&rig);
}

static void errors_pass_through(void **state)
{
    (void)state;
    struct rig rig;
    struct io io;
    rig_begin_fake(&rig, MINIMUM);
    fake_source_fail(pad_source_lower(rig.pad), 100);
    by_hand_io(&io, IO_READ, SIZE - 100, 200);
    assert_int_equal(perform(&rig, &io), -EIO);
    assert_int_equal(io.data.length, 0);
    by_hand_io(&io, IO_READ, SIZE, 200);
    assert_int_equal(perform(&rig, &io), 0);
    slices_clear(&io.data);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pad_keeps_the_contract),        cmocka_unit_test(reads_never_go_past_the_end),
        cmocka_unit_test(the_padding_takes_zeroes_only), cmocka_unit_test(other_requests_are_clipped),
        cmocka_unit_test(the_padding_is_a_hole),         cmocka_unit_test(the_identity_tells_the_padding),
        cmocka_unit_test(errors_pass_through),
    };
    return cmocka_run_group_tests(tests, make_content, free_content);
}
