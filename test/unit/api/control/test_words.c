/* The control socket's words and quotes. */
#include <string.h>

#include "../../cmocka_all.h"
#include "api/control/words.h"

static int split(const char *text, char *words[WORDS_MAX])
{
    static char line[256];
    const char *problem = NULL;
    strcpy(line, text);
    int count = words_split(line, words, &problem);
    assert_true((count < 0) == (problem != NULL));
    return count;
}

static void blanks_part_words_and_quotes_hold_them(void **state)
{
    (void)state;
    char *w[WORDS_MAX];
    assert_int_equal(split("", w), 0);
    assert_int_equal(split(" \t ", w), 0);
    assert_int_equal(split("  insert\t0  url ", w), 3);
    assert_string_equal(w[2], "url");
    assert_int_equal(split("a \"b c\" d=\"e f\"g", w), 3);
    assert_string_equal(w[1], "b c");
    assert_string_equal(w[2], "d=e fg");
    assert_int_equal(split("\"a\\\"b\\\\c\\d\" \"\"", w), 2);
    assert_string_equal(w[0], "a\"b\\c\\d");
    assert_string_equal(w[1], "");
}

static void what_is_not_whole_is_refused(void **state)
{
    (void)state;
    char *w[WORDS_MAX];
    assert_int_equal(split("a \"b", w), -1);
    assert_int_equal(split("\"a\\\"", w), -1);
    assert_int_equal(split("1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3", w), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blanks_part_words_and_quotes_hold_them),
        cmocka_unit_test(what_is_not_whole_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
