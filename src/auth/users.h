/*
 * The accounts, as the loop sees them: the users file in memory, its changes, and
 * who is told of them; and the system's accounts beside it, or alone. An account of the
 * file hides one of the system that has its name. Everything that touches the file or hashes a password runs
 * on a work thread, one job at a time, in the order it was asked for.
 *
 * The file may also be changed from outside (`nbd-proxy passwd`, an editor): its
 * directory is watched, and users_reload() reads it again at once. A file that
 * can't be read, or that has an error, changes nothing and is logged; a file that is
 * not there at the start means no accounts.
 */
#ifndef AUTH_USERS_H
#define AUTH_USERS_H

#include <uv.h>

#include "auth/system_users.h"
#include "auth/users_file.h"
#include "base/list.h"

#define USERS_REQUESTS_MAX 16  /* changes that wait for their turn */
#define USERS_SETTLE_MS    100 /* after the last event in the directory the file is read */

struct users;

struct users_options {
    const char *path;      /* copied; NULL: there is no file */
    const struct system_groups *groups; /* copied; NULL: the system's accounts are not meant */
    const char *pam_folder;  /* see auth/pam.h */
    uint64_t look_every_ms;  /* at the system's accounts; 0: the default */
    unsigned password_min; /* characters of a new password; 0: PASSWORD_MIN */
    unsigned hash_cost;    /* of new hashes, see password_hash() */
};

/* Told of each account that was there and is another now: gone, disabled, with
 * another role or password. Called on the loop, with the new table in force; it
 * may look up accounts, and end sessions, but not close the users. */
struct users_watch {
    struct link link;
    void (*changed)(struct users_watch *watch, const char *name);
};

/* A change of an account, in the hands of the caller until `done`. The texts are
 * copied by users_change(). */
struct users_request {
    enum users_op op;
    const char *name;
    const char *password;  /* NULL: as it is */
    int role;              /* enum auth_role; -1: as it is */
    int enabled;           /* -1: as it is */
    const char *by, *peer; /* for the audit log: who asked, from where; NULL: not known */
    void (*done)(struct users_request *request);

    int status; /* 0, or as users_apply() says; -EBUSY: too many wait; -EIO and others: the file */
    char error[USERS_ERROR_MAX];

    struct users_job *job; /* private from here on */
    struct link link;
};

/* Reads the file. NULL and an error when there is a file that can't be used. */
struct users *users_new(uv_loop_t *loop, const struct users_options *options, char error[USERS_ERROR_MAX]);
/* The account; NULL: none. Valid until the loop turns. */
const struct user *users_find(const struct users *users, const char *name);
/* All of them, the file's first; `index` below the count. */
unsigned users_count(const struct users *users);
const struct user *users_at(const struct users *users, unsigned index);
/* The name is no account's that is known, but the system's have not been looked at yet. */
bool users_unknown(const struct users *users, const char *name);
const struct users_table *users_get_table(const struct users *users); /* the file's */
/* The question's groups for auth/pam.h, NULL: none; and what a look at a login has shown. */
const struct system_groups *users_groups(const struct users *users);
void users_take_system(struct users *users, const struct system_accounts *accounts);
void users_watch(struct users *users, struct users_watch *watch);
void users_unwatch(struct users_watch *watch);
void users_reload(struct users *users);
/* `done` is called exactly once, never inside the call. An account whose password is
 * PAM's keeps that: setting one here is refused (-EINVAL). One that is the system's is changed
 * there, and without a file there is nothing to change (-EROFS). */
void users_change(struct users *users, struct users_request *request);
/* `done` comes (deferred) with -ECANCELED, or with the result when that is there
 * already. What has begun is done all the same. */
void users_cancel(struct users_request *request);
/* Requests that wait get -ECANCELED. `closed` comes when all is freed. No watch may
 * be left. */
void users_close(struct users *users, void (*closed)(void *arg), void *arg);

#endif
