/*
 * Groups by name. A name may be a directory service's (NSS: LDAP and the like), which may not answer for as long
 * as its network is away; the loop must not wait for that. So all of NSS is asked only before the loop runs;
 * after group_settle() only the names that were found before it count, and those of /etc/group.
 */
#ifndef NET_GROUP_H
#define NET_GROUP_H

#include <sys/types.h>

#define GROUP_NAME_MAX   64
#define GROUPS_KNOWN_MAX 32 /* names that are remembered from the start */

/* 0; -ENOENT: there is no such group; -EAGAIN: /etc/group has none, and others are not asked any more. */
int group_find(const char *name, gid_t *gid);
/* Called when the loop is about to run. */
void group_settle(void);

#endif
