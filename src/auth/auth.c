#include "auth/auth.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "auth/audit.h"
#include "auth/pam.h"
#include "auth/password.h"
#include "auth/secret.h"
#include "auth/verified.h"
#include "base/closing.h"
#include "base/text.h"
#include "base/work.h"

#define PARALLEL_DEFAULT 2
#define PEER_MAX         128 /* of what is kept of a peer's name */
#define METHOD_MAX       32

/* One password that is verified, for all checks that ask for the same. */
struct auth_job {
    struct work work;
    struct link link;   /* waiting or running */
    struct link checks; /* who wants to know */
    struct auth *auth;
    unsigned char id[SECRET_DIGEST]; /* HMAC of name, password and peer */
    char name[USER_NAME_MAX + 1];    /* "": one that can't be an account's */
    char peer[PEER_MAX], method[METHOD_MAX];
    char *password;
    char hash[PASSWORD_HASH_MAX]; /* of the account; of another when it does not count */
    bool counts;                  /* there is such an account, it is enabled, the password can be one */
    const char *pam_folder;
    bool matched; /* set on the work thread */
};

struct auth {
    uv_loop_t *loop;
    struct users *users;
    struct users_watch watch;
    struct auth_options options;
    struct lockout *lockout;
    struct verified *verified;
    unsigned char key[SECRET_BYTES];
    struct link waiting, running;
    unsigned waiting_count, running_count;
    uint64_t hashes;
    char spare[PASSWORD_HASH_MAX]; /* a setting for when there is no account at all */
    struct link answers;           /* deferred */
    struct defer tell;
    struct link delayed; /* wrong ones, the first due first */
    unsigned delayed_count;
    uv_timer_t timer;
    bool closing;
    struct closing handles;
    void (*closed)(void *arg);
    void *closed_arg;
};

static uint64_t auth_now(const struct auth *auth)
{
    return auth->options.now ? auth->options.now(auth->options.now_arg) : uv_hrtime() / 1000000;
}

/* --- answers --- */

static void check_done(struct auth_check *check)
{
    check->auth = NULL;
    check->done(check);
}

static void answer(struct auth *auth, struct auth_check *check, int status)
{
    check->status = status;
    list_append(&auth->answers, &check->link);
    defer_schedule(auth->loop, &auth->tell);
}

static void answer_all(struct auth *auth, struct link *checks, int status)
{
    for (struct link *l = list_pop(checks); l; l = list_pop(checks))
        answer(auth, container_of(l, struct auth_check, link), status);
}

static void on_tell(struct defer *defer)
{
    struct auth *auth = container_of(defer, struct auth, tell);
    struct link batch;
    list_init(&batch);
    list_move_all(&batch, &auth->answers);
    for (struct link *l = list_pop(&batch); l; l = list_pop(&batch))
        check_done(container_of(l, struct auth_check, link));
}

static void answer_ok(struct auth *auth, struct auth_check *check, const struct user *user)
{
    snprintf(check->user, sizeof check->user, "%s", user->name);
    check->role = user->role;
    answer(auth, check, 0);
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
    answer(auth, check, status);
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

static void answer_wrong(struct auth *auth, struct auth_check *check)
{
    if (auth->delayed_count == AUTH_DELAYED_MAX)
        delayed_answer(auth, container_of(auth->delayed.next, struct auth_check, link), -EACCES);
    check->due = uv_now(auth->loop) + auth->options.failure_delay_ms;
    check->delayed = true;
    list_append(&auth->delayed, &check->link);
    auth->delayed_count++;
    delay_arm(auth);
}

/* --- jobs --- */

static void job_free(struct auth_job *job)
{
    mem_free_secret(job->password);
    explicit_bzero(job, sizeof *job);
    mem_free(job);
}

/* On a work thread. */
static void on_job_run(struct work *work)
{
    struct auth_job *job = container_of(work, struct auth_job, work);
    bool matches = strcmp(job->hash, USERS_PAM) == 0 ? pam_check(job->pam_folder, job->name, job->password, job->peer)
                                                     : password_matches(job->password, job->hash);
    job->matched = matches && job->counts;
}

static void audit_failure(struct auth *auth, const struct auth_job *job, struct lockout_result locked)
{
    char text[96];
    const char *name = *job->name && users_find(auth->users, job->name) ? job->name : NULL;
    auth_audit(AUDIT_LOGIN_FAILED, name, job->peer, NULL, job->method);
    if (locked.account_ms > 0) {
        snprintf(text, sizeof text, "account for this address, %llu s", (unsigned long long)locked.account_ms / 1000);
        auth_audit(AUDIT_LOGIN_LOCKED, name, job->peer, NULL, text);
    }
    if (locked.address_ms > 0) {
        snprintf(text, sizeof text, "address, %llu s", (unsigned long long)locked.address_ms / 1000);
        auth_audit(AUDIT_LOGIN_LOCKED, NULL, job->peer, NULL, text);
    }
}

/* The account that a right password is of: it may have changed meanwhile. */
static const struct user *job_user(struct auth *auth, const struct auth_job *job)
{
    const struct user *user = job->matched ? users_find(auth->users, job->name) : NULL;
    return user && user->enabled && strcmp(user->hash, job->hash) == 0 ? user : NULL;
}

static void job_right(struct auth *auth, struct auth_job *job, const struct user *user)
{
    lockout_end(auth->lockout, auth_now(auth), job->name, job->peer, true);
    verified_add(auth->verified, auth_now(auth), job->name, job->password);
    auth_audit(AUDIT_LOGIN_OK, job->name, job->peer, NULL, job->method);
    for (struct link *l = list_pop(&job->checks); l; l = list_pop(&job->checks))
        answer_ok(auth, container_of(l, struct auth_check, link), user);
}

static void job_wrong(struct auth *auth, struct auth_job *job)
{
    struct lockout_result locked = lockout_end(auth->lockout, auth_now(auth), job->name, job->peer, false);
    audit_failure(auth, job, locked);
    for (struct link *l = list_pop(&job->checks); l; l = list_pop(&job->checks))
        answer_wrong(auth, container_of(l, struct auth_check, link));
}

static void jobs_start(struct auth *auth);
static void maybe_closed(struct auth *auth);

static void on_job_done(struct work *work)
{
    struct auth_job *job = container_of(work, struct auth_job, work);
    struct auth *auth = job->auth;
    const struct user *user = job_user(auth, job);
    list_remove(&job->link);
    auth->running_count--;
    if (user)
        job_right(auth, job, user);
    else
        job_wrong(auth, job);
    job_free(job);
    jobs_start(auth);
    maybe_closed(auth);
}

static void jobs_start(struct auth *auth)
{
    while (auth->running_count < auth->options.parallel && !list_empty(&auth->waiting)) {
        struct auth_job *job = container_of(list_pop(&auth->waiting), struct auth_job, link);
        auth->waiting_count--;
        auth->running_count++;
        auth->hashes++;
        list_append(&auth->running, &job->link);
        work_start(auth->loop, &job->work, on_job_run, on_job_done);
    }
}

/* --- a check --- */

/* The hash that a name without an account is tried against: that of some account,
 * the same whenever the name is asked for. */
static const char *other_hash(struct auth *auth, const unsigned char id[SECRET_DIGEST])
{
    const struct users_table *table = users_get_table(auth->users);
    unsigned start = table->count ? (unsigned)(id[0] << 8 | id[1]) % table->count : 0;
    for (unsigned i = 0; i < table->count; i++) {
        const char *hash = table->users[(start + i) % table->count].hash;
        if (strcmp(hash, USERS_PAM) != 0)
            return hash;
    }
    return auth->spare;
}

static void job_choose_hash(struct auth *auth, struct auth_job *job)
{
    const struct user *user = users_find(auth->users, job->name);
    const char *parts[] = {job->name};
    unsigned char id[SECRET_DIGEST];
    secret_mac(auth->key, parts, 1, id);
    job->counts = job->counts && user && user->enabled;
    snprintf(job->hash, sizeof job->hash, "%s", user && job->counts ? user->hash : other_hash(auth, id));
}

static struct auth_job *find_job(struct link *jobs, const unsigned char id[SECRET_DIGEST])
{
    list_for_each (l, jobs) {
        struct auth_job *job = container_of(l, struct auth_job, link);
        if (secret_equal(job->id, id, sizeof job->id))
            return job;
    }
    return NULL;
}

static struct auth_job *job_new(struct auth *auth, const struct auth_check *check, const char *name,
                                const char *password, bool possible)
{
    struct auth_job *job = mem_alloc(sizeof *job);
    job->auth = auth;
    list_init(&job->checks);
    snprintf(job->name, sizeof job->name, "%s", name);
    snprintf(job->peer, sizeof job->peer, "%s", check->peer);
    snprintf(job->method, sizeof job->method, "%s", check->method);
    job->password = mem_strdup(password);
    job->pam_folder = auth->options.pam_folder;
    job->counts = possible;
    job_choose_hash(auth, job);
    return job;
}

/* A hash must be computed for it, or is being computed. `admitted`: whether it may. */
static void verify_by_hash(struct auth *auth, struct auth_check *check, const char *name, const char *password,
                           bool possible, int admitted)
{
    unsigned char id[SECRET_DIGEST];
    const char *parts[] = {name, password, check->peer};
    secret_mac(auth->key, parts, 3, id); /* it fits: all of them are bounded */
    struct auth_job *job = find_job(&auth->running, id);
    if (!job)
        job = find_job(&auth->waiting, id);
    if (job) {
        list_append(&job->checks, &check->link);
        return;
    }
    if (admitted != 0 || auth->waiting_count == AUTH_QUEUE_MAX) {
        answer(auth, check, admitted ? admitted : -EBUSY);
        return;
    }
    job = job_new(auth, check, name, password, possible);
    memcpy(job->id, id, sizeof id);
    lockout_begin(auth->lockout, auth_now(auth), job->name, job->peer);
    list_append(&job->checks, &check->link);
    list_append(&auth->waiting, &job->link);
    auth->waiting_count++;
    jobs_start(auth);
}

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
        answer(auth, check, -ECANCELED);
    } else if (admitted == -EAGAIN) {
        answer(auth, check, -EAGAIN);
    } else if (user && possible && verified_has(auth->verified, auth_now(auth), name, password)) {
        lockout_clear(auth->lockout, auth_now(auth), name, check->peer);
        answer_ok(auth, check, user);
    } else {
        verify_by_hash(auth, check, name, password, possible, admitted);
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
    answer(auth, check, -ECANCELED);
}

uint64_t auth_hashes(const struct auth *auth)
{
    return auth->hashes;
}

/* --- life --- */

static void on_user_changed(struct users_watch *watch, const char *name)
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
    if (auth->options.parallel == 0)
        auth->options.parallel = PARALLEL_DEFAULT;
    auth->lockout = lockout_new(&options->lockout);
    auth->verified = verified_new(options->remember_ms);
    auth->watch.changed = on_user_changed;
    users_watch(users, &auth->watch);
    secret_random(auth->key, sizeof auth->key);
    if (!password_setting(options->hash_cost, auth->spare))
        password_setting(0, auth->spare);
    list_init(&auth->waiting);
    list_init(&auth->running);
    list_init(&auth->answers);
    list_init(&auth->delayed);
    defer_setup(&auth->tell, on_tell);
    uv_timer_init(loop, &auth->timer);
    auth->timer.data = auth;
    return auth;
}

static void on_handles_closed(struct closing *closing)
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

static void maybe_closed(struct auth *auth)
{
    if (!auth->closing || auth->running_count > 0)
        return;
    closing_begin(&auth->handles, auth->loop, on_handles_closed);
    closing_add(&auth->handles, (uv_handle_t *)&auth->timer);
    closing_end(&auth->handles);
}

void auth_close(struct auth *auth, void (*closed)(void *arg), void *arg)
{
    auth->closing = true;
    auth->closed = closed;
    auth->closed_arg = arg;
    users_unwatch(&auth->watch);
    for (struct link *l = list_pop(&auth->waiting); l; l = list_pop(&auth->waiting)) {
        struct auth_job *job = container_of(l, struct auth_job, link);
        answer_all(auth, &job->checks, -ECANCELED);
        job_free(job);
    }
    auth->waiting_count = 0;
    list_for_each (l, &auth->running)
        answer_all(auth, &container_of(l, struct auth_job, link)->checks, -ECANCELED);
    while (auth->delayed_count > 0)
        delayed_answer(auth, container_of(auth->delayed.next, struct auth_check, link), -ECANCELED);
    maybe_closed(auth);
}
