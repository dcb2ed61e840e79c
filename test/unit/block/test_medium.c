/* What looks like a medium, and what does not. */
#include <string.h>

#include "../cmocka_all.h"
#include "block/medium.h"

static unsigned char head[MEDIUM_HEAD];

static enum medium_doubt look_at(size_t at, const char *text)
{
    memset(head, 0, sizeof head);
    memcpy(head + at, text, strlen(text));
    return medium_look(head, sizeof head, 1 << 20);
}

static void media_are_known_by_their_signatures(void **unused)
{
    (void)unused;
    assert_int_equal(look_at(32769, "CD001"), MEDIUM_GOOD);
    assert_int_equal(look_at(32769, "BEA01"), MEDIUM_GOOD);
    assert_int_equal(look_at(34817, "NSR02"), MEDIUM_GOOD);
    assert_int_equal(look_at(38913, "NSR03"), MEDIUM_GOOD);
    assert_int_equal(look_at(510, "\x55\xaa"), MEDIUM_GOOD); /* MBR, FAT */
    assert_int_equal(look_at(512, "EFI PART"), MEDIUM_GOOD);
    assert_int_equal(look_at(32768, "CD001"), MEDIUM_IS_UNKNOWN);
    assert_int_equal(look_at(0, "\x1f\x8b"), MEDIUM_IS_UNKNOWN); /* gzip */
    assert_int_equal(look_at(0, ""), MEDIUM_IS_UNKNOWN);
}

static void pages_are_known_however_they_are_written(void **unused)
{
    static const char *const pages[] = {"<!DOCTYPE HTML>", "<html>", "\xef\xbb\xbf<HtMl lang=x>", " \r\n\t<!doctype html", "<!-- x -->"};
    (void)unused;
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        assert_int_equal(look_at(0, pages[i]), MEDIUM_IS_PAGE);
    assert_int_equal(look_at(0, "<htm"), MEDIUM_IS_UNKNOWN);
    assert_int_equal(look_at(0, "x<html>"), MEDIUM_IS_UNKNOWN);
}

static void a_size_tells_too(void **unused)
{
    (void)unused;
    look_at(510, "\x55\xaa");
    assert_int_equal(medium_look(head, sizeof head, 1048577), MEDIUM_SIZE_IS_ODD);
}

/* Nothing is looked at behind the end, wherever it is. */
static void short_ones_are_read_to_their_end_only(void **unused)
{
    (void)unused;
    for (size_t length = 0; length <= 40; length++) {
        unsigned char *exact = test_malloc(length ? length : 1);
        memset(exact, ' ', length);
        assert_int_equal(medium_look(exact, length, 512), MEDIUM_IS_UNKNOWN);
        memcpy(exact, "<!doctype html", length < 14 ? length : 14);
        assert_int_equal(medium_look(exact, length, 512), length < 14 ? MEDIUM_IS_UNKNOWN : MEDIUM_IS_PAGE);
        test_free(exact);
    }
    for (int doubt = MEDIUM_GOOD; doubt <= MEDIUM_IS_UNKNOWN; doubt++)
        assert_int_equal(*medium_doubt_words((enum medium_doubt)doubt) == '\0', doubt == MEDIUM_GOOD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(media_are_known_by_their_signatures),
        cmocka_unit_test(pages_are_known_however_they_are_written),
        cmocka_unit_test(a_size_tells_too),
        cmocka_unit_test(short_ones_are_read_to_their_end_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
