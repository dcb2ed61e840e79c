/*
 * What the daemon gives up. In two steps, since a start needs more than serving:
 *
 *   rights_become()  right after the helper was forked: another user, and of the capabilities only those that a start
 *                    needs: to listen on ports below 1024 (CAP_NET_BIND_SERVICE), to give sockets a group (CAP_CHOWN),
 *                    and to read what only root can, such as a certificate's key (CAP_DAC_OVERRIDE).
 *   rights_drop()    when everything is open, before the loop runs: no capability is left, none can be won any more
 *                    (no_new_privs, an empty bounding set where we may empty it), and the system calls are those of
 *                    filter.h.
 *
 * capset(2) and no_new_privs are for one thread: each of the pool's gives its own up first (rights_drop_thread() by work_each()).
 * What a running daemon opens anew, at a reload or an insert, its user must be able to open.
 */
#ifndef HELPER_RIGHTS_H
#define HELPER_RIGHTS_H

#include <stdbool.h>
#include <sys/types.h>

#define RIGHTS_ERROR_MAX 256
#define RIGHTS_NAME_MAX  64
#define RIGHTS_USER      "nbd-proxy" /* the daemon's user when the configuration names none */

struct rights_user {
    bool missing; /* we are root, and there is no RIGHTS_USER to become */
    bool other;   /* it is another user than we are; else the rest is not set */
    char name[RIGHTS_NAME_MAX];
    uid_t uid;
    gid_t gid;
};

/* Finds the user who is to serve: `name`, or if that is "" RIGHTS_USER if there is one. Returns 0, or -1 with what is
 * wrong. Only root can become another user. */
int rights_find(const char *name, struct rights_user *user, char error[RIGHTS_ERROR_MAX]);
/* A folder of ours that is root's, and which nobody else may write to, becomes the user's, with the files and sockets
 * in it: such a folder was made by hand, or by a daemon that ran as root. Other folders stay as they are, and so does
 * the file `kept` (NULL: none), which is the configuration. */
void rights_give_folder(const struct rights_user *user, const char *path, const char *kept);
/* The same for a file. */
void rights_give_file(const struct rights_user *user, const char *path);
/* The first step. Returns 0, or -1 with what is wrong. */
int rights_become(const struct rights_user *user, char error[RIGHTS_ERROR_MAX]);
void rights_drop_thread(void);
/* The last step. Logged are who serves, when that is root for want of another, and what the kernel lacks. */
void rights_drop(const struct rights_user *user);

#endif
