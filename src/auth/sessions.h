/*
 * Sessions: a login that lasts. Its token is 32 random bytes, given out once; only
 * its SHA-256 is kept. There are two kinds, and a token of one is nothing to the
 * other: Redfish sessions (header X-Auth-Token) and the web page's (a cookie, with a
 * CSRF token beside it), since Redfish forbids that a cookie authenticates. For OpenBMC's page
 * a Redfish session has a CSRF token too: only with that does its cookie count.
 *
 * A session ends by session_end(), when it was idle for too long, when it is too
 * old, when it must make room, or when its account changes in any way. It is found
 * no more from then on; what is attached to it is told right after (deferred).
 *
 * An attachment is something that must not outlive the session, and that keeps it
 * from being idle: an open WebSocket, a request that is being answered. A session
 * with attachments, or used in the last SESSION_BUSY_MS, is busy: it never has to
 * make room. When all are busy there is no new session (-EBUSY), and when one makes
 * room the audit log says so. The absolute age ends a busy one too, and says so (`aged`) to what is attached: a medium
 * that a host uses may go on by its own right then.
 *
 * With a path in the options sessions outlive the process: a file has what is kept of them. The account is looked at again
 * before one that was found there counts: it must be enabled, with the same password and role.
 *
 * Pointers to a session are valid until the loop turns, or as long as an attachment
 * is on it (its `ended` callback included).
 */
#ifndef AUTH_SESSIONS_H
#define AUTH_SESSIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <uv.h>

#include "auth/secret.h"
#include "auth/users.h"
#include "base/list.h"

#define SESSIONS_MAX        64    /* the bound of all; options may say less */
#define SESSION_TICKETS     8     /* unused ones a session; then the oldest goes */
#define SESSION_TICKET_MS   30000 /* how long one can be used */
#define SESSION_PURPOSE_MAX 64
#define SESSION_ID_MAX      17 /* 16 hexadecimal digits and the end */
#define SESSION_PEER_MAX    128
#define SESSION_BUSY_MS     10000

enum session_kind { SESSION_REDFISH, SESSION_BROWSER };

struct sessions;

struct sessions_options {       /* 0: the default */
    uint64_t idle_ms;           /* 30 min */
    uint64_t age_ms;            /* 24 h */
    unsigned per_user;          /* 8 */
    unsigned total;             /* 64 */
    uint64_t (*now)(void *arg); /* milliseconds that only grow; NULL: the system's */
    void *now_arg;
    const char *path; /* of the file that keeps them over a restart; NULL: nothing does */
};

struct session {
    /* Facts, for the caller to read. */
    char id[SESSION_ID_MAX]; /* for URLs; tells nothing of the token */
    enum session_kind kind;
    char user[USER_NAME_MAX + 1];
    enum auth_role role;
    char peer[SESSION_PEER_MAX];
    time_t created;

    struct sessions *sessions; /* private from here on */
    struct link link;
    struct link attachments;
    bool ended;
    bool aged;      /* valid once it has ended: because it was too old, and for nothing else */
    bool unchecked; /* out of the file, and its account not looked at yet */
    uint64_t created_at, used_at;
    unsigned char digest[SECRET_DIGEST];
    unsigned char account[SECRET_DIGEST]; /* of what the account is */
    struct session_ticket {
        unsigned char digest[SECRET_DIGEST];
        char purpose[SESSION_PURPOSE_MAX];
        uint64_t ends_at; /* 0: free */
    } tickets[SESSION_TICKETS];
};

struct session_attachment {
    struct link link;
    struct session *session; /* NULL: on none */
    bool onlooker;           /* it only wants to be told: the session may be idle, and make room */
    /* The session is over, and the attachment off it; it may be freed here. */
    void (*ended)(struct session_attachment *attachment, const struct session *session);
};

/* The users must outlive them. */
struct sessions *sessions_new(uv_loop_t *loop, struct users *users, const struct sessions_options *options);
/* A session for an account that has just been verified. 0 and its token; -EACCES: no
 * such account is enabled; -EBUSY: no room. */
int sessions_open(struct sessions *sessions, enum session_kind kind, const char *user, const char *peer,
                  struct session **session, char token[SECRET_TEXT]);
/* Its user has logged in again: it has another token, and is as old as a new one. What is attached to it stays. */
void session_renew(struct session *session, const char *peer, char token[SECRET_TEXT]);
uint64_t session_left_ms(const struct session *session); /* until it is too old */
/* The session of the token, if it is of that kind; it counts as used now. NULL: none. */
struct session *sessions_find(struct sessions *sessions, enum session_kind kind, const char *token);
struct session *sessions_by_id(struct sessions *sessions, const char *id); /* counts as no use */
unsigned sessions_count(const struct sessions *sessions);
/* Whether the account has a session that was opened from that peer's address. */
bool sessions_any_from(const struct sessions *sessions, const char *user, const char *peer);
/* Walks all sessions, the one that was used least recently first. `after` NULL: gives the first; NULL: there are no
 * more. */
struct session *sessions_next(struct sessions *sessions, const struct session *after);
/* Ends the session, by the will of its user or of an administrator (`by`; NULL: the user). */
void session_end(struct session *session, const char *by);
/* Ends what is due. A timer calls it; for tests. */
void sessions_expire(struct sessions *sessions);
/* Ends all. `closed` comes when all attachments were told and all is freed. */
void sessions_close(struct sessions *sessions, void (*closed)(void *arg), void *arg);

void session_attach(struct session *session, struct session_attachment *attachment);
void session_detach(struct session_attachment *attachment); /* does nothing if it is on no session */

/* The CSRF token of a session. It is derived from the session's token, so
 * that a page can be given it again after a reload, and is kept nowhere. */
void sessions_csrf(const struct sessions *sessions, const char *token, char csrf[SECRET_TEXT]);
bool sessions_csrf_matches(const struct sessions *sessions, const char *token, const char *csrf);

/* A ticket stands for the session once, within SESSION_TICKET_MS, for one purpose
 * ("nbd slot0"): what a WebSocket's upgrade carries in place of a cookie. */
void session_ticket(struct session *session, const char *purpose, char ticket[SECRET_TEXT]);
/* The session, or NULL. A ticket that is known is used up, whatever the answer. */
struct session *sessions_redeem(struct sessions *sessions, const char *ticket, const char *purpose);

#endif
