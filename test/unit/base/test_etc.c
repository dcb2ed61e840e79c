/* Users and groups are what the files say, line by line, and nobody else's. */
#include <stdio.h>
#include <string.h>

#include "../cmocka_all.h"
#include "base/etc.h"

static const char *passwd, *group; /* the files' texts; NULL: there is no such file */

/* On a machine whose files are large by themselves fopen() is another name for fopen64(). */
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode);

FILE *__wrap_fopen64(const char *path, const char *mode)
{
    assert_string_equal(mode, "re");
    const char *text = strcmp(path, "/etc/passwd") == 0 ? passwd : strcmp(path, "/etc/group") == 0 ? group : NULL;
    return text ? fmemopen((void *)(uintptr_t)text, strlen(text), "r") : NULL;
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    return __wrap_fopen64(path, mode);
}

static int begin(void **state)
{
    (void)state;
    passwd = "root:x:0:0:root:/root:/bin/sh\n"
             "# a comment:x:7:7::/:\n"
             "no user at all\n"
             "toor:x:0:0:root too:/root:/bin/sh\n"
             "serve:x:1234:4321::/:/bin/false\n"
             "server:x:1235:4322::/:/bin/false\n"
             "last:x:4294967294:5::/:/bin/false";
    group = "root:x:0:\n"
            "no group at all\n"
            "bmc:x:77:root,serve\n"
            "last:x:78:";
    return 0;
}

static void users_are_found_by_name(void **state)
{
    (void)state;
    const struct passwd *user = etc_user_named("serve");
    assert_non_null(user);
    assert_string_equal(user->pw_name, "serve");
    assert_int_equal(user->pw_uid, 1234);
    assert_int_equal(user->pw_gid, 4321);
    assert_int_equal(etc_user_named("toor")->pw_uid, 0);
    assert_int_equal(etc_user_named("last")->pw_uid, 4294967294u);
    static const char *const others[] = {"", "serv", "servers", "Serve", "1234", "no user at all", "# a comment"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (etc_user_named(others[i]))
            fail_msg("\"%s\" is a user", others[i]);
}

static void users_are_found_by_number(void **state)
{
    (void)state;
    assert_string_equal(etc_user_numbered(0)->pw_name, "root");
    assert_string_equal(etc_user_numbered(1235)->pw_name, "server");
    assert_string_equal(etc_user_numbered(4294967294u)->pw_name, "last");
    assert_null(etc_user_numbered(1));
    assert_null(etc_user_numbered((uid_t)-1));
}

static void groups_are_found_by_name(void **state)
{
    (void)state;
    assert_int_equal(etc_group_named("bmc")->gr_gid, 77);
    assert_int_equal(etc_group_named("last")->gr_gid, 78);
    assert_null(etc_group_named("bm"));
    assert_null(etc_group_named("serve"));
    assert_null(etc_group_named(""));
}

static void without_the_files_there_is_nobody(void **state)
{
    (void)state;
    passwd = group = NULL;
    assert_null(etc_user_named("root"));
    assert_null(etc_user_numbered(0));
    assert_null(etc_group_named("root"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(users_are_found_by_name, begin),
        cmocka_unit_test_setup(users_are_found_by_number, begin),
        cmocka_unit_test_setup(groups_are_found_by_name, begin),
        cmocka_unit_test_setup(without_the_files_there_is_nobody, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
