/*
 * Users and groups of this machine, as /etc/passwd and /etc/group have them. No other name service is asked: one
 * such as LDAP may keep the loop waiting for as long as its network is away, and its modules stay loaded in the
 * process that asks.
 *
 * What is found is in memory of the C library until the next call for the same kind; NULL: there is none.
 */
#ifndef BASE_ETC_H
#define BASE_ETC_H

#include <grp.h>
#include <pwd.h>

const struct passwd *etc_user_named(const char *name);
const struct passwd *etc_user_numbered(uid_t uid); /* the first of them, if several share the number */
const struct group *etc_group_named(const char *name);

#endif
