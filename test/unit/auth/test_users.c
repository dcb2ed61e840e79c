/* The accounts on the loop: changes in order, changes from outside, who is told. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "accounts.h"
#include "auth/password.h"

struct fixture {
    struct place place;
    struct users *users;
    struct users_watch watch;
    unsigned told;
    char names[256]; /* "admin bob " */
    bool closed;
};

struct asked {
    struct users_request request;
    bool done;
    unsigned order;
};

static unsigned answered;

static void on_changed(struct users_watch *watch, const char *name)
{
    struct fixture *f = container_of(watch, struct fixture, watch);
    f->told++;
    snprintf(f->names + strlen(f->names), sizeof f->names - strlen(f->names), "%s ", name);
}

static void on_done(struct users_request *request)
{
    struct asked *asked = container_of(request, struct asked, request);
    assert_false(asked->done);
    asked->done = true;
    asked->order = ++answered;
}

static void open_users(struct fixture *f)
{
    char error[USERS_ERROR_MAX];
    const struct users_options options = {.path = f->place.path, .hash_cost = CHEAP};
    f->users = users_new(&f->place.loop, &options, error);
    assert_non_null(f->users);
    f->watch.changed = on_changed;
    users_watch(f->users, &f->watch);
    answered = 0;
}

static void start(struct fixture *f, const char *text)
{
    memset(f, 0, sizeof *f);
    place_make(&f->place);
    if (text)
        place_write(&f->place, text, 0600);
    open_users(f);
}

static void finish(struct fixture *f)
{
    users_unwatch(&f->watch);
    users_close(f->users, mark_closed, &f->closed);
    assert_false(f->closed);
    place_run_until(&f->place, is_true, &f->closed);
    place_remove(&f->place);
}

static void ask(struct fixture *f, struct asked *asked, struct users_request request)
{
    memset(asked, 0, sizeof *asked);
    asked->request = request;
    asked->request.done = on_done;
    users_change(f->users, &asked->request);
    assert_false(asked->done); /* never inside */
}

static int change(struct fixture *f, struct users_request request)
{
    static struct asked asked;
    ask(f, &asked, request);
    place_run_until(&f->place, is_true, &asked.done);
    return asked.request.status;
}

static char admin_line[512];

static const char *admin(void)
{
    if (!*admin_line)
        strcpy(admin_line, account("admin", "the first one", "Administrator", "enabled"));
    return admin_line;
}

static void accounts_come_and_go(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, NULL);
    assert_int_equal(users_get_table(f.users)->count, 0);
    assert_int_equal(change(&f, (struct users_request){.op = USERS_ADD,
                                                       .name = "admin",
                                                       .password = "the first one",
                                                       .role = AUTH_ADMINISTRATOR,
                                                       .enabled = -1}),
                     0);
    assert_int_equal(
        change(&f,
               (struct users_request){
                   .op = USERS_ADD, .name = "bob", .password = "the second one", .role = AUTH_OPERATOR, .enabled = -1}),
        0);
    assert_int_equal(f.told, 0); /* new ones are no news to those who know the old */
    const struct user *bob = users_find(f.users, "bob");
    assert_true(password_matches("the second one", bob->hash));
    assert_true(bob->enabled);
    assert_int_equal(
        change(&f,
               (struct users_request){
                   .op = USERS_SET, .name = "bob", .password = "the third one", .role = AUTH_READ_ONLY, .enabled = 0}),
        0);
    bob = users_find(f.users, "bob");
    assert_true(password_matches("the third one", bob->hash));
    assert_int_equal(bob->role, AUTH_READ_ONLY);
    assert_false(bob->enabled);
    assert_string_equal(f.names, "bob ");
    assert_int_equal(change(&f, (struct users_request){.op = USERS_REMOVE, .name = "bob", .role = -1, .enabled = -1}),
                     0);
    assert_null(users_find(f.users, "bob"));
    assert_string_equal(f.names, "bob bob ");
    struct stat st;
    assert_int_equal(stat(f.place.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    finish(&f);
}

static void what_can_not_be_changes_nothing(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, admin());
    assert_int_equal(change(&f, (struct users_request){.op = USERS_REMOVE, .name = "admin", .role = -1, .enabled = -1}),
                     -EPERM);
    assert_int_equal(
        change(&f, (struct users_request){.op = USERS_SET, .name = "admin", .role = AUTH_OPERATOR, .enabled = -1}),
        -EPERM);
    assert_int_equal(change(&f, (struct users_request){.op = USERS_SET, .name = "admin", .role = -1, .enabled = 0}),
                     -EPERM);
    assert_int_equal(change(&f,
                            (struct users_request){
                                .op = USERS_SET, .name = "admin", .password = "short", .role = -1, .enabled = -1}),
                     -EINVAL);
    assert_int_equal(change(&f,
                            (struct users_request){
                                .op = USERS_ADD, .name = "admin", .password = "long enough", .role = 0, .enabled = -1}),
                     -EEXIST);
    assert_int_equal(change(&f, (struct users_request){.op = USERS_SET, .name = "bob", .role = -1, .enabled = 0}),
                     -ENOENT);
    assert_int_equal(change(&f,
                            (struct users_request){
                                .op = USERS_ADD, .name = "b:", .password = "long enough", .role = 0, .enabled = -1}),
                     -EINVAL);
    char *text = place_read(&f.place);
    assert_string_equal(text, admin());
    free(text);
    assert_int_equal(f.told, 0);
    /* A file that can't be written is said, too. */
    assert_int_equal(chmod(f.place.path, 0644), 0);
    assert_int_equal(
        change(&f,
               (struct users_request){
                   .op = USERS_SET, .name = "admin", .password = "long enough", .role = -1, .enabled = -1}),
        -EPERM);
    assert_true(password_matches("the first one", users_find(f.users, "admin")->hash));
    assert_int_equal(chmod(f.place.path, 0600), 0);
    finish(&f);
}

static void changes_keep_their_order_and_are_bounded(void **state)
{
    (void)state;
    struct fixture f;
    struct asked asked[USERS_REQUESTS_MAX + 3];
    char names[USERS_REQUESTS_MAX + 3][16];
    start(&f, admin());
    for (unsigned i = 0; i < USERS_REQUESTS_MAX + 2; i++) { /* one runs, the rest wait, one is too many */
        snprintf(names[i], sizeof names[i], "u%u", i);
        ask(&f, &asked[i],
            (struct users_request){
                .op = USERS_ADD, .name = names[i], .password = "long enough", .role = 0, .enabled = -1});
        memset(names[i], 'x', 2); /* it was copied */
    }
    place_run_until(&f.place, is_true, &asked[USERS_REQUESTS_MAX].done);
    assert_int_equal(asked[USERS_REQUESTS_MAX + 1].request.status, -EBUSY);
    for (unsigned i = 0; i <= USERS_REQUESTS_MAX; i++) {
        assert_true(asked[i].done);
        assert_int_equal(asked[i].request.status, 0);
        assert_int_equal(asked[i].order, i + 2); /* the refused one was first */
    }
    assert_int_equal(users_get_table(f.users)->count, USERS_REQUESTS_MAX + 2);
    finish(&f);
}

static void a_change_can_be_cancelled(void **state)
{
    (void)state;
    struct fixture f;
    struct asked first, second, third;
    start(&f, admin());
    const struct users_request add = {.op = USERS_ADD, .password = "long enough", .role = 0, .enabled = -1};
    struct users_request a = add, b = add, c = add;
    a.name = "a";
    b.name = "b";
    c.name = "c";
    ask(&f, &first, a);
    ask(&f, &second, b);
    ask(&f, &third, c);
    users_cancel(&first.request); /* it runs */
    users_cancel(&second.request);
    assert_false(first.done || second.done);
    place_run_until(&f.place, is_true, &third.done);
    assert_int_equal(first.request.status, -ECANCELED);
    assert_int_equal(second.request.status, -ECANCELED);
    assert_int_equal(third.request.status, 0);
    assert_non_null(users_find(f.users, "a")); /* it had begun */
    assert_null(users_find(f.users, "b"));
    users_cancel(&third.request); /* over: nothing */
    finish(&f);
}

static void the_end_lets_the_change_that_runs_and_cancels_the_rest(void **state)
{
    (void)state;
    struct fixture f;
    struct asked first, second;
    start(&f, admin());
    const struct users_request add = {.op = USERS_ADD, .password = "long enough", .role = 0, .enabled = -1};
    struct users_request a = add, b = add;
    a.name = "a";
    b.name = "b";
    ask(&f, &first, a);
    ask(&f, &second, b);
    finish(&f);
    assert_int_equal(first.request.status, 0);
    assert_int_equal(second.request.status, -ECANCELED);
}

static bool has_bob(void *arg)
{
    return users_find(((struct fixture *)arg)->users, "bob") != NULL;
}

static bool has_no_bob(void *arg)
{
    return !has_bob(arg);
}

static void changes_from_outside_are_seen(void **state)
{
    (void)state;
    struct fixture f;
    struct users_table changed;
    char error[USERS_ERROR_MAX], both[1100];
    start(&f, admin());
    snprintf(both, sizeof both, "%s%s", admin(), account("bob", "something", "Operator", "enabled"));
    place_write(&f.place, both, 0600); /* in place, as some editors do */
    place_run_until(&f.place, has_bob, &f);
    assert_int_equal(f.told, 0);
    struct users_edit drop = {.op = USERS_REMOVE, .name = "bob", .role = -1, .enabled = -1}; /* by rename */
    assert_int_equal(users_edit_file(f.place.path, &drop, &changed, error), 0);
    users_table_free(&changed);
    place_run_until(&f.place, has_no_bob, &f);
    assert_string_equal(f.names, "bob ");
    finish(&f);
}

static void a_bad_file_changes_nothing(void **state)
{
    (void)state;
    struct fixture f;
    char text[600], error[USERS_ERROR_MAX];
    start(&f, admin());
    log_capture();
    snprintf(text, sizeof text, "%s\nrubbish\n", admin());
    place_write(&f.place, text, 0600);
    place_run_for(&f.place, 4 * USERS_SETTLE_MS);
    unlink(f.place.path);
    place_run_for(&f.place, 4 * USERS_SETTLE_MS);
    place_write(&f.place, admin(), 0644);
    users_reload(f.users);
    place_run_for(&f.place, 4 * USERS_SETTLE_MS);
    char *log = log_captured();
    assert_non_null(strstr(log, "users:3: a line is name:hash:role:state; the accounts stay as they were"));
    assert_non_null(strstr(log, "No such file or directory; the accounts stay"));
    assert_non_null(strstr(log, "open to others (chmod 600 it); the accounts stay"));
    free(log);
    assert_non_null(users_find(f.users, "admin"));
    assert_int_equal(f.told, 0);
    const struct users_options options = {.path = f.place.path};
    assert_null(users_new(&f.place.loop, &options, error)); /* at the start it is fatal */
    assert_non_null(strstr(error, "open to others"));
    finish(&f);
}

/* The folder is made after the start; a signal then finds the file, and the watch works. */
static void a_folder_may_come_later(void **state)
{
    (void)state;
    struct fixture f;
    char folder[72];
    memset(&f, 0, sizeof f);
    place_make(&f.place);
    snprintf(folder, sizeof folder, "%s/later", f.place.folder);
    snprintf(f.place.path, sizeof f.place.path, "%s/u", folder);
    log_capture();
    open_users(&f);
    char *log = log_captured();
    assert_non_null(strstr(log, "is not watched"));
    free(log);
    assert_int_equal(mkdir(folder, 0700), 0);
    users_reload(f.users);
    place_run_for(&f.place, 50);
    place_write(&f.place, account("bob", "something", "Administrator", "enabled"), 0600);
    place_run_until(&f.place, has_bob, &f);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accounts_come_and_go),
        cmocka_unit_test(what_can_not_be_changes_nothing),
        cmocka_unit_test(changes_keep_their_order_and_are_bounded),
        cmocka_unit_test(a_change_can_be_cancelled),
        cmocka_unit_test(the_end_lets_the_change_that_runs_and_cancels_the_rest),
        cmocka_unit_test(changes_from_outside_are_seen),
        cmocka_unit_test(a_bad_file_changes_nothing),
        cmocka_unit_test(a_folder_may_come_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
