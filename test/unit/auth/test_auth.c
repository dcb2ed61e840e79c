/* Verification: the answer, its way, what it costs, and that it says nothing more. */
#include <build-config.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "accounts.h"
#include "auth/auth.h"
#include "auth/pam.h"
#include "base/log.h"

#define LOCKED_AFTER 5

struct fixture {
    struct place place;
    struct users *users;
    struct auth *auth;
    bool auth_closed, users_closed;
};

struct asked {
    struct auth_check check;
    bool done;
};

static struct fixture *f;

static void start_with(const char *text, struct auth_options options)
{
    char error[USERS_ERROR_MAX];
    f = calloc(1, sizeof *f);
    place_make(&f->place);
    place_write(&f->place, text, 0600);
    const struct users_options users = {.path = f->place.path, .hash_cost = CHEAP};
    f->users = users_new(&f->place.loop, &users, error);
    assert_non_null(f->users);
    options.now = place_now;
    options.now_arg = &f->place;
    options.hash_cost = CHEAP;
    f->auth = auth_new(&f->place.loop, f->users, &options);
}

static int setup(void **state)
{
    char text[2048] = "";
    const struct auth_options options = {.remember_ms = 60000};
    (void)state;
    strcat(text, account("admin", "correct horse", "Administrator", "enabled"));
    strcat(text, account("bob", "battery staple", "Operator", "enabled"));
    strcat(text, account("eve", "once upon a time", "ReadOnly", "disabled"));
    start_with(text, options);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (!f->auth_closed)
        auth_close(f->auth, mark_closed, &f->auth_closed);
    place_run_until(&f->place, is_true, &f->auth_closed);
    users_close(f->users, mark_closed, &f->users_closed);
    place_run_until(&f->place, is_true, &f->users_closed);
    place_remove(&f->place);
    free(f);
    return 0;
}

static void on_done(struct auth_check *check)
{
    struct asked *asked = container_of(check, struct asked, check);
    assert_false(asked->done);
    asked->done = true;
}

static void ask(struct asked *asked, const char *name, const char *password, const char *peer)
{
    memset(asked, 0, sizeof *asked);
    asked->check =
        (struct auth_check){.name = name, .password = password, .peer = peer, .method = "basic", .done = on_done};
    auth_verify(f->auth, &asked->check);
    assert_false(asked->done); /* never inside */
}

static int verify_from(const char *name, const char *password, const char *peer)
{
    struct asked asked;
    ask(&asked, name, password, peer);
    place_run_until(&f->place, is_true, &asked.done);
    return asked.check.status;
}

static int verify(const char *name, const char *password)
{
    return verify_from(name, password, "192.0.2.1");
}

static void the_right_password_gives_the_role(void **state)
{
    (void)state;
    struct asked asked;
    ask(&asked, "bob", "battery staple", "192.0.2.1");
    place_run_until(&f->place, is_true, &asked.done);
    assert_int_equal(asked.check.status, 0);
    assert_string_equal(asked.check.user, "bob");
    assert_int_equal(asked.check.role, AUTH_OPERATOR);
}

static void everything_else_is_refused_alike(void **state)
{
    (void)state;
    char lengthy[PASSWORD_MAX + 2], name[300];
    memset(lengthy, 'x', sizeof lengthy);
    lengthy[sizeof lengthy - 1] = '\0';
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    const char *const wrong[][2] = {{"admin", "correct horsE"},
                                    {"admin", ""},
                                    {"admin", lengthy},
                                    {"Admin", "correct horse"},
                                    {"", "correct horse"},
                                    {"nobody", "correct horse"},
                                    {"eve", "once upon a time"},
                                    {"bob", "correct horse"},
                                    {name, "x"},
                                    {"a:b\n", "correct horse"},
                                    {"", ""}};
    char peer[32];
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uint64_t before = auth_hashes(f->auth);
        snprintf(peer, sizeof peer, "192.0.2.%u", i);
        assert_int_equal(verify_from(wrong[i][0], wrong[i][1], peer), -EACCES);
        assert_int_equal(auth_hashes(f->auth), before + 1); /* each costs one */
    }
}

static void a_verified_password_costs_one_hash(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(verify("admin", "correct horse"), 0);
    assert_int_equal(auth_hashes(f->auth), 1);
    assert_int_equal(verify_from("admin", "correct horse", "192.0.2.200"), 0);
    assert_int_equal(auth_hashes(f->auth), 1);
    assert_int_equal(verify("admin", "correct horse2"), -EACCES);
    assert_int_equal(auth_hashes(f->auth), 2);
    f->place.now += 60000;
    assert_int_equal(verify("admin", "correct horse"), 0);
    assert_int_equal(auth_hashes(f->auth), 3);
}

static void equal_checks_share_one_hash(void **state)
{
    (void)state;
    struct asked many[100], other;
    for (unsigned i = 0; i < 100; i++)
        ask(&many[i], "admin", "correct horse", "192.0.2.1");
    ask(&other, "admin", "correct horse", "192.0.2.2");
    place_run_until(&f->place, is_true, &other.done);
    place_run_until(&f->place, is_true, &many[99].done);
    for (unsigned i = 0; i < 100; i++)
        assert_true(many[i].done && many[i].check.status == 0);
    assert_int_equal(auth_hashes(f->auth), 2); /* one a peer: who fails is counted by peer */
}

static struct asked changed;

static void on_changed(struct users_request *request)
{
    assert_int_equal(request->status, 0);
    changed.done = true;
}

static void change(struct users_request request)
{
    changed.done = false;
    request.done = on_changed;
    users_change(f->users, &request);
    place_run_until(&f->place, is_true, &changed.done);
}

static void a_change_forgets_what_was_verified(void **state)
{
    (void)state;
    assert_int_equal(verify("bob", "battery staple"), 0);
    change((struct users_request){.op = USERS_SET, .name = "bob", .role = AUTH_READ_ONLY, .enabled = -1});
    struct asked asked;
    ask(&asked, "bob", "battery staple", "192.0.2.1");
    place_run_until(&f->place, is_true, &asked.done);
    assert_int_equal(asked.check.role, AUTH_READ_ONLY);
    change(
        (struct users_request){.op = USERS_SET, .name = "bob", .password = "another one", .role = -1, .enabled = -1});
    assert_int_equal(verify("bob", "battery staple"), -EACCES);
    assert_int_equal(verify("bob", "another one"), 0);
    change((struct users_request){.op = USERS_SET, .name = "bob", .role = -1, .enabled = 0});
    assert_int_equal(verify("bob", "another one"), -EACCES);
    change((struct users_request){.op = USERS_SET, .name = "bob", .role = -1, .enabled = 1});
    assert_int_equal(verify("bob", "another one"), 0);
    change((struct users_request){.op = USERS_REMOVE, .name = "bob", .role = -1, .enabled = -1});
    assert_int_equal(verify("bob", "another one"), -EACCES);
}

/* The account is disabled while its password is being verified. */
static void a_change_meanwhile_wins(void **state)
{
    (void)state;
    struct asked many[7];
    char peer[32];
    for (unsigned i = 0; i < 7; i++) { /* the last one waits for the others */
        snprintf(peer, sizeof peer, "198.51.100.%u", i);
        ask(&many[i], i < 6 ? "admin" : "bob", i < 6 ? "wrong" : "battery staple", peer);
    }
    struct users_table table;
    char error[USERS_ERROR_MAX];
    struct users_edit disable = {.op = USERS_SET, .name = "bob", .role = -1, .enabled = 0};
    assert_int_equal(users_edit_file(f->place.path, &disable, &table, error), 0);
    users_table_free(&table);
    users_reload(f->users);
    while (users_find(f->users, "bob")->enabled && !many[6].done)
        uv_run(&f->place.loop, UV_RUN_ONCE);
    bool was_first = many[6].done; /* then it was right at that time */
    place_run_until(&f->place, is_true, &many[6].done);
    assert_int_equal(many[6].check.status, was_first ? 0 : -EACCES);
    assert_int_equal(verify("bob", "battery staple"), -EACCES);
    for (unsigned i = 0; i < 6; i++)
        place_run_until(&f->place, is_true, &many[i].done);
}

static void failures_lock_and_say_for_how_long(void **state)
{
    (void)state;
    struct asked asked;
    log_capture();
    for (int i = 0; i < LOCKED_AFTER; i++)
        assert_int_equal(verify("admin", "wrong"), -EACCES);
    char *log = log_captured();
    assert_non_null(strstr(log, "audit: login failed: user=\"admin\" peer=\"192.0.2.1\" detail=\"basic\"\n"));
    assert_non_null(strstr(
        log, "audit: login locked: user=\"admin\" peer=\"192.0.2.1\" detail=\"account for this address, 30 s\"\n"));
    free(log);
    uint64_t hashes = auth_hashes(f->auth);
    ask(&asked, "admin", "correct horse", "192.0.2.1");
    place_run_until(&f->place, is_true, &asked.done);
    assert_int_equal(asked.check.status, -EAGAIN);
    assert_int_equal(asked.check.retry_ms, 30000);
    assert_int_equal(auth_hashes(f->auth), hashes); /* a locked one costs nothing */
    assert_int_equal(verify_from("admin", "correct horse", "192.0.2.2"), 0);
    /* What was verified from elsewhere does not open it: guesses would be free. */
    assert_int_equal(verify("admin", "correct horse"), -EAGAIN);
    f->place.now += 30000;
    assert_int_equal(verify("admin", "correct horse"), 0);
    /* Unknown names lock as well, and look the same. */
    for (int i = 0; i < LOCKED_AFTER; i++)
        assert_int_equal(verify("nobody", "wrong"), -EACCES);
    assert_int_equal(verify("nobody", "wrong"), -EAGAIN);
}

static void the_log_has_no_secret_and_no_unknown_name(void **state)
{
    (void)state;
    enum log_level before = log_get_level();
    log_set_level(LOG_LEVEL_DEBUG);
    log_capture();
    verify("CANARY-NAME", "CANARY-PASSWORD");
    verify("bob", "CANARY-PASSWORD");
    verify("eve", "once upon a time");
    verify("bob", "battery staple");
    char *log = log_captured();
    log_set_level(before);
    assert_null(strstr(log, "CANARY"));
    assert_null(strstr(log, "staple"));
    assert_non_null(strstr(log, "login failed: peer=\"192.0.2.1\""));
    assert_non_null(strstr(log, "login failed: user=\"bob\""));
    assert_non_null(strstr(log, "login failed: user=\"eve\""));
    assert_non_null(strstr(log, "login ok: user=\"bob\" peer=\"192.0.2.1\" detail=\"basic\""));
    free(log);
}

static void the_queue_is_bounded(void **state)
{
    (void)state;
    enum { MANY = AUTH_QUEUE_MAX + 10 };
    struct asked asked[MANY];
    char peer[32];
    unsigned busy = 0, wrong = 0;
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(peer, sizeof peer, "198.51.100.%u", i);
        ask(&asked[i], "admin", "wrong", peer);
    }
    for (unsigned i = 0; i < MANY; i++) {
        place_run_until(&f->place, is_true, &asked[i].done);
        busy += asked[i].check.status == -EBUSY;
        wrong += asked[i].check.status == -EACCES;
    }
    assert_int_equal(wrong, AUTH_QUEUE_MAX + 2); /* two run, the rest of them wait */
    assert_int_equal(busy, MANY - wrong);
    assert_int_equal(auth_hashes(f->auth), wrong);
    /* One address can't fill it. */
    struct asked flood[100];
    char password[16];
    busy = 0;
    for (unsigned i = 0; i < 100; i++) {
        snprintf(password, sizeof password, "guess %u", i);
        ask(&flood[i], "bob", password, "203.0.113.1");
    }
    assert_int_equal(verify_from("admin", "correct horse", "203.0.113.2"), 0);
    for (unsigned i = 0; i < 100; i++)
        place_run_until(&f->place, is_true, &flood[i].done);
    for (unsigned i = 0; i < 100; i++)
        busy += flood[i].check.status == -EBUSY;
    assert_int_equal(busy, 95);
}

static void checks_can_be_cancelled(void **state)
{
    (void)state;
    struct asked running, joined, waiting[4], told;
    ask(&running, "admin", "correct horse", "192.0.2.1");
    ask(&joined, "admin", "correct horse", "192.0.2.1");
    for (unsigned i = 0; i < 4; i++)
        ask(&waiting[i], "bob", i ? "wrong" : "battery staple", i ? "192.0.2.3" : "192.0.2.2");
    auth_cancel(&running.check);
    auth_cancel(&running.check);
    auth_cancel(&waiting[0].check);
    assert_false(running.done || waiting[0].done);
    place_run_until(&f->place, is_true, &joined.done);
    place_run_until(&f->place, is_true, &waiting[3].done);
    assert_int_equal(running.check.status, -ECANCELED);
    assert_int_equal(waiting[0].check.status, -ECANCELED);
    assert_int_equal(joined.check.status, 0);
    assert_int_equal(waiting[3].check.status, -EACCES);
    auth_cancel(&joined.check);                        /* over: nothing */
    place_run_for(&f->place, 50);                      /* also the one that nobody waits for is over */
    ask(&told, "admin", "correct horse", "192.0.2.1"); /* known: only the answer is on its way */
    auth_cancel(&told.check);
    place_run_until(&f->place, is_true, &told.done);
    assert_int_equal(told.check.status, -ECANCELED);
}

static void closing_answers_everybody(void **state)
{
    (void)state;
    struct asked asked[8], late;
    char password[16];
    for (unsigned i = 0; i < 8; i++) {
        snprintf(password, sizeof password, "p%u", i / 2);
        ask(&asked[i], i % 2 ? "admin" : "bob", password, "192.0.2.1");
    }
    auth_close(f->auth, mark_closed, &f->auth_closed);
    assert_false(f->auth_closed || asked[0].done);
    ask(&late, "admin", "correct horse", "192.0.2.1");
    place_run_until(&f->place, is_true, &f->auth_closed);
    for (unsigned i = 0; i < 8; i++)
        assert_true(asked[i].done && asked[i].check.status == -ECANCELED);
    assert_true(late.done && late.check.status == -ECANCELED);
}

static uint64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t cost(const char *name, const char *password)
{
    char peer[32];
    static unsigned next;
    snprintf(peer, sizeof peer, "10.0.%u.%u", next / 200, next % 200);
    next++;
    uint64_t before = cpu_us();
    assert_int_equal(verify_from(name, password, peer), -EACCES);
    return cpu_us() - before;
}

static int unlike_the_first(const uint64_t *least, unsigned count)
{
    for (unsigned i = 1; i < count; i++)
        if (least[i] < least[0] / 2 || least[i] > least[0] * 2)
            return (int)i;
    return 0;
}

/* Hashes that are dear enough to be seen: 20 ms or so. */
static void time_does_not_tell_who_exists(void **state)
{
    (void)state;
    char text[1024] = "", hash[PASSWORD_HASH_MAX];
    teardown(NULL);
    for (int i = 0; i < 2; i++) {
        assert_true(password_hash("correct horse", 4, hash));
        sprintf(text + strlen(text), "%s:%s:Administrator:%s\n", i ? "old" : "admin", hash, i ? "disabled" : "enabled");
    }
    const struct auth_options options = {0};
    start_with(text, options);
    static const char *const logins[][2] = {
        {"admin", "wrong"}, {"nobody", "wrong"}, {"old", "correct horse"}, {"a:b", "wrong"}, {"admin", ""}};
    enum { LOGINS = sizeof logins / sizeof *logins };
    uint64_t least[LOGINS];
    memset(least, 0xff, sizeof least);
    /* The least of several, in turns: the machine has other work, and may be slow for a while, or longer. */
    for (unsigned round = 0; round < 7 || (round < 40 && unlike_the_first(least, LOGINS)); round++) {
        for (unsigned i = 0; i < LOGINS; i++) {
            uint64_t took = cost(logins[i][0], logins[i][1]);
            least[i] = took < least[i] ? took : least[i];
        }
    }
    int unlike = unlike_the_first(least, LOGINS);
    if (unlike)
        fail_msg("%s: %u us, %s: %u us", logins[0][0], (unsigned)least[0], logins[unlike][0], (unsigned)least[unlike]);
}

static void without_accounts_nobody_comes_in(void **state)
{
    (void)state;
    teardown(NULL);
    const struct auth_options options = {.remember_ms = 60000};
    start_with("", options);
    assert_int_equal(verify("admin", ""), -EACCES);
    assert_int_equal(verify("", ""), -EACCES);
    assert_int_equal(verify("admin", "admin"), -EACCES);
    assert_int_equal(auth_hashes(f->auth), 3);
}

/* Somebody wrote the hash of an empty password into the file. */
static void an_empty_password_is_none(void **state)
{
    (void)state;
    teardown(NULL);
    const struct auth_options options = {0};
    start_with(account("admin", "", "Administrator", "enabled"), options);
    char lengthy[PASSWORD_MAX + 2];
    memset(lengthy, 'x', sizeof lengthy);
    lengthy[sizeof lengthy - 1] = '\0';
    assert_int_equal(verify("admin", ""), -EACCES);
    assert_int_equal(verify("admin", lengthy), -EACCES);
}

static void start_with_delay(uint64_t ms)
{
    const struct auth_options options = {.failure_delay_ms = ms};
    teardown(NULL);
    start_with(account("admin", "correct horse", "Administrator", "enabled"), options);
}

static void a_wrong_answer_is_held_back(void **state)
{
    (void)state;
    start_with_delay(400);
    uint64_t before = uv_hrtime();
    assert_int_equal(verify("admin", "wrong"), -EACCES);
    assert_true(uv_hrtime() - before >= 399 * 1000000ull);
}

static bool is_held(void *arg)
{
    return ((struct asked *)arg)->check.delayed;
}

/* With a delay that no test would live to see. */
static void a_right_answer_is_not_held_back(void **state)
{
    (void)state;
    struct asked wrong;
    start_with_delay(3600000);
    assert_int_equal(verify("admin", "correct horse"), 0);
    ask(&wrong, "admin", "wrong", "192.0.2.2");
    place_run_until(&f->place, is_held, &wrong);
    assert_int_equal(verify("admin", "correct horse"), 0);
    assert_false(wrong.done);
    auth_cancel(&wrong.check);
    assert_false(wrong.done);
    place_run_until(&f->place, is_true, &wrong.done);
    assert_int_equal(wrong.check.status, -ECANCELED);
}

static void so_many_are_held_back(void **state)
{
    (void)state;
    enum { MORE = 6, MANY = AUTH_DELAYED_MAX + MORE };
    struct asked asked[MANY];
    start_with_delay(3600000);
    for (unsigned i = 0; i < MANY; i++) /* one password, many who ask */
        ask(&asked[i], "admin", "wrong", "192.0.2.1");
    place_run_until(&f->place, is_true, &asked[MORE - 1].done);
    place_run_for(&f->place, 20);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(asked[i].done, i < MORE);
    assert_int_equal(asked[0].check.status, -EACCES);
    auth_close(f->auth, mark_closed, &f->auth_closed);
    place_run_until(&f->place, is_true, &f->auth_closed);
    for (unsigned i = MORE; i < MANY; i++)
        assert_true(asked[i].done && asked[i].check.status == -ECANCELED);
}

#ifdef HAVE_PAM
/* Of the service's file, and of the script of pam_exec that is in it. */
static struct place service;

static void pam_write(const char *file, const char *text, unsigned mode)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", service.folder, file);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
    chmod(path, mode);
}

/* The password comes to the script's `p`; it is right when the script says so. */
static void pam_begin(const char *script, const char *users, struct auth_options options)
{
    char text[256];
    teardown(NULL);
    f = NULL;
    place_make(&service);
    snprintf(text, sizeof text, "#!/bin/sh\ncd %s\nread -r p || true\n%s\n", service.folder, script);
    pam_write("script", text, 0700);
    snprintf(text, sizeof text, "auth required pam_exec.so quiet expose_authtok %s/script\naccount required pam_permit.so\n",
             service.folder);
    pam_write(PAM_SERVICE_NAME, text, 0600);
    options.pam_folder = service.folder;
    start_with(users, options);
}

static void pam_end_service(void)
{
    place_remove(&service);
}

static void a_pam_account_is_asked_of_pam(void **state)
{
    (void)state;
    pam_begin("test \"$PAM_USER:$p:$PAM_RHOST:$PAM_SERVICE\" = 'admin:of the system:192.0.2.1:nbd-proxy'",
              "admin:pam:Administrator:enabled\n", (struct auth_options){.remember_ms = 60000});
    assert_int_equal(verify("admin", "of the system"), 0);
    assert_int_equal(verify("admin", "of the system"), 0);
    assert_int_equal(auth_hashes(f->auth), 1);
    assert_int_equal(verify("admin", "wrong"), -EACCES);
    assert_int_equal(verify("admin", ""), -EACCES);
    assert_int_equal(verify_from("admin", "of the system", "192.0.2.2"), 0); /* remembered */
    pam_end_service();
}

#define PAM_PATIENCE 1000 /* enough for who does not wait for it */
#define PAM_ASKED    (1 + AUTH_PAM_QUEUE_MAX)

static const char *pam_and_local_users(void)
{
    static char text[1024];
    *text = '\0';
    for (char name = 'a'; name < 'a' + PAM_ASKED + 2; name++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%c:pam:Operator:enabled\n", name);
    strcat(text, account("bob", "battery staple", "Operator", "enabled"));
    return text;
}

static void ask_of_pam(struct asked *asked, unsigned which)
{
    char name[] = {(char)('a' + which), '\0'};
    ask(asked, name, "of the system", "192.0.2.1");
}

/* Files wake no loop. */
static void await_file(struct place *place, const char *file)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", service.folder, file);
    for (unsigned i = 0; access(path, F_OK) != 0; i++) {
        assert_true(i < 2000);
        place_run_for(place, 10);
    }
}

static void assert_bob_comes_in(const char *peer)
{
    assert_int_equal(verify_from("bob", "wrong", peer), -EACCES);
    assert_int_equal(verify_from("bob", "battery staple", peer), 0);
}

/* The script waits for the file "go". */
#define HANGING "touch begun; while [ ! -e go ]; do sleep 0.02; done; touch ended; test \"$p\" = 'of the system'"

static void pam_that_hangs_is_in_nobodys_way(void **state)
{
    (void)state;
    struct asked asked[PAM_ASKED], more;
    pam_begin(HANGING, pam_and_local_users(), (struct auth_options){.remember_ms = 60000, .pam_patience_ms = PAM_PATIENCE});
    log_capture();
    for (unsigned i = 0; i < PAM_ASKED; i++)
        ask_of_pam(&asked[i], i);
    ask_of_pam(&more, PAM_ASKED); /* the queue is full */
    place_run_until(&f->place, is_true, &more.done);
    assert_int_equal(more.check.status, -EBUSY);
    assert_int_equal(more.check.retry_ms, 10000);
    await_file(&f->place, "begun");
    assert_bob_comes_in("192.0.2.1"); /* from where they ask, too */
    assert_int_equal(auth_hashes(f->auth), 3);
    for (unsigned i = 0; i < PAM_ASKED; i++) { /* they are told, at last */
        place_run_until(&f->place, is_true, &asked[i].done);
        assert_int_equal(asked[i].check.status, -EBUSY);
        assert_int_equal(asked[i].check.retry_ms, 10000);
    }
    ask_of_pam(&more, 0); /* at once, though it is what PAM was asked */
    place_run_until(&f->place, is_true, &more.done);
    assert_int_equal(more.check.status, -EBUSY);
    assert_bob_comes_in("192.0.2.77");
    pam_write("go", "", 0600);
    do { /* what was asked for is answered now, and remembered */
        ask_of_pam(&more, 0);
        place_run_until(&f->place, is_true, &more.done);
    } while (more.check.status == -EBUSY);
    assert_int_equal(more.check.status, 0);
    assert_int_equal(auth_hashes(f->auth), 4); /* one of PAM, and bob's */
    ask_of_pam(&more, 1); /* no failure was counted, and PAM is asked again */
    place_run_until(&f->place, is_true, &more.done);
    assert_int_equal(more.check.status, 0);
    char *log = log_captured();
    assert_non_null(strstr(log, "PAM has not answered for 1 s: logins by it are refused until it does"));
    assert_non_null(strstr(log, "PAM answers again"));
    free(log);
    pam_end_service();
}

static void closing_does_not_wait_for_pam(void **state)
{
    (void)state;
    struct asked asked[2];
    pam_begin(HANGING, pam_and_local_users(), (struct auth_options){0});
    for (unsigned i = 0; i < 2; i++)
        ask_of_pam(&asked[i], i);
    await_file(&f->place, "begun");
    auth_close(f->auth, mark_closed, &f->auth_closed);
    place_run_until(&f->place, is_true, &f->auth_closed);
    for (unsigned i = 0; i < 2; i++)
        assert_true(asked[i].done && asked[i].check.status == -ECANCELED);
    pam_write("go", "", 0600);
    await_file(&service, "ended");
    pam_end_service();
}

static void a_pam_check_can_be_cancelled(void **state)
{
    (void)state;
    struct asked asked[2];
    pam_begin(HANGING, pam_and_local_users(), (struct auth_options){.remember_ms = 60000});
    ask_of_pam(&asked[0], 0);
    ask_of_pam(&asked[1], 1);
    await_file(&f->place, "begun");
    auth_cancel(&asked[0].check);
    auth_cancel(&asked[1].check);
    place_run_until(&f->place, is_true, &asked[1].done);
    assert_true(asked[0].done && asked[0].check.status == -ECANCELED && asked[1].check.status == -ECANCELED);
    pam_write("go", "", 0600);
    ask_of_pam(&asked[0], 1); /* comes behind both, or joins the second */
    place_run_until(&f->place, is_true, &asked[0].done);
    assert_int_equal(asked[0].check.status, 0);
    pam_end_service();
}
#endif

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_right_password_gives_the_role),
        TEST(everything_else_is_refused_alike),
        TEST(a_verified_password_costs_one_hash),
        TEST(equal_checks_share_one_hash),
        TEST(a_change_forgets_what_was_verified),
        TEST(a_change_meanwhile_wins),
        TEST(failures_lock_and_say_for_how_long),
        TEST(the_log_has_no_secret_and_no_unknown_name),
        TEST(the_queue_is_bounded),
        TEST(checks_can_be_cancelled),
        TEST(closing_answers_everybody),
        TEST(time_does_not_tell_who_exists),
        TEST(without_accounts_nobody_comes_in),
        TEST(an_empty_password_is_none),
        TEST(a_wrong_answer_is_held_back),
        TEST(a_right_answer_is_not_held_back),
        TEST(so_many_are_held_back),
#ifdef HAVE_PAM
        TEST(a_pam_account_is_asked_of_pam),
        TEST(pam_that_hangs_is_in_nobodys_way),
        TEST(a_pam_check_can_be_cancelled),
        TEST(closing_does_not_wait_for_pam),
#endif
    };
    log_set_level(LOG_LEVEL_NOTICE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
