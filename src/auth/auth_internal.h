/* Private to auth.c and auth_jobs.c. */
#ifndef AUTH_AUTH_INTERNAL_H
#define AUTH_AUTH_INTERNAL_H

#include "auth/auth.h"
#include "auth/pam.h"
#include "auth/password.h"
#include "auth/secret.h"
#include "auth/verified.h"
#include "base/closing.h"
#include "base/work.h"

#define PEER_MAX   128 /* of what is kept of a peer's name */
#define METHOD_MAX 32

/* One password that is verified, for all checks that ask for the same. */
struct auth_job {
    struct work work;
    struct link link;   /* waiting or running */
    struct link checks; /* who wants to know */
    struct auth *auth;
    struct lane *lane;
    struct pam_ask *pam;             /* NULL: the job does not run, or goes by a hash */
    unsigned char id[SECRET_DIGEST]; /* HMAC of name, password and peer */
    char name[USER_NAME_MAX + 1];    /* "": the name that was given can't be an account's */
    char peer[PEER_MAX], method[METHOD_MAX];
    char *password;
    char hash[PASSWORD_HASH_MAX]; /* of the account; of another when it does not count; of no use when PAM is asked */
    bool counts;                  /* there is (or may be) such an account, it is enabled, the password can be one */
    bool matched;                 /* set on the work thread, or as PAM says */
};

/* Jobs that take turns. PAM has a lane of its own, so that waiting for it holds up no account with a hash here. */
struct lane {
    struct link waiting, running;
    unsigned waiting_count, running_count;
    unsigned parallel, waiting_max;
    uint64_t retry_ms; /* after that time a caller who is refused should try again */
    void (*start)(struct auth_job *job);
};

struct auth {
    uv_loop_t *loop;
    struct users *users;
    struct users_watch watch;
    struct auth_options options;
    struct lockout *lockout;
    struct verified *verified;
    unsigned char key[SECRET_BYTES];
    struct lane hashing, asking;
    uint64_t hashes;
    bool pam_hangs;                /* PAM has had pam_patience_ms, and has not answered yet */
    char spare[PASSWORD_HASH_MAX]; /* a setting for when there is no account at all */
    struct link answers;           /* deferred */
    struct defer tell;
    struct link delayed; /* checks with a wrong password, the first due first */
    unsigned delayed_count;
    uv_timer_t timer, pam_timer;
    bool closing;
    struct closing handles;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* auth.c: the answers */
uint64_t auth_now(const struct auth *auth);
void auth_answer(struct auth *auth, struct auth_check *check, int status);
void auth_answer_all(struct auth *auth, struct link *checks, int status, uint64_t retry_ms);
void auth_answer_ok(struct auth *auth, struct auth_check *check, const struct user *user);
void auth_answer_wrong(struct auth *auth, struct auth_check *check); /* held back */
void auth_maybe_closed(struct auth *auth);

/* auth_jobs.c: what verifies passwords */
void auth_jobs_init(struct auth *auth);
/* The check joins a job for the same password, or a new job is made for it. `admitted`: whether a new one may be, as
 * lockout_admit() says; `possible`: the text can be a password. */
void auth_jobs_add(struct auth *auth, struct auth_check *check, const char *name, const char *password, bool possible,
                   int admitted);
/* All who wait get -ECANCELED. Hashes that are being computed remain (hashing.running_count), PAM is left alone. */
void auth_jobs_drop(struct auth *auth);

#endif
