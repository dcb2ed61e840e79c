/* Sessions: who finds them, when they end, who is told. The clock is the test's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "accounts.h"
#include "auth/sessions.h"

#define MINUTE 60000u
#define HOUR   (60 * MINUTE)

static struct place place;
static struct users *users;
static struct sessions *sessions;
static bool sessions_closed, users_closed;

struct held {
    struct session_attachment attachment;
    unsigned ended;
    char id[SESSION_ID_MAX];
    bool frees, aged;
};

static void start_with(struct sessions_options options)
{
    char error[USERS_ERROR_MAX], text[4096] = "", name[16];
    place_make(&place);
    strcat(text, account("admin", "correct horse", "Administrator", "enabled"));
    strcat(text, account("old", "correct horse", "Administrator", "disabled"));
    const char *hash = strchr(text, ':') + 1;
    int length = (int)strcspn(hash, ":");
    for (unsigned i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "u%u", i);
        sprintf(text + strlen(text), "%s:%.*s:Operator:enabled\n", name, length, hash);
    }
    place_write(&place, text, 0600);
    const struct users_options users_options = {.path = place.path, .hash_cost = CHEAP};
    users = users_new(&place.loop, &users_options, error);
    assert_non_null(users);
    options.now = place_now;
    options.now_arg = &place;
    sessions = sessions_new(&place.loop, users, &options);
    sessions_closed = users_closed = false;
}

static int setup(void **state)
{
    (void)state;
    start_with((struct sessions_options){0});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (!sessions_closed)
        sessions_close(sessions, mark_closed, &sessions_closed);
    place_run_until(&place, is_true, &sessions_closed);
    users_close(users, mark_closed, &users_closed);
    place_run_until(&place, is_true, &users_closed);
    place_remove(&place);
    return 0;
}

static struct session *begin(enum session_kind kind, const char *user, char token[SECRET_TEXT])
{
    struct session *session;
    assert_int_equal(sessions_open(sessions, kind, user, "192.0.2.1", &session, token), 0);
    return session;
}

static int begin_status(const char *user)
{
    struct session *session;
    char token[SECRET_TEXT];
    return sessions_open(sessions, SESSION_REDFISH, user, "192.0.2.1", &session, token);
}

static void on_ended(struct session_attachment *attachment, const struct session *session)
{
    struct held *held = container_of(attachment, struct held, attachment);
    held->ended++;
    held->aged = session->aged;
    strcpy(held->id, session->id);
    if (held->frees)
        free(held);
}

static void hold(struct session *session, struct held *held)
{
    memset(held, 0, sizeof *held);
    held->attachment.ended = on_ended;
    session_attach(session, &held->attachment);
}

static bool has_ended(void *arg)
{
    return ((struct held *)arg)->ended > 0;
}

static void a_session_is_found_by_its_token(void **state)
{
    (void)state;
    char token[SECRET_TEXT], other[SECRET_TEXT];
    struct session *session = begin(SESSION_REDFISH, "admin", token);
    assert_string_equal(session->user, "admin");
    assert_string_equal(session->peer, "192.0.2.1");
    assert_int_equal(session->role, AUTH_ADMINISTRATOR);
    assert_true(session->created > 1600000000);
    assert_ptr_equal(sessions_find(sessions, SESSION_REDFISH, token), session);
    assert_ptr_equal(sessions_by_id(sessions, session->id), session);
    assert_int_equal(strlen(session->id), SESSION_ID_MAX - 1);
    assert_null(strstr(token, session->id));
    struct session *second = begin(SESSION_REDFISH, "admin", other);
    assert_string_not_equal(token, other);
    assert_string_not_equal(session->id, second->id);
    assert_int_equal(sessions_count(sessions), 2);
    other[5] = other[5] == 'A' ? 'B' : 'A';
    assert_null(sessions_find(sessions, SESSION_REDFISH, other));
    assert_null(sessions_find(sessions, SESSION_REDFISH, ""));
    assert_null(sessions_find(sessions, SESSION_REDFISH, session->id));
    token[SECRET_TEXT - 2] = '\0';
    assert_null(sessions_find(sessions, SESSION_REDFISH, token));
    assert_null(sessions_by_id(sessions, ""));
    assert_int_equal(begin_status("nobody"), -EACCES);
    assert_int_equal(begin_status("old"), -EACCES);
}

/* Nothing in memory leads back to the token. */
static void the_token_is_not_kept(void **state)
{
    (void)state;
    char token[SECRET_TEXT];
    struct session *session = begin(SESSION_BROWSER, "admin", token);
    const char *memory = (const char *)session;
    for (size_t i = 0; i + 16 < sizeof *session; i++)
        assert_memory_not_equal(memory + i, token, 16);
}

static void a_kind_is_nothing_to_the_other(void **state)
{
    (void)state;
    char redfish[SECRET_TEXT], browser[SECRET_TEXT];
    begin(SESSION_REDFISH, "admin", redfish);
    begin(SESSION_BROWSER, "admin", browser);
    assert_null(sessions_find(sessions, SESSION_BROWSER, redfish));
    assert_null(sessions_find(sessions, SESSION_REDFISH, browser));
    assert_non_null(sessions_find(sessions, SESSION_REDFISH, redfish));
    assert_non_null(sessions_find(sessions, SESSION_BROWSER, browser));
}

static void csrf_tokens_belong_to_one_session(void **state)
{
    (void)state;
    char a[SECRET_TEXT], b[SECRET_TEXT], csrf[SECRET_TEXT], again[SECRET_TEXT];
    begin(SESSION_BROWSER, "admin", a);
    begin(SESSION_BROWSER, "admin", b);
    sessions_csrf(sessions, a, csrf);
    sessions_csrf(sessions, a, again);
    assert_string_equal(csrf, again);
    assert_string_not_equal(csrf, a);
    assert_true(sessions_csrf_matches(sessions, a, csrf));
    assert_false(sessions_csrf_matches(sessions, b, csrf));
    assert_false(sessions_csrf_matches(sessions, a, a));
    assert_false(sessions_csrf_matches(sessions, a, ""));
    csrf[SECRET_TEXT - 2] = '\0';
    assert_false(sessions_csrf_matches(sessions, a, csrf));
}

static void an_idle_session_ends(void **state)
{
    (void)state;
    char a[SECRET_TEXT], b[SECRET_TEXT];
    struct held held;
    hold(begin(SESSION_REDFISH, "admin", a), &held);
    begin(SESSION_REDFISH, "admin", b);
    for (int i = 0; i < 5; i++) { /* used now and then, it lives on */
        place.now += 29 * MINUTE;
        assert_non_null(sessions_find(sessions, SESSION_REDFISH, b));
    }
    place.now += 30 * MINUTE - 1;
    assert_int_equal(sessions_count(sessions), 2);
    sessions_expire(sessions);
    assert_int_equal(sessions_count(sessions), 2);
    place.now += 1;
    assert_null(sessions_find(sessions, SESSION_REDFISH, b)); /* also when no timer has come yet */
    assert_int_equal(sessions_count(sessions), 1);
    /* What is attached keeps it from being idle; the time begins when that goes. */
    assert_int_equal(held.ended, 0);
    session_detach(&held.attachment);
    place.now += 30 * MINUTE - 1;
    sessions_expire(sessions);
    assert_int_equal(sessions_count(sessions), 1);
    place.now += 1;
    sessions_expire(sessions);
    assert_int_equal(sessions_count(sessions), 0);
    place_run_for(&place, 5);
    assert_int_equal(held.ended, 0);
    session_detach(&held.attachment);
}

static void looking_at_a_session_is_no_use_of_it(void **state)
{
    (void)state;
    char token[SECRET_TEXT];
    struct session *session = begin(SESSION_REDFISH, "admin", token);
    char id[SESSION_ID_MAX];
    strcpy(id, session->id);
    place.now += 29 * MINUTE;
    assert_non_null(sessions_by_id(sessions, id));
    assert_null(sessions_find(sessions, SESSION_BROWSER, token));
    place.now += 2 * MINUTE;
    assert_null(sessions_find(sessions, SESSION_REDFISH, token));
}

static void age_ends_a_busy_session_too(void **state)
{
    (void)state;
    char token[SECRET_TEXT];
    struct held held;
    hold(begin(SESSION_REDFISH, "admin", token), &held);
    for (int i = 0; i < 23; i++) {
        place.now += HOUR;
        assert_non_null(sessions_find(sessions, SESSION_REDFISH, token));
    }
    place.now += HOUR;
    assert_null(sessions_find(sessions, SESSION_REDFISH, token));
    place_run_until(&place, has_ended, &held);
    assert_int_equal(held.ended, 1);
    assert_null(held.attachment.session);
}

static void start_again(const struct sessions_options *options)
{
    sessions_close(sessions, mark_closed, &sessions_closed);
    place_run_until(&place, is_true, &sessions_closed);
    sessions_closed = false;
    sessions = sessions_new(&place.loop, users, options);
}

static char *file_text(const char *path)
{
    static char text[16384];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

/* No token is in the file; what was idle for too long meanwhile, or whose account is another now, is gone. */
static void sessions_outlive_the_process(void **state)
{
    (void)state;
    char path[96], tokens[3][SECRET_TEXT], csrf[SECRET_TEXT];
    struct stat st;
    snprintf(path, sizeof path, "%s/sessions.json", place.folder);
    const struct sessions_options options = {.now = place_now, .now_arg = &place, .path = path};
    place.now = 10 * HOUR;
    start_again(&options);
    begin(SESSION_REDFISH, "u1", tokens[0]);
    place.now += 20 * MINUTE;
    begin(SESSION_BROWSER, "admin", tokens[1]);
    begin(SESSION_REDFISH, "u2", tokens[2]);
    sessions_csrf(sessions, tokens[1], csrf);
    start_again(&options);
    assert_int_equal(sessions_count(sessions), 3);
    struct session *found = sessions_find(sessions, SESSION_BROWSER, tokens[1]);
    assert_non_null(found);
    assert_string_equal(found->user, "admin");
    assert_int_equal(found->role, AUTH_ADMINISTRATOR);
    assert_true(sessions_csrf_matches(sessions, tokens[1], csrf));
    assert_null(sessions_find(sessions, SESSION_REDFISH, tokens[1]));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    for (unsigned i = 0; i < 3; i++)
        assert_null(strstr(file_text(path), tokens[i]));

    place.now += 15 * MINUTE; /* u1's is idle for 35 */
    sessions_close(sessions, mark_closed, &sessions_closed);
    place_run_until(&place, is_true, &sessions_closed);
    users_close(users, mark_closed, &users_closed);
    place_run_until(&place, is_true, &users_closed);
    char text[4096] = "", error[USERS_ERROR_MAX];
    strcat(text, account("admin", "correct horse", "Administrator", "enabled")); /* hashed anew, so another password */
    const char *u2 = account("u2", "correct horse", "Operator", "enabled");
    place_write(&place, strcat(text, u2), 0600);
    const struct users_options users_options = {.path = place.path, .hash_cost = CHEAP};
    users = users_new(&place.loop, &users_options, error);
    sessions_closed = users_closed = false;
    sessions = sessions_new(&place.loop, users, &options);
    assert_int_equal(sessions_count(sessions), 0);
}

static void a_file_that_is_no_good_has_no_sessions(void **state)
{
    (void)state;
    char path[96], token[SECRET_TEXT];
    snprintf(path, sizeof path, "%s/sessions.json", place.folder);
    const struct sessions_options options = {.now = place_now, .now_arg = &place, .path = path};
    /* The byte behind each of these is made another one. */
    static const char *const marks[][2] = {{"\"version\":", "7"},  {"\"boot\":\"", "-"},     {"\"csrf_key\":\"", "x"},
                                           {"\"id\":\"", "x"},       {"\"digest\":\"", "x"}, {"\"account\":\"", "x"},  {"\"created_at\":", "9"},
                                           {"\"peer\":", "1"},     {"\"sessions\":", "{"}};
    place.now = HOUR;
    for (unsigned i = 0; i < sizeof marks / sizeof *marks; i++) {
        start_again(&options);
        begin(SESSION_REDFISH, "admin", token);
        sessions_close(sessions, mark_closed, &sessions_closed);
        place_run_until(&place, is_true, &sessions_closed);
        sessions_closed = false;
        char *text = file_text(path), *at = strstr(text, marks[i][0]);
        assert_non_null(at);
        at[strlen(marks[i][0])] = *marks[i][1];
        FILE *file = fopen(path, "w");
        fputs(text, file);
        fclose(file);
        sessions = sessions_new(&place.loop, users, &options);
        assert_int_equal(sessions_count(sessions), 0);
    }
}

/* Who could write the file could be anybody. */
static void a_file_that_others_may_write_has_no_sessions(void **state)
{
    (void)state;
    char path[96], other[96], token[SECRET_TEXT];
    snprintf(path, sizeof path, "%s/sessions.json", place.folder);
    snprintf(other, sizeof other, "%s/other.json", place.folder);
    const struct sessions_options options = {.now = place_now, .now_arg = &place, .path = path};
    static const mode_t modes[] = {0600, 0620, 0602, 0}; /* 0: by a link */
    place.now = HOUR;
    for (unsigned i = 0; i < sizeof modes / sizeof *modes; i++) {
        start_again(&options);
        begin(SESSION_REDFISH, "admin", token);
        sessions_close(sessions, mark_closed, &sessions_closed);
        place_run_until(&place, is_true, &sessions_closed);
        sessions_closed = false;
        assert_int_equal(modes[i] ? chmod(path, modes[i]) : rename(path, other) || symlink(other, path), 0);
        sessions = sessions_new(&place.loop, users, &options);
        assert_int_equal(sessions_count(sessions), i == 0);
    }
}

/* Its user has logged in again: with another token it is as if new, and what hangs on it stays. */
static void a_session_is_renewed(void **state)
{
    (void)state;
    char token[SECRET_TEXT], other[SECRET_TEXT], ticket[SECRET_TEXT];
    struct held held;
    struct session *session = begin(SESSION_BROWSER, "admin", token);
    hold(session, &held);
    session_ticket(session, "nbd slot0", ticket);
    place.now += 23 * HOUR + 59 * MINUTE;
    assert_int_equal(session_left_ms(session), MINUTE);
    session_renew(session, "192.0.2.2", other);
    assert_int_equal(session_left_ms(session), 24 * HOUR);
    place.now += 23 * HOUR;
    assert_null(sessions_find(sessions, SESSION_BROWSER, token));
    assert_null(sessions_redeem(sessions, ticket, "nbd slot0"));
    assert_ptr_equal(sessions_find(sessions, SESSION_BROWSER, other), session);
    assert_ptr_equal(held.attachment.session, session);
    place.now += HOUR;
    sessions_expire(sessions);
    place_run_until(&place, has_ended, &held);
    assert_true(held.aged);
}

/* With the system's clock: the timer ends it. */
static void the_timer_comes(void **state)
{
    (void)state;
    char token[SECRET_TEXT];
    struct held held, onlooker;
    sessions_close(sessions, mark_closed, &sessions_closed);
    place_run_until(&place, is_true, &sessions_closed);
    sessions_closed = false;
    const struct sessions_options options = {.idle_ms = 100, .age_ms = 1000};
    sessions = sessions_new(&place.loop, users, &options);
    hold(begin(SESSION_REDFISH, "admin", token), &onlooker);
    onlooker.attachment.onlooker = true; /* it keeps its session from nothing */
    hold(begin(SESSION_REDFISH, "admin", token), &held);
    place_run_until(&place, has_ended, &onlooker);
    assert_int_equal(sessions_count(sessions), 1);
    place_run_until(&place, has_ended, &held);
    assert_int_equal(sessions_count(sessions), 0);
}

static void attachments_are_told_once_and_later(void **state)
{
    (void)state;
    char token[SECRET_TEXT], id[SESSION_ID_MAX];
    struct held a, b, gone, *own = malloc(sizeof *own);
    struct session *session = begin(SESSION_REDFISH, "admin", token);
    strcpy(id, session->id);
    hold(session, &a);
    hold(session, &gone);
    hold(session, &b);
    hold(session, own);
    own->frees = true;
    session_detach(&gone.attachment);
    log_capture();
    session_end(session, NULL);
    session_end(session, NULL);
    char *log = log_captured();
    char *line = strstr(log, "audit: logout: user=\"admin\" peer=\"192.0.2.1\" subject=\"");
    assert_non_null(line);
    assert_null(strstr(line + 1, "audit:"));
    assert_null(strstr(log, token));
    free(log);
    assert_int_equal(a.ended, 0); /* not inside */
    assert_null(sessions_find(sessions, SESSION_REDFISH, token));
    assert_null(sessions_by_id(sessions, id));
    assert_null(sessions_next(sessions, NULL));
    session_detach(&b.attachment); /* it goes before it is told */
    place_run_until(&place, has_ended, &a);
    place_run_for(&place, 5);
    assert_int_equal(a.ended, 1);
    assert_string_equal(a.id, id);
    assert_int_equal(b.ended, 0);
    assert_int_equal(gone.ended, 0);
}

static bool changed;

static void on_changed(struct users_request *request)
{
    assert_int_equal(request->status, 0);
    changed = true;
}

static void change(struct users_request request)
{
    changed = false;
    request.done = on_changed;
    users_change(users, &request);
    place_run_until(&place, is_true, &changed);
}

static void a_session_dies_with_its_account(void **state)
{
    (void)state;
    static const struct users_request changes[] = {
        {.op = USERS_SET, .role = AUTH_READ_ONLY, .enabled = -1},
        {.op = USERS_SET, .role = -1, .enabled = 0},
        {.op = USERS_SET, .role = -1, .enabled = -1, .password = "another one"},
        {.op = USERS_REMOVE, .role = -1, .enabled = -1},
    };
    static const char *const names[] = {"u0", "u1", "u2", "u3"};
    char tokens[2][SECRET_TEXT], other[SECRET_TEXT];
    struct held held[2];
    begin(SESSION_REDFISH, "admin", other);
    for (unsigned i = 0; i < 4; i++) {
        struct users_request request = changes[i];
        request.name = names[i];
        hold(begin(SESSION_REDFISH, names[i], tokens[0]), &held[0]);
        hold(begin(SESSION_BROWSER, names[i], tokens[1]), &held[1]);
        change(request);
        assert_null(sessions_find(sessions, SESSION_REDFISH, tokens[0]));
        assert_null(sessions_find(sessions, SESSION_BROWSER, tokens[1]));
        place_run_until(&place, has_ended, &held[0]);
        place_run_until(&place, has_ended, &held[1]);
        assert_int_equal(sessions_count(sessions), 1);
    }
    change((struct users_request){.op = USERS_SET, .name = "u4", .role = AUTH_OPERATOR, .enabled = 1}); /* as it was */
    assert_non_null(sessions_find(sessions, SESSION_REDFISH, other));
}

static void a_user_has_so_many(void **state)
{
    (void)state;
    char tokens[9][SECRET_TEXT], other[SECRET_TEXT];
    struct held held;
    begin(SESSION_REDFISH, "u1", other);
    place.now += MINUTE;
    for (unsigned i = 0; i < 8; i++) {
        struct session *session = begin(SESSION_REDFISH, "admin", tokens[i]);
        if (i == 0)
            hold(session, &held);
        place.now += MINUTE;
    }
    log_capture();
    begin(SESSION_REDFISH, "admin", tokens[8]);
    char *log = log_captured();
    assert_non_null(strstr(log, "audit: session ended: user=\"admin\""));
    assert_non_null(strstr(log, "detail=\"made room for another\""));
    free(log);
    assert_int_equal(sessions_count(sessions), 9);
    assert_null(sessions_find(sessions, SESSION_REDFISH, tokens[1])); /* the oldest that was not busy */
    assert_non_null(sessions_find(sessions, SESSION_REDFISH, tokens[0]));
    assert_non_null(sessions_find(sessions, SESSION_REDFISH, other));
    session_detach(&held.attachment);
    for (unsigned i = 0; i < 9; i++)
        if (i != 1)
            assert_non_null(sessions_find(sessions, SESSION_REDFISH, tokens[i]));
    assert_int_equal(begin_status("admin"), -EBUSY); /* all were used just now */
    assert_int_equal(begin_status("u2"), 0);
    place.now += SESSION_BUSY_MS;
    assert_int_equal(begin_status("admin"), 0);
}

static void all_users_have_so_many(void **state)
{
    (void)state;
    char tokens[SESSIONS_MAX][SECRET_TEXT], name[16];
    struct held held[SESSIONS_MAX];
    for (unsigned i = 0; i < SESSIONS_MAX; i++) {
        snprintf(name, sizeof name, "u%u", i / 8);
        hold(begin(SESSION_REDFISH, name, tokens[i]), &held[i]);
    }
    place.now += MINUTE;
    assert_int_equal(begin_status("admin"), -EBUSY);
    session_detach(&held[10].attachment);
    place.now += MINUTE;
    assert_int_equal(begin_status("admin"), 0);
    assert_int_equal(sessions_count(sessions), SESSIONS_MAX);
    assert_null(sessions_find(sessions, SESSION_REDFISH, tokens[10]));
    unsigned listed = 0;
    for (struct session *s = sessions_next(sessions, NULL); s; s = sessions_next(sessions, s))
        listed++;
    assert_int_equal(listed, SESSIONS_MAX);
    /* Closing tells them all. */
    sessions_close(sessions, mark_closed, &sessions_closed);
    place_run_until(&place, is_true, &sessions_closed);
    for (unsigned i = 0; i < SESSIONS_MAX; i++)
        assert_int_equal(held[i].ended, i != 10);
}

static void logins_without_end_need_no_memory(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        char token[SECRET_TEXT];
        struct session *session;
        place.now += 5000;
        sessions_open(sessions, SESSION_REDFISH, "admin", "192.0.2.1", &session, token);
        if (i % 100 == 0)
            place_run_for(&place, 0);
        assert_true(sessions_count(sessions) <= 8);
    }
}

static void a_ticket_is_good_once(void **state)
{
    (void)state;
    char token[SECRET_TEXT], ticket[SECRET_TEXT];
    struct session *session = begin(SESSION_BROWSER, "admin", token);
    session_ticket(session, "nbd slot0", ticket);
    assert_null(sessions_find(sessions, SESSION_BROWSER, ticket));
    assert_null(sessions_redeem(sessions, token, "nbd slot0"));
    assert_ptr_equal(sessions_redeem(sessions, ticket, "nbd slot0"), session);
    assert_null(sessions_redeem(sessions, ticket, "nbd slot0"));
    session_ticket(session, "nbd slot0", ticket);
    assert_null(sessions_redeem(sessions, ticket, "nbd slot1"));
    assert_null(sessions_redeem(sessions, ticket, "nbd slot0")); /* the wrong door has used it up */
    session_ticket(session, "nbd slot0", ticket);
    place.now += SESSION_TICKET_MS;
    assert_null(sessions_redeem(sessions, ticket, "nbd slot0"));
    session_ticket(session, "nbd slot0", ticket);
    place.now += SESSION_TICKET_MS - 1;
    assert_non_null(sessions_redeem(sessions, ticket, "nbd slot0"));
    session_ticket(session, "nbd slot0", ticket);
    session_end(session, "admin");
    assert_null(sessions_redeem(sessions, ticket, "nbd slot0"));
    assert_null(sessions_redeem(sessions, "", ""));
}

static void tickets_are_bounded(void **state)
{
    (void)state;
    char token[SECRET_TEXT], tickets[SESSION_TICKETS + 1][SECRET_TEXT];
    struct session *session = begin(SESSION_BROWSER, "admin", token);
    for (unsigned i = 0; i <= SESSION_TICKETS; i++) {
        session_ticket(session, "nbd slot0", tickets[i]);
        place.now += 10;
    }
    assert_null(sessions_redeem(sessions, tickets[0], "nbd slot0"));
    for (unsigned i = 1; i <= SESSION_TICKETS; i++)
        assert_non_null(sessions_redeem(sessions, tickets[i], "nbd slot0"));
    /* Free ones are taken before live ones. */
    session_ticket(session, "a", tickets[0]);
    session_ticket(session, "b", tickets[1]);
    assert_non_null(sessions_redeem(sessions, tickets[0], "a"));
    assert_non_null(sessions_redeem(sessions, tickets[1], "b"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_session_is_found_by_its_token),
        TEST(the_token_is_not_kept),
        TEST(a_kind_is_nothing_to_the_other),
        TEST(csrf_tokens_belong_to_one_session),
        TEST(an_idle_session_ends),
        TEST(looking_at_a_session_is_no_use_of_it),
        TEST(age_ends_a_busy_session_too),
        TEST(sessions_outlive_the_process),
        TEST(a_file_that_is_no_good_has_no_sessions),
        TEST(a_file_that_others_may_write_has_no_sessions),
        TEST(a_session_is_renewed),
        TEST(the_timer_comes),
        TEST(attachments_are_told_once_and_later),
        TEST(a_session_dies_with_its_account),
        TEST(a_user_has_so_many),
        TEST(all_users_have_so_many),
        TEST(logins_without_end_need_no_memory),
        TEST(a_ticket_is_good_once),
        TEST(tickets_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
