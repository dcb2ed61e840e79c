/*
 * Is somebody who he says he is? auth_verify() takes a name and a password and answers later,
 * with the account's role. In this order:
 *
 * 1. lockout (auth/lockout.h): an account or address that failed too often is
 *    refused, before anything else: also when the password is the right one.
 * 2. A password that was verified a few minutes ago is right (auth/verified.h).
 * 3. The same name and password from the same address that is being verified for
 *    another request: one answer serves both.
 * 4. crypt(3) on a work thread, `parallel` at a time; behind them at most
 *    AUTH_QUEUE_MAX wait. Accounts of PAM's have a queue of their own: one at a time is
 *    asked of PAM, on a thread that is no worker (auth/pam.h), AUTH_PAM_QUEUE_MAX wait,
 *    and more get -EBUSY. When PAM has not answered for `pam_patience_ms`, all checks of
 *    such accounts get -EBUSY until it does, so that a module that hangs holds up no
 *    account whose hash is here. PAM's late answer counts like any other: a right
 *    password is remembered as in 2.
 *
 * A name that does not exist, or is disabled, costs the hash of an account that
 * does (always the same one for the same name), so that time tells nothing. An
 * answer of "wrong" is held back for `failure_delay_ms`.
 *
 * The loop never waits. The caller owns the check until `done`.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "auth/lockout.h"
#include "auth/users.h"

#define AUTH_QUEUE_MAX   32 /* passwords that wait for a thread */
#define AUTH_PAM_QUEUE_MAX 4 /* that wait for PAM: with the one in work fewer than LOCKOUT_ADDRESS_PENDING */
#define AUTH_DELAYED_MAX 64 /* wrong passwords whose answer is held back; beyond that the oldest is answered */

struct auth_options {
    unsigned parallel; /* hashes at a time; 0: 2 */
    uint64_t failure_delay_ms;
    uint64_t remember_ms; /* how long a verified password needs no hash; 0: not at all */
    unsigned hash_cost;   /* as the users' options have it */
    struct lockout_options lockout;
    /* Whether the account has a session from that peer's address; NULL: none has. */
    bool (*has_session)(void *arg, const char *name, const char *peer);
    void *has_session_arg;
    const char *pam_folder;     /* NULL: /etc/pam.d; must outlive it */
    uint64_t pam_patience_ms;   /* 0: 30 s */
    uint64_t (*now)(void *arg); /* milliseconds that only grow; NULL: the system's */
    void *now_arg;
};
/* What the daemon uses when nothing is configured. */
#define AUTH_OPTIONS_DEFAULT                                                                                           \
    {                                                                                                                  \
        .parallel = 2, .failure_delay_ms = 500, .remember_ms = 300000                                                  \
    }

struct auth_check {
    /* Set by the caller; the texts are only read inside auth_verify(). */
    const char *name, *password;
    const char *peer; /* its address in numbers, without the port; "unix" and the like for others; at most 100 bytes */
    const char *method; /* for the audit log: "basic", "redfish session", "browser" */
    void (*done)(struct auth_check *check);

    /* The answer. 0; -EACCES: no such name and password; -EAGAIN: locked, for
     * `retry_ms`; -EBUSY: too much to do, try again in `retry_ms`; -ECANCELED. */
    int status;
    uint64_t retry_ms;
    char user[USER_NAME_MAX + 1]; /* with status 0: the account, and its role now */
    enum auth_role role;

    struct auth *auth; /* private from here on; NULL before the first use */
    struct link link;
    bool delayed;
    uint64_t due;
};

struct auth;

/* The users must outlive it. */
struct auth *auth_new(uv_loop_t *loop, struct users *users, const struct auth_options *options);
/* `done` is called exactly once, never inside the call. */
void auth_verify(struct auth *auth, struct auth_check *check);
/* `done` comes (deferred) with -ECANCELED, or with the answer when that is known
 * already. A password that is being verified still counts. */
void auth_cancel(struct auth_check *check);
/* Hashes that were computed, for tests and metrics. */
uint64_t auth_hashes(const struct auth *auth);
/* Checks that wait get -ECANCELED. `closed` comes when all is freed. */
void auth_close(struct auth *auth, void (*closed)(void *arg), void *arg);

#endif
