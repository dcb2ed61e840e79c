#include "base/etc.h"

#include <stdio.h>
#include <string.h>

/* Looks for the user by `name`; if that is NULL, by `uid`. */
static const struct passwd *etc_find_user(const char *name, uid_t uid)
{
    FILE *file = fopen("/etc/passwd", "re");
    const struct passwd *user = NULL;
    while (file && (user = fgetpwent(file)) != NULL && (name ? strcmp(user->pw_name, name) != 0 : user->pw_uid != uid))
        ;
    if (file)
        fclose(file);
    return user;
}

const struct passwd *etc_user_named(const char *name)
{
    return etc_find_user(name, 0);
}

const struct passwd *etc_user_numbered(uid_t uid)
{
    return etc_find_user(NULL, uid);
}

const struct group *etc_group_named(const char *name)
{
    FILE *file = fopen("/etc/group", "re");
    const struct group *group = NULL;
    while (file && (group = fgetgrent(file)) != NULL && strcmp(group->gr_name, name) != 0)
        ;
    if (file)
        fclose(file);
    return group;
}
