/* Changes of files by name: what becomes of a text, and what is refused. */
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "base/text.h"
#include "base/wipe.h"
#include "image/file_changes.h"

static struct file_change change_of(const char *path, enum file_change_how how, const char *mark, const char *text)
{
    return (struct file_change){mem_strdup(path), how, mem_strdup(mark), wipe_strdup(text), strlen(text)};
}

/* NULL as `expected`: the line is not there. */
static void check(enum file_change_how how, const char *mark, const char *lines, const char *text, const char *expected)
{
    struct file_changes changes = {0};
    struct file_change change = change_of("/a", how, mark, lines);
    assert_null(file_changes_add(&changes, &change));
    char *exact = malloc(strlen(text) + 1); /* of its own size, for the sanitizer */
    memcpy(exact, text, strlen(text));
    size_t length;
    char *made = file_change_make(&changes.list[0], exact, strlen(text), &length);
    assert_int_equal(made != NULL, expected != NULL);
    if (expected) {
        assert_int_equal(length, strlen(expected));
        assert_memory_equal(made, expected, length);
    }
    mem_free(made);
    free(exact);
    file_changes_clear(&changes);
}

static void lines_go_to_their_places(void **state)
{
    (void)state;
    check(FILE_REPLACED, NULL, "new", "old\n", "new");
    check(FILE_LINES_AT_END, NULL, "c", "a\nb", "a\nb\nc\n");
    check(FILE_LINES_AT_END, NULL, "c\nd\n", "a\n", "a\nc\nd\n");
    check(FILE_LINES_AFTER, "b", "x", "a\r\nb 1\r\nb 2\r\n", "a\r\nb 1\r\nx\nb 2\r\n");
    check(FILE_LINES_AFTER, "b", "x", "a\nb", "a\nb\nx\n");
    check(FILE_LINES_BEFORE, "  b", "x\n", "a\n  b\n", "a\nx\n  b\n");
    check(FILE_LINES_BEFORE, "a", "x", "a", "x\na");
    check(FILE_LINES_AFTER, "b\nc", "x", "b\nc\n", NULL);
    check(FILE_LINES_BEFORE, "longer than all", "x", "a\n", NULL);
}

static const char *problem_of(struct file_changes *changes, const char *path, const char *text)
{
    struct file_change change = change_of(path, FILE_REPLACED, NULL, text);
    return file_changes_add(changes, &change);
}

static void paths_begin_at_the_root(void **state)
{
    (void)state;
    struct file_changes changes = {0};
    const char *const bad[] = {"", "/", "a", "a/b", "//a", "/a/", "/a//b", "/./a", "/a/..", "/..", NULL};
    for (const char *const *path = bad; *path; path++)
        assert_non_null(problem_of(&changes, *path, "x"));
    const char *const good[] = {"/a", "/a/b", "/.a", "/..a/b...", "/.disk/info", NULL};
    for (const char *const *path = good; *path; path++)
        assert_null(problem_of(&changes, *path, "x"));
    file_changes_clear(&changes);
}

static void there_are_bounds(void **state)
{
    (void)state;
    struct file_changes changes = {0};
    char *large = calloc(1, FILE_CHANGES_SIZE_MAX + 2);
    memset(large, 'x', FILE_CHANGES_SIZE_MAX + 1);
    assert_non_null(problem_of(&changes, "/a", large));
    large[FILE_CHANGES_SIZE_MAX] = '\0';
    assert_null(problem_of(&changes, "/a", large));
    assert_non_null(problem_of(&changes, "/b", "x"));
    assert_non_null(problem_of(&changes, "/b", ""));
    file_changes_clear(&changes);
    for (unsigned i = 0; i < FILE_CHANGES_MAX; i++)
        assert_null(problem_of(&changes, "/a", "x"));
    assert_non_null(problem_of(&changes, "/a", "x"));
    file_changes_clear(&changes);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_go_to_their_places),
        cmocka_unit_test(paths_begin_at_the_root),
        cmocka_unit_test(there_are_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
