/* The overlay's store: what a later process finds in it, after the last one was
 * closed or killed, or the power went; and what is not taken for one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "block/overlay_format.h"
#include "overlay_rig.h"

#define BLOCK  4096u
#define BLOCKS ((RIG_SIZE + BLOCK - 1) / BLOCK)

/* --- what lasts --- */

/* Killed again and again in mid-flight: every answered write is there. */
static void a_killed_process_loses_no_answered_write(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 8; seed++) {
        struct rig rig;
        srandom(seed);
        rig_begin(&rig, BLOCKS);
        for (int life = 0; life < 6; life++) {
            assert_int_equal(rig_open(&rig), 0);
            rig_check(&rig, false);
            rig_run_random(&rig, (int)(random() % 60));
            rig_kill(&rig);
        }
        assert_int_equal(rig_open(&rig), 0);
        rig_check(&rig, false);
        rig_end(&rig);
    }
}

/* The power goes in mid-flight; each time the machine has booted anew. */
static void what_was_flushed_outlasts_the_power(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 12; seed++) {
        struct rig rig;
        char boot[32];
        srandom(seed);
        rig_begin(&rig, BLOCKS);
        rig.options.boot_id = boot;
        for (int life = 0; life < 8; life++) {
            snprintf(boot, sizeof boot, "boot %d", life);
            assert_int_equal(rig_open(&rig), 0);
            rig_check(&rig, true);
            rig_run_random(&rig, (int)(random() % 60));
            rig_cut(&rig);
        }
        rig.options.boot_id = "the last boot";
        assert_int_equal(rig_open(&rig), 0);
        rig_check(&rig, true);
        rig_end(&rig);
    }
}

/* Kills and losses of power in any order: an entry that one boot did not flush
 * must not come back in a later one. */
static void kills_and_cuts_may_alternate(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 16; seed++) {
        struct rig rig;
        char boot[32] = "boot";
        int boots = 0;
        bool cut = false;
        srandom(seed);
        rig_begin(&rig, BLOCKS);
        rig.options.boot_id = boot;
        for (int life = 0; life < 10; life++) {
            assert_int_equal(rig_open(&rig), 0);
            rig_check(&rig, cut);
            rig_run_random(&rig, (int)(random() % 30));
            cut = random() % 2;
            if (cut) {
                rig_cut(&rig);
                snprintf(boot, sizeof boot, "boot %d", boots++);
            } else {
                rig_kill(&rig);
            }
        }
        assert_int_equal(rig_open(&rig), 0);
        rig_check(&rig, cut);
        rig_end(&rig);
    }
}

/* With errors of the store on top: a slot's entry that failed, or was written
 * though its write failed, must not lead to another block's data. */
static void errors_do_not_mix_up_the_store(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 12; seed++) {
        struct rig rig;
        srandom(seed);
        rig_begin(&rig, BLOCKS);
        for (int life = 0; life < 5; life++) {
            assert_int_equal(rig_open(&rig), 0);
            rig_check(&rig, false);
            rig.may_fail = true;
            rig.disk.fail_writes = 25;
            rig_run_random(&rig, 50);
            rig.disk.fail_writes = 0;
            rig_kill(&rig);
        }
        assert_int_equal(rig_open(&rig), 0);
        rig_check(&rig, false);
        rig_end(&rig);
    }
}

/* Power that goes while an empty store is being set up, or before its first
 * flush, leaves one that opens. */
static void the_power_may_go_while_opening(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 40; turns++) {
        struct rig rig;
        srandom(turns);
        rig_begin(&rig, BLOCKS);
        rig_start(&rig);
        for (unsigned i = 0; i < turns; i++)
            rig_turn(&rig);
        for (uint64_t block = 0; rig.opened && block < 20; block += 2)
            rig_do(&rig, IO_WRITE, 0, block * BLOCK, BLOCK);
        rig_cut(&rig);
        rig.options.boot_id = "another boot";
        assert_int_equal(rig_open(&rig), 0);
        rig_check(&rig, true);
        rig_end(&rig);
    }
}

static void an_unknown_boot_counts_as_another(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig, BLOCKS);
    rig.options.boot_id = NULL;
    assert_int_equal(rig_open(&rig), 0);
    rig_do(&rig, IO_WRITE, IO_FUA, 0, BLOCK);
    rig_do(&rig, IO_WRITE, 0, BLOCK, BLOCK);
    rig_kill(&rig);
    assert_int_equal(rig_open(&rig), 0);
    struct overlay_usage usage;
    overlay_source_used(rig.overlay, &usage);
    assert_int_equal(usage.used, BLOCK);
    rig_check(&rig, true);
    rig_end(&rig);
}

static void closing_may_flush(void **state)
{
    (void)state;
    for (int sync = 0; sync < 2; sync++) {
        struct rig rig;
        struct overlay_usage usage;
        rig_begin(&rig, BLOCKS);
        rig.options.sync_at_close = sync;
        assert_int_equal(rig_open(&rig), 0);
        rig_do(&rig, IO_WRITE, 0, 0, 5 * BLOCK);
        unsigned flushes = rig.disk.flushes;
        rig_close(&rig);
        assert_int_equal(rig.disk.flushes - flushes, sync ? 2 : 0);
        rig.flushed = sync ? rig.clock : 0;
        disk_cut(&rig.disk);
        rig.options.boot_id = "boot 2";
        assert_int_equal(rig_open(&rig), 0);
        overlay_source_used(rig.overlay, &usage);
        assert_int_equal(usage.used, sync ? 5 * BLOCK : 0);
        rig_check(&rig, true);
        flushes = rig.disk.flushes;
        rig_close(&rig);
        assert_int_equal(rig.disk.flushes, flushes); /* nothing to flush */
        rig_end(&rig);
    }
}

/* A flush that fails leaves nothing that a later one could promise (fsync(2)). */
static void a_failed_flush_is_not_forgotten(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin_open(&rig, BLOCKS);
    rig_do(&rig, IO_WRITE, 0, 0, BLOCK);
    rig.may_fail = true;
    rig.disk.fail_flushes = 100;
    assert_int_equal(rig_do(&rig, IO_FLUSH, 0, 0, 0), -EIO);
    rig.disk.fail_flushes = 0;
    assert_int_equal(rig_do(&rig, IO_FLUSH, 0, 0, 0), -EIO);
    assert_int_equal(rig_do(&rig, IO_WRITE, IO_FUA, 0, BLOCK), -EIO);
    assert_int_equal(rig_do(&rig, IO_WRITE, 0, 0, BLOCK), 0);
    rig_check(&rig, false);
    rig_end(&rig);
}

/* Who comes while a flush is under way waits for the next, all together. */
static void flushes_join(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin_open(&rig, BLOCKS);
    rig_do(&rig, IO_WRITE, 0, 0, BLOCK);
    unsigned before = rig.disk.flushes;
    for (int i = 0; i < 20; i++)
        rig_submit(&rig, IO_FLUSH, 0, 0, 0);
    rig_wait(&rig);
    assert_int_equal(rig.disk.flushes - before, 3); /* data and header; then nothing new for the header */
    rig_end(&rig);
}

/* --- what is refused --- */

/* A store with some changes in it, and nothing open. */
static void prepare(struct rig *rig)
{
    srandom(1);
    rig_begin(rig, BLOCKS);
    rig->disk.delay_max = rig->lower_options.delay_max = 0;
    assert_int_equal(rig_open(rig), 0);
    rig_do(rig, IO_WRITE, 0, 5 * BLOCK, 3 * BLOCK);
    rig_do(rig, IO_WRITE, IO_FUA, 50 * BLOCK, 1);
    rig_close(rig);
}

/* It does not open, says why, and nothing was written. */
static void assert_refused(struct rig *rig, int status, const char *words)
{
    unsigned writes = rig->disk.writes;
    assert_int_equal(rig_open(rig), status);
    rig_close(rig);
    assert_non_null(strstr(rig->error, "overlay: disk: "));
    if (!strstr(rig->error, words))
        fail_msg("\"%s\" does not say \"%s\"", rig->error, words);
    assert_int_equal(rig->disk.writes, writes);
}

static void assert_opens(struct rig *rig)
{
    assert_int_equal(rig_open(rig), 0);
    rig_check(rig, false);
    rig_close(rig);
}

static void any_changed_byte_of_the_header_is_noticed(void **state)
{
    (void)state;
    struct rig rig;
    prepare(&rig);
    for (uint32_t at = 0; at < OVERLAY_HEADER; at++) {
        struct overlay_header header;
        unsigned char change = (unsigned char)(1u << at % 8);
        rig.disk.now[at] ^= change;
        assert_int_not_equal(overlay_format_decode(rig.disk.now, &header), OVERLAY_GOOD);
        if (at < 8)
            assert_refused(&rig, -EEXIST, "not an overlay");
        else if (at < 12)
            assert_refused(&rig, -EUCLEAN, "another version");
        else
            assert_refused(&rig, -EUCLEAN, "damaged");
        rig.disk.now[at] ^= change;
    }
    assert_opens(&rig);
    rig_end(&rig);
}

static void set_entry(struct rig *rig, uint32_t slot, uint64_t entry)
{
    memcpy(rig->disk.now + overlay_format_index(slot), &entry, sizeof entry);
}

static uint64_t get_entry(const struct rig *rig, uint32_t slot)
{
    uint64_t entry;
    memcpy(&entry, rig->disk.now + overlay_format_index(slot), sizeof entry);
    return entry;
}

static void a_damaged_index_is_refused(void **state)
{
    (void)state;
    struct rig rig;
    prepare(&rig);
    uint64_t entry = get_entry(&rig, 1);
    assert_int_equal(overlay_entry_block(entry), 6);
    const uint64_t bad[] = {
        overlay_format_entry(BLOCKS, 1),            /* past the image's end */
        overlay_format_entry(5, 1),                 /* slot 0 has it */
        overlay_format_entry(6, 0),                 /* of no epoch */
        overlay_format_entry(6, OVERLAY_EPOCH_MAX), /* none could follow */
        UINT64_MAX,
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        set_entry(&rig, 1, bad[i]);
        assert_refused(&rig, -EUCLEAN, "damaged (entry 1");
    }
    set_entry(&rig, 1, entry);
    assert_opens(&rig);
    rig_end(&rig);
}

/* After a loss of power what was not flushed may be anything: it is cleared, not refused. */
static void rubbish_that_was_not_flushed_is_cleared(void **state)
{
    (void)state;
    struct rig rig;
    prepare(&rig);
    set_entry(&rig, 100, overlay_format_entry(5, 1000));      /* slot 0 has it */
    set_entry(&rig, 7, overlay_format_entry(1u << 30, 1000)); /* past the end */
    rig.options.boot_id = "boot 2";
    assert_opens(&rig);
    assert_int_equal(get_entry(&rig, 100), 0);
    assert_int_equal(get_entry(&rig, 7), 0);
    assert_int_equal(overlay_entry_block(get_entry(&rig, 1)), 6);
    assert_opens(&rig); /* under the new boot id, where it would count */
    rig_end(&rig);
}

static void an_overlay_of_another_image_is_refused(void **state)
{
    (void)state;
    struct rig rig;
    prepare(&rig);
    rig.lower_options.identity = "another";
    assert_refused(&rig, -EEXIST, "insert that image, or remove the overlay");
    rig.lower_options.identity = "";
    assert_refused(&rig, -EEXIST, "insert that image, or remove the overlay");
    rig.lower_options.identity = "lower";
    rig.lower_options.size = RIG_SIZE - 1;
    assert_refused(&rig, -EEXIST, "of another image (of 1049810 bytes, this one has 1049809)");
    rig.lower_options.size = RIG_SIZE;
    assert_opens(&rig);
    rig_end(&rig);
}

static void a_store_cut_short_is_refused(void **state)
{
    (void)state;
    struct rig rig;
    prepare(&rig);
    uint64_t size = rig.disk.size;
    rig.disk.size -= DISK_SECTOR;
    assert_refused(&rig, -EUCLEAN, "cut short");
    rig.disk.size = BLOCK;
    assert_refused(&rig, -ENOSPC, "too small");
    rig.disk.size = size;
    assert_opens(&rig);
    rig_end(&rig);
}

/* Some image or document that was named by mistake is left alone. */
static void foreign_content_is_refused(void **state)
{
    (void)state;
    struct rig rig;
    const uint64_t places[] = {0, 100, BLOCK - 1, BLOCK, 2 * BLOCK + 17, 32768, (1 << 20) - 1};
    rig_begin(&rig, BLOCKS);
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
        rig.disk.now[places[i]] = 1;
        assert_refused(&rig, -EEXIST, places[i] < BLOCK ? "it is not an overlay" : "it is not empty");
        rig.disk.now[places[i]] = 0;
    }
    assert_opens(&rig);
    rig_end(&rig);
}

/* --- sizes --- */

static void the_store_holds_what_it_promises(void **state)
{
    (void)state;
    const uint64_t bytes[] = {1, 4096, 4097, 511 * 4096, 512 * 4096, 513 * 4096, 1 << 30, 1ull << 40, 1ull << 60};
    for (unsigned i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        uint64_t size = overlay_store_size(bytes[i]), slots = (bytes[i] + BLOCK - 1) / BLOCK;
        slots = slots < OVERLAY_SLOTS_MAX ? slots : OVERLAY_SLOTS_MAX;
        uint32_t capacity = overlay_format_capacity(size);
        assert_int_equal(capacity, slots);
        assert_int_equal(overlay_format_size(capacity), size);
        assert_int_equal(overlay_format_data(capacity) % BLOCK, 0);
        assert_true(overlay_format_capacity(size - 1) < capacity);
    }
    for (uint64_t size = 0; size < 5 << 20; size += 1111) {
        uint32_t capacity = overlay_format_capacity(size);
        assert_true(capacity == 0 || overlay_format_size(capacity) <= size);
        assert_true(overlay_format_size(capacity + 1) > size);
    }
}

/* An index of several pieces, with entries at the edges of each; the header and
 * entries are made here. */
static void an_index_of_many_pieces_is_read(void **state)
{
    (void)state;
    struct rig rig;
    const uint32_t capacity = 70000, slots[] = {0, 32767, 32768, 65535, 65536, 69999}, stale[] = {1, 32766, 69998};
    rig_begin(&rig, capacity);
    rig.disk.delay_max = 0;
    assert_int_equal(rig_open(&rig), 0);
    rig_do(&rig, IO_WRITE, IO_FUA, 0, BLOCK);
    rig_close(&rig);
    for (unsigned i = 1; i < 6; i++) {
        set_entry(&rig, slots[i], overlay_format_entry(slots[i] % BLOCKS + i, 1));
        rig.disk.now[overlay_format_data(capacity) + (uint64_t)slots[i] * BLOCK] = (unsigned char)i;
    }
    for (unsigned i = 0; i < 3; i++)
        set_entry(&rig, stale[i], overlay_format_entry(200 + i, 9));
    for (unsigned i = 1; i < 6; i++) {
        uint64_t at = (slots[i] % BLOCKS + i) * (uint64_t)BLOCK;
        memset(rig.base + at, 0, at + BLOCK > RIG_SIZE ? RIG_SIZE - at : BLOCK);
        rig.base[at] = (unsigned char)i;
    }
    rig.options.boot_id = "boot 2";
    assert_opens(&rig);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(get_entry(&rig, stale[i]), 0);
    assert_int_equal(rig_open(&rig), 0);
    struct overlay_usage usage;
    overlay_source_used(rig.overlay, &usage);
    assert_int_equal(usage.used, 6 * BLOCK);
    rig_check(&rig, false);
    rig_do(&rig, IO_WRITE, 0, 150 * BLOCK, BLOCK); /* goes to a slot between them */
    assert_int_equal(overlay_entry_block(get_entry(&rig, 1)), 150);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_process_loses_no_answered_write),
        cmocka_unit_test(what_was_flushed_outlasts_the_power),
        cmocka_unit_test(kills_and_cuts_may_alternate),
        cmocka_unit_test(errors_do_not_mix_up_the_store),
        cmocka_unit_test(the_power_may_go_while_opening),
        cmocka_unit_test(an_unknown_boot_counts_as_another),
        cmocka_unit_test(closing_may_flush),
        cmocka_unit_test(a_failed_flush_is_not_forgotten),
        cmocka_unit_test(flushes_join),
        cmocka_unit_test(any_changed_byte_of_the_header_is_noticed),
        cmocka_unit_test(a_damaged_index_is_refused),
        cmocka_unit_test(rubbish_that_was_not_flushed_is_cleared),
        cmocka_unit_test(an_overlay_of_another_image_is_refused),
        cmocka_unit_test(a_store_cut_short_is_refused),
        cmocka_unit_test(foreign_content_is_refused),
        cmocka_unit_test(the_store_holds_what_it_promises),
        cmocka_unit_test(an_index_of_many_pieces_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
