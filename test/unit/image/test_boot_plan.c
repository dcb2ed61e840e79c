/* Plans for ISO 9660 images that are made byte by byte here, since no tool makes such: rings of folders, one file of many
 * names, and what is too much. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "base/text.h"
#include "image/boot_plan.h"
#include "image/numbers.h"

#define ROOT 18u   /* blocks: the directory of ISO 9660, and behind it that of Joliet */
#define JOLIET 150u
#define FILES 160u
#define BLOCKS 240u
#define ROOT_MAX (JOLIET - ROOT)

static unsigned char *image;

static unsigned char *at_block(uint32_t block)
{
    return image + (size_t)block * ISO_BLOCK;
}

static void put_descriptor(uint32_t block, unsigned char type, uint32_t root, uint32_t root_blocks)
{
    unsigned char *d = at_block(block);
    d[0] = type;
    memcpy(d + 1, "CD001", 5);
    memcpy(d + 88, type == 2 ? "%/E" : "   ", 3);
    put_both32(d + 80, BLOCKS);
    put_little16(d + 128, ISO_BLOCK);
    put_both32(d + 158, root);
    put_both32(d + 166, root_blocks * ISO_BLOCK);
}

static int begin(void **state)
{
    (void)state;
    image = calloc(BLOCKS, ISO_BLOCK);
    put_descriptor(16, 1, ROOT, 1);
    put_descriptor(17, 255, 0, 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    free(image);
    return 0;
}

/* Its size in the directory; `n` bytes of name. */
static uint32_t put_record(unsigned char *record, const char *name, unsigned n, uint32_t block, uint32_t length, bool directory)
{
    uint32_t size = (33 + n + 1) / 2 * 2;
    record[0] = (unsigned char)size;
    put_both32(record + 2, block);
    put_both32(record + 10, length);
    record[25] = directory ? 2 : 0;
    record[32] = (unsigned char)n;
    memcpy(record + 33, name, n);
    return size;
}

struct named {
    const char *name;
    uint32_t block, length;
};

/* In the root directory of either. */
static void put_files(uint32_t root, const struct named *files)
{
    uint32_t at = 0;
    for (; files->name; files++) {
        char name[64] = "";
        unsigned n = (unsigned)strlen(files->name);
        for (unsigned i = 0; i < n; i++)
            name[root == JOLIET ? 2 * i + 1 : i] = files->name[i];
        at += put_record(at_block(root) + at, name, root == JOLIET ? 2 * n : n, files->block, files->length, false);
    }
}

static uint32_t put_text(uint32_t block, const char *text)
{
    memcpy(at_block(block), text, strlen(text));
    return (uint32_t)strlen(text);
}

static void give(struct view *view)
{
    struct view_range missing[VIEW_MISSING_MAX];
    unsigned count = view->missing_count;
    memcpy(missing, view->missing, sizeof missing);
    for (unsigned i = 0; i < count; i++) {
        unsigned char *copy = mem_alloc(missing[i].length);
        memcpy(copy, image + missing[i].offset, missing[i].length);
        view_add(view, &missing[i], copy);
    }
}

/* The plan is for boot_plan_clear(). */
static int run(struct boot_plan *plan, const struct boot_wish *wish)
{
    int status;
    boot_plan_init(plan, BLOCKS * ISO_BLOCK, wish);
    while ((status = boot_plan_run(plan)) == -EAGAIN)
        give(&plan->view);
    return status;
}

static void check_refused(const struct boot_wish *wish, const char *why)
{
    struct boot_plan plan;
    assert_int_equal(run(&plan, wish), -EINVAL);
    if (!strstr(plan.view.error, why))
        fail_msg("%s", plan.view.error);
    boot_plan_clear(&plan);
}

/* The bytes as they are to be. */
static void check_changed(struct boot_plan *plan, uint64_t offset, const void *bytes, uint32_t length)
{
    unsigned char now[64];
    assert_true(changes_read(&plan->changes, offset, now, length));
    assert_memory_equal(now, bytes, length);
}

static void check_length(struct boot_plan *plan, uint32_t root, uint32_t record, uint32_t length)
{
    unsigned char both[8];
    put_both32(both, length);
    check_changed(plan, (uint64_t)root * ISO_BLOCK + record + 10, both, sizeof both);
}

static const struct boot_wish arguments = {.arguments = "a=b"};

/* Each of the folders is there two thousand times, and is the root: the ways through three of them would be ten to the
 * tenth. */
static void folders_in_a_ring_are_no_way_without_end(void **state)
{
    (void)state;
    static const char *const names[] = {"ARCH", "BOOT", "SYSLINUX"};
    put_descriptor(16, 1, ROOT, 128);
    _Static_assert(ROOT_MAX >= 128, "the directory has room");
    for (uint32_t at = 0, i = 0; at < 128 * ISO_BLOCK; i++) {
        if (ISO_BLOCK - at % ISO_BLOCK < 42)
            at += ISO_BLOCK - at % ISO_BLOCK;
        else
            at += put_record(image + ROOT * ISO_BLOCK + at, names[i % 3], (unsigned)strlen(names[i % 3]), ROOT, 128 * ISO_BLOCK, true);
    }
    check_refused(&arguments, "too many entries");
}

static void a_text_that_would_grow_without_measure_is_refused(void **state)
{
    (void)state;
    char many[BOOT_ARGUMENTS_MAX + 1] = "";
    memset(many, 'x', BOOT_ARGUMENTS_MAX);
    for (uint32_t i = 0; i < 8000; i++)
        memcpy(at_block(FILES) + i * 8, "linux x\n", 8);
    put_files(ROOT, (const struct named[]){{"GRUB.CFG", FILES, 64000}, {0}});
    check_refused(&(struct boot_wish){.arguments = many}, "/GRUB.CFG would be larger than 512 KiB");
}

/* It had nothing but its mark. */
static void a_configuration_may_be_empty_then(void **state)
{
    (void)state;
    struct boot_plan plan;
    static const char mark[] = "menu default\n", text[] = "default x\nlabel a\n kernel k\ninclude txt.cfg\n";
    const uint32_t second = (33 + 12 + 1) / 2 * 2;
    put_files(ROOT, (const struct named[]){{"ISOLINUX.CFG", FILES, put_text(FILES, text)}, {"TXT.CFG", FILES + 1, put_text(FILES + 1, mark)}, {0}});
    assert_int_equal(run(&plan, &(struct boot_wish){.menu_default = "a"}), 0);
    assert_int_equal(plan.files, 2);
    check_length(&plan, ROOT, second, 0);
    check_changed(&plan, (FILES + 1) * ISO_BLOCK, (const char[sizeof mark]){0}, sizeof mark);
    boot_plan_clear(&plan);
}

/* --- files by their names --- */

static void run_named(const char *first, const char *second, const char *why)
{
    const struct file_changes changes = {
        .list = {{(char *)(uintptr_t)first, FILE_REPLACED, NULL, (char[]){"longer"}, 6},
                 {(char *)(uintptr_t)second, FILE_REPLACED, NULL, (char[]){"other"}, 5}},
        .count = second ? 2 : 1,
    };
    const struct boot_wish wish = {.files = &changes};
    struct boot_plan plan;
    if (why) {
        check_refused(&wish, why);
        return;
    }
    assert_int_equal(run(&plan, &wish), 0);
    assert_int_equal(plan.files, 1);
    check_changed(&plan, FILES * ISO_BLOCK, "longer", 6);
    check_length(&plan, ROOT, 0, 6);
    check_length(&plan, JOLIET, 0, 6);
    boot_plan_clear(&plan);
}

/* What reads by either has the file's new length: the names are not the same ones where one tree can't have them. */
static void a_file_is_changed_in_the_tree_that_calls_it_otherwise(void **state)
{
    (void)state;
    put_descriptor(17, 2, JOLIET, 1);
    put_text(FILES, "old");
    put_files(ROOT, (const struct named[]){{"AUTOINST.YAM", FILES, 3}, {0}});
    put_files(JOLIET, (const struct named[]){{"autoinstall.yaml", FILES, 3}, {0}});
    run_named("/autoinstall.yaml", NULL, NULL);
    run_named("/autoinst.yam", NULL, NULL);
}

static void one_file_can_not_have_two_contents(void **state)
{
    (void)state;
    put_text(FILES, "old");
    put_files(ROOT, (const struct named[]){{"A.TXT", FILES, 3}, {"B.TXT", FILES, 3}, {0}});
    run_named("/a.txt", "/b.txt", "/a.txt and /b.txt are one file");
}

/* A partition, which firmware boots from, is a file of the image too. */
static void a_partition_is_no_file_to_be_replaced(void **state)
{
    (void)state;
    unsigned char *entry = image + 446, *boot = at_block(FILES);
    entry[4] = 0xef;
    put_little32(entry + 8, FILES * 4);
    put_little32(entry + 12, 64);
    put_little16(image + 510, 0xaa55);
    put_little16(boot + 11, 512);
    boot[13] = 1;
    put_little16(boot + 14, 1);
    boot[16] = 1;
    put_little16(boot + 17, 16);
    put_little16(boot + 19, 64);
    put_little16(boot + 22, 1);
    put_little16(boot + 510, 0xaa55);
    put_files(ROOT, (const struct named[]){{"ESP.IMG", FILES, 64 * 512}, {0}});
    run_named("/esp.img", NULL, "/ESP.IMG is what the firmware boots");
}

static void a_star_is_no_pattern(void **state)
{
    (void)state;
    put_record(at_block(ROOT), "BOOT", 4, FILES, ISO_BLOCK, true);
    put_record(at_block(FILES), "A.TXT", 5, FILES + 1, 3, false);
    run_named("/*/a.txt", NULL, "no file /*/a.txt");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(folders_in_a_ring_are_no_way_without_end),
        TEST(a_text_that_would_grow_without_measure_is_refused),
        TEST(a_configuration_may_be_empty_then),
        TEST(a_file_is_changed_in_the_tree_that_calls_it_otherwise),
        TEST(one_file_can_not_have_two_contents),
        TEST(a_partition_is_no_file_to_be_replaced),
        TEST(a_star_is_no_pattern),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
