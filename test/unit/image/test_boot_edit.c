/* Boot configurations as text: what each syntax makes of further arguments, and what stays as it is. */
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "base/text.h"
#include "image/boot_edit.h"

/* NULL as `expected`: no line starts a kernel. */
static void check(enum boot_syntax syntax, const char *text, const char *arguments, const char *expected)
{
    size_t length = 0;
    unsigned kernels = 0;
    /* In memory of its own size, for the sanitizer. */
    char *exact = malloc(strlen(text) + 1);
    memcpy(exact, text, strlen(text) + 1);
    assert_null(boot_arguments_problem(arguments));
    char *changed = boot_edit(syntax, exact, strlen(text), arguments, &length, &kernels);
    free(exact);
    if (!expected) {
        assert_null(changed);
        return;
    }
    assert_non_null(changed);
    char *ended = calloc(1, length + 1);
    memcpy(ended, changed, length);
    assert_string_equal(ended, expected);
    assert_true(kernels > 0);
    free(ended);
    mem_free(changed);
}

static void grub(const char *text, const char *arguments, const char *expected)
{
    check(BOOT_GRUB, text, arguments, expected);
}

static void syslinux(const char *text, const char *arguments, const char *expected)
{
    check(BOOT_SYSLINUX, text, arguments, expected);
}

static void grub_appends_to_every_kernel(void **state)
{
    (void)state;
    grub("linux /vmlinuz quiet\n", "a=b", "linux /vmlinuz quiet a=b\n");
    grub("\tlinux\t/vmlinuz  \n", "a", "\tlinux\t/vmlinuz a  \n");
    grub("linuxefi /k\nlinux16 /k\n", "a", "linuxefi /k a\nlinux16 /k a\n");
    grub("linux /k", "a b", "linux /k a b");
    grub("linux /k\r\ninitrd /i\r\n", "a", "linux /k a\r\ninitrd /i\r\n");
    grub("$linux /k x\n${linux} /k\nlinux$suffix /k\n", "a", "$linux /k x a\n${linux} /k a\nlinux$suffix /k a\n");
    grub("menuentry 'x; linux' { linux /k; initrd /i }\n", "a", "menuentry 'x; linux' { linux /k a; initrd /i }\n");
    grub("if [ x = y ]; then linux /k; else linux /l\nfi", "a", "if [ x = y ]; then linux /k a; else linux /l a\nfi");
    grub("linux /k \\\n  quiet\ninitrd /i\n", "a", "linux /k \\\n  quiet a\ninitrd /i\n");
    grub("linux /k # not this\n", "a", "linux /k a # not this\n");
    grub("linux /k ${args} \"x y\" 'z;'\n", "a", "linux /k ${args} \"x y\" 'z;' a\n");
}

static void grub_leaves_what_starts_no_kernel(void **state)
{
    (void)state;
    grub("", "a", NULL);
    grub("# linux /k\n", "a", NULL);
    grub("echo linux /k\n", "a", NULL);
    grub("linux\n", "a", NULL);
    grub("set x='\nlinux /k\n'\n", "a", NULL);
    grub("menuentry linux { chainloader /x }\n", "a", NULL);
    grub("linux_x /k\nlinuxx /k\ninitrd /linux\n", "a", NULL);
}

static void grub_is_given_words_that_it_reads_back(void **state)
{
    (void)state;
    grub("linux /k\n", "console=ttyS0,115200n8 x.y=[1:2]/3", "linux /k console=ttyS0,115200n8 x.y=[1:2]/3\n");
    grub("linux /k\n", "ds=nocloud;s=http://h/ b", "linux /k 'ds=nocloud;s=http://h/' b\n");
    grub("linux /k\n", "a=\"b c\"  d", "linux /k 'a=b c' d\n");
    grub("linux /k\n", "a=it's$x", "linux /k \"a=it's\\$x\"\n");
    grub("linux /k\n", "a={b} c\\d #e", "linux /k 'a={b}' 'c\\d' '#e'\n");
}

static void three_dashes_divide(void **state)
{
    (void)state;
    grub("linux /k vga=1 --- quiet\n", "a", "linux /k vga=1 --- quiet a\n");
    grub("linux /k vga=1 --- quiet\n", "a b --- c", "linux /k vga=1 a b --- quiet c\n");
    grub("linux /k vga=1 --- quiet\n", "a ---", "linux /k vga=1 a --- quiet\n");
    grub("linux /k vga=1\n", "a --- c", "linux /k vga=1 a c\n");
    syslinux("label x\n kernel k\n append vga=1 --- quiet\n", "a --- c", "label x\n kernel k\n append vga=1 a --- quiet c\n");
    syslinux("append ---\n", "a --- c", "append a --- c\n");
}

static void syslinux_appends_to_every_kernel(void **state)
{
    (void)state;
    syslinux("APPEND initrd=i quiet\n", "a", "APPEND initrd=i quiet a\n");
    syslinux("label x\n\tkernel /k\n\tappend y  \r\n", "a;b $c", "label x\n\tkernel /k\n\tappend y a;b $c  \r\n");
    syslinux("LABEL x\n  LINUX /k\nLABEL y\n  LINUX /l", "a", "LABEL x\n  LINUX /k\n  append a\nLABEL y\n  LINUX /l\n  append a");
    syslinux("label x\n kernel k\n append -\n", "a", "label x\n kernel k\n append a\n");
    syslinux("append base\nlabel x\n kernel k\n append own\n", "a", "append base a\nlabel x\n kernel k\n append own a\n");
}

static void syslinux_leaves_menus_and_disks(void **state)
{
    (void)state;
    syslinux("default vesamenu.c32\ntimeout 0\n", "a", NULL);
    syslinux("label m\n kernel menu.c32\n append other.cfg\n", "a", NULL);
    syslinux("label m\n com32 menu.c32\n append x\n", "a", NULL);
    syslinux("label hd\n localboot 0x80\n", "a", NULL);
    syslinux("menu label append x\n# append y\n", "a", NULL);
}

static void entries_have_options(void **state)
{
    (void)state;
    check(BOOT_ENTRY, "title x\nlinux /k\noptions root=1\n", "a", "title x\nlinux /k\noptions root=1 a\n");
    check(BOOT_ENTRY, "linux /k\noptions x\noptions y\ninitrd i\n", "a", "linux /k\noptions x\noptions y a\ninitrd i\n");
    check(BOOT_ENTRY, "title x\nlinux /k\n", "a", "title x\nlinux /k\noptions a\n");
    check(BOOT_ENTRY, "title x\nefi /shell.efi\noptions y\n", "a", NULL);
}

static void arguments_are_checked(void **state)
{
    (void)state;
    char long_one[BOOT_ARGUMENTS_MAX + 2];
    memset(long_one, 'a', sizeof long_one);
    long_one[sizeof long_one - 1] = '\0';
    assert_non_null(strstr(boot_arguments_problem(long_one), "too long"));
    assert_non_null(strstr(boot_arguments_problem("a\nb"), "control"));
    assert_non_null(strstr(boot_arguments_problem(" "), "empty"));
    assert_non_null(strstr(boot_arguments_problem("a=\"b"), "quote"));
    assert_null(boot_arguments_problem("a=\"b c\" d"));
}

static void padding_gives_way(void **state)
{
    (void)state;
    const char *text = "linux /k\n# one\n#two\n\n#three\n";
    assert_int_equal(boot_edit_without_padding(text, strlen(text), strlen(text)), strlen(text));
    assert_int_equal(boot_edit_without_padding(text, strlen(text), 21), 21); /* without #three */
    assert_int_equal(boot_edit_without_padding(text, strlen(text), 9), 9);
    assert_int_equal(boot_edit_without_padding(text, strlen(text), 8), strlen(text)); /* not enough: none of it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grub_appends_to_every_kernel),
        cmocka_unit_test(grub_leaves_what_starts_no_kernel),
        cmocka_unit_test(grub_is_given_words_that_it_reads_back),
        cmocka_unit_test(three_dashes_divide),
        cmocka_unit_test(syslinux_appends_to_every_kernel),
        cmocka_unit_test(syslinux_leaves_menus_and_disks),
        cmocka_unit_test(entries_have_options),
        cmocka_unit_test(arguments_are_checked),
        cmocka_unit_test(padding_gives_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
