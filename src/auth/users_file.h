/*
 * The users file: who may log in. One account a line, in four fields:
 *
 *     name:hash:role:state
 *     admin:$y$j9T$...:Administrator:enabled
 *
 * - name: 1 to 64 of A-Z a-z 0-9 . _ - @, the first a letter, a digit or "_"
 * - hash: of the password, by crypt(3) (auth/password.h), or "pam": then the
 *   system's PAM service nbd-proxy is asked instead
 * - role: Administrator, Operator or ReadOnly
 * - state: enabled or disabled
 *
 * Empty lines and lines that begin with "#" are kept as they are when the file is
 * written. Anything else is an error that names the line, and then the whole file
 * is refused: half of a users file is nobody's intent.
 *
 * The file must be a regular one, belong to root or the process's user, and be
 * closed to everybody else (mode 0600). It is only ever replaced as a whole: the
 * new text is written to FILE.new, synced, renamed over the old one, and the
 * directory is synced. FILE.new is also the lock between writers (the daemon and
 * `nbd-proxy passwd`): each change starts from what is on disk at that time.
 *
 * All of this blocks: on the loop only before it runs, else by auth/users.h.
 */
#ifndef AUTH_USERS_FILE_H
#define AUTH_USERS_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "auth/password.h"
#include "auth/role.h"

#define USERS_MAX       64
#define USER_NAME_MAX   64
#define USERS_FILE_MAX  (64u << 10) /* bytes, comments and all */
#define USERS_ERROR_MAX 512
#define USERS_LOCK_MS   5000 /* how long a writer waits for another */
#define USERS_PAM       "pam"

struct user {
    char name[USER_NAME_MAX + 1];
    char hash[PASSWORD_HASH_MAX];
    enum auth_role role;
    bool enabled;
    size_t at, length; /* of its line in the text, the end of the line included */
};

struct users_table {
    unsigned count;
    struct user users[USERS_MAX];
    char *text; /* the file as it is; never NULL */
    size_t size;
};

enum users_op { USERS_ADD, USERS_SET, USERS_REMOVE };

/* A change of one account. An account can't be renamed: it is known by its name. */
struct users_edit {
    enum users_op op;
    const char *name;
    const char *hash; /* NULL: as it is (not for USERS_ADD) */
    int role;         /* enum auth_role; -1: as it is */
    int enabled;      /* -1: as it is; a new account is enabled */
};

bool user_name_valid(const char *name);
bool user_equal(const struct user *a, const struct user *b); /* of one name: role, state and password are the same */
/* Whether PAM has the password; and whether the account is the system's as a whole (auth/system_users.h). */
bool user_is_pam(const struct user *user);
bool user_is_system(const struct user *user);
void users_table_init(struct users_table *table); /* empty, with an empty text */
void users_table_free(struct users_table *table);
const struct user *users_table_find(const struct users_table *table, const char *name); /* NULL: none */
unsigned users_table_administrators(const struct users_table *table);                   /* enabled ones */

/* 0, or -EINVAL and "NAME:LINE: what is wrong"; the table is then empty. `table`
 * is set up by the call. */
int users_parse(struct users_table *table, const char *name, const char *text, size_t size,
                char error[USERS_ERROR_MAX]);
/* Makes the table that the change leads to; the old one stays as it is, and on
 * failure there is no new one. -EEXIST,
 * -ENOENT, -ENOSPC (full), -EINVAL; -EPERM: no enabled Administrator would be left. */
int users_apply(const struct users_table *table, const struct users_edit *edit, struct users_table *changed,
                char error[USERS_ERROR_MAX]);

/* Reads the file. -ENOENT when there is none (the table is empty, and usable). */
int users_load(const char *path, struct users_table *table, char error[USERS_ERROR_MAX]);
/* Applies the change to what is on disk and replaces the file. A file that is not
 * there is made. On success `changed` is what the file holds now; else it is not set. */
int users_edit_file(const char *path, const struct users_edit *edit, struct users_table *changed,
                    char error[USERS_ERROR_MAX]);

#endif
