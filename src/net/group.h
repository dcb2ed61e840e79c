/*
 * Groups by name. A name may be a directory service's (NSS: LDAP and the like), which may keep one waiting for as
 * long as its network is away; the loop must not. So all of NSS is asked only before the loop runs; from
 * group_settle() on the names count that were found until then, and those of /etc/group.
 */
#ifndef NET_GROUP_H
#define NET_GROUP_H

#include <sys/types.h>

#define GROUP_NAME_MAX   64
#define GROUPS_KNOWN_MAX 32 /* names that are remembered from the start */

/* 0; -ENOENT: there is no such group; -EAGAIN: /etc/group has none, and others are not asked any more. */
int group_find(const char *name, gid_t *gid);
/* The loop is about to run. */
void group_settle(void);

#endif
