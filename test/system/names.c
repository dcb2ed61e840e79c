/*
 * For LD_PRELOAD: a name service (NSS) whose directory is away. Once the file $NAMES_AWAY is there, nothing comes of
 * asking for users and groups.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

static void *ask(const char *function)
{
    while (access(getenv("NAMES_AWAY"), F_OK) == 0)
        pause();
    return dlsym(RTLD_NEXT, function);
}

struct group *getgrnam(const char *name)
{
    return ((struct group * (*)(const char *)) ask("getgrnam"))(name);
}

struct passwd *getpwuid(uid_t uid)
{
    return ((struct passwd * (*)(uid_t)) ask("getpwuid"))(uid);
}

int getgrouplist(const char *user, gid_t group, gid_t *groups, int *count)
{
    return ((int (*)(const char *, gid_t, gid_t *, int *))ask("getgrouplist"))(user, group, groups, count);
}
