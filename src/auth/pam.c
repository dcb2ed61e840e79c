#include "auth/pam.h"

#include <build-config.h>

#ifdef HAVE_PAM

#include <pthread.h>
#include <security/pam_appl.h>
#include <stdlib.h>
#include <string.h>

#include "base/defer.h"
#include "base/log.h"
#include "base/text.h"
#include "base/thread.h"

struct pam_ask {
    pthread_mutex_t lock;
    unsigned holders; /* the thread, and the loop with its handle: the last one frees it */
    bool left;        /* the handle is being closed: nothing more is sent on it */
    struct pam_answer answer; /* the thread's until it sends */
    uv_async_t ended;
    struct defer defer;
    void (*done)(void *arg, const struct pam_answer *answer);
    void *arg;
    char *folder, *name, *password, *peer;
    struct system_groups *groups; /* NULL: the accounts are not looked at */
};

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

/* --- the conversation --- */

/* The module frees the answers with free(3). */
static bool pam_reply(const struct pam_message *message, const char *password, struct pam_response *response)
{
    switch (message->msg_style) {
    case PAM_PROMPT_ECHO_OFF:
        response->resp = mem_strdup(password);
        return true;
    case PAM_TEXT_INFO:
    case PAM_ERROR_MSG:
        return true;
    default: /* a second factor, or the like: there is nobody to ask */
        return false;
    }
}

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *arg)
{
    if (count <= 0 || count > PAM_MAX_NUM_MSG)
        return PAM_CONV_ERR;
    struct pam_response *answers = mem_alloc((size_t)count * sizeof *answers);
    for (int i = 0; i < count; i++) {
        if (pam_reply(messages[i], arg, &answers[i]))
            continue;
        while (i-- > 0)
            mem_free_secret(answers[i].resp);
        mem_free(answers);
        return PAM_CONV_ERR;
    }
    *responses = answers;
    return PAM_SUCCESS;
}

/* Delays are the daemon's; a thread is not kept waiting. */
static void no_delay(int status, unsigned microseconds, void *arg)
{
    (void)status;
    (void)microseconds;
    (void)arg;
}

static int pam_run(pam_handle_t *handle, const char *peer)
{
    void (*delay)(int, unsigned, void *) = no_delay;
    const void *item;
    memcpy(&item, &delay, sizeof item);
    pam_set_item(handle, PAM_FAIL_DELAY, item);
    pam_set_item(handle, PAM_RHOST, peer);
    int status = pam_authenticate(handle, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
    return status == PAM_SUCCESS ? pam_acct_mgmt(handle, PAM_SILENT) : status;
}

bool pam_check(const struct pam_question *question)
{
    char *copy = mem_strdup(question->password);
    const struct pam_conv conversation = {.conv = converse, .appdata_ptr = copy};
    pam_handle_t *handle = NULL;
    pthread_mutex_lock(&one_at_a_time);
    int status = pam_start_confdir(PAM_SERVICE_NAME, question->name, &conversation, question->folder, &handle);
    if (status == PAM_SUCCESS)
        status = pam_run(handle, question->peer);
    else
        log_error("pam", "service " PAM_SERVICE_NAME ": it can't be started");
    if (handle)
        pam_end(handle, status);
    pthread_mutex_unlock(&one_at_a_time);
    mem_free_secret(copy);
    return status == PAM_SUCCESS;
}

static bool (*check_by)(const char *name, const char *password, const char *peer);
static int (*look_by)(struct system_accounts *accounts);

void pam_check_by(bool (*check)(const char *name, const char *password, const char *peer),
                  int (*look)(struct system_accounts *accounts))
{
    check_by = check;
    look_by = look;
}

static bool pam_do_check(const struct pam_ask *ask)
{
    const struct pam_question question = {ask->folder, ask->name, ask->password, ask->peer, NULL};
    return check_by && !ask->folder ? check_by(ask->name, ask->password, ask->peer) : pam_check(&question);
}

static int pam_do_look(const struct pam_ask *ask, struct system_accounts *accounts)
{
    return look_by && !ask->folder ? look_by(accounts) : system_accounts_look(ask->groups, accounts);
}

/* Neither there both times, or the same account. */
static bool is_unchanged(const char *name, const struct system_accounts *before, const struct system_accounts *after)
{
    const struct system_account *a = system_accounts_find(before, name), *b = system_accounts_find(after, name);
    return a && b ? memcmp(a, b, sizeof *a) == 0 : !a && !b;
}

static void pam_run_with_accounts(struct pam_ask *ask)
{
    struct system_accounts before;
    int status = ask->name ? pam_do_look(ask, &before) : 0;
    bool matched = ask->name && pam_do_check(ask);
    ask->answer.looked = pam_do_look(ask, &ask->answer.accounts);
    if (status != 0 || ask->answer.looked != 0) /* the accounts stay as they are known */
        ask->answer.looked = status != 0 ? status : ask->answer.looked;
    else if (matched)
        matched = is_unchanged(ask->name, &before, &ask->answer.accounts);
    ask->answer.matched = matched;
}

/* --- its thread --- */

static void ask_free(struct pam_ask *ask)
{
    pthread_mutex_destroy(&ask->lock);
    mem_free(ask->folder);
    mem_free(ask->name);
    mem_free_secret(ask->password);
    mem_free(ask->peer);
    mem_free(ask->groups);
    mem_free(ask);
}

static void ask_drop(struct pam_ask *ask)
{
    pthread_mutex_lock(&ask->lock);
    bool last = --ask->holders == 0;
    pthread_mutex_unlock(&ask->lock);
    if (last)
        ask_free(ask);
}

static void *on_pam_thread(void *arg)
{
    struct pam_ask *ask = arg;
    if (ask->groups)
        pam_run_with_accounts(ask);
    else
        ask->answer.matched = pam_do_check(ask);
    pthread_mutex_lock(&ask->lock);
    if (!ask->left)
        uv_async_send(&ask->ended);
    pthread_mutex_unlock(&ask->lock);
    ask_drop(ask);
    return NULL;
}

/* --- on the loop --- */

static void on_pam_closed(uv_handle_t *handle)
{
    ask_drop(handle->data);
}

void pam_leave(struct pam_ask *ask)
{
    pthread_mutex_lock(&ask->lock);
    ask->left = true;
    pthread_mutex_unlock(&ask->lock);
    defer_cancel(&ask->defer);
    uv_close((uv_handle_t *)&ask->ended, on_pam_closed);
}

static void on_pam_deferred(struct defer *defer)
{
    struct pam_ask *ask = container_of(defer, struct pam_ask, defer);
    void (*done)(void *arg, const struct pam_answer *answer) = ask->done;
    void *arg = ask->arg;
    struct pam_answer answer = ask->answer; /* the thread wrote it before it sent, and no more since */
    pam_leave(ask);
    done(arg, &answer);
}

static void on_pam_ended(uv_async_t *handle)
{
    struct pam_ask *ask = handle->data;
    defer_schedule(handle->loop, &ask->defer);
}

static void ask_copy(struct pam_ask *ask, const struct pam_question *question)
{
    ask->folder = mem_strdup(question->folder);
    ask->name = mem_strdup(question->name);
    ask->password = mem_strdup(question->password);
    ask->peer = mem_strdup(question->peer);
    if (!question->groups)
        return;
    ask->groups = mem_alloc(sizeof *ask->groups);
    *ask->groups = *question->groups;
}

struct pam_ask *pam_ask(uv_loop_t *loop, const struct pam_question *question,
                        void (*done)(void *arg, const struct pam_answer *answer), void *arg)
{
    struct pam_ask *ask = mem_alloc(sizeof *ask);
    if (uv_async_init(loop, &ask->ended, on_pam_ended) != 0) {
        mem_free(ask);
        return NULL;
    }
    pthread_mutex_init(&ask->lock, NULL);
    defer_setup(&ask->defer, on_pam_deferred);
    ask->ended.data = ask;
    ask->done = done;
    ask->arg = arg;
    ask_copy(ask, question);
    ask->holders = 2;
    if (thread_detached(on_pam_thread, ask, 0) == 0)
        return ask;
    ask->holders = 1;
    pam_leave(ask);
    return NULL;
}

#else

bool pam_check(const struct pam_question *question)
{
    (void)question;
    return false;
}

void pam_check_by(bool (*check)(const char *name, const char *password, const char *peer),
                  int (*look)(struct system_accounts *accounts))
{
    (void)check;
    (void)look;
}

struct pam_ask *pam_ask(uv_loop_t *loop, const struct pam_question *question,
                        void (*done)(void *arg, const struct pam_answer *answer), void *arg)
{
    (void)loop;
    (void)question;
    (void)done;
    (void)arg;
    return NULL;
}

void pam_leave(struct pam_ask *ask)
{
    (void)ask;
}

#endif
