#include "base/save.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/text.h"

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    size_t length = strlen(text);
    ssize_t n = write(fd, text, length);
    int status = n < 0 ? -errno : (size_t)n < length ? -ENOSPC : fsync(fd) != 0 ? -errno : 0;
    close(fd);
    return status;
}

int save_sync_folder(const char *path)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int status = fsync(fd) != 0 && errno != EINVAL ? -errno : 0; /* EINVAL: a file system that has no such thing */
    close(fd);
    return status;
}

/* The rename is in the folder: without its fsync() a power cut may bring the old file back. */
static void on_save_run(struct work *work)
{
    struct save *save = container_of(work, struct save, work);
    size_t size = strlen(save->path) + sizeof ".new";
    char *path = mem_alloc(size);
    snprintf(path, size, "%s.new", save->path);
    save->status = write_file(path, save->text);
    if (save->status == 0 && rename(path, save->path) != 0)
        save->status = -errno;
    if (save->status == 0)
        save->status = save_sync_folder(save->path);
    mem_free(path);
}

static void save_write_next(struct save *save);

static void on_save_written(struct work *work)
{
    struct save *save = container_of(work, struct save, work);
    if (save->status != 0)
        log_error("nbd-proxy", "%s: %s: %s", save->path, strerror(-save->status), save->loss);
    mem_free_secret(save->text);
    save->text = NULL;
    save->writing = false;
    save_write_next(save);
}

static void save_write_next(struct save *save)
{
    if (save->writing)
        return;
    if (save->next) {
        save->text = save->next;
        save->next = NULL;
        save->writing = true;
        work_start(save->loop, &save->work, on_save_run, on_save_written);
    } else if (save->idle) {
        void (*idle)(void *arg) = save->idle;
        save->idle = NULL;
        idle(save->idle_arg);
    }
}

void save_init(struct save *save, uv_loop_t *loop, char *path, const char *loss)
{
    *save = (struct save){.loop = loop, .path = path, .loss = loss};
}

void save_text(struct save *save, char *text)
{
    mem_free_secret(save->next);
    save->next = text;
    save_write_next(save);
}

void save_flush(struct save *save, void (*idle)(void *arg), void *arg)
{
    save->idle = idle;
    save->idle_arg = arg;
    save_write_next(save);
}

void save_free(struct save *save)
{
    mem_free(save->path);
    mem_free_secret(save->next);
}
