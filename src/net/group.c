#include "net/group.h"

#include <errno.h>
#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/etc.h"

static struct {
    char name[GROUP_NAME_MAX + 1];
    gid_t gid;
} known[GROUPS_KNOWN_MAX];
static unsigned known_count;
static bool settled;

void group_settle(void)
{
    settled = true;
}

static bool group_is_known(const char *name, gid_t *gid)
{
    for (unsigned i = 0; i < known_count; i++)
        if (strcmp(known[i].name, name) == 0) {
            *gid = known[i].gid;
            return true;
        }
    return false;
}

static void group_remember(const char *name, gid_t gid)
{
    gid_t same;
    if (group_is_known(name, &same) || known_count == GROUPS_KNOWN_MAX || strlen(name) > GROUP_NAME_MAX)
        return;
    snprintf(known[known_count].name, sizeof known[0].name, "%s", name);
    known[known_count++].gid = gid;
}

static bool group_is_in_file(const char *name, gid_t *gid)
{
    const struct group *group = etc_group_named(name);
    if (group)
        *gid = group->gr_gid;
    return group;
}

static int group_ask(const char *name, gid_t *gid)
{
    const struct group *group = getgrnam(name);
    if (!group)
        return -ENOENT;
    *gid = group->gr_gid;
    group_remember(name, group->gr_gid);
    return 0;
}

int group_find(const char *name, gid_t *gid)
{
    if (!settled)
        return group_ask(name, gid);
    return group_is_in_file(name, gid) || group_is_known(name, gid) ? 0 : -EAGAIN;
}
