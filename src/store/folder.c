#include "store/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"

#define BOOT_FILE  "/proc/sys/kernel/random/boot_id"
#define DIGEST_MAX 160 /* bytes of a digest's file */

int store_fail(char error[STORE_ERROR_MAX], int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, STORE_ERROR_MAX, format, args);
    va_end(args);
    return status;
}

/* --- opening --- */

static void store_folder_read_boot(char boot[STORE_BOOT + 1])
{
    memset(boot, '0', STORE_BOOT);
    boot[STORE_BOOT] = '\0';
    char text[STORE_BOOT];
    int fd = open(BOOT_FILE, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    bool known = read(fd, text, sizeof text) == (ssize_t)sizeof text;
    close(fd);
    for (size_t i = 0; known && i < sizeof text; i++)
        known = text[i] && strchr("0123456789abcdef", text[i]);
    if (known)
        memcpy(boot, text, sizeof text);
}

static const char *directory_problem(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return strerror(errno);
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return "it belongs to another user";
    if (st.st_mode & 022)
        return "others may write in it (chmod 700 it)";
    return flock(fd, LOCK_EX | LOCK_NB) != 0 ? "another process or store uses it" : NULL;
}

int folder_open(struct folder *folder, const struct store_options *options, char error[STORE_ERROR_MAX])
{
    char *path = mem_strdup(options->directory);
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--) /* a link with a slash would be followed */
        path[n - 1] = '\0';
    int status = mkdir(path, 0700) != 0 && errno != EEXIST ? -errno : 0, fd = -1;
    if (status == 0 && (fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
        status = -errno;
    const char *problem = fd >= 0 ? directory_problem(fd) : NULL;
    if (status == -ENOTDIR || status == -ELOOP)
        problem = "it is not a directory, or a symbolic link";
    if (problem && status == 0)
        status = -EPERM;
    if (status != 0) {
        store_fail(error, status, "%.300s: %s", path, problem ? problem : strerror(-status));
        if (fd >= 0)
            close(fd);
        mem_free(path);
        return status;
    }
    unsigned count = options->max_count;
    *folder = (struct folder){.fd = fd, .path = path, .max_bytes = options->max_bytes, .keep_free = options->keep_free};
    folder->max_count = count > 0 && count < STORE_COUNT_MAX ? count : STORE_COUNT_MAX;
    store_folder_read_boot(folder->boot);
    return 0;
}

void folder_close(struct folder *folder)
{
    close(folder->fd);
    mem_free(folder->path);
}

/* --- the walk --- */

struct visit {
    const struct folder *folder;
    void (*file)(struct visit *visit, const char *name);
};

static int folder_walk(struct visit *visit)
{
    int fd = openat(visit->folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        int status = -errno;
        if (fd >= 0)
            close(fd);
        return status;
    }
    errno = 0;
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        visit->file(visit, e->d_name);
        errno = 0;
    }
    int status = -errno;
    closedir(dir);
    return status;
}

static bool stat_regular(const struct folder *folder, const char *file, struct stat *st)
{
    return fstatat(folder->fd, file, st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st->st_mode);
}

static uint64_t sum(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t left(uint64_t of, uint64_t used)
{
    return of > used ? of - used : 0;
}

uint64_t folder_synced(uint64_t offset)
{
    return offset == 0 ? 0 : (offset - 1) / STORE_SYNC * STORE_SYNC;
}

void folder_sync(const struct folder *folder)
{
    if (fsync(folder->fd) != 0 && errno != EINVAL)
        log_warning(STORE_WHO, "%s could not be synced: %s", folder->path, strerror(errno));
}

int folder_rename(const struct folder *folder, const char *from, const char *to)
{
    return syscall(SYS_renameat2, folder->fd, from, folder->fd, to, RENAME_NOREPLACE) == 0 ? 0 : -errno;
}

/* --- digests --- */

static int digest_text(char text[DIGEST_MAX], const char *sha256, const struct stat *st)
{
    return snprintf(text, DIGEST_MAX, "%.64s %" PRIu64 " %lld.%09ld\n", sha256, (uint64_t)st->st_size,
                    (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

static void load_digest(const struct folder *folder, const char *name, const struct stat *st, char sha256[STORE_SHA256])
{
    char file[STORE_FILE_MAX], text[DIGEST_MAX], expected[DIGEST_MAX];
    sha256[0] = '\0';
    store_digest_file(file, name);
    int fd = openat(folder->fd, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    text[size > 0 ? size : 0] = '\0';
    digest_text(expected, text, st);
    if (strspn(text, "0123456789abcdef") != STORE_SHA256 - 1 || strcmp(text, expected) != 0)
        return;
    memcpy(sha256, text, STORE_SHA256 - 1);
    sha256[STORE_SHA256 - 1] = '\0';
}

static void folder_drop_digest(const struct folder *folder, const char *name)
{
    char file[STORE_FILE_MAX];
    store_digest_file(file, name);
    unlinkat(folder->fd, file, 0);
}

void folder_save_digest(const struct folder *folder, const char *name, const struct stat *st,
                        const char sha256[STORE_SHA256])
{
    char file[STORE_FILE_MAX], text[DIGEST_MAX];
    int size = digest_text(text, sha256, st);
    folder_drop_digest(folder, name);
    store_digest_file(file, name);
    int fd = openat(folder->fd, file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool saved = fd >= 0 && write(fd, text, (size_t)size) == size && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    if (saved)
        return;
    log_warning(STORE_WHO, "the SHA-256 of %s could not be kept: %s", name, strerror(errno));
    folder_drop_digest(folder, name);
}

/* --- what is there --- */

struct scan {
    struct visit visit;
    struct folder_listing *listing;
    bool with_digests;
};

struct store_entry *folder_find(const struct folder_listing *listing, const char *name)
{
    for (unsigned i = 0; i < listing->count; i++)
        if (strcmp(listing->entries[i].name, name) == 0)
            return &listing->entries[i];
    return NULL;
}

static struct store_entry *add_entry(struct scan *scan, const char *name)
{
    struct folder_listing *listing = scan->listing;
    if (listing->count >= scan->visit.folder->max_count) {
        listing->ignored++;
        return NULL;
    }
    struct store_entry *entry = &listing->entries[listing->count++];
    snprintf(entry->name, sizeof entry->name, "%s", name);
    return entry;
}

static void scan_file(struct visit *visit, const char *file)
{
    struct scan *scan = container_of(visit, struct scan, visit);
    struct store_part_name part;
    struct stat st;
    bool partial = store_part_parse(file, &part);
    const char *name = partial ? part.name : file;
    if (partial ? strcmp(part.boot, visit->folder->boot) != 0 : store_name_problem(file) != NULL)
        return;
    if (!stat_regular(visit->folder, file, &st))
        return;
    uint64_t there = (uint64_t)st.st_size, size = partial ? part.size : there;
    if (partial && there >= size) /* the part's end failed, or somebody else wrote to it */
        there = folder_synced(size);
    scan->listing->bytes = sum(scan->listing->bytes, size);
    scan->listing->missing = sum(scan->listing->missing, size - there);
    struct store_entry *entry = folder_find(scan->listing, name);
    if (entry && partial)
        return; /* the name is taken, by the image or another part */
    if (!entry && !(entry = add_entry(scan, name)))
        return;
    entry->size = size;
    entry->offset = there;
    entry->complete = !partial;
    entry->modified = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    if (!partial && scan->with_digests)
        load_digest(visit->folder, name, &st, entry->sha256);
}

int folder_scan(const struct folder *folder, bool with_digests, struct folder_listing *listing)
{
    struct scan scan = {{folder, scan_file}, listing, with_digests};
    struct statvfs fs;
    *listing = (struct folder_listing){.entries = mem_alloc(folder->max_count * sizeof *listing->entries)};
    int status = folder_walk(&scan.visit);
    if (status == 0 && fstatvfs(folder->fd, &fs) != 0)
        status = -errno;
    if (status != 0) {
        mem_free(listing->entries);
        listing->entries = NULL;
        listing->count = 0;
        return status;
    }
    if (listing->ignored > 0 && with_digests) /* said for a list, and not for each piece */
        log_warning(STORE_WHO, "%s: %u files are ignored, there may be %u", folder->path, listing->ignored,
                    folder->max_count);
    listing->available = (uint64_t)fs.f_bavail * fs.f_frsize;
    uint64_t room = left(folder->max_bytes, listing->bytes);
    listing->free = left(listing->available, sum(folder->keep_free, listing->missing));
    if (room < listing->free)
        listing->free = room;
    return 0;
}

/* --- what goes --- */

struct removal {
    struct visit visit;
    const char *name;
    bool found;
    int status;
};

static void store_folder_remove_file(struct removal *removal, const char *file)
{
    struct stat st;
    if (!stat_regular(removal->visit.folder, file, &st))
        return;
    removal->found = true;
    if (unlinkat(removal->visit.folder->fd, file, 0) != 0)
        removal->status = -errno;
}

static void remove_part(struct visit *visit, const char *file)
{
    struct removal *removal = container_of(visit, struct removal, visit);
    struct store_part_name part;
    if (store_part_parse(file, &part) && strcmp(part.name, removal->name) == 0)
        store_folder_remove_file(removal, file);
}

int folder_remove(const struct folder *folder, const char *name)
{
    struct removal removal = {{folder, remove_part}, name, false, 0};
    store_folder_remove_file(&removal, name);
    int status = folder_walk(&removal.visit);
    if (removal.status != 0)
        return removal.status;
    if (!removal.found)
        return status != 0 ? status : -ENOENT;
    folder_drop_digest(folder, name);
    folder_sync(folder); /* what was deleted must not be back after a power cut */
    return status;
}

/* --- the sweep --- */

struct sweep {
    struct visit visit;
    uint64_t age_ms;
    const char *spared;
    unsigned spared_count;
};

static bool store_folder_is_spared(const struct sweep *sweep, const char *name)
{
    for (unsigned i = 0; i < sweep->spared_count; i++)
        if (strcmp(sweep->spared + i * (STORE_NAME_MAX + 1), name) == 0)
            return true;
    return false;
}

static bool store_folder_is_stale(const struct sweep *sweep, const struct stat *st)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t age = ((int64_t)now.tv_sec - st->st_mtim.tv_sec) * 1000 + (now.tv_nsec - st->st_mtim.tv_nsec) / 1000000;
    return age > 0 && (uint64_t)age > sweep->age_ms;
}

/* A part of an earlier boot, or one whose end failed: what is not known to be on the
 * medium is cut off, then it is one of this boot. */
static int take_over(const struct folder *folder, const char *file, const struct store_part_name *part, uint64_t there)
{
    char now[STORE_FILE_MAX];
    uint64_t kept = folder_synced(there < part->size ? there : part->size);
    int fd = openat(folder->fd, file, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int status = ftruncate(fd, (off_t)kept) != 0 || fsync(fd) != 0 ? -errno : 0;
    close(fd);
    store_part_file(now, part->name, part->size, folder->boot);
    return status == 0 && strcmp(now, file) != 0 ? folder_rename(folder, file, now) : status;
}

static void sweep_part(const struct sweep *sweep, const char *file, const struct store_part_name *part)
{
    const struct folder *folder = sweep->visit.folder;
    struct stat st;
    if (store_folder_is_spared(sweep, part->name) || !stat_regular(folder, file, &st))
        return;
    uint64_t there = (uint64_t)st.st_size;
    int status = 0;
    if (store_folder_is_stale(sweep, &st)) {
        log_info(STORE_WHO, "%s: the partial upload is too old and is deleted", part->name);
        status = unlinkat(folder->fd, file, 0) != 0 ? -errno : 0;
    } else if (there >= part->size || strcmp(part->boot, folder->boot) != 0) {
        status = take_over(folder, file, part, there);
    }
    if (status != 0)
        log_warning(STORE_WHO, "%s/%s: %s", folder->path, file, strerror(-status));
}

static void sweep_file(struct visit *visit, const char *file)
{
    struct sweep *sweep = container_of(visit, struct sweep, visit);
    struct store_part_name part;
    char name[STORE_NAME_MAX + 1];
    struct stat st;
    if (store_part_parse(file, &part))
        sweep_part(sweep, file, &part);
    else if (store_digest_parse(file, name) && fstatat(visit->folder->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 &&
             errno == ENOENT)
        unlinkat(visit->folder->fd, file, 0);
}

void folder_sweep(const struct folder *folder, uint64_t partial_age_ms, const char *spared, unsigned count)
{
    struct sweep sweep = {{folder, sweep_file}, partial_age_ms, spared, count};
    int status = folder_walk(&sweep.visit);
    if (status != 0)
        log_warning(STORE_WHO, "%s: %s", folder->path, strerror(-status));
}
