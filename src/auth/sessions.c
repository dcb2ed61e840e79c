#include "auth/sessions_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "auth/audit.h"
#include "auth/lockout.h"
#include "base/text.h"

uint64_t sessions_now(const struct sessions *sessions)
{
    return sessions->options.now ? sessions->options.now(sessions->options.now_arg) : uv_hrtime() / 1000000;
}

static struct session *session_of(struct link *link)
{
    return container_of(link, struct session, link);
}

/* --- the end of one --- */

static void tell_attachments(struct session *session)
{
    for (struct link *l = list_pop(&session->attachments); l; l = list_pop(&session->attachments)) {
        struct session_attachment *attachment = container_of(l, struct session_attachment, link);
        attachment->session = NULL;
        attachment->ended(attachment, session);
    }
}

static void on_sessions_tell(struct defer *defer)
{
    struct sessions *sessions = container_of(defer, struct sessions, tell);
    for (struct link *l = list_pop(&sessions->over); l; l = list_pop(&sessions->over)) {
        struct session *session = session_of(l);
        tell_attachments(session);
        explicit_bzero(session, sizeof *session);
        mem_free(session);
    }
}

static void sessions_finish(struct session *session, enum audit_event event, const char *by, const char *detail)
{
    struct sessions *sessions = session->sessions;
    if (session->ended)
        return;
    session->ended = true;
    sessions->count--;
    list_remove(&session->link);
    list_append(&sessions->over, &session->link);
    defer_schedule(sessions->loop, &sessions->tell);
    if (!sessions->closing)
        sessions_file_write(sessions);
    auth_audit(event, by ? by : session->user, session->peer, session->id, detail);
}

void session_end(struct session *session, const char *by)
{
    sessions_finish(session, AUDIT_LOGOUT, by, NULL);
}

/* --- time --- */

bool session_is_idle(const struct session *session)
{
    list_for_each (l, &session->attachments)
        if (!container_of(l, struct session_attachment, link)->onlooker)
            return false;
    return true;
}

/* When it ends if nothing happens. */
static uint64_t ends_at(const struct session *session)
{
    const struct sessions_options *o = &session->sessions->options;
    uint64_t age = session->created_at + o->age_ms, idle = session->used_at + o->idle_ms;
    return session_is_idle(session) && idle < age ? idle : age;
}

bool session_is_over(const struct session *session, uint64_t now)
{
    return now >= ends_at(session);
}

uint64_t session_left_ms(const struct session *session)
{
    uint64_t end = session->created_at + session->sessions->options.age_ms, now = sessions_now(session->sessions);
    return now < end ? end - now : 0;
}

static bool expire(struct session *session, uint64_t now)
{
    if (!session_is_over(session, now))
        return false;
    session->aged = now >= session->created_at + session->sessions->options.age_ms;
    sessions_finish(session, AUDIT_SESSION_END, NULL, session->aged ? "too old" : "idle");
    return true;
}

static void on_sessions_timer(uv_timer_t *timer)
{
    sessions_expire(timer->data);
}

void sessions_expire(struct sessions *sessions)
{
    uint64_t now = sessions_now(sessions), next = UINT64_MAX;
    list_for_each (l, &sessions->list) {
        struct session *session = session_of(l);
        if (!expire(session, now) && ends_at(session) < next)
            next = ends_at(session);
    }
    if (sessions->closing)
        return;
    if (next == UINT64_MAX)
        uv_timer_stop(&sessions->timer);
    else
        uv_timer_start(&sessions->timer, on_sessions_timer, next - now, 0);
}

static void sessions_use(struct session *session)
{
    session->used_at = sessions_now(session->sessions);
    list_remove(&session->link);
    list_append(&session->sessions->list, &session->link);
    sessions_file_write_later(session->sessions);
}

/* --- a new one --- */

/* The least recently used session that may make room, among those of `user` if that is not NULL. */
static struct session *find_idle(struct sessions *sessions, const char *user)
{
    uint64_t now = sessions_now(sessions);
    list_for_each (l, &sessions->list) {
        struct session *session = session_of(l);
        if (session_is_idle(session) && now - session->used_at >= SESSION_BUSY_MS &&
            (!user || strcmp(session->user, user) == 0))
            return session;
    }
    return NULL;
}

static unsigned count_of(const struct sessions *sessions, const char *user)
{
    unsigned count = 0;
    list_for_each (l, &sessions->list)
        count += strcmp(session_of(l)->user, user) == 0;
    return count;
}

static int sessions_make_room(struct sessions *sessions, const char *user)
{
    bool too_many = count_of(sessions, user) >= sessions->options.per_user;
    if (!too_many && sessions->count < sessions->options.total)
        return 0;
    struct session *oldest = find_idle(sessions, too_many ? user : NULL);
    if (!oldest)
        return -EBUSY;
    sessions_finish(oldest, AUDIT_SESSION_END, NULL, "made room for another");
    return 0;
}

static void make_id(struct sessions *sessions, char id[SESSION_ID_MAX])
{
    do {
        unsigned char bytes[8];
        secret_random(bytes, sizeof bytes);
        text_hex(bytes, sizeof bytes, id);
    } while (sessions_by_id(sessions, id));
}

void session_account_digest(const struct sessions *sessions, const struct user *user, unsigned char digest[SECRET_DIGEST])
{
    const char *const parts[] = {user->name, user->hash, auth_role_name(user->role), user->enabled ? "enabled" : "disabled"};
    if (!secret_mac(sessions->csrf_key, parts, 4, digest))
        secret_random(digest, SECRET_DIGEST); /* no account has such texts */
}

int sessions_open(struct sessions *sessions, enum session_kind kind, const char *user, const char *peer,
                  struct session **result, char token[SECRET_TEXT])
{
    const struct user *account = users_find(sessions->users, user);
    *result = NULL;
    if (sessions->closing || !account || !account->enabled)
        return -EACCES;
    sessions_expire(sessions);
    if (sessions_make_room(sessions, user) != 0)
        return -EBUSY;
    struct session *session = mem_alloc(sizeof *session);
    session->sessions = sessions;
    session->kind = kind;
    session->role = account->role;
    session->created = time(NULL);
    session->created_at = session->used_at = sessions_now(sessions);
    snprintf(session->user, sizeof session->user, "%s", user);
    snprintf(session->peer, sizeof session->peer, "%s", peer);
    make_id(sessions, session->id);
    secret_token(token);
    secret_digest(token, session->digest);
    session_account_digest(sessions, account, session->account);
    list_init(&session->attachments);
    list_append(&sessions->list, &session->link);
    sessions->count++;
    sessions_expire(sessions); /* sets the timer */
    sessions_file_write(sessions);
    auth_audit(AUDIT_SESSION_BEGIN, user, peer, session->id, kind == SESSION_REDFISH ? "redfish" : "browser");
    *result = session;
    return 0;
}

void session_renew(struct session *session, const char *peer, char token[SECRET_TEXT])
{
    secret_token(token);
    secret_digest(token, session->digest);
    memset(session->tickets, 0, sizeof session->tickets);
    session->created = time(NULL);
    session->created_at = sessions_now(session->sessions);
    snprintf(session->peer, sizeof session->peer, "%s", peer);
    sessions_use(session);
    sessions_expire(session->sessions);
    sessions_file_write(session->sessions);
    auth_audit(AUDIT_SESSION_BEGIN, session->user, peer, session->id, "renewed by another login");
}

/* --- finding --- */

/* Of one that the file had: whether its account is still what it was, which the system's accounts tell a bit later. */
static bool is_allowed(struct session *session)
{
    struct sessions *sessions = session->sessions;
    unsigned char account[SECRET_DIGEST];
    const struct user *user = users_find(sessions->users, session->user);
    if (!session->unchecked)
        return true;
    if (!user && users_unknown(sessions->users, session->user))
        return false;
    if (user)
        session_account_digest(sessions, user, account);
    if (!user || !user->enabled || !secret_equal(account, session->account, sizeof account)) {
        sessions_finish(session, AUDIT_SESSION_END, NULL, "the account changed");
        return false;
    }
    session->role = user->role;
    session->unchecked = false;
    return true;
}

struct session *sessions_find(struct sessions *sessions, enum session_kind kind, const char *token)
{
    unsigned char digest[SECRET_DIGEST];
    if (strlen(token) != SECRET_TEXT - 1)
        return NULL;
    secret_digest(token, digest);
    list_for_each (l, &sessions->list) {
        struct session *session = session_of(l);
        if (session->kind != kind || !secret_equal(session->digest, digest, sizeof digest))
            continue;
        if (expire(session, sessions_now(sessions)) || !is_allowed(session))
            return NULL;
        sessions_use(session);
        return session;
    }
    return NULL;
}

struct session *sessions_by_id(struct sessions *sessions, const char *id)
{
    list_for_each (l, &sessions->list)
        if (strcmp(session_of(l)->id, id) == 0)
            return session_of(l);
    return NULL;
}

unsigned sessions_count(const struct sessions *sessions)
{
    return sessions->count;
}

bool sessions_any_from(const struct sessions *sessions, const char *user, const char *peer)
{
    for (const struct link *l = sessions->list.next; l != &sessions->list; l = l->next) {
        const struct session *session = container_of((struct link *)(uintptr_t)l, struct session, link);
        if (strcmp(session->user, user) == 0 && lockout_same_address(session->peer, peer))
            return true;
    }
    return false;
}

struct session *sessions_next(struct sessions *sessions, const struct session *after)
{
    struct link *next = after ? after->link.next : sessions->list.next;
    return next == &sessions->list ? NULL : session_of(next);
}

/* --- attachments --- */

void session_attach(struct session *session, struct session_attachment *attachment)
{
    attachment->session = session;
    list_append(&session->attachments, &attachment->link);
    sessions_file_write_later(session->sessions);
}

void session_detach(struct session_attachment *attachment)
{
    struct session *session = attachment->session;
    if (!session)
        return;
    attachment->session = NULL;
    list_remove(&attachment->link);
    if (session->ended)
        return;
    sessions_use(session); /* its idle time begins now */
    sessions_expire(session->sessions);
}

/* --- what a page needs beside --- */

void sessions_csrf(const struct sessions *sessions, const char *token, char csrf[SECRET_TEXT])
{
    const char *const parts[] = {token};
    unsigned char mac[SECRET_DIGEST] = {0};
    if (!secret_mac(sessions->csrf_key, parts, 1, mac))
        secret_random(mac, sizeof mac); /* too long to be a token: nothing matches */
    secret_encode(mac, sizeof mac, csrf);
}

bool sessions_csrf_matches(const struct sessions *sessions, const char *token, const char *csrf)
{
    char right[SECRET_TEXT];
    sessions_csrf(sessions, token, right);
    return strlen(csrf) == SECRET_TEXT - 1 && secret_equal(csrf, right, SECRET_TEXT - 1);
}

static bool is_live(const struct session_ticket *ticket, uint64_t now)
{
    return ticket->ends_at > now;
}

void session_ticket(struct session *session, const char *purpose, char text[SECRET_TEXT])
{
    struct session_ticket *ticket = &session->tickets[0];
    for (unsigned i = 1; i < SESSION_TICKETS; i++)
        if (session->tickets[i].ends_at < ticket->ends_at)
            ticket = &session->tickets[i];
    assert(strlen(purpose) < SESSION_PURPOSE_MAX);
    secret_token(text);
    secret_digest(text, ticket->digest);
    snprintf(ticket->purpose, sizeof ticket->purpose, "%s", purpose);
    ticket->ends_at = sessions_now(session->sessions) + SESSION_TICKET_MS;
}

/* The session that a live ticket is of; the ticket is used up. */
static struct session *take_ticket(struct sessions *sessions, const unsigned char digest[SECRET_DIGEST],
                                   struct session_ticket *taken)
{
    list_for_each (l, &sessions->list)
        for (unsigned i = 0; i < SESSION_TICKETS; i++) {
            struct session_ticket *ticket = &session_of(l)->tickets[i];
            if (!is_live(ticket, sessions_now(sessions)) || !secret_equal(ticket->digest, digest, SECRET_DIGEST))
                continue;
            *taken = *ticket;
            memset(ticket, 0, sizeof *ticket);
            return session_of(l);
        }
    return NULL;
}

struct session *sessions_redeem(struct sessions *sessions, const char *text, const char *purpose)
{
    unsigned char digest[SECRET_DIGEST];
    struct session_ticket ticket;
    if (strlen(text) != SECRET_TEXT - 1)
        return NULL;
    secret_digest(text, digest);
    struct session *session = take_ticket(sessions, digest, &ticket);
    if (!session || strcmp(ticket.purpose, purpose) != 0 || expire(session, sessions_now(sessions)))
        return NULL;
    sessions_use(session);
    return session;
}

/* --- life --- */

static void on_sessions_user_changed(struct users_watch *watch, const char *name)
{
    struct sessions *sessions = container_of(watch, struct sessions, watch);
    list_for_each (l, &sessions->list)
        if (strcmp(session_of(l)->user, name) == 0)
            sessions_finish(session_of(l), AUDIT_SESSION_END, NULL, "the account changed");
}

/* Those whose accounts are not known yet are looked at when they are asked for. */
static void check_all(struct sessions *sessions)
{
    list_for_each (l, &sessions->list)
        is_allowed(session_of(l));
}

struct sessions *sessions_new(uv_loop_t *loop, struct users *users, const struct sessions_options *options)
{
    struct sessions *sessions = mem_alloc(sizeof *sessions);
    struct sessions_options *o = &sessions->options;
    *o = *options;
    o->idle_ms = o->idle_ms ? o->idle_ms : 30 * 60000;
    o->age_ms = o->age_ms ? o->age_ms : 24 * 3600000;
    o->per_user = o->per_user ? o->per_user : 8;
    o->total = o->total && o->total < SESSIONS_MAX ? o->total : SESSIONS_MAX;
    sessions->loop = loop;
    sessions->users = users;
    secret_random(sessions->csrf_key, sizeof sessions->csrf_key);
    list_init(&sessions->list);
    list_init(&sessions->over);
    defer_setup(&sessions->tell, on_sessions_tell);
    sessions->watch.changed = on_sessions_user_changed;
    users_watch(users, &sessions->watch);
    uv_timer_init(loop, &sessions->timer);
    sessions->timer.data = sessions;
    sessions_file_open(sessions, mem_strdup(options->path));
    check_all(sessions);
    sessions_expire(sessions);
    return sessions;
}

static void on_sessions_handles_closed(struct closing *closing)
{
    struct sessions *sessions = container_of(closing, struct sessions, handles);
    void (*closed)(void *arg) = sessions->closed;
    void *arg = sessions->closed_arg;
    assert(list_empty(&sessions->list) && list_empty(&sessions->over));
    save_free(&sessions->save);
    explicit_bzero(sessions->csrf_key, sizeof sessions->csrf_key);
    mem_free(sessions);
    closed(arg);
}

static void on_sessions_written(void *arg)
{
    struct sessions *sessions = arg;
    closing_begin(&sessions->handles, sessions->loop, on_sessions_handles_closed);
    closing_add(&sessions->handles, (uv_handle_t *)&sessions->timer);
    closing_add(&sessions->handles, (uv_handle_t *)&sessions->save_later);
    closing_end(&sessions->handles);
}

/* What the file says of them stands: the next process goes on with them. */
void sessions_close(struct sessions *sessions, void (*closed)(void *arg), void *arg)
{
    sessions_file_write(sessions);
    sessions->closing = true;
    sessions->closed = closed;
    sessions->closed_arg = arg;
    users_unwatch(&sessions->watch);
    list_for_each (l, &sessions->list)
        sessions_finish(session_of(l), AUDIT_SESSION_END, NULL, "the daemon stops");
    save_flush(&sessions->save, on_sessions_written, sessions);
}
