/* The system's accounts on the loop: when they are looked at, who is told, and what a login makes of them. The system is
 * ours here, PAM and all, and may hang; the real one is test/system/test_accounts.py's. */
#include <build-config.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "accounts.h"
#include "auth/auth.h"
#include "auth/pam.h"

#define EVERY 20 /* ms */

#ifdef HAVE_PAM
static const struct system_groups groups = {.of = {"readers", "operators", "administrators"}};

/* The system; guarded by the lock, since looks and conversations run on threads. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t go_on;
    struct system_accounts accounts;
    int status;    /* of looks */
    bool hangs;    /* looks do */
    bool swaps;    /* the account becomes another one while PAM is asked */
    unsigned looks, checks;
} machine = {.lock = PTHREAD_MUTEX_INITIALIZER, .go_on = PTHREAD_COND_INITIALIZER};

static int machine_look(struct system_accounts *accounts)
{
    pthread_mutex_lock(&machine.lock);
    machine.looks++;
    while (machine.hangs)
        pthread_cond_wait(&machine.go_on, &machine.lock);
    *accounts = machine.accounts;
    int status = machine.status;
    pthread_mutex_unlock(&machine.lock);
    return status;
}

static bool machine_check(const char *name, const char *password, const char *peer)
{
    (void)peer;
    pthread_mutex_lock(&machine.lock);
    machine.checks++;
    if (machine.swaps)
        machine.accounts.accounts[0].stamp[0]++;
    pthread_mutex_unlock(&machine.lock);
    return strcmp(name, "root") == 0 && strcmp(password, "of root") == 0;
}

static void set(int status, bool hangs, unsigned char stamp, bool enabled, enum auth_role role)
{
    pthread_mutex_lock(&machine.lock);
    machine.status = status;
    machine.hangs = hangs;
    machine.accounts = (struct system_accounts){.count = 1};
    machine.accounts.accounts[0] =
        (struct system_account){.name = "root", .role = (uint8_t)role, .enabled = enabled, .stamp = {stamp}};
    pthread_cond_broadcast(&machine.go_on);
    pthread_mutex_unlock(&machine.lock);
}

static unsigned looks(void)
{
    pthread_mutex_lock(&machine.lock);
    unsigned count = machine.looks;
    pthread_mutex_unlock(&machine.lock);
    return count;
}

struct fixture {
    struct place place;
    struct users *users;
    struct users_watch watch;
    unsigned told;
    struct auth *auth;
    bool closed;
};

static void on_told(struct users_watch *watch, const char *name)
{
    assert_string_equal(name, "root");
    container_of(watch, struct fixture, watch)->told++;
}

static void begin(struct fixture *f, const char *file, uint64_t every)
{
    char error[USERS_ERROR_MAX];
    memset(f, 0, sizeof *f);
    place_make(&f->place);
    if (file)
        place_write(&f->place, file, 0600);
    pam_check_by(machine_check, machine_look);
    const struct users_options options = {
        .path = file ? f->place.path : NULL, .hash_cost = CHEAP, .groups = &groups, .look_every_ms = every};
    f->users = users_new(&f->place.loop, &options, error);
    assert_non_null(f->users);
    f->watch.changed = on_told;
    users_watch(f->users, &f->watch);
    const struct auth_options auth = {.hash_cost = CHEAP, .remember_ms = 60000, .now = place_now, .now_arg = &f->place};
    f->auth = auth_new(&f->place.loop, f->users, &auth);
}

static void finish(struct fixture *f)
{
    auth_close(f->auth, mark_closed, &f->closed);
    place_run_until(&f->place, is_true, &f->closed);
    f->closed = false;
    users_unwatch(&f->watch);
    users_close(f->users, mark_closed, &f->closed);
    place_run_until(&f->place, is_true, &f->closed);
    place_remove(&f->place);
    pam_check_by(NULL, NULL);
}

static bool is_known(void *arg)
{
    return users_find(((struct fixture *)arg)->users, "root");
}

static bool is_told(void *arg)
{
    return ((struct fixture *)arg)->told > 0;
}

struct asked {
    struct auth_check check;
    bool done;
};

static void on_asked(struct auth_check *check)
{
    container_of(check, struct asked, check)->done = true;
}

static int verify(struct fixture *f, const char *name, const char *password, enum auth_role *role)
{
    struct asked asked = {.check = {.name = name, .password = password, .peer = "192.0.2.1", .method = "basic", .done = on_asked}};
    auth_verify(f->auth, &asked.check);
    place_run_until(&f->place, is_true, &asked.done);
    *role = asked.check.role;
    return asked.check.status;
}

/* Gone, disabled, another role, another password: each is seen at the next look, and told once. */
static void each_change_is_seen_at_an_interval(void **state)
{
    (void)state;
    struct fixture f;
    set(0, false, 1, true, AUTH_OPERATOR);
    begin(&f, NULL, EVERY);
    place_run_until(&f.place, is_known, &f);
    const struct { unsigned char stamp; bool enabled; enum auth_role role; } changes[] = {
        {2, true, AUTH_OPERATOR}, {2, false, AUTH_OPERATOR}, {2, true, AUTH_OPERATOR}, {2, true, AUTH_ADMINISTRATOR}};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        f.told = 0;
        set(0, false, changes[i].stamp, changes[i].enabled, changes[i].role);
        place_run_until(&f.place, is_told, &f);
        const struct user *user = users_find(f.users, "root");
        assert_true(user->enabled == changes[i].enabled && user->role == changes[i].role && user_is_system(user));
    }
    f.told = 0;
    place_run_for(&f.place, 5 * EVERY);
    assert_int_equal(f.told, 0); /* nothing changed */
    pthread_mutex_lock(&machine.lock);
    machine.accounts.count = 0;
    pthread_mutex_unlock(&machine.lock);
    place_run_until(&f.place, is_told, &f);
    assert_null(users_find(f.users, "root"));
    assert_int_equal(users_count(f.users), 0);
    finish(&f);
}

/* A name service that fails or hangs changes nothing; it is said once, and that it is over. The end waits for nobody. */
static void what_can_not_be_looked_at_stays(void **state)
{
    (void)state;
    struct fixture f;
    set(0, false, 1, true, AUTH_OPERATOR);
    begin(&f, NULL, EVERY);
    place_run_until(&f.place, is_known, &f);
    log_capture();
    set(-EIO, false, 2, false, AUTH_READ_ONLY);
    place_run_for(&f.place, 5 * EVERY);
    set(0, false, 1, true, AUTH_OPERATOR);
    place_run_for(&f.place, 5 * EVERY);
    set(0, true, 1, true, AUTH_OPERATOR);
    place_run_for(&f.place, 5 * EVERY);
    unsigned before = looks();
    place_run_for(&f.place, 5 * EVERY);
    assert_int_equal(looks(), before); /* one at a time */
    char *log = log_captured();
    const char *failed = strstr(log, "can't be looked at: Input/output error; they stay as they are known");
    assert_non_null(failed);
    assert_null(strstr(failed + 1, "can't be looked at: Input/output error"));
    assert_non_null(strstr(log, "can be looked at again"));
    assert_non_null(strstr(log, "the name service does not answer"));
    free(log);
    assert_int_equal(f.told, 0);
    assert_true(users_find(f.users, "root")->enabled);
    finish(&f);
    set(0, false, 1, true, AUTH_OPERATOR);
}

/* Before the first look has ended nobody's name is known; the login waits for it. */
static void a_login_may_come_before_the_first_look(void **state)
{
    (void)state;
    struct fixture f;
    enum auth_role role;
    set(0, false, 1, true, AUTH_ADMINISTRATOR);
    begin(&f, account("bob", "battery staple", "Operator", "enabled"), 0);
    assert_true(users_unknown(f.users, "root") && !users_unknown(f.users, "bob"));
    assert_int_equal(verify(&f, "root", "of root", &role), 0);
    assert_int_equal(role, AUTH_ADMINISTRATOR);
    assert_int_equal(verify(&f, "root", "of bob", &role), -EACCES);
    assert_int_equal(verify(&f, "bob", "battery staple", &role), 0);
    unsigned checks = machine.checks;
    assert_int_equal(verify(&f, "nobody", "of nobody", &role), -EACCES); /* known now to be none: PAM is not asked */
    assert_int_equal(machine.checks, checks);
    finish(&f);
}

/* PAM said yes to a password that was another one when the answer came. */
static void a_password_that_changes_under_the_login_is_wrong(void **state)
{
    (void)state;
    struct fixture f;
    enum auth_role role;
    set(0, false, 1, true, AUTH_ADMINISTRATOR);
    begin(&f, NULL, 0);
    machine.swaps = true;
    assert_int_equal(verify(&f, "root", "of root", &role), -EACCES);
    machine.swaps = false;
    assert_int_equal(verify(&f, "root", "of root", &role), 0);
    finish(&f);
}

/* What a login has found out counts for all: the account is told of, before the answer. */
static void a_login_looks(void **state)
{
    (void)state;
    struct fixture f;
    enum auth_role role;
    set(0, false, 1, true, AUTH_OPERATOR);
    begin(&f, NULL, 0);
    place_run_until(&f.place, is_known, &f);
    set(0, false, 2, true, AUTH_READ_ONLY);
    assert_int_equal(verify(&f, "root", "of root", &role), 0);
    assert_int_equal(role, AUTH_READ_ONLY);
    assert_int_equal(f.told, 1);
    set(0, false, 3, false, AUTH_READ_ONLY);
    assert_int_equal(verify(&f, "root", "wrong", &role), -EACCES);
    assert_false(users_find(f.users, "root")->enabled);
    finish(&f);
}

static bool is_hidden(void *arg)
{
    const struct user *user = users_find(((struct fixture *)arg)->users, "root");
    return user && !user_is_system(user);
}

/* An account of the file goes before the system's: what is open by that ends, and its changes are nobody's business. */
static void a_file_hides_the_systems_account(void **state)
{
    (void)state;
    struct fixture f;
    char text[512];
    set(0, false, 1, true, AUTH_ADMINISTRATOR);
    snprintf(text, sizeof text, "%s", account("bob", "battery staple", "Administrator", "enabled"));
    begin(&f, text, EVERY);
    place_run_until(&f.place, is_known, &f);
    assert_int_equal(users_count(f.users), 2);
    strcat(text, account("root", "of the file", "Operator", "enabled"));
    place_write(&f.place, text, 0600);
    place_run_until(&f.place, is_hidden, &f);
    assert_int_equal(f.told, 1);
    set(0, false, 2, true, AUTH_READ_ONLY);
    unsigned before = looks();
    while (looks() < before + 3)
        place_run_for(&f.place, EVERY);
    assert_int_equal(f.told, 1);
    finish(&f);
}

/* This machine's: root is in group root by /etc/passwd; a name that is no group's gives nobody. */
static void the_real_system_has_root(void **state)
{
    (void)state;
    struct system_accounts accounts, again;
    assert_int_equal(system_accounts_look(&(struct system_groups){.of = {"root", "no-such-group", "root"}}, &accounts), 0);
    const struct system_account *root = system_accounts_find(&accounts, "root");
    assert_non_null(root);
    assert_int_equal(root->role, AUTH_ADMINISTRATOR); /* the higher one */
    assert_int_equal(accounts.blind, geteuid() != 0);
    assert_int_equal(system_accounts_look(&(struct system_groups){.of = {"root", "", ""}}, &again), 0);
    assert_memory_equal(root->stamp, system_accounts_find(&again, "root")->stamp, sizeof root->stamp);
    assert_int_equal(system_accounts_look(&(struct system_groups){.of = {"", "no-such-group", ""}}, &again), 0);
    assert_int_equal(again.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_change_is_seen_at_an_interval),
        cmocka_unit_test(what_can_not_be_looked_at_stays),
        cmocka_unit_test(a_login_may_come_before_the_first_look),
        cmocka_unit_test(a_password_that_changes_under_the_login_is_wrong),
        cmocka_unit_test(a_login_looks),
        cmocka_unit_test(a_file_hides_the_systems_account),
        cmocka_unit_test(the_real_system_has_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void)
{
    return 77; /* skipped: built without PAM */
}
#endif
