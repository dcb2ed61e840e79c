/*
 * The audit log: who came in, who did not, who changed what. One line each, at
 * notice level, in one fixed form that programs can read:
 *
 *     audit: login ok: user="admin" peer="192.0.2.1" detail="basic"
 *
 * A field that is not known is left out. What peers sent is written as printable
 * ASCII: every other byte, and `"` and `%`, as %XX; it is cut after 96 bytes. No
 * password and no token is ever given to it. The name in a failed login is only
 * logged when there is such an account, since people type passwords there.
 */
#ifndef AUTH_AUDIT_H
#define AUTH_AUDIT_H

#include <stddef.h>

enum audit_event {
    AUDIT_LOGIN_OK, /* detail: the way */
    AUDIT_LOGIN_FAILED,
    AUDIT_LOGIN_LOCKED,  /* a lock begins; detail: what is locked, how long */
    AUDIT_SESSION_BEGIN, /* subject: its id */
    AUDIT_LOGOUT,
    AUDIT_SESSION_END, /* by the daemon; detail: why */
    AUDIT_USER,        /* an account changed; subject: its name; detail: what */
    AUDIT_INSERT,      /* subject: the slot; detail: the image's public form */
    AUDIT_EJECT,
    AUDIT_DISMISS,    /* what failed is shown no more; subject: the slot */
    AUDIT_UNVERIFIED, /* certificates of images' servers are not checked; subject: the slot */
    AUDIT_RESET,  /* of the host; detail: how */
    AUDIT_BOOT,   /* the host's boot source; detail: which */
    AUDIT_UPLOAD, /* one is complete; subject: the image; detail: its size and SHA-256 */
    AUDIT_DOWNLOAD, /* subject: the image, or the slot whose medium it is */
    AUDIT_DELETE, /* subject: the image */
    AUDIT_LOG,    /* how much is logged; detail: the level */
    AUDIT_TRACE,  /* subject: the slot, or none: all; detail: "on" or "off" */
    AUDIT_RELOAD, /* the configuration is read again */
    AUDIT_QUIT,   /* the daemon is to stop; detail: "keep" when the media stay in */
};

#define AUDIT_FIELD_MAX 96

/* `user`: who acts. Any text may be NULL. */
void auth_audit(enum audit_event event, const char *user, const char *peer, const char *subject, const char *detail);

#endif
