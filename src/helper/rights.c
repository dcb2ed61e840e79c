#include "helper/rights.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/etc.h"
#include "base/log.h"
#include "helper/filter.h"

#define WHO         "nbd-proxy"
#define AT_START    (1ull << CAP_NET_BIND_SERVICE | 1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE)
#define NUMBERS_MAX 64 /* of capabilities */

__attribute__((format(printf, 2, 3))) static int failed(char error[RIGHTS_ERROR_MAX], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, RIGHTS_ERROR_MAX, format, args);
    va_end(args);
    return -1;
}

/* --- who --- */

/* A name service is asked only for a user whom the configuration names, since its modules stay in memory (see
 * base/etc.h). */
static const struct passwd *find_user(const char *name)
{
    const struct passwd *entry = etc_user_named(*name ? name : RIGHTS_USER);
    return entry || !*name ? entry : getpwnam(name);
}

int rights_find(const char *name, struct rights_user *user, char error[RIGHTS_ERROR_MAX])
{
    *user = (struct rights_user){0};
    if (geteuid() != 0)
        return *name && (!getpwnam(name) || getpwnam(name)->pw_uid != geteuid())
                   ? failed(error, "user = %.64s: only root can become another user (start it as root, or as that user)", name)
                   : 0;
    const struct passwd *entry = find_user(name);
    if (!entry && *name)
        return failed(error, "user = %.64s: there is no such user (useradd --system %.64s)", name, name);
    if (!entry) {
        user->missing = true;
        return 0;
    }
    if (entry->pw_uid == 0)
        return 0;
    user->other = true;
    user->uid = entry->pw_uid;
    user->gid = entry->pw_gid;
    snprintf(user->name, sizeof user->name, "%s", entry->pw_name);
    return 0;
}

/* --- what belongs to whom --- */

/* The folder is root's alone, so what is in it is there by root's will. */
static bool is_roots_alone(const struct stat *st)
{
    return st->st_uid == 0 && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

static bool rights_is_same(const struct stat *st, const char *path)
{
    struct stat other;
    return path && stat(path, &other) == 0 && other.st_dev == st->st_dev && other.st_ino == st->st_ino;
}

static void give_file(const struct rights_user *user, int folder, const char *name, const char *kept)
{
    struct stat st;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid == 0 && st.st_nlink == 1 &&
        (S_ISREG(st.st_mode) || S_ISSOCK(st.st_mode)) && !rights_is_same(&st, kept))
        (void)!fchownat(folder, name, user->uid, (gid_t)-1, AT_SYMLINK_NOFOLLOW);
}

static void give_files(const struct rights_user *user, DIR *folder, const char *kept)
{
    for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder))
        give_file(user, dirfd(folder), entry->d_name, kept);
}

void rights_give_folder(const struct rights_user *user, const char *path, const char *kept)
{
    struct stat st;
    int fd = user->other ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (folder && fstat(fd, &st) == 0 && is_roots_alone(&st)) {
        give_files(user, folder, kept);
        if (fchown(fd, user->uid, user->gid) == 0)
            log_notice(WHO, "%s is the user %s's now", path, user->name);
    }
    if (folder)
        closedir(folder);
    else if (fd >= 0)
        close(fd);
}

void rights_give_file(const struct rights_user *user, const char *path)
{
    if (user->other)
        give_file(user, AT_FDCWD, path, NULL);
}

/* --- capabilities: capabilities(7); two words, all in one number here --- */

static uint64_t get_permitted(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    return syscall(SYS_capget, &header, data) == 0 ? data[0].permitted | (uint64_t)data[1].permitted << 32 : 0;
}

static int set_capabilities(uint64_t all)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
        {.effective = (uint32_t)all, .permitted = (uint32_t)all},
        {.effective = (uint32_t)(all >> 32), .permitted = (uint32_t)(all >> 32)}};
    return (int)syscall(SYS_capset, &header, data);
}

/* Needs CAP_SETPCAP. */
static void empty_bounding_set(void)
{
    for (unsigned long i = 0; i < NUMBERS_MAX; i++)
        if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
            prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
}

/* --- the two steps --- */

static int change_user(const struct rights_user *user, char error[RIGHTS_ERROR_MAX])
{
    if (initgroups(user->name, user->gid) != 0 || setresgid(user->gid, user->gid, user->gid) != 0 ||
        setresuid(user->uid, user->uid, user->uid) != 0)
        return failed(error, "it can't become the user %s: %s", user->name, strerror(errno));
    return 0;
}

int rights_become(const struct rights_user *user, char error[RIGHTS_ERROR_MAX])
{
    uint64_t kept = get_permitted() & AT_START;
    empty_bounding_set();
    prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    if (user->other && change_user(user, error) != 0)
        return -1;
    prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (set_capabilities(kept) != 0)
        return failed(error, "its capabilities can't be given up: %s", strerror(errno));
    if (user->other)
        log_notice(WHO, "it serves as the user %s", user->name);
    return 0;
}

void rights_drop_thread(void)
{
    if (set_capabilities(0) != 0)
        log_error(WHO, "a thread's capabilities can't be given up: %s", strerror(errno));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        log_warning(WHO, "no_new_privs: %s", strerror(errno));
}

void rights_drop(const struct rights_user *user)
{
    if (user->missing)
        log_warning(WHO, "it serves as root, without root's capabilities: there is no user " RIGHTS_USER
                         " (useradd --system " RIGHTS_USER ", or set user)");
    rights_drop_thread();
    filter_install();
}
