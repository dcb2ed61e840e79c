#include "auth/users.h"

#include <assert.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "auth/audit.h"
#include "base/closing.h"
#include "base/log.h"
#include "base/text.h"
#include "base/work.h"

#define WHO "users"

/* What a work thread does for us: a change, or (without a name) just a look. */
struct users_job {
    struct work work;
    struct link link;
    struct users *users;
    struct users_request *request; /* NULL: a reload, or nobody waits any more */
    struct users_edit edit;
    char *path, *name, *password, *by, *peer;
    unsigned cost;
    int status;
    char error[USERS_ERROR_MAX];
    struct users_table table; /* the result; valid with status 0 */
};

struct users {
    uv_loop_t *loop;
    char *path, *file; /* the whole, and its last part */
    char folder[PATH_MAX];
    unsigned password_min, hash_cost;
    struct users_table *table;
    struct system_users *system; /* NULL: none */
    struct link watches;
    struct link jobs; /* waiting */
    unsigned waiting;
    struct users_job *running;
    bool reload_waits;
    struct link answers; /* requests that are over and must be told */
    struct defer tell;
    uv_fs_event_t event;
    bool event_active;
    uv_timer_t settle;
    bool closing;
    struct closing handles;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* --- the table --- */

const struct user *users_find(const struct users *users, const char *name)
{
    const struct user *user = users_table_find(users->table, name);
    return user || !users->system ? user : system_users_find(users->system, name);
}

unsigned users_count(const struct users *users)
{
    return users->table->count + (users->system ? system_users_count(users->system) : 0);
}

const struct user *users_at(const struct users *users, unsigned index)
{
    unsigned own = users->table->count;
    return index < own ? &users->table->users[index] : system_users_at(users->system, index - own);
}

bool users_unknown(const struct users *users, const char *name)
{
    return users->system && !users_find(users, name) && system_users_unknown(users->system);
}

const struct system_groups *users_groups(const struct users *users)
{
    return users->system ? system_users_groups(users->system) : NULL;
}

void users_take_system(struct users *users, const struct system_accounts *accounts)
{
    if (users->system)
        system_users_take(users->system, accounts);
}

const struct users_table *users_get_table(const struct users *users)
{
    return users->table;
}

void users_watch(struct users *users, struct users_watch *watch)
{
    list_append(&users->watches, &watch->link);
}

void users_unwatch(struct users_watch *watch)
{
    list_remove(&watch->link);
}

static void tell_watches(struct users *users, const char *name)
{
    list_for_each (l, &users->watches) {
        struct users_watch *watch = container_of(l, struct users_watch, link);
        watch->changed(watch, name);
    }
}

static void on_system_changed(void *arg, const char *name)
{
    struct users *users = arg;
    if (!users_table_find(users->table, name)) /* else nobody is in by the system's */
        tell_watches(users, name);
}

/* Accounts of the system that one of the file takes the place of. */
static void tell_hidden(struct users *users, const struct users_table *old)
{
    for (unsigned i = 0; users->system && i < users->table->count; i++) {
        const char *name = users->table->users[i].name;
        if (!users_table_find(old, name) && system_users_find(users->system, name))
            tell_watches(users, name);
    }
}

/* Takes the table over and says what has become another. */
static void take_table(struct users *users, struct users_table *table)
{
    struct users_table *old = users->table;
    users->table = mem_alloc(sizeof *table);
    *users->table = *table;
    for (unsigned i = 0; i < old->count; i++) {
        const struct user *now = users_find(users, old->users[i].name);
        if (!now || !user_equal(now, &old->users[i]))
            tell_watches(users, old->users[i].name);
    }
    tell_hidden(users, old);
    if (users->table->count > 0 && users_table_administrators(users->table) == 0)
        log_warning(WHO, "%s: no Administrator is enabled", users->path);
    users_table_free(old);
    mem_free(old);
}

/* --- answers --- */

static void users_answer(struct users *users, struct users_request *request, int status, const char *error)
{
    request->job = NULL;
    request->status = status;
    snprintf(request->error, sizeof request->error, "%s", error);
    list_append(&users->answers, &request->link);
    defer_schedule(users->loop, &users->tell);
}

static void on_users_tell(struct defer *defer)
{
    struct users *users = container_of(defer, struct users, tell);
    struct link batch;
    list_init(&batch);
    list_move_all(&batch, &users->answers);
    for (struct link *l = list_pop(&batch); l; l = list_pop(&batch)) {
        struct users_request *request = container_of(l, struct users_request, link);
        request->done(request);
    }
}

/* --- jobs --- */

static void users_job_free(struct users_job *job)
{
    mem_free(job->path);
    mem_free(job->name);
    mem_free_secret(job->password);
    mem_free(job->by);
    mem_free(job->peer);
    mem_free(job);
}

static struct users_job *users_job_new(struct users *users)
{
    struct users_job *job = mem_alloc(sizeof *job);
    job->users = users;
    job->path = mem_strdup(users->path);
    job->cost = users->hash_cost;
    list_init(&job->link);
    return job;
}

/* On a work thread. */
static void job_change(struct users_job *job)
{
    char hash[PASSWORD_HASH_MAX];
    if (job->password && !password_hash(job->password, job->cost, hash)) {
        snprintf(job->error, sizeof job->error, "the password can't be hashed");
        job->status = -EIO;
        return;
    }
    if (job->password)
        job->edit.hash = hash;
    job->status = users_edit_file(job->path, &job->edit, &job->table, job->error);
    explicit_bzero(hash, sizeof hash);
}

static void on_users_job_run(struct work *work)
{
    struct users_job *job = container_of(work, struct users_job, work);
    if (job->name) {
        job_change(job);
        return;
    }
    job->status = users_load(job->path, &job->table, job->error);
    if (job->status != 0)
        users_table_free(&job->table);
}

static void job_audit(const struct users_job *job)
{
    char what[128];
    if (job->status != 0)
        return;
    static const char *const verbs[] = {[USERS_ADD] = "added", [USERS_SET] = "changed", [USERS_REMOVE] = "removed"};
    const struct user *user = users_table_find(&job->table, job->name);
    snprintf(what, sizeof what, "%s%s%s%s", verbs[job->edit.op], job->password ? ", password" : "",
             user && job->edit.role >= 0 ? ", role " : "",
             user && job->edit.role >= 0 ? auth_role_name(user->role) : "");
    if (user && job->edit.enabled >= 0)
        strcat(what, user->enabled ? ", enabled" : ", disabled");
    auth_audit(AUDIT_USER, job->by, job->peer, job->name, what);
}

static void reload_log(const struct users *users, const struct users_job *job)
{
    if (job->status == -ENOENT && users->table->count == 0)
        return; /* there was none before */
    if (job->status != 0)
        log_error(WHO, "%s; the accounts stay as they were", job->error);
    else if (strcmp(job->table.text, users->table->text) != 0)
        log_notice(WHO, "%s was changed, accounts: %u", users->path, job->table.count);
}

static void users_jobs_start(struct users *users);
static void users_maybe_closed(struct users *users);

static void on_users_job_done(struct work *work)
{
    struct users_job *job = container_of(work, struct users_job, work);
    struct users *users = job->users;
    users->running = NULL;
    if (job->name)
        job_audit(job);
    else
        reload_log(users, job);
    if (job->request)
        users_answer(users, job->request, job->status, job->error);
    if (job->status == 0)
        take_table(users, &job->table);
    users_job_free(job);
    users_jobs_start(users);
    users_maybe_closed(users);
}

static void job_start(struct users *users, struct users_job *job)
{
    users->running = job;
    work_start(users->loop, &job->work, on_users_job_run, on_users_job_done);
}

static void users_jobs_start(struct users *users)
{
    struct link *next = users->running ? NULL : list_pop(&users->jobs);
    if (next) {
        users->waiting--;
        job_start(users, container_of(next, struct users_job, link));
    } else if (!users->running && users->reload_waits && !users->closing) {
        users->reload_waits = false;
        job_start(users, users_job_new(users));
    }
}

/* --- changes --- */

/* NULL, or why the request can't even be tried. */
static const char *request_problem(const struct users *users, const struct users_request *request, char *why,
                                   size_t size)
{
    const struct user *user = users_find(users, request->name);
    if (!request->password)
        return NULL;
    if (request->op != USERS_ADD && user && user_is_pam(user))
        return "the password is the system's (PAM)";
    return password_allowed(request->password, users->password_min, why, size) ? NULL : why;
}

/* There is no file to put a change into, or it would hide an account of the system. */
static bool is_of_system(const struct users *users, const char *name)
{
    const struct user *user = users_find(users, name);
    return !users->path || (user && user_is_system(user));
}

void users_change(struct users *users, struct users_request *request)
{
    char why[128];
    list_init(&request->link);
    request->job = NULL;
    if (users->closing) {
        users_answer(users, request, -ECANCELED, "the daemon is stopping");
        return;
    }
    if (is_of_system(users, request->name)) {
        users_answer(users, request, -EROFS, "accounts of the system are changed there (passwd, usermod)");
        return;
    }
    const char *problem = request_problem(users, request, why, sizeof why);
    if (problem) {
        users_answer(users, request, -EINVAL, problem);
        return;
    }
    if (users->waiting >= USERS_REQUESTS_MAX) {
        users_answer(users, request, -EBUSY, "too many changes of accounts wait");
        return;
    }
    struct users_job *job = users_job_new(users);
    job->request = request;
    request->job = job;
    job->name = mem_strdup(request->name);
    job->password = mem_strdup(request->password);
    job->by = mem_strdup(request->by);
    job->peer = mem_strdup(request->peer);
    job->edit =
        (struct users_edit){.op = request->op, .name = job->name, .role = request->role, .enabled = request->enabled};
    list_append(&users->jobs, &job->link);
    users->waiting++;
    users_jobs_start(users);
}

void users_cancel(struct users_request *request)
{
    struct users_job *job = request->job;
    if (!job) /* its answer is on the way */
        return;
    struct users *users = job->users;
    job->request = NULL;
    if (users->running != job) {
        list_remove(&job->link);
        users->waiting--;
        users_job_free(job);
    }
    users_answer(users, request, -ECANCELED, "cancelled");
}

/* --- changes from outside --- */

static void on_settled(uv_timer_t *timer)
{
    users_reload(timer->data);
}

static void on_event(uv_fs_event_t *event, const char *file, int events, int status)
{
    struct users *users = event->data;
    (void)events;
    if (status == 0 && (!file || strcmp(file, users->file) == 0))
        uv_timer_start(&users->settle, on_settled, USERS_SETTLE_MS, 0);
}

static void watch_folder(struct users *users)
{
    if (users->event_active || !users->path)
        return;
    int status = uv_fs_event_start(&users->event, on_event, users->folder, 0);
    users->event_active = status == 0;
    if (status != 0)
        log_warning(WHO, "%s is not watched for changes: %s", users->folder, uv_strerror(status));
}

void users_reload(struct users *users)
{
    watch_folder(users); /* it may have been made since */
    if (users->system)
        system_users_look(users->system);
    users->reload_waits = users->path;
    users_jobs_start(users);
}

/* --- life --- */

static void name_file(struct users *users, const char *path)
{
    char copy[PATH_MAX];
    if (!path)
        return;
    const char *slash = strrchr(path, '/');
    users->path = mem_strdup(path);
    users->file = mem_strdup(slash ? slash + 1 : path);
    snprintf(copy, sizeof copy, "%s", path);
    snprintf(users->folder, sizeof users->folder, "%s", dirname(copy));
}

static struct system_users *users_system_new(struct users *users, const struct users_options *options)
{
    struct system_users_options system = {.pam_folder = options->pam_folder,
                                          .interval_ms = options->look_every_ms,
                                          .changed = on_system_changed,
                                          .arg = users};
    if (!options->groups)
        return NULL;
    system.groups = *options->groups;
    return system_users_new(users->loop, &system);
}

/* NULL: there is a file that can't be used. */
static struct users_table *first_table(const char *path, char error[USERS_ERROR_MAX])
{
    struct users_table *table = mem_alloc(sizeof *table);
    int status = path ? users_load(path, table, error) : -ENOENT;
    if (!path)
        users_table_init(table);
    if (status == 0 || status == -ENOENT)
        return table;
    users_table_free(table);
    mem_free(table);
    return NULL;
}

struct users *users_new(uv_loop_t *loop, const struct users_options *options, char error[USERS_ERROR_MAX])
{
    struct users_table *table = first_table(options->path, error);
    if (!table)
        return NULL;
    struct users *users = mem_alloc(sizeof *users);
    users->loop = loop;
    users->table = table;
    name_file(users, options->path);
    users->password_min = options->password_min ? options->password_min : PASSWORD_MIN;
    users->hash_cost = options->hash_cost;
    list_init(&users->watches);
    list_init(&users->jobs);
    list_init(&users->answers);
    defer_setup(&users->tell, on_users_tell);
    uv_fs_event_init(loop, &users->event);
    uv_timer_init(loop, &users->settle);
    users->event.data = users->settle.data = users;
    watch_folder(users);
    users->system = users_system_new(users, options);
    return users;
}

static void on_users_handles_closed(struct closing *closing)
{
    struct users *users = container_of(closing, struct users, handles);
    void (*closed)(void *arg) = users->closed;
    void *arg = users->closed_arg;
    assert(list_empty(&users->answers)); /* nobody asks again after users_close() */
    assert(list_empty(&users->watches));
    if (users->system)
        system_users_free(users->system);
    users_table_free(users->table);
    mem_free(users->table);
    mem_free(users->path);
    mem_free(users->file);
    mem_free(users);
    closed(arg);
}

static void users_maybe_closed(struct users *users)
{
    if (!users->closing || users->running)
        return;
    closing_begin(&users->handles, users->loop, on_users_handles_closed);
    closing_add(&users->handles, (uv_handle_t *)&users->event);
    closing_add(&users->handles, (uv_handle_t *)&users->settle);
    if (users->system)
        system_users_close(users->system, &users->handles);
    closing_end(&users->handles);
}

void users_close(struct users *users, void (*closed)(void *arg), void *arg)
{
    users->closing = true;
    users->closed = closed;
    users->closed_arg = arg;
    uv_timer_stop(&users->settle);
    for (struct link *l = list_pop(&users->jobs); l; l = list_pop(&users->jobs)) {
        struct users_job *job = container_of(l, struct users_job, link);
        users_answer(users, job->request, -ECANCELED, "the daemon is stopping");
        users_job_free(job);
    }
    users->waiting = 0;
    users_maybe_closed(users);
}
