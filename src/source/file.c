#include "source/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/text.h"
#include "base/work.h"
#include "source/hidden.h"

#define FILE_BLOCK 4096u
#define FILE_IOVECS 128 /* pieces a call; a request has fewer */
#define FILE_ZEROES (64u << 10)
#define FILE_MODE 0600 /* of a file that is made here */

struct file_source {
    struct source source;
    char *path, *directory;
    bool writable;
    uint64_t create_size;
    bool remove_made, remove_at_close, fresh;
    int fd;
    bool is_device;
    struct work work;     /* opening, closing */
    int work_status;
    char work_error[SOURCE_ERROR_MAX];
    uint64_t work_size;
    bool busy;            /* `work` runs */
    struct link queue;    /* ios that wait for a job */
    unsigned running;
    struct link idle;     /* struct file_job */
    struct file_job {
        struct work work;
        struct link link;
        struct file_source *file;
        struct io *io;
        int status;
    } jobs[FILE_JOBS];
};

static struct file_source *file_of(struct source *source)
{
    return container_of(source, struct file_source, source);
}

/* --- opening, on the pool --- */

/* Takes the next segment of the path, and moves behind it. False: there is none, or it must not be followed. */
static bool next_segment(const char **path, char name[NAME_MAX + 1])
{
    size_t length = strcspn(*path, "/");
    if (length == 0 || length > NAME_MAX)
        return false;
    memcpy(name, *path, length);
    name[length] = '\0';
    *path += length;
    size_t slashes = strspn(*path, "/");
    if ((*path)[slashes]) /* else the path ends in a slash and names a directory, which can't be opened as an image */
        *path += slashes;
    return strcmp(name, "..") != 0;
}

/* In place of RESOLVE_BENEATH: one segment after the other, and no links at all. */
static int open_without_links(int dir, const char *path, int flags, mode_t mode)
{
    char name[NAME_MAX + 1];
    int at = dir, error = EXDEV;
    while (at >= 0 && next_segment(&path, name)) {
        bool last = !*path;
        int next = openat(at, name, (last ? flags : O_PATH | O_DIRECTORY | O_CLOEXEC) | O_NOFOLLOW, mode);
        error = next < 0 && errno != ELOOP ? errno : EXDEV;
        if (at != dir)
            close(at);
        if (last && next >= 0)
            return next;
        at = next;
    }
    if (at >= 0 && at != dir)
        close(at);
    errno = error;
    return -1;
}

static int open_below(int dir, const char *path, int flags, mode_t mode)
{
    struct open_how how = {.flags = (uint64_t)flags, .mode = mode, .resolve = RESOLVE_BENEATH};
    int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
    return fd < 0 && errno == ENOSYS ? open_without_links(dir, path, flags, mode) : fd; /* before Linux 5.6 */
}

static int open_beneath(const struct file_source *file, int flags)
{
    mode_t mode = flags & O_CREAT ? FILE_MODE : 0;
    if (!file->directory)
        return open(file->path, flags, mode);
    size_t n = strlen(file->directory);
    while (n > 0 && file->directory[n - 1] == '/')
        n--;
    if (strncmp(file->path, file->directory, n) != 0 || file->path[n] != '/') {
        errno = EXDEV;
        return -1;
    }
    int dir = open(file->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -1;
    int fd = open_below(dir, file->path + n + 1, flags, mode);
    int error = errno;
    close(dir);
    errno = error;
    return fd;
}

static int file_failed(struct file_source *file, int status, const char *hint)
{
    snprintf(file->work_error, sizeof file->work_error, "%s: %s%s", file->path, strerror(-status), hint);
    return status;
}

/* A new file's entry in its folder must survive a power cut, as its content does. */
static int file_sync_folder(const struct file_source *file)
{
    char *folder = mem_strdup(file->path);
    char *slash = strrchr(folder, '/');
    slash[slash == folder] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status = fd < 0 || fsync(fd) != 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    mem_free(folder);
    return status;
}

static int give_size(struct file_source *file, struct stat *st)
{
    if (ftruncate(file->fd, (off_t)file->create_size) != 0 || fsync(file->fd) != 0)
        return -errno;
    int status = file_sync_folder(file);
    return status == 0 && fstat(file->fd, st) != 0 ? -errno : status;
}

static int check_kind(struct file_source *file)
{
    struct stat st;
    if (fstat(file->fd, &st) != 0)
        return file_failed(file, -errno, "");
    if (file->create_size > 0 && S_ISREG(st.st_mode) && st.st_size == 0) {
        int status = give_size(file, &st);
        if (status != 0)
            return file_failed(file, status, " (it could not be made as large as it must be)");
    }
    if (S_ISBLK(st.st_mode)) {
        file->is_device = true;
        if (ioctl(file->fd, BLKGETSIZE64, &file->work_size) != 0)
            return file_failed(file, -errno, "");
    } else if (S_ISREG(st.st_mode)) {
        file->work_size = (uint64_t)st.st_size;
    } else {
        snprintf(file->work_error, sizeof file->work_error, "%s: not a regular file or block device", file->path);
        return -EINVAL;
    }
    if (file->work_size == 0) {
        snprintf(file->work_error, sizeof file->work_error, "%s: the image is empty", file->path);
        return -EINVAL;
    }
    return 0;
}

static int file_open_failed(struct file_source *file, int status)
{
    bool unseen = status == -ENOENT || status == -EACCES;
    const char *hint = unseen ? hidden_hint(file->path) : NULL;
    return file_failed(file, status, hint ? hint : status == -ENOENT ? " (check the path)" : "");
}

static void open_run(struct work *work)
{
    struct file_source *file = container_of(work, struct file_source, work);
    /* O_NONBLOCK: a FIFO must not hold a pool thread until it has a writer. */
    int flags = (file->writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    if (file->fresh)
        unlink(file->path);
    file->fd = open_beneath(file, flags);
    if (file->fd < 0 && errno == ENOENT && file->create_size > 0) {
        file->fd = open_beneath(file, flags | O_CREAT | O_EXCL);
        file->remove_at_close |= file->fd >= 0 && file->remove_made;
    }
    if (file->fd >= 0)
        file->work_status = check_kind(file);
    else if (errno == EXDEV)
        file->work_status = file_failed(file, -EPERM, " (only files below file-directory may be inserted)");
    else
        file->work_status = file_open_failed(file, -errno);
}

/* Removes the file, if the name is still this file's. */
static void file_remove_file(const struct file_source *file)
{
    struct stat opened, named;
    if (fstat(file->fd, &opened) == 0 && S_ISREG(opened.st_mode) && lstat(file->path, &named) == 0 &&
        opened.st_dev == named.st_dev && opened.st_ino == named.st_ino)
        unlink(file->path);
}

static void close_run(struct work *work)
{
    struct file_source *file = container_of(work, struct file_source, work);
    if (file->fd >= 0 && file->remove_at_close)
        file_remove_file(file);
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

static void close_done(struct work *work)
{
    struct file_source *file = container_of(work, struct file_source, work);
    file->busy = false;
    source_report_closed(&file->source);
}

/* Closing waits for the opening and for every job that runs. */
static void file_close_when_idle(struct file_source *file)
{
    if (file->busy || file->running > 0)
        return;
    file->busy = true;
    work_start(file->source.loop, &file->work, close_run, close_done);
}

static void open_done(struct work *work)
{
    struct file_source *file = container_of(work, struct file_source, work);
    struct source *source = &file->source;
    file->busy = false;
    if (source->state == SOURCE_CLOSING) {
        file_close_when_idle(file);
        return;
    }
    if (file->work_status != 0)
        source_set_error(source, "%s", file->work_error);
    source->size = file->work_size;
    source->block_preferred = FILE_BLOCK;
    source->read_only = !file->writable;
    source->can_flush = source->can_trim = source->can_zero = file->writable;
    source->local = true;
    source->parallel = FILE_JOBS;
    source_report_opened(source, file->work_status);
}

static void file_open(struct source *source)
{
    struct file_source *file = file_of(source);
    file->busy = true;
    work_start(source->loop, &file->work, open_run, open_done);
}

/* --- ios, on the pool --- */

/* preadv or pwritev of the whole range; a short read means that the file shrank. */
static int transfer(const struct file_job *job, bool writing)
{
    const struct io *io = job->io;
    struct iovec iov[FILE_IOVECS];
    uint64_t done = 0;
    while (done < io->length) {
        uint64_t skip = done;
        int n = 0;
        for (uint32_t i = 0; i < io->data.count && n < FILE_IOVECS; i++) {
            const struct slice *s = &io->data.v[i];
            if (skip >= s->length) {
                skip -= s->length;
                continue;
            }
            iov[n++] = (struct iovec){slice_data(s) + skip, s->length - (size_t)skip};
            skip = 0;
        }
        off_t at = (off_t)(io->offset + done);
        ssize_t moved = writing ? pwritev(job->file->fd, iov, n, at) : preadv(job->file->fd, iov, n, at);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved <= 0)
            return moved < 0 ? -errno : -EIO;
        done += (uint64_t)moved;
    }
    return 0;
}

static int write_zeroes(const struct file_job *job)
{
    static const unsigned char zeroes[FILE_ZEROES];
    for (uint64_t done = 0; done < job->io->length;) {
        uint64_t left = job->io->length - done;
        ssize_t n = pwrite(job->file->fd, zeroes, left < FILE_ZEROES ? (size_t)left : FILE_ZEROES,
                           (off_t)(job->io->offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += (uint64_t)n;
    }
    return 0;
}

static int fallocate_range(const struct file_job *job, int mode)
{
    int rc;
    do
        rc = fallocate(job->file->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)job->io->offset, (off_t)job->io->length);
    while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : -errno;
}

static int zero_range(const struct file_job *job)
{
    int mode = job->io->flags & IO_NO_HOLE ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE;
    int status = fallocate_range(job, mode);
    if (status == -EOPNOTSUPP || status == -ENOSYS || status == -EINVAL)
        status = job->io->flags & IO_FAST_ZERO ? -ENOTSUP : write_zeroes(job);
    return status;
}

static int trim_range(const struct file_job *job)
{
    int status = fallocate_range(job, FALLOC_FL_PUNCH_HOLE);
    return status == -EOPNOTSUPP || status == -ENOSYS || status == -EINVAL ? 0 : status; /* a hint */
}

/* Runs of data and holes by SEEK_DATA and SEEK_HOLE (lseek(2)). */
static int find_extents(const struct file_job *job)
{
    struct io *io = job->io;
    uint64_t at = io->offset, end = io->offset + io->length;
    if (job->file->is_device)
        return -ENOTSUP;
    while (at < end && io->extent_count < io->extent_capacity) {
        off_t data = lseek(job->file->fd, (off_t)at, SEEK_DATA);
        if (data < 0 && errno != ENXIO)
            return -ENOTSUP;
        bool hole = data < 0 || (uint64_t)data > at;
        off_t next = hole ? data : lseek(job->file->fd, (off_t)at, SEEK_HOLE);
        uint64_t until = next < 0 || (uint64_t)next > end ? end : (uint64_t)next;
        io->extents[io->extent_count++] =
            (struct io_extent){(uint32_t)(until - at), hole ? EXTENT_HOLE | EXTENT_ZERO : 0};
        at = until;
    }
    return 0;
}

static int job_io(const struct file_job *job)
{
    switch (job->io->op) {
    case IO_READ:
        return transfer(job, false);
    case IO_WRITE:
        return transfer(job, true);
    case IO_FLUSH:
        return fdatasync(job->file->fd) == 0 ? 0 : -errno;
    case IO_TRIM:
        return trim_range(job);
    case IO_ZERO:
        return zero_range(job);
    case IO_EXTENTS:
        return find_extents(job);
    case IO_CACHE:
        posix_fadvise(job->file->fd, (off_t)job->io->offset, job->io->length, POSIX_FADV_WILLNEED);
        return 0;
    }
    return -ENOTSUP;
}

static void job_run(struct work *work)
{
    struct file_job *job = container_of(work, struct file_job, work);
    job->status = job_io(job);
    if (job->status == 0 && job->io->flags & IO_FUA && fdatasync(job->file->fd) != 0)
        job->status = -errno;
}

static void file_pump(struct file_source *file);

static void file_job_done(struct work *work)
{
    struct file_job *job = container_of(work, struct file_job, work);
    struct file_source *file = job->file;
    struct io *io = job->io;
    int status = job->status;
    if (status != 0 && status != -ENOTSUP) {
        file->source.stats.errors++;
        source_set_error(&file->source, "%s: %s", file->path, strerror(-status));
    }
    file->source.stats.bytes += io->op == IO_READ && status == 0 ? io->length : 0;
    list_append(&file->idle, &job->link);
    file->running--;
    io_finish(io, status);
    if (file->source.state == SOURCE_CLOSING)
        file_close_when_idle(file);
    else
        file_pump(file);
}

static void file_pump(struct file_source *file)
{
    while (!list_empty(&file->queue) && !list_empty(&file->idle)) {
        struct file_job *job = container_of(list_pop(&file->idle), struct file_job, link);
        job->io = container_of(list_pop(&file->queue), struct io, link);
        if (job->io->op == IO_READ)
            slices_alloc(&job->io->data, job->io->length, BYTES_PIECE);
        file->running++;
        file->source.stats.requests++;
        work_start(file->source.loop, &job->work, job_run, file_job_done);
    }
}

static void file_submit(struct source *source, struct io *io)
{
    struct file_source *file = file_of(source);
    list_append(&file->queue, &io->link);
    file_pump(file);
}

static void file_close(struct source *source)
{
    struct file_source *file = file_of(source);
    for (struct link *l = list_pop(&file->queue); l; l = list_pop(&file->queue))
        io_finish_later(source->loop, container_of(l, struct io, link), -ECANCELED);
    file_close_when_idle(file);
}

static void file_free(struct source *source)
{
    struct file_source *file = file_of(source);
    assert(file->fd < 0);
    mem_free(file->path);
    mem_free(file->directory);
    mem_free(file);
}

struct source *file_source_new(uv_loop_t *loop, const char *who, const struct file_source_options *options)
{
    static const struct source_ops ops = {"file", file_open, file_submit, file_close, file_free, NULL};
    struct file_source *file = mem_alloc(sizeof *file);
    source_init(&file->source, &ops, loop, who);
    file->path = mem_strdup(options->path);
    file->directory = mem_strdup_nonempty(options->directory);
    file->writable = options->writable;
    file->create_size = options->writable ? options->create_size : 0;
    file->remove_made = options->remove_at_close;
    file->fresh = options->fresh && file->create_size > 0;
    file->fd = -1;
    list_init(&file->queue);
    list_init(&file->idle);
    for (int i = 0; i < FILE_JOBS; i++) {
        file->jobs[i].file = file;
        list_append(&file->idle, &file->jobs[i].link);
    }
    return &file->source;
}

void file_source_remove_at_close(struct source *source, bool remove)
{
    struct file_source *file = file_of(source);
    assert(source->state != SOURCE_OPENING && source->state != SOURCE_CLOSING); /* the pool's thread reads it then */
    file->remove_made = file->remove_at_close = remove;
}
