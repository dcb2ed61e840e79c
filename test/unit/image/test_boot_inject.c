/* Images that xorriso and mtools made, given arguments while they are read: the contract, what it costs, and damage. What
 * the changed images are worth to others is in test/system/test_kernel_args.py. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../block/by_hand.h"
#include "../block/contract.h"
#include "../block/fake_source.h"
#include "../cmocka_all.h"
#include "base/text.h"
#include "image/boot_inject.h"
#include "image/boot_plan.h"

#define ARGUMENTS "console=ttyS0,115200 mark=4711"

/* disc.iso: GRUB's and isolinux's configurations, one of which will not fit its block any more, one in a FAT image of El
 * Torito that needs another cluster, an entry of systemd-boot, and 300 folders that nobody has to look into. */
static const char script[] =
    "set -e; cd \"$1\"; command -v xorriso mformat mcopy >/dev/null || exit 77\n"
    "mkdir -p disc/boot/grub disc/isolinux disc/loader/entries disc/EFI/BOOT disc/pool\n"
    "for i in $(seq 300); do mkdir disc/pool/$i; done\n"
    "{ printf 'menuentry a {\\n linux /k quiet\\n}\\n'; head -c 2000 /dev/zero | tr '\\0' x; } >disc/boot/grub/grub.cfg\n"
    "printf 'label a\\n kernel /k\\n append y\\n' >disc/isolinux/isolinux.cfg\n"
    "printf 'linux /k\\noptions y\\n' >disc/loader/entries/a.conf\n"
    "{ printf 'linux /k\\n'; head -c 500 /dev/zero | tr '\\0' x; } >efi.cfg\n"
    "head -c 2048 /dev/zero >disc/isolinux/isolinux.bin\n"
    "mformat -C -i disc/boot/efi.img -f 160 -c 1 :: && mmd -i disc/boot/efi.img ::/EFI ::/EFI/BOOT\n"
    "mcopy -i disc/boot/efi.img efi.cfg ::/EFI/BOOT/grub.cfg\n"
    "xorriso -as mkisofs -quiet -o disc.iso -J -R -c isolinux/boot.cat -b isolinux/isolinux.bin -no-emul-boot"
    " -boot-load-size 4 -eltorito-alt-boot -e boot/efi.img -no-emul-boot disc >log 2>&1\n";

static const struct boot_wish wish = {.arguments = ARGUMENTS};

static unsigned char *image;
static size_t image_size;

static int make_disc(void **state)
{
    (void)state;
    char place[] = "/tmp/np-image-XXXXXX", path[64], command[sizeof script + 128];
    struct stat info;
    if (!mkdtemp(place))
        return -1;
    FILE *file;
    snprintf(path, sizeof path, "%s/make", place);
    file = fopen(path, "w");
    fputs(script, file);
    fclose(file);
    snprintf(command, sizeof command, "sh %s %s", path, place);
    int made = system(command);
    snprintf(path, sizeof path, "%s/disc.iso", place);
    file = made == 0 ? fopen(path, "rb") : NULL;
    if (file && fstat(fileno(file), &info) == 0) {
        image_size = (size_t)info.st_size;
        image = malloc(image_size);
        image_size = fread(image, 1, image_size, file);
    }
    if (file)
        fclose(file);
    snprintf(command, sizeof command, "rm -rf %s", place);
    if (system(command) != 0)
        return -1;
    if (!image)
        print_message("skipped: there is no xorriso or no mtools\n");
    return made == 0 || made == 77 << 8 ? 0 : -1;
}

static int free_disc(void **state)
{
    (void)state;
    free(image);
    return 0;
}

static void need_disc(void)
{
    if (!image)
        skip();
}

/* --- a source --- */

static struct fake_stats stats;

static struct source *make_injected(uv_loop_t *loop, void *context, void *arg)
{
    (void)context;
    (void)arg;
    struct fake_options options = {image, image_size, false, 4, 0, "it", 8, false};
    memset(&stats, 0, sizeof stats);
    return inject_source_new(fake_source_new(loop, &options, &stats), boot_inject_new(loop, &wish, NULL, &(struct boot_inject_files){0}));
}

static struct source *open_injected(uv_loop_t *loop)
{
    test_loop_begin(loop);
    struct source *source = make_injected(loop, NULL, NULL);
    assert_int_equal(by_hand_open(loop, source), 0);
    return source;
}

static unsigned char *read_all(uv_loop_t *loop, struct source *source)
{
    unsigned char *copy = malloc(source->size);
    struct io io;
    by_hand_io(&io, IO_READ, 0, (uint32_t)source->size);
    assert_int_equal(by_hand_ask(loop, source, &io), 0);
    slices_copy_out(&io.data, 0, copy, io.length);
    slices_clear(&io.data);
    return copy;
}

static unsigned count_text(const unsigned char *bytes, size_t size, const char *text)
{
    unsigned count = 0;
    for (const unsigned char *p = bytes; (p = memmem(p, size - (size_t)(p - bytes), text, strlen(text))) != NULL; p++)
        count++;
    return count;
}

static void a_changed_image_keeps_the_contract(void **state)
{
    (void)state;
    uv_loop_t loop;
    need_disc();
    struct source *source = open_injected(&loop);
    struct contract contract = {.content = read_all(&loop, source), .size = source->size, .make = make_injected};
    source_close(source);
    test_loop_end(&loop);
    contract_check(&contract);
    free((void *)(uintptr_t)contract.content);
}

static void every_configuration_is_changed(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct boot_injected told;
    need_disc();
    struct source *source = open_injected(&loop);
    boot_inject_told(inject_source_planner(source), &told);
    assert_int_equal(told.files, 4);
    assert_int_equal(told.kernels, 4);
    assert_string_equal(told.warnings, "");
    assert_int_equal(source->size, (image_size + 2047) / 2048 * 2048 + (2 + 150) * 2048); /* one needs two blocks now; padding */
    unsigned char *content = read_all(&loop, source);
    assert_int_equal(count_text(content, source->size, "linux /k quiet " ARGUMENTS "\n"), 1);
    assert_int_equal(count_text(content, source->size, "append y " ARGUMENTS "\n"), 1);
    assert_int_equal(count_text(content, source->size, "options y " ARGUMENTS "\n"), 1);
    assert_int_equal(count_text(content, source->size, "linux /k " ARGUMENTS "\n"), 1);
    free(content);
    source_close(source);
    test_loop_end(&loop);
}

/* In the heap, as far as the C library tells it (not with sanitizers). */
static size_t memory_held(void)
{
#ifdef __GLIBC__
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
#else
    return 0;
#endif
}

/* Here all directories that are looked at, and all files, make a dozen ranges: what lies near is read at once. */
static void it_takes_few_reads(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct boot_injected told;
    need_disc();
    size_t before = memory_held();
    struct source *source = open_injected(&loop);
    assert_true(memory_held() - before < 64 << 10); /* while it is open: what was read is let go of */
    boot_inject_told(inject_source_planner(source), &told);
    assert_int_equal(told.reads, stats.reads);
    assert_true(told.reads <= 12);
    assert_true(stats.read_bytes < VIEW_HELD_MAX / 2);
    source_close(source);
    test_loop_end(&loop);
}

/* --- damage --- */

static void give(struct boot_plan *plan, const unsigned char *bytes)
{
    struct view_range missing[VIEW_MISSING_MAX];
    unsigned count = plan->view.missing_count;
    memcpy(missing, plan->view.missing, sizeof missing);
    for (unsigned i = 0; i < count; i++) {
        unsigned char *copy = mem_alloc(missing[i].length);
        memcpy(copy, bytes + missing[i].offset, missing[i].length);
        view_add(&plan->view, &missing[i], copy);
    }
}

/* A plan of the image's first `size` bytes: 0 or -EINVAL with the reason. */
static int plan_of(const unsigned char *bytes, size_t size, char error[VIEW_ERROR_MAX])
{
    struct boot_plan plan;
    int status;
    boot_plan_init(&plan, size, &wish);
    while ((status = boot_plan_run(&plan)) == -EAGAIN)
        give(&plan, bytes);
    memcpy(error, plan.view.error, VIEW_ERROR_MAX);
    assert_true((status == 0) == !*error);
    boot_plan_clear(&plan);
    return status;
}

static void an_image_that_ends_early_is_an_error(void **state)
{
    (void)state;
    char error[VIEW_ERROR_MAX];
    need_disc();
    assert_int_equal(plan_of(image, image_size, error), 0);
    for (size_t size = 0; size < image_size; size += 2048 * 7 + 1) {
        int status = plan_of(image, size, error);
        assert_true(status == 0 || status == -EINVAL);
    }
    assert_int_equal(plan_of(image, 100000, error), -EINVAL);
    assert_non_null(strstr(error, "behind its end"));
}

static void an_image_without_configurations_says_what_was_looked_for(void **state)
{
    (void)state;
    char error[VIEW_ERROR_MAX];
    unsigned char *zeroes = calloc(1, 1 << 20);
    assert_int_equal(plan_of(zeroes, 1 << 20, error), -EINVAL);
    assert_non_null(strstr(error, "looked for: grub.cfg"));
    assert_int_equal(plan_of(zeroes, 0, error), -EINVAL);
    free(zeroes);
}

/* The metadata's bytes are changed at random: an error, or another plan, but nothing worse. */
static void damage_is_an_error_at_worst(void **state)
{
    (void)state;
    char error[VIEW_ERROR_MAX];
    need_disc();
    for (int i = 0; i < 3000; i++) {
        size_t at[4];
        unsigned char was[4];
        for (int j = 0; j < 4; j++) {
            at[j] = 32768 + (size_t)random() % (image_size - 32768);
            if (i % 2)
                at[j] = 32768 + (size_t)random() % 30000;
            was[j] = image[at[j]];
            image[at[j]] = (unsigned char)random();
        }
        plan_of(image, image_size, error);
        for (int j = 3; j >= 0; j--)
            image[at[j]] = was[j];
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_changed_image_keeps_the_contract),
        cmocka_unit_test(every_configuration_is_changed),
        cmocka_unit_test(it_takes_few_reads),
        cmocka_unit_test(an_image_that_ends_early_is_an_error),
        cmocka_unit_test(an_image_without_configurations_says_what_was_looked_for),
        cmocka_unit_test(damage_is_an_error_at_worst),
    };
    return cmocka_run_group_tests(tests, make_disc, free_disc);
}
