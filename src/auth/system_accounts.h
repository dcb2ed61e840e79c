/*
 * The system's accounts that may come in, as its name service (nsswitch.conf) has them: the members of the groups
 * that give a role. Who is in groups of several roles has the highest. A member that has the group as its first one
 * is found when it is in /etc/passwd.
 *
 * Of each account there is a stamp, a keyed digest of what makes it another one: its number, and what shadow(5) has
 * of its password and of when that and the account end. The stamp changes with each password that is set, also when
 * that happens twice on a day; it tells nothing of the password without the key, which is made for each process that
 * looks. An account is not enabled when its password is locked (it begins with "!", as usermod -L and OpenBMC make
 * it), or when it has expired. Who may not read shadow sees neither, and `blind` says so.
 *
 * What only a module of PAM knows is asked at a login (auth/pam.h).
 */
#ifndef AUTH_SYSTEM_ACCOUNTS_H
#define AUTH_SYSTEM_ACCOUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "auth/role.h"
#include "auth/secret.h"
#include "auth/users_file.h"

#define SYSTEM_ACCOUNTS_MAX USERS_MAX
#define SYSTEM_GROUPS_MAX   512 /* bytes of one role's groups */

/* The names of the groups that give each role, separated by blanks. */
struct system_groups {
    char of[AUTH_ROLES][SYSTEM_GROUPS_MAX];
};

struct system_account {
    char name[USER_NAME_MAX + 1];
    uint8_t role, enabled;
    unsigned char stamp[SECRET_DIGEST];
};

struct system_accounts {
    uint32_t number; /* of the look: a later one of the same process has a higher one */
    uint32_t count;
    uint8_t blind;    /* shadow could not be read */
    uint8_t too_many; /* there are more; those of the higher roles are here */
    uint8_t filler[2];
    struct system_account accounts[SYSTEM_ACCOUNTS_MAX];
};

/* Blocks, for as long as the name service likes. 0; or a negative errno: it could not be asked, and nothing is known. */
int system_accounts_look(const struct system_groups *groups, struct system_accounts *accounts);
const struct system_account *system_accounts_find(const struct system_accounts *accounts, const char *name); /* NULL: none */

#endif
