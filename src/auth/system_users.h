/*
 * The system's accounts as the loop sees them (auth/system_accounts.h): a table, who is told of its changes, and when
 * it is looked at: at the start, when a file of the accounts in /etc changes, at each login by PAM, and every
 * `interval_ms`, for what a name service on a network says and for accounts that expire.
 *
 * A look has a thread of its own (auth/pam.h), one at a time. When the name service hangs or fails the accounts stay
 * as they are known, and the log says so once.
 */
#ifndef AUTH_SYSTEM_USERS_H
#define AUTH_SYSTEM_USERS_H

#include <uv.h>

#include "auth/pam.h"
#include "auth/users_file.h"
#include "base/closing.h"

#define SYSTEM_USERS_INTERVAL_MS 30000
#define SYSTEM_USERS_SETTLE_MS   100 /* after the last change of a file */

struct system_users;

struct system_users_options {
    struct system_groups groups;
    const char *pam_folder; /* see auth/pam.h; must outlive it */
    uint64_t interval_ms;   /* 0: the default */
    /* An account was there and is another now: gone, with another role, state or password. */
    void (*changed)(void *arg, const char *name);
    void *arg;
};

struct system_users *system_users_new(uv_loop_t *loop, const struct system_users_options *options);
/* An account's `hash` is USERS_PAM, ':' and the stamp. NULL: none. Valid until the loop turns. */
const struct user *system_users_find(const struct system_users *system, const char *name);
unsigned system_users_count(const struct system_users *system);
const struct user *system_users_at(const struct system_users *system, unsigned index);
/* Not looked at yet: who is not in the table may still have an account. */
bool system_users_unknown(const struct system_users *system);
const struct system_groups *system_users_groups(const struct system_users *system);
/* Looks now, or once more when the look that is under way has ended. */
void system_users_look(struct system_users *system);
/* What a look that somebody else had done (with a login) has shown. */
void system_users_take(struct system_users *system, const struct system_accounts *accounts);
/* Its handles are closed with the others'; then system_users_free() may come. */
void system_users_close(struct system_users *system, struct closing *handles);
void system_users_free(struct system_users *system);

#endif
