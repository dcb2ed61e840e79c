/* What verifies passwords, in two lanes: hashes here, and PAM; see auth/auth.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "auth/audit.h"
#include "auth/auth_internal.h"
#include "base/log.h"
#include "base/text.h"

#define PARALLEL_DEFAULT 2
#define PAM_PARALLEL     1 /* it takes no more, see auth/pam.h */
#define HASH_RETRY_MS    1000
#define PAM_RETRY_MS     10000
#define PAM_PATIENCE_MS  30000 /* default; people may have to confirm on another device */

/* --- a job --- */

static void auth_jobs_job_free(struct auth_job *job)
{
    mem_free_secret(job->password);
    explicit_bzero(job, sizeof *job);
    mem_free(job);
}

/* The password was not tried, so that this counts as no failure. */
static void job_refuse(struct auth *auth, struct auth_job *job, int status)
{
    lockout_abandon(auth->lockout, auth_now(auth), job->name, job->peer);
    auth_answer_all(auth, &job->checks, status, job->lane->retry_ms);
    auth_jobs_job_free(job);
}

/* On a work thread. */
static void on_auth_jobs_job_run(struct work *work)
{
    struct auth_job *job = container_of(work, struct auth_job, work);
    job->matched = password_matches(job->password, job->hash) && job->counts;
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

/* The account that a right password belongs to; NULL: the password is wrong, or the account has changed meanwhile (one
 * of the system's: while PAM was asked, see auth/pam.h). */
static const struct user *job_user(struct auth *auth, const struct auth_job *job)
{
    const struct user *user = job->matched ? users_find(auth->users, job->name) : NULL;
    bool same = user && (job->lane == &auth->asking ? user_is_pam(user) : strcmp(user->hash, job->hash) == 0);
    return same && user->enabled ? user : NULL;
}

static void job_right(struct auth *auth, struct auth_job *job, const struct user *user)
{
    lockout_end(auth->lockout, auth_now(auth), job->name, job->peer, true);
    verified_add(auth->verified, auth_now(auth), job->name, job->password);
    auth_audit(AUDIT_LOGIN_OK, job->name, job->peer, NULL, job->method);
    for (struct link *l = list_pop(&job->checks); l; l = list_pop(&job->checks))
        auth_answer_ok(auth, container_of(l, struct auth_check, link), user);
}

static void job_wrong(struct auth *auth, struct auth_job *job)
{
    struct lockout_result locked = lockout_end(auth->lockout, auth_now(auth), job->name, job->peer, false);
    audit_failure(auth, job, locked);
    for (struct link *l = list_pop(&job->checks); l; l = list_pop(&job->checks))
        auth_answer_wrong(auth, container_of(l, struct auth_check, link));
}

static void auth_jobs_jobs_start(struct auth *auth, struct lane *lane);

static void auth_jobs_job_done(struct auth_job *job)
{
    struct auth *auth = job->auth;
    struct lane *lane = job->lane;
    const struct user *user = job_user(auth, job);
    list_remove(&job->link);
    lane->running_count--;
    if (user)
        job_right(auth, job, user);
    else
        job_wrong(auth, job);
    auth_jobs_job_free(job);
    auth_jobs_jobs_start(auth, lane);
    auth_maybe_closed(auth);
}

static void on_auth_jobs_job_done(struct work *work)
{
    auth_jobs_job_done(container_of(work, struct auth_job, work));
}

static void hash_start(struct auth_job *job)
{
    work_start(job->auth->loop, &job->work, on_auth_jobs_job_run, on_auth_jobs_job_done);
}

static void auth_jobs_jobs_start(struct auth *auth, struct lane *lane)
{
    while (lane->running_count < lane->parallel && !list_empty(&lane->waiting)) {
        struct auth_job *job = container_of(list_pop(&lane->waiting), struct auth_job, link);
        lane->waiting_count--;
        lane->running_count++;
        auth->hashes++;
        list_append(&lane->running, &job->link);
        lane->start(job);
    }
}

/* Ends the waiting jobs of the lane: all their checks get `status`. */
static void lane_drop(struct auth *auth, struct lane *lane, int status)
{
    for (struct link *l = list_pop(&lane->waiting); l; l = list_pop(&lane->waiting)) {
        lane->waiting_count--;
        job_refuse(auth, container_of(l, struct auth_job, link), status);
    }
}

/* --- PAM --- */

/* PAM has had its time: all who wait are told. Its answer still counts when it comes: a right password is
 * remembered. */
static void on_pam_hangs(uv_timer_t *timer)
{
    struct auth *auth = timer->data;
    auth->pam_hangs = true;
    log_error("auth",
              "PAM has not answered for %llu s: logins by it are refused until it does, the others go on (see the modules of "
              "service " PAM_SERVICE_NAME ")",
              (unsigned long long)auth->options.pam_patience_ms / 1000);
    list_for_each (l, &auth->asking.running)
        auth_answer_all(auth, &container_of(l, struct auth_job, link)->checks, -EBUSY, PAM_RETRY_MS);
    lane_drop(auth, &auth->asking, -EBUSY);
}

static void on_pam_answered(void *arg, const struct pam_answer *answer)
{
    struct auth_job *job = arg;
    struct auth *auth = job->auth;
    uv_timer_stop(&auth->pam_timer);
    if (auth->pam_hangs)
        log_notice("auth", "PAM answers again");
    auth->pam_hangs = false;
    job->pam = NULL;
    job->matched = answer->matched && job->counts;
    if (users_groups(auth->users) && answer->looked == 0)
        users_take_system(auth->users, &answer->accounts);
    auth_jobs_job_done(job);
}

static void pam_start(struct auth_job *job)
{
    struct auth *auth = job->auth;
    const struct pam_question question = {auth->options.pam_folder, job->name, job->password, job->peer,
                                          users_groups(auth->users)};
    job->pam = pam_ask(auth->loop, &question, on_pam_answered, job);
    if (job->pam) {
        uv_timer_start(&auth->pam_timer, on_pam_hangs, auth->options.pam_patience_ms, 0);
        return;
    }
    log_error("auth", "there is no thread to ask PAM on");
    list_remove(&job->link);
    auth->asking.running_count--;
    job_refuse(auth, job, -EBUSY);
}

/* PAM's thread goes on alone. */
static void pam_abandon(struct auth *auth)
{
    uv_timer_stop(&auth->pam_timer);
    for (struct link *l = list_pop(&auth->asking.running); l; l = list_pop(&auth->asking.running)) {
        struct auth_job *job = container_of(l, struct auth_job, link);
        auth->asking.running_count--;
        pam_leave(job->pam);
        job_refuse(auth, job, -ECANCELED);
    }
}

/* --- a new one --- */

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
    job->counts = job->counts && (user ? user->enabled : users_unknown(auth->users, job->name));
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

static struct auth_job *auth_jobs_job_new(struct auth *auth, const struct auth_check *check, const char *name,
                                          const char *password, bool possible)
{
    struct auth_job *job = mem_alloc(sizeof *job);
    job->auth = auth;
    list_init(&job->checks);
    snprintf(job->name, sizeof job->name, "%s", name);
    snprintf(job->peer, sizeof job->peer, "%s", check->peer);
    snprintf(job->method, sizeof job->method, "%s", check->method);
    job->password = mem_strdup(password);
    job->counts = possible;
    job_choose_hash(auth, job);
    return job;
}

/* The lane that fits the hash which job_choose_hash() will choose. */
static struct lane *choose_lane(struct auth *auth, const char *name, bool possible)
{
    const struct user *user = possible ? users_find(auth->users, name) : NULL;
    bool pam = user ? user->enabled && user_is_pam(user) : possible && users_unknown(auth->users, name);
    return pam ? &auth->asking : &auth->hashing;
}

void auth_jobs_add(struct auth *auth, struct auth_check *check, const char *name, const char *password, bool possible,
                   int admitted)
{
    unsigned char id[SECRET_DIGEST];
    const char *parts[] = {name, password, check->peer};
    struct lane *lane = choose_lane(auth, name, possible);
    bool hangs = lane == &auth->asking && auth->pam_hangs;
    secret_mac(auth->key, parts, 3, id); /* it fits: all of them are bounded */
    struct auth_job *job = hangs ? NULL : find_job(&lane->running, id);
    if (!job)
        job = find_job(&lane->waiting, id);
    if (job) {
        list_append(&job->checks, &check->link);
        return;
    }
    if (admitted != 0 || hangs || lane->waiting_count == lane->waiting_max) {
        check->retry_ms = lane->retry_ms;
        auth_answer(auth, check, -EBUSY);
        return;
    }
    job = auth_jobs_job_new(auth, check, name, password, possible);
    job->lane = lane;
    memcpy(job->id, id, sizeof id);
    lockout_begin(auth->lockout, auth_now(auth), job->name, job->peer);
    list_append(&job->checks, &check->link);
    list_append(&lane->waiting, &job->link);
    lane->waiting_count++;
    auth_jobs_jobs_start(auth, lane);
}

/* --- life --- */

static void lane_init(struct lane *lane, struct lane how)
{
    *lane = how;
    list_init(&lane->waiting);
    list_init(&lane->running);
}

void auth_jobs_init(struct auth *auth)
{
    if (auth->options.parallel == 0)
        auth->options.parallel = PARALLEL_DEFAULT;
    if (auth->options.pam_patience_ms == 0)
        auth->options.pam_patience_ms = PAM_PATIENCE_MS;
    if (!password_setting(auth->options.hash_cost, auth->spare))
        password_setting(0, auth->spare);
    lane_init(&auth->hashing, (struct lane){.parallel = auth->options.parallel, .waiting_max = AUTH_QUEUE_MAX,
                                            .retry_ms = HASH_RETRY_MS, .start = hash_start});
    lane_init(&auth->asking, (struct lane){.parallel = PAM_PARALLEL, .waiting_max = AUTH_PAM_QUEUE_MAX,
                                           .retry_ms = PAM_RETRY_MS, .start = pam_start});
    uv_timer_init(auth->loop, &auth->pam_timer);
    auth->pam_timer.data = auth;
}

void auth_jobs_drop(struct auth *auth)
{
    lane_drop(auth, &auth->hashing, -ECANCELED);
    lane_drop(auth, &auth->asking, -ECANCELED);
    list_for_each (l, &auth->hashing.running)
        auth_answer_all(auth, &container_of(l, struct auth_job, link)->checks, -ECANCELED, 0);
    pam_abandon(auth);
}
