/* The Content-Range header, as servers and liars write it. */
#include "../cmocka_all.h"
#include "http/content_range.h"

static void good_ones_are_read(void **state)
{
    (void)state;
    struct content_range r;
    assert_true(content_range_parse("bytes 0-0/1", &r));
    assert_true(r.first == 0 && r.last == 0 && r.total == 1 && r.total_known);
    assert_true(content_range_parse("Bytes 5-9/9223372036854775806", &r));
    assert_true(r.first == 5 && r.last == 9 && r.total == 9223372036854775806u);
    assert_true(content_range_parse("bytes 5-9/*", &r));
    assert_false(r.total_known);
}

static void bad_ones_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "bytes", "bytes ", "bytes 0-0", "bytes 0-0/", "bytes 0-0/x", "bytes 0-0/1x", "bytes -0/1", "bytes 0-/1",
        "bytes 1-0/2", "bytes 0-1/1", "bytes */5", "items 0-0/1", "bytes=0-0/1", "bytes +0-0/1", "bytes 0 -0/1",
        "bytes 0-0/18446744073709551616", "bytes 0-99999999999999999999/999999999999999999999", "bytes 0x0-0/1",
        "bytes 0-0/-1", "bytes 0-0/**",
    };
    struct content_range r;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(content_range_parse(bad[i], &r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones_are_read),
        cmocka_unit_test(bad_ones_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
