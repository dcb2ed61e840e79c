/* The users file: what is read, what is refused and where, what is written. */
#include <build-config.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "accounts.h"
#include "auth/users_file.h"

#define HASH "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"

static struct users_table table;
static char error[USERS_ERROR_MAX];

static int parse(const char *text)
{
    return users_parse(&table, "users", text, strlen(text), error);
}

static void accounts_are_read(void **state)
{
    (void)state;
    assert_int_equal(
        parse("# who may\n\nadmin:" HASH ":Administrator:enabled\r\n  \nb.o-b@x_9:" HASH ":ReadOnly:disabled"), 0);
    assert_int_equal(table.count, 2);
    const struct user *admin = users_table_find(&table, "admin"), *bob = users_table_find(&table, "b.o-b@x_9");
    assert_true(admin->enabled && !bob->enabled);
    assert_int_equal(admin->role, AUTH_ADMINISTRATOR);
    assert_int_equal(bob->role, AUTH_READ_ONLY);
    assert_string_equal(admin->hash, HASH);
    assert_null(users_table_find(&table, "Admin"));
    assert_int_equal(users_table_administrators(&table), 1);
    users_table_free(&table);
    assert_int_equal(parse(""), 0);
    assert_int_equal(table.count, 0);
    users_table_free(&table);
}

static void each_error_names_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } bad[] = {
        {"admin", "users:1: a line is name:hash:role:state"},
        {"admin:" HASH ":Administrator", "users:1: a line is"},
        {"admin:" HASH ":Administrator:enabled:", "users:1: a line is"},
        {"#\n:" HASH ":Administrator:enabled", "users:2: the name"},
        {"\n\n-a:" HASH ":Administrator:enabled", "users:3: the name"},
        {"a b:" HASH ":Administrator:enabled", "users:1: the name"},
        {" a:" HASH ":Administrator:enabled", "users:1: the name"},
        {"\xc3\xa4:" HASH ":Administrator:enabled", "users:1: the name"},
        {"a:" HASH ":ReadOnly:enabled\na:" HASH ":Administrator:enabled", "users:2: the name was there before"},
        {"a:x:ReadOnly:enabled", "users:1: the hash"},
        {"a::ReadOnly:enabled", "users:1: the hash"},
        {"a:password:ReadOnly:enabled", "users:1: the hash"},
        {"a:" HASH "x:ReadOnly:enabled", "users:1: the hash"},
        {"a:" HASH ":readonly:enabled", "users:1: the role"},
        {"a:" HASH "::enabled", "users:1: the role"},
        {"a:" HASH ":ReadOnly:yes", "users:1: the state"},
        {"a:" HASH ":ReadOnly:", "users:1: the state"},
#ifndef HAVE_PAM
        {"a:pam:ReadOnly:enabled", "users:1: the hash is \"pam\", but this nbd-proxy was built without PAM"},
#endif
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(parse(bad[i].text), -EINVAL);
        if (strncmp(error, bad[i].error, strlen(bad[i].error)) != 0)
            fail_msg("%s, not %s", error, bad[i].error);
        assert_int_equal(table.count, 0);
        users_table_free(&table);
    }
    assert_int_equal(users_parse(&table, "users", "#\0\n", 3, error), -EINVAL);
    assert_string_equal(error, "users:1: there is a NUL byte");
    users_table_free(&table);
}

static void bounds_hold(void **state)
{
    (void)state;
    char *text = calloc(1, USERS_FILE_MAX + 2), name[USER_NAME_MAX + 2];
    for (unsigned i = 0; i <= USERS_MAX; i++) {
        if (i == USERS_MAX) {
            assert_int_equal(parse(text), 0);
            users_table_free(&table);
        }
        sprintf(text + strlen(text), "u%u:" HASH ":ReadOnly:enabled\n", i);
    }
    assert_int_equal(parse(text), -EINVAL);
    assert_string_equal(error, "users:65: there are more than 64 accounts");
    users_table_free(&table);
    memset(text, '#', USERS_FILE_MAX + 1);
    assert_int_equal(parse(text), -EINVAL);
    assert_non_null(strstr(error, "too large"));
    users_table_free(&table);
    text[USERS_FILE_MAX] = '\0';
    assert_int_equal(parse(text), 0);
    users_table_free(&table);
    text[0] = 'a';
    assert_int_equal(parse(text), -EINVAL);
    assert_string_equal(error, "users:1: the line is too long");
    users_table_free(&table);
    memset(name, 'n', sizeof name);
    name[USER_NAME_MAX] = '\0';
    assert_true(user_name_valid(name));
    name[USER_NAME_MAX] = 'n';
    name[USER_NAME_MAX + 1] = '\0';
    assert_false(user_name_valid(name));
    assert_false(user_name_valid(""));
    free(text);
}

static int apply(struct users_edit edit)
{
    struct users_table changed;
    int status = users_apply(&table, &edit, &changed, error);
    if (status == 0) {
        users_table_free(&table);
        table = changed;
    }
    return status;
}

static void a_change_leaves_the_rest_as_it_is(void **state)
{
    (void)state;
    assert_int_equal(parse("# first\nadmin:" HASH ":Administrator:enabled\n# last"), 0);
    assert_int_equal(apply((struct users_edit){USERS_ADD, "bob", HASH, AUTH_OPERATOR, -1}), 0);
    assert_string_equal(table.text,
                        "# first\nadmin:" HASH ":Administrator:enabled\n# last\nbob:" HASH ":Operator:enabled\n");
    assert_int_equal(apply((struct users_edit){USERS_SET, "bob", NULL, AUTH_ADMINISTRATOR, 0}), 0);
    assert_int_equal(apply((struct users_edit){USERS_ADD, "eve", HASH, AUTH_READ_ONLY, 0}), 0);
    assert_int_equal(apply((struct users_edit){USERS_SET, "bob", NULL, -1, 1}), 0);
    assert_int_equal(apply((struct users_edit){USERS_REMOVE, "admin", NULL, -1, -1}), 0);
    assert_string_equal(table.text,
                        "# first\n# last\nbob:" HASH ":Administrator:enabled\neve:" HASH ":ReadOnly:disabled\n");
    assert_int_equal(apply((struct users_edit){USERS_SET, "carl", NULL, -1, 0}), -ENOENT);
    assert_int_equal(apply((struct users_edit){USERS_REMOVE, "carl", NULL, -1, -1}), -ENOENT);
    assert_int_equal(apply((struct users_edit){USERS_ADD, "bob", HASH, AUTH_OPERATOR, -1}), -EEXIST);
    assert_int_equal(apply((struct users_edit){USERS_ADD, "c:d", HASH, AUTH_OPERATOR, -1}), -EINVAL);
    assert_int_equal(apply((struct users_edit){USERS_ADD, "c\nd", HASH, AUTH_OPERATOR, -1}), -EINVAL);
    assert_int_equal(apply((struct users_edit){USERS_ADD, "carl", "x\ny", AUTH_OPERATOR, -1}), -EINVAL);
    assert_int_equal(apply((struct users_edit){USERS_ADD, "carl", NULL, AUTH_OPERATOR, -1}), -EINVAL);
    assert_int_equal(table.count, 2);
    users_table_free(&table);
}

static void the_last_administrator_stays(void **state)
{
    (void)state;
    const struct users_edit disable = {USERS_SET, "a", NULL, -1, 0}, demote = {USERS_SET, "a", NULL, AUTH_OPERATOR, -1},
                            drop = {USERS_REMOVE, "a", NULL, -1, -1};
    assert_int_equal(parse("a:" HASH ":Administrator:enabled\nb:" HASH ":Administrator:disabled\n"), 0);
    assert_int_equal(apply(disable), -EPERM);
    assert_int_equal(apply(demote), -EPERM);
    assert_int_equal(apply(drop), -EPERM);
    assert_non_null(strstr(error, "a: it is the last enabled Administrator"));
    assert_int_equal(apply((struct users_edit){USERS_SET, "b", NULL, -1, 1}), 0);
    assert_int_equal(apply(disable), 0);
    assert_int_equal(apply((struct users_edit){USERS_REMOVE, "b", NULL, -1, -1}), -EPERM);
    assert_int_equal(apply(drop), 0);
    users_table_free(&table);
    /* Where there is none, there is none to keep. */
    assert_int_equal(parse("a:" HASH ":Operator:enabled\n"), 0);
    assert_int_equal(apply(drop), 0);
    users_table_free(&table);
}

static void the_table_has_an_end(void **state)
{
    (void)state;
    char name[16];
    assert_int_equal(parse(""), 0);
    for (unsigned i = 0; i < USERS_MAX; i++) {
        snprintf(name, sizeof name, "u%u", i);
        assert_int_equal(apply((struct users_edit){USERS_ADD, name, HASH, AUTH_OPERATOR, -1}), 0);
    }
    assert_int_equal(apply((struct users_edit){USERS_ADD, "more", HASH, AUTH_OPERATOR, -1}), -ENOSPC);
    users_table_free(&table);
}

static int load(const struct place *place)
{
    int status = users_load(place->path, &table, error);
    users_table_free(&table);
    return status;
}

static void a_file_must_be_closed_to_others(void **state)
{
    (void)state;
    struct place place;
    char link[128];
    place_make(&place);
    assert_int_equal(load(&place), -ENOENT);
    place_write(&place, "a:" HASH ":Administrator:enabled\n", 0600);
    assert_int_equal(load(&place), 0);
    static const unsigned open_modes[] = {0640, 0604, 0660, 0644, 0610, 0601, 0602};
    for (unsigned i = 0; i < sizeof open_modes / sizeof open_modes[0]; i++) {
        chmod(place.path, open_modes[i]);
        assert_int_equal(load(&place), -EPERM);
        assert_non_null(strstr(error, "open to others"));
    }
    chmod(place.path, 0400);
    assert_int_equal(load(&place), 0);
    snprintf(link, sizeof link, "%s.real", place.path);
    rename(place.path, link);
    assert_int_equal(symlink(link, place.path), 0);
    assert_true(load(&place) < 0);
    assert_non_null(strstr(error, "symbolic link"));
    unlink(place.path);
    mkfifo(place.path, 0600);
    assert_int_equal(load(&place), -EPERM);
    unlink(place.path);
    mkdir(place.path, 0700);
    assert_int_equal(load(&place), -EPERM);
    rmdir(place.path);
    if (geteuid() == 0) {
        place_write(&place, "a:" HASH ":Administrator:enabled\n", 0600);
        assert_int_equal(chown(place.path, 12345, 12345), 0);
        assert_int_equal(load(&place), -EPERM);
        assert_non_null(strstr(error, "another user"));
    }
    place_remove(&place);
}

static void a_change_replaces_the_file(void **state)
{
    (void)state;
    struct place place;
    struct users_table changed;
    struct stat before, after;
    char new_path[128];
    place_make(&place);
    struct users_edit add = {USERS_ADD, "a", HASH, AUTH_ADMINISTRATOR, -1};
    assert_int_equal(users_edit_file(place.path, &add, &changed, error), 0);
    assert_int_equal(changed.count, 1);
    users_table_free(&changed);
    assert_int_equal(stat(place.path, &before), 0);
    assert_int_equal(before.st_mode & 07777, 0600);
    snprintf(new_path, sizeof new_path, "%s.new", place.path);
    place_write(&place, "# kept\na:" HASH ":Administrator:enabled\n", 0600);
    int leftover = open(new_path, O_CREAT | O_WRONLY, 0644); /* of a crash */
    assert_int_equal(write(leftover, "rubbish that is longer than it should be", 40), 40);
    close(leftover);
    add.name = "b";
    assert_int_equal(users_edit_file(place.path, &add, &changed, error), 0);
    users_table_free(&changed);
    assert_int_equal(stat(place.path, &after), 0);
    assert_int_not_equal(before.st_ino, after.st_ino);
    assert_int_equal(after.st_mode & 07777, 0600);
    assert_int_equal(access(new_path, F_OK), -1);
    char *text = place_read(&place);
    assert_string_equal(text, "# kept\na:" HASH ":Administrator:enabled\nb:" HASH ":Administrator:enabled\n");
    free(text);
    assert_int_equal(users_edit_file(place.path, &add, &changed, error), -EEXIST);
    assert_int_equal(access(new_path, F_OK), -1);
    place_write(&place, "rubbish\n", 0600);
    add.name = "c";
    assert_int_equal(users_edit_file(place.path, &add, &changed, error), -EINVAL); /* never written over */
    text = place_read(&place);
    assert_string_equal(text, "rubbish\n");
    free(text);
    place_remove(&place);
}

static void the_owner_stays(void **state)
{
    (void)state;
    struct place place;
    struct users_table changed;
    struct stat st;
    if (geteuid() != 0)
        skip();
    place_make(&place);
    place_write(&place, "", 0600);
    assert_int_equal(chown(place.path, 0, 12345), 0);
    struct users_edit add = {USERS_ADD, "a", HASH, AUTH_ADMINISTRATOR, -1};
    assert_int_equal(users_edit_file(place.path, &add, &changed, error), 0);
    users_table_free(&changed);
    assert_int_equal(stat(place.path, &st), 0);
    assert_int_equal(st.st_gid, 12345);
    assert_int_equal(st.st_mode & 07777, 0600);
    place_remove(&place);
}

/* Writers wait for each other and no change is lost. */
static void writers_take_turns(void **state)
{
    (void)state;
    enum { WRITERS = 8, EACH = 6 };
    struct place place;
    struct users_table all;
    place_make(&place);
    for (int w = 0; w < WRITERS; w++) {
        if (fork() != 0)
            continue;
        struct users_table changed;
        for (int i = 0; i < EACH; i++) {
            char name[16];
            snprintf(name, sizeof name, "w%d.%d", w, i);
            struct users_edit add = {USERS_ADD, name, HASH, AUTH_OPERATOR, -1};
            if (users_edit_file(place.path, &add, &changed, error) != 0)
                _exit(1);
            users_table_free(&changed);
        }
        _exit(0);
    }
    int code, bad = 0;
    while (wait(&code) > 0)
        bad += code != 0;
    assert_int_equal(bad, 0);
    assert_int_equal(users_load(place.path, &all, error), 0);
    assert_int_equal(all.count, WRITERS * EACH);
    users_table_free(&all);
    place_remove(&place);
}

static void a_folder_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    struct users_table changed;
    struct users_edit add = {USERS_ADD, "a", HASH, AUTH_ADMINISTRATOR, -1};
    assert_int_equal(users_edit_file("/nowhere/at/all", &add, &changed, error), -ENOENT);
    assert_non_null(strstr(error, "/nowhere/at/all.new"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accounts_are_read),
        cmocka_unit_test(each_error_names_its_line),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(a_change_leaves_the_rest_as_it_is),
        cmocka_unit_test(the_last_administrator_stays),
        cmocka_unit_test(the_table_has_an_end),
        cmocka_unit_test(a_file_must_be_closed_to_others),
        cmocka_unit_test(a_change_replaces_the_file),
        cmocka_unit_test(the_owner_stays),
        cmocka_unit_test(writers_take_turns),
        cmocka_unit_test(a_folder_that_is_not_there_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
