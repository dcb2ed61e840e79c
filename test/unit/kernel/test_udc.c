/* Which controllers may be used, and in which order, in a folder like /sys/class/udc. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "kernel/udc.h"

static char folder[] = "/tmp/test_udc_XXXXXX";
static const char *const names[] = {"1e6a0000.usb-vhub:p10", "1e6a0000.usb-vhub:p2", "1e6a0000.usb-vhub:p1", "dwc2.0", "fe980000.usb"};

static const char *found(const char *patterns)
{
    static char text[512];
    struct udc_list list;
    size_t used = 0;
    assert_int_equal(udc_find(folder, patterns, &list), 0);
    *text = '\0';
    for (unsigned i = 0; i < list.count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? " " : "", list.names[i]);
    return text;
}

static void no_pattern_allows_all_with_numbers_in_order(void **state)
{
    (void)state;
    const char *all = "1e6a0000.usb-vhub:p1 1e6a0000.usb-vhub:p2 1e6a0000.usb-vhub:p10 dwc2.0 fe980000.usb";
    assert_string_equal(found(""), all);
    assert_string_equal(found("  "), all);
    assert_string_equal(found("*"), all);
}

static void the_patterns_give_the_order_and_none_comes_twice(void **state)
{
    (void)state;
    assert_string_equal(found("dwc2*"), "dwc2.0");
    assert_string_equal(found("*vhub:p[12]"), "1e6a0000.usb-vhub:p1 1e6a0000.usb-vhub:p2");
    assert_string_equal(found("fe*  dwc2.0 *.?"), "fe980000.usb dwc2.0");
    assert_string_equal(found("none"), "");
}

static void a_missing_folder_is_an_error(void **state)
{
    (void)state;
    struct udc_list list = {.count = 7};
    assert_int_equal(udc_find("/nowhere/udc", "", &list), -ENOENT);
    assert_int_equal(list.count, 0);
}

static void path_of(unsigned i, char path[128])
{
    snprintf(path, 128, "%s/%s", folder, names[i]);
}

static int set_up(void **state)
{
    (void)state;
    char path[128];
    if (!mkdtemp(folder))
        return -1;
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        path_of(i, path);
        if (mkdir(path, 0700) != 0)
            return -1;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char path[128];
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        path_of(i, path);
        rmdir(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_pattern_allows_all_with_numbers_in_order),
        cmocka_unit_test(the_patterns_give_the_order_and_none_comes_twice),
        cmocka_unit_test(a_missing_folder_is_an_error),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
