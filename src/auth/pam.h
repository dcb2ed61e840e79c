/*
 * The system's own accounts, by PAM (service "nbd-proxy"): the password of users whose hash is "pam" in the users file,
 * and all of those that system_accounts.h finds. Only in a build --with-pam, and off by default: a PAM module may start
 * processes and wait for a network, and so may the name service.
 *
 * Each conversation has a thread of its own, none of base/work's: one that hangs
 * takes nothing from anybody else, and does not keep the process from ending.
 * Conversations run one after the other, since not every module may run twice at
 * once; how many may wait so is for the caller to bound (auth/auth.h). A look at the accounts waits for none of them.
 */
#ifndef AUTH_PAM_H
#define AUTH_PAM_H

#include <stdbool.h>
#include <uv.h>

#include "auth/system_accounts.h"

#define PAM_SERVICE_NAME "nbd-proxy"

struct pam_question {
    const char *folder; /* where the service's file is, NULL: /etc/pam.d */
    const char *name, *password, *peer; /* the name NULL: nobody's password is to be checked */
    /* The accounts are looked at as well; NULL: they are not. With a password that is done before and after, and the
     * password counts as wrong when the account has become another one meanwhile. */
    const struct system_groups *groups;
};

/* What came of it. */
struct pam_answer {
    bool matched;
    int looked; /* with groups: 0, and `accounts` are how it is now; else a negative errno */
    struct system_accounts accounts;
};

struct pam_ask;

/* `done` comes later, from the loop, and the struct is gone then; the question is copied. NULL:
 * there is no thread for it, or no PAM in this build. */
struct pam_ask *pam_ask(uv_loop_t *loop, const struct pam_question *question,
                        void (*done)(void *arg, const struct pam_answer *answer), void *arg);
/* Nobody wants to know any more: `done` does not come, the thread ends when PAM lets it. */
void pam_leave(struct pam_ask *ask);

/* What such a thread runs: one conversation, which blocks. False also in a build without PAM. */
bool pam_check(const struct pam_question *question);
/* From now on `check` has the conversations, and `look` does system_accounts_look() with the groups that it knows, in a
 * process with more rights, unless the question has a folder. Call this once, before the loop runs. */
void pam_check_by(bool (*check)(const char *name, const char *password, const char *peer),
                  int (*look)(struct system_accounts *accounts));

#endif
