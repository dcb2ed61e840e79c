#include "auth/users_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/save.h"
#include "base/text.h"

#define LOCK_POLL_MS 20

static int users_file_fail(char error[USERS_ERROR_MAX], int number, const char *path, const char *problem)
{
    snprintf(error, USERS_ERROR_MAX, "%.400s: %s", path, problem ? problem : strerror(number));
    return -number;
}

/* --- reading --- */

static bool folder_status(const char *path, struct stat *st)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    return stat(dirname(copy), st) == 0;
}

/* Root also trusts a file of the daemon's own user, if the folder is that user's too. */
static bool users_file_is_trusted(const char *path, const struct stat *st)
{
    struct stat folder;
    return st->st_uid == 0 || st->st_uid == geteuid() ||
           (geteuid() == 0 && folder_status(path, &folder) && folder.st_uid == st->st_uid);
}

static const char *stat_problem(const char *path, const struct stat *st)
{
    if (!S_ISREG(st->st_mode))
        return "it is not a regular file";
    if (!users_file_is_trusted(path, st))
        return "it belongs to another user";
    if (st->st_mode & 077)
        return "it is open to others (chmod 600 it)";
    return st->st_size > USERS_FILE_MAX ? "it is too large" : NULL;
}

/* The whole of it; the number of bytes, or -1. */
static ssize_t read_all(int fd, char *to, size_t size)
{
    size_t used = 0;
    while (used < size) {
        ssize_t n = read(fd, to + used, size - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        used += (size_t)n;
    }
    return (ssize_t)used;
}

/* `owner` becomes the file's status, when there is a file. */
static int users_file_load(const char *path, struct users_table *table, struct stat *owner, char error[USERS_ERROR_MAX])
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    users_table_init(table);
    if (fd < 0)
        return users_file_fail(error, errno, path, errno == ELOOP ? "it is a symbolic link" : NULL);
    const char *problem = fstat(fd, owner) == 0 ? stat_problem(path, owner) : strerror(errno);
    if (problem) {
        close(fd);
        return users_file_fail(error, EPERM, path, problem);
    }
    char *text = mem_alloc(USERS_FILE_MAX + 1); /* one byte more, to see that a file is too long */
    ssize_t size = read_all(fd, text, USERS_FILE_MAX + 1);
    int number = errno;
    close(fd);
    users_table_free(table);
    int status =
        size < 0 ? users_file_fail(error, number, path, NULL) : users_parse(table, path, text, (size_t)size, error);
    if (size < 0)
        users_table_init(table);
    explicit_bzero(text, USERS_FILE_MAX + 1);
    mem_free(text);
    return status;
}

int users_load(const char *path, struct users_table *table, char error[USERS_ERROR_MAX])
{
    struct stat ignored;
    return users_file_load(path, table, &ignored, error);
}

/* --- writing --- */

/* True when the locked file is still the one at the path: another writer may have
 * renamed it over the users file, and then it is the lock no more. */
static bool is_still_there(int fd, const char *path)
{
    struct stat open_one, named;
    return fstat(fd, &open_one) == 0 && lstat(path, &named) == 0 && open_one.st_dev == named.st_dev &&
           open_one.st_ino == named.st_ino;
}

/* Opens FILE.new and locks it; its descriptor, or a negative errno. One that a crash
 * left is taken over. */
static int lock_new(const char *path)
{
    const struct timespec pause = {.tv_nsec = LOCK_POLL_MS * 1000000};
    struct stat st;
    for (int waited = 0; waited <= USERS_LOCK_MS; waited += LOCK_POLL_MS) {
        int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
        if (fd < 0)
            return -errno;
        bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
        if (locked && is_still_there(fd, path)) {
            if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_uid == geteuid())
                return fd;
            unlink(path); /* it may be somebody else's, who could hold it open while secrets go in */
        }
        close(fd);
        nanosleep(&pause, NULL);
    }
    return -EBUSY;
}

static int users_file_write_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, text, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        text += n;
        size -= (size_t)n;
    }
    return 0;
}

/* The new file gets the owner of the old one. The first file gets the folder's owner if we are root, so that the
 * daemon can read what root has written. */
static int users_file_fill(int fd, const struct users_table *table, const struct stat *owner)
{
    if (ftruncate(fd, 0) != 0 || fchmod(fd, 0600) != 0)
        return -1;
    if (owner && (owner->st_uid != geteuid() || owner->st_gid != getegid()) &&
        fchown(fd, owner->st_uid, owner->st_gid) != 0)
        return -1;
    return users_file_write_all(fd, table->text, table->size) != 0 ? -1 : fsync(fd);
}

/* The rename is done: a failure here only means that it may not outlive a power cut. */
static void users_file_sync_folder(const char *path)
{
    int status = save_sync_folder(path);
    if (status != 0)
        log_warning("users", "%s: its directory could not be synced: %s", path, strerror(-status));
}

static int replace(const char *path, const char *new_path, int fd, const struct users_edit *edit,
                   struct users_table *changed, char error[USERS_ERROR_MAX])
{
    struct users_table table;
    struct stat old;
    int status = users_file_load(path, &table, &old, error);
    bool missing = status == -ENOENT;
    bool owned = !missing || (geteuid() == 0 && folder_status(path, &old));
    if (status == 0 || missing)
        status = users_apply(&table, edit, changed, error);
    users_table_free(&table);
    if (status != 0)
        return status;
    if (users_file_fill(fd, changed, owned ? &old : NULL) != 0 || rename(new_path, path) != 0) {
        status = users_file_fail(error, errno, path, NULL);
        users_table_free(changed);
        return status;
    }
    users_file_sync_folder(path);
    return 0;
}

int users_edit_file(const char *path, const struct users_edit *edit, struct users_table *changed,
                    char error[USERS_ERROR_MAX])
{
    char new_path[PATH_MAX];
    if (snprintf(new_path, sizeof new_path, "%s.new", path) >= (int)sizeof new_path)
        return users_file_fail(error, ENAMETOOLONG, path, NULL);
    int fd = lock_new(new_path);
    if (fd < 0)
        return users_file_fail(error, -fd, new_path,
                               fd == -EBUSY ? "another change of the users takes too long" : NULL);
    int status = replace(path, new_path, fd, edit, changed, error);
    if (status != 0)
        unlink(new_path);
    close(fd); /* and the lock goes */
    return status;
}
