#include "auth/auth.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "auth/auth_internal.h"
#include "base/text.h"

uint64_t auth_now(const struct auth *auth)
{
    return auth->options.now ? auth->options.now(auth->options.now_arg) : uv_hrtime() / 1000000;
}

/* --- answers --- */

static void check_done(struct auth_check *check)
{
    check->auth = NULL;
    check->done(check);
}

void auth_answer(struct auth *auth, struct auth_check *check, int status)
{
    check->status = status;
    list_append(&auth->answers, &check->link);
    defer_schedule(auth->loop, &auth->tell);
}

void auth_answer_all(struct auth *auth, struct link *checks, int status, uint64_t retry_ms)
{
    for (struct link *l = list_pop(checks); l; l = list_pop(checks)) {
        struct auth_check *check = container_of(l, struct auth_check, link);
        check->retry_ms = retry_ms;
        auth_answer(auth, check, status);
    }
}

static void on_auth_tell(struct defer *defer)
{
    struct auth *auth = container_of(defer, struct auth, tell);
    struct link batch;
    list_init(&batch);
    list_move_all(&batch, &auth->answers);
    for (struct link *l = list_pop(&batch); l; l = list_pop(&batch))
        check_done(container_of(l, struct auth_check, link));
}

void auth_answer_ok(struct auth *auth, struct auth_check *check, const struct user *user)
{
    snprintf(check->user, sizeof check->user, "%s", user->name);
    check->role = user->role;
    auth_answer(auth, check, 0);
}

/* --- wrong passwords: the answer is held back --- */

static void on_delay(uv_timer_t *timer);

static void delay_arm(struct auth *auth)
{
    uint64_t now = uv_now(auth->loop);
    if (list_empty(&auth->delayed)) {
        uv_timer_stop(&auth->timer);
        return;
    }
    const struct auth_check *first = container_of(auth->delayed.next, struct auth_check, link);
    uv_timer_start(&auth->timer, on_delay, first->due > now ? first->due - now : 0, 0);
}

static void delayed_answer(struct auth *auth, struct auth_check *check, int status)
{
    list_remove(&check->link);
    check->delayed = false;
    auth->delayed_count--;
    auth_answer(auth, check, status);
}

static void on_delay(uv_timer_t *timer)
{
    struct auth *auth = timer->data;
    uint64_t now = uv_now(auth->loop);
    list_for_each (l, &auth->delayed) {
        struct auth_check *check = container_of(l, struct auth_check, link);
        if (check->due > now)
            break;
        delayed_answer(auth, check, -EACCES);
    }
    delay_arm(auth);
}

void auth_answer_wrong(struct auth *auth, struct auth_check *check)
{
    if (auth->delayed_count == AUTH_DELAYED_MAX)
        delayed_answer(auth, container_of(auth->delayed.next, struct auth_check, link), -EACCES);
    check->due = uv_now(auth->loop) + auth->options.failure_delay_ms;
    check->delayed = true;
    list_append(&auth->delayed, &check->link);
    auth->delayed_count++;
    delay_arm(auth);
}

/* --- a check --- */

void auth_verify(struct auth *auth, struct auth_check *check)
{
    /* What can't be an account's name is all one account for the lockout; what can't
     * be a password is tried as the empty one, and never matches. */
    bool possible = user_name_valid(check->name) && *check->password && strlen(check->password) <= PASSWORD_MAX;
    const char *name = user_name_valid(check->name) ? check->name : "";
    const char *password = possible ? check->password : "";
    assert(strlen(check->peer) < PEER_MAX);
    check->auth = auth;
    check->delayed = false;
    list_init(&check->link);
    bool at_home = auth->options.has_session &&
                   auth->options.has_session(auth->options.has_session_arg, name, check->peer);
    int admitted = lockout_admit(auth->lockout, auth_now(auth), name, check->peer, at_home, &check->retry_ms);
    const struct user *user = users_find(auth->users, name);
    if (auth->closing) {
        auth_answer(auth, check, -ECANCELED);
    } else if (admitted == -EAGAIN) {
        auth_answer(auth, check, -EAGAIN);
    } else if (user && possible && verified_has(auth->verified, auth_now(auth), name, password)) {
        lockout_clear(auth->lockout, auth_now(auth), name, check->peer);
        auth_answer_ok(auth, check, user);
    } else {
        auth_jobs_add(auth, check, name, password, possible, admitted);
    }
}

void auth_cancel(struct auth_check *check)
{
    struct auth *auth = check->auth;
    if (!auth)
        return;
    if (check->delayed) {
        delayed_answer(auth, check, -ECANCELED);
        delay_arm(auth);
        return;
    }
    list_remove(&check->link); /* from its job, or from the answers, where it goes again */
    auth_answer(auth, check, -ECANCELED);
}

uint64_t auth_hashes(const struct auth *auth)
{
    return auth->hashes;
}

/* --- life --- */

static void on_auth_user_changed(struct users_watch *watch, const char *name)
{
    struct auth *auth = container_of(watch, struct auth, watch);
    verified_drop(auth->verified, name);
}

struct auth *auth_new(uv_loop_t *loop, struct users *users, const struct auth_options *options)
{
    struct auth *auth = mem_alloc(sizeof *auth);
    auth->loop = loop;
    auth->users = users;
    auth->options = *options;
    auth->lockout = lockout_new(&options->lockout);
    auth->verified = verified_new(options->remember_ms);
    auth->watch.changed = on_auth_user_changed;
    users_watch(users, &auth->watch);
    secret_random(auth->key, sizeof auth->key);
    auth_jobs_init(auth);
    list_init(&auth->answers);
    list_init(&auth->delayed);
    defer_setup(&auth->tell, on_auth_tell);
    uv_timer_init(loop, &auth->timer);
    auth->timer.data = auth;
    return auth;
}

static void on_auth_handles_closed(struct closing *closing)
{
    struct auth *auth = container_of(closing, struct auth, handles);
    void (*closed)(void *arg) = auth->closed;
    void *arg = auth->closed_arg;
    assert(list_empty(&auth->answers)); /* nobody asks again after auth_close() */
    lockout_free(auth->lockout);
    verified_free(auth->verified);
    explicit_bzero(auth->key, sizeof auth->key);
    mem_free(auth);
    closed(arg);
}

void auth_maybe_closed(struct auth *auth)
{
    if (!auth->closing || auth->hashing.running_count > 0)
        return;
    closing_begin(&auth->handles, auth->loop, on_auth_handles_closed);
    closing_add(&auth->handles, (uv_handle_t *)&auth->timer);
    closing_add(&auth->handles, (uv_handle_t *)&auth->pam_timer);
    closing_end(&auth->handles);
}

void auth_close(struct auth *auth, void (*closed)(void *arg), void *arg)
{
    auth->closing = true;
    auth->closed = closed;
    auth->closed_arg = arg;
    users_unwatch(&auth->watch);
    auth_jobs_drop(auth);
    while (auth->delayed_count > 0)
        delayed_answer(auth, container_of(auth->delayed.next, struct auth_check, link), -ECANCELED);
    auth_maybe_closed(auth);
}
