/* The sessions' own: sessions.c, and sessions_file.c, which keeps them over a restart. */
#ifndef AUTH_SESSIONS_INTERNAL_H
#define AUTH_SESSIONS_INTERNAL_H

#include "auth/sessions.h"
#include "base/closing.h"
#include "base/save.h"

#define SESSIONS_FILE_MAX  (128u << 10) /* bytes; SESSIONS_MAX sessions have half of that */
#define SESSIONS_FILE_MS   5000         /* at most so long after a use the file says so */

struct sessions {
    uv_loop_t *loop;
    struct users *users;
    struct users_watch watch;
    struct sessions_options options;
    unsigned char csrf_key[SECRET_BYTES];
    unsigned count;
    struct link list; /* the one that was used least recently first */
    struct link over; /* ended: their attachments must be told */
    struct defer tell;
    uv_timer_t timer;
    struct save save; /* without a path: nothing is kept */
    uv_timer_t save_later;
    bool closing;
    struct closing handles;
    void (*closed)(void *arg);
    void *closed_arg;
};

uint64_t sessions_now(const struct sessions *sessions);
bool session_is_idle(const struct session *session);
/* Whether it has to end, by its age or for not being used. */
bool session_is_over(const struct session *session, uint64_t now);
/* What the account is: another password, role or state give another digest. */
void session_account_digest(const struct sessions *sessions, const struct user *user, unsigned char digest[SECRET_DIGEST]);

/* --- sessions_file.c --- */

/* Takes `path` over (NULL: nothing is kept), and reads the file: the sessions in it that may go on, and the CSRF key. */
void sessions_file_open(struct sessions *sessions, char *path);
/* The sessions as they are now; soon, or when there is time. */
void sessions_file_write(struct sessions *sessions);
void sessions_file_write_later(struct sessions *sessions);

#endif
