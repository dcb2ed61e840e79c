/* Boot configurations as text: what each syntax makes of further arguments, and what stays as it is. */
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "base/text.h"
#include "image/boot_edit.h"

/* NULL as `expected`: nothing is changed. */
static void check_wish(enum boot_syntax syntax, bool is_main, const char *text, const struct boot_wish *wish,
                       const char *expected)
{
    struct boot_edited edited;
    /* In memory of its own size, for the sanitizer. */
    char *exact = malloc(strlen(text) + 1);
    memcpy(exact, text, strlen(text) + 1);
    assert_null(boot_wish_problem(wish));
    bool changed = boot_edit(syntax, is_main, exact, strlen(text), wish, &edited);
    free(exact);
    assert_int_equal(changed, expected != NULL);
    if (!changed)
        return;
    char *ended = calloc(1, edited.length + 1);
    memcpy(ended, edited.text, edited.length);
    assert_string_equal(ended, expected);
    assert_true(edited.kernels > 0 || !wish->arguments);
    assert_true(edited.timeouts > 0 || !wish->menu_timeout);
    free(ended);
    mem_free(edited.text);
}

static void check(enum boot_syntax syntax, const char *text, const char *arguments, const char *expected)
{
    check_wish(syntax, false, text, &(struct boot_wish){.arguments = arguments}, expected);
}

static void check_timeout(enum boot_syntax syntax, const char *text, const char *seconds, const char *expected)
{
    check_wish(syntax, true, text, &(struct boot_wish){.menu_timeout = seconds}, expected);
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

static void a_menu_has_a_timeout(void **state)
{
    (void)state;
    check_timeout(BOOT_GRUB, "set timeout=-1\nlinux /k\n", "5", "set timeout=5\nlinux /k\n");
    check_timeout(BOOT_GRUB, "if x; then set timeout=\"30\"; fi\nset timeout_style=menu\n", "0", "if x; then set timeout=0; fi\nset timeout_style=menu\n");
    check_timeout(BOOT_GRUB, "menuentry a { linux /k }\n", "7", "set timeout=7\nmenuentry a { linux /k }\n");
    check_timeout(BOOT_GRUB, "set timeout=1\nlinux /k\n", "0000000000010", "set timeout=10\nlinux /k\n");
    check_timeout(BOOT_GRUB, "source /boot/grub/other.cfg\n", "7", NULL);
    check_timeout(BOOT_SYSLINUX, "prompt 0\nTIMEOUT 0\ninclude x\n", "3", "prompt 0\nTIMEOUT 30\ninclude x\n");
    check_timeout(BOOT_SYSLINUX, "timeout 9\n", "0", "timeout 1\n"); /* 0 is for ever */
    check_timeout(BOOT_SYSLINUX, "label a\n kernel k\n", "3", "timeout 30\nlabel a\n kernel k\n");
    check_timeout(BOOT_SYSLINUX, "label a\n kernel k\n append -\n", "3", "timeout 30\nlabel a\n kernel k\n append -\n");
    check_wish(BOOT_SYSLINUX, false, "label a\n kernel k\n", &(struct boot_wish){.menu_timeout = "3"}, NULL);
    check_timeout(BOOT_LOADER, "default x\ntimeout menu-force\n", "4", "default x\ntimeout 4\n");
    check_timeout(BOOT_LOADER, "default x\n", "4", NULL); /* it boots at once */
    check_timeout(BOOT_ENTRY, "linux /k\n", "4", NULL);
}

static void a_timeout_and_arguments_go_together(void **state)
{
    (void)state;
    struct boot_wish wish = {.arguments = "a", .menu_timeout = "5"};
    check_wish(BOOT_GRUB, false, "set timeout=1\nlinux /k\n", &wish, "set timeout=5\nlinux /k a\n");
    check_wish(BOOT_SYSLINUX, true, "label x\n kernel k\n append y\ntimeout 0\n", &wish,
               "label x\n kernel k\n append y a\ntimeout 50\n");
}

static const char *arguments_problem(const char *arguments)
{
    return boot_wish_problem(&(struct boot_wish){.arguments = arguments});
}

static void a_wish_is_checked(void **state)
{
    (void)state;
    char long_one[BOOT_ARGUMENTS_MAX + 2];
    memset(long_one, 'a', sizeof long_one);
    long_one[sizeof long_one - 1] = '\0';
    assert_non_null(strstr(arguments_problem(long_one), "too long"));
    assert_non_null(strstr(arguments_problem("a\nb"), "control"));
    assert_non_null(strstr(arguments_problem(" "), "empty"));
    assert_non_null(strstr(arguments_problem("a=\"b"), "quote"));
    assert_non_null(strstr(arguments_problem("---"), "empty"));
    assert_null(arguments_problem("a=\"b c\" d"));
    for (const char *const *bad = (const char *const[]){"", "5s", "-1", "3601", "99999999999999999999", NULL}; *bad; bad++)
        assert_non_null(boot_wish_problem(&(struct boot_wish){.menu_timeout = *bad}));
    assert_null(boot_wish_problem(&(struct boot_wish){.menu_timeout = "3600"}));
    assert_non_null(boot_wish_problem(&(struct boot_wish){.menu_default = "a\tb"}));
    long_one[BOOT_DEFAULT_MAX + 1] = '\0';
    assert_non_null(boot_wish_problem(&(struct boot_wish){.menu_default = long_one}));
    long_one[BOOT_DEFAULT_MAX] = '\0';
    assert_null(boot_wish_problem(&(struct boot_wish){.menu_default = long_one}));
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
        cmocka_unit_test(a_menu_has_a_timeout),
        cmocka_unit_test(a_timeout_and_arguments_go_together),
        cmocka_unit_test(a_wish_is_checked),
        cmocka_unit_test(padding_gives_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
