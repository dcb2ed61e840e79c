/* Who could change what a hook does? See host/hook.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/hook.h"

__attribute__((format(printf, 3, 4))) static bool wrong(char error[HOST_ERROR_MAX], const char *path,
                                                        const char *format, ...)
{
    va_list args;
    int used = snprintf(error, HOST_ERROR_MAX, "hook: %.200s ", path);
    va_start(args, format);
    vsnprintf(error + used, (size_t)(HOST_ERROR_MAX - used), format, args);
    va_end(args);
    return false;
}

static bool hook_file_is_trusted(uid_t owner)
{
    return owner == 0 || owner == geteuid();
}

/* In a folder of ours or root's with the sticky bit, as /tmp, nobody replaces what is another's. */
static bool check_folder(const char *folder, const char *path, char error[HOST_ERROR_MAX])
{
    struct stat st;
    if (stat(folder, &st) != 0)
        return wrong(error, path, "can't be looked at: %s", strerror(errno));
    if (!hook_file_is_trusted(st.st_uid))
        return wrong(error, path, "lies in %.100s, which belongs to another user", folder);
    if (st.st_mode & (S_IWGRP | S_IWOTH) && !(st.st_mode & S_ISVTX))
        return wrong(error, path, "lies in %.100s, to which %s may write (chmod o-w,g-w %.100s)", folder,
                     st.st_mode & S_IWOTH ? "everybody" : "its group", folder);
    return true;
}

static bool check_folders(char *resolved, const char *path, char error[HOST_ERROR_MAX])
{
    for (char *slash = strrchr(resolved, '/'); slash; slash = strrchr(resolved, '/')) {
        *slash = '\0';
        if (!check_folder(*resolved ? resolved : "/", path, error))
            return false;
    }
    return true;
}

static bool check_file(const struct stat *st, const char *path, char error[HOST_ERROR_MAX])
{
    if (!S_ISREG(st->st_mode))
        return wrong(error, path, "is not a regular file");
    if (!hook_file_is_trusted(st->st_uid))
        return wrong(error, path, "belongs to another user (chown root %.100s)", path);
    if (st->st_mode & (S_IWGRP | S_IWOTH))
        return wrong(error, path, "may be written by others (chmod go-w %.100s)", path);
    if (access(path, X_OK) != 0)
        return wrong(error, path, "can't be executed (chmod +x %.100s)", path);
    return true;
}

bool hook_file_check(const char *path, char error[HOST_ERROR_MAX])
{
    struct stat st;
    if (*path != '/')
        return wrong(error, path, "is not absolute (give an absolute path)");
    char *resolved = realpath(path, NULL);
    bool good = resolved && stat(resolved, &st) == 0;
    if (!good)
        wrong(error, path, "can't be found: %s", strerror(errno));
    good = good && check_file(&st, path, error) && check_folders(resolved, path, error);
    free(resolved);
    return good;
}
