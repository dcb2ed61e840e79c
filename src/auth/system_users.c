#include "auth/system_users.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"

#define WHO    "accounts"
#define FOLDER "/etc"

struct system_users {
    uv_loop_t *loop;
    struct system_users_options options;
    uint32_t number; /* of the look that the table is from */
    unsigned count;
    struct user *users;
    bool known;        /* there was a look */
    bool waits;        /* another look is wanted */
    bool silent;       /* the log has been told that looking fails */
    uint8_t complained; /* of what the last look lacked */
    struct pam_ask *look; /* under way */
    uv_timer_t interval, settle;
    uv_fs_event_t event;
};

/* --- the table --- */

const struct user *system_users_find(const struct system_users *system, const char *name)
{
    for (unsigned i = 0; i < system->count; i++)
        if (strcmp(system->users[i].name, name) == 0)
            return &system->users[i];
    return NULL;
}

unsigned system_users_count(const struct system_users *system)
{
    return system->count;
}

const struct user *system_users_at(const struct system_users *system, unsigned index)
{
    return &system->users[index];
}

bool system_users_unknown(const struct system_users *system)
{
    return !system->known;
}

const struct system_groups *system_users_groups(const struct system_users *system)
{
    return &system->options.groups;
}

static void fill_user(struct user *user, const struct system_account *account)
{
    char stamp[2 * SECRET_DIGEST];
    secret_encode(account->stamp, sizeof account->stamp, stamp);
    *user = (struct user){.role = account->role < AUTH_ROLES ? (enum auth_role)account->role : AUTH_READ_ONLY,
                          .enabled = account->enabled != 0};
    snprintf(user->name, sizeof user->name, "%.*s", USER_NAME_MAX, account->name);
    snprintf(user->hash, sizeof user->hash, USERS_PAM ":%s", stamp);
}

/* What a look can't see; once for each kind. */
static void complain(struct system_users *system, const struct system_accounts *accounts)
{
    uint8_t now = (uint8_t)((accounts->blind ? 1 : 0) | (accounts->too_many ? 2 : 0)), fresh = now & ~system->complained;
    system->complained = now;
    if (fresh & 1)
        log_warning(WHO, "shadow(5) can't be read (the daemon was not started as root): a changed password, and an account "
                         "that expires, end no session");
    if (fresh & 2)
        log_warning(WHO, "more than %d accounts are in the groups of the roles: the others can't log in", SYSTEM_ACCOUNTS_MAX);
}

void system_users_take(struct system_users *system, const struct system_accounts *accounts)
{
    struct user *old = system->users;
    unsigned count = system->count;
    if (accounts->number < system->number)
        return; /* it was overtaken: a login looks beside the looks from here */
    system->number = accounts->number;
    system->count = accounts->count < SYSTEM_ACCOUNTS_MAX ? accounts->count : SYSTEM_ACCOUNTS_MAX;
    system->users = mem_alloc((system->count + 1) * sizeof *old);
    for (unsigned i = 0; i < system->count; i++)
        fill_user(&system->users[i], &accounts->accounts[i]);
    if (!system->known || count != system->count)
        log_notice(WHO, "of the system: %u", system->count);
    if (system->silent)
        log_notice(WHO, "the system's accounts can be looked at again");
    system->known = true;
    system->silent = false;
    complain(system, accounts);
    for (unsigned i = 0; i < count; i++) {
        const struct user *now = system_users_find(system, old[i].name);
        if (!now || !user_equal(now, &old[i]))
            system->options.changed(system->options.arg, old[i].name);
    }
    mem_free(old);
}

/* --- a look --- */

static void say_failure(struct system_users *system, const char *why)
{
    if (!system->silent)
        log_error(WHO, "the system's accounts can't be looked at: %s; they stay as they are known", why);
    system->silent = true;
}

static void on_looked(void *arg, const struct pam_answer *answer)
{
    struct system_users *system = arg;
    system->look = NULL;
    if (answer->looked == 0)
        system_users_take(system, &answer->accounts);
    else
        say_failure(system, strerror(-answer->looked));
    if (system->waits)
        system_users_look(system);
}

void system_users_look(struct system_users *system)
{
    const struct pam_question question = {.folder = system->options.pam_folder, .groups = &system->options.groups};
    system->waits = system->look;
    if (system->waits)
        return;
    system->look = pam_ask(system->loop, &question, on_looked, system);
    if (!system->look)
        say_failure(system, "there is no thread for it");
}

static void on_interval(uv_timer_t *timer)
{
    struct system_users *system = timer->data;
    if (system->look)
        say_failure(system, "the name service does not answer");
    else
        system_users_look(system);
}

/* --- files that change --- */

static bool is_of_accounts(const char *file)
{
    static const char *const files[] = {"passwd", "shadow", "group", "nsswitch.conf"};
    for (size_t i = 0; file && i < sizeof files / sizeof *files; i++)
        if (strcmp(file, files[i]) == 0)
            return true;
    return !file;
}

static void on_accounts_settled(uv_timer_t *timer)
{
    system_users_look(timer->data);
}

static void on_accounts_event(uv_fs_event_t *event, const char *file, int events, int status)
{
    struct system_users *system = event->data;
    (void)events;
    if (status == 0 && is_of_accounts(file))
        uv_timer_start(&system->settle, on_accounts_settled, SYSTEM_USERS_SETTLE_MS, 0);
}

/* --- life --- */

struct system_users *system_users_new(uv_loop_t *loop, const struct system_users_options *options)
{
    struct system_users *system = mem_alloc(sizeof *system);
    uint64_t interval = options->interval_ms ? options->interval_ms : SYSTEM_USERS_INTERVAL_MS;
    system->loop = loop;
    system->options = *options;
    uv_timer_init(loop, &system->interval);
    uv_timer_init(loop, &system->settle);
    uv_fs_event_init(loop, &system->event);
    system->interval.data = system->settle.data = system->event.data = system;
    uv_timer_start(&system->interval, on_interval, interval, interval);
    int status = uv_fs_event_start(&system->event, on_accounts_event, FOLDER, 0);
    if (status != 0)
        log_warning(WHO, FOLDER " is not watched for changes: %s", uv_strerror(status));
    system_users_look(system);
    return system;
}

void system_users_close(struct system_users *system, struct closing *handles)
{
    if (system->look)
        pam_leave(system->look);
    system->look = NULL;
    closing_add(handles, (uv_handle_t *)&system->interval);
    closing_add(handles, (uv_handle_t *)&system->settle);
    closing_add(handles, (uv_handle_t *)&system->event);
}

void system_users_free(struct system_users *system)
{
    mem_free(system->users);
    mem_free(system);
}
