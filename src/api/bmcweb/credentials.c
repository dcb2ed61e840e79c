#include "api/bmcweb/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/closing.h"
#include "base/text.h"

struct credentials_reader {
    int fd;
    int own[2]; /* what was spliced comes out here */
    char text[CREDENTIALS_MAX + 1];
    size_t used;
    uv_poll_t poll;
    uv_timer_t timer;
    struct closing closing;
    credentials_done *done;
    void *arg;
};

static void bmcweb_credentials_close_fds(struct credentials_reader *reader)
{
    close(reader->fd);
    close(reader->own[0]);
    close(reader->own[1]);
}

static void on_bmcweb_credentials_closed(struct closing *closing)
{
    mem_free(container_of(closing, struct credentials_reader, closing));
}

void credentials_cancel(struct credentials_reader *reader)
{
    uv_poll_stop(&reader->poll);
    bmcweb_credentials_close_fds(reader);
    explicit_bzero(reader->text, sizeof reader->text);
    closing_begin(&reader->closing, reader->timer.loop, on_bmcweb_credentials_closed);
    closing_add(&reader->closing, (uv_handle_t *)&reader->poll);
    closing_add(&reader->closing, (uv_handle_t *)&reader->timer);
    closing_end(&reader->closing);
}

static void bmcweb_credentials_finish(struct credentials_reader *reader, int status)
{
    const char *password = status == 0 ? reader->text + strlen(reader->text) + 1 : "";
    reader->done(reader->arg, status, status == 0 ? reader->text : "", password);
    credentials_cancel(reader);
}

/* 1: user and password are there; 0: not yet; -EINVAL: what came can't become a user and a password. */
static int bmcweb_credentials_check(const struct credentials_reader *reader, bool ended)
{
    unsigned nuls = 0;
    for (size_t i = 0; i < reader->used; i++)
        nuls += reader->text[i] == '\0';
    if (nuls == 2 && reader->text[reader->used - 1] == '\0')
        return 1;
    return nuls >= 2 || reader->used >= CREDENTIALS_MAX || ended ? -EINVAL : 0;
}

/* The bytes that are there: their number, 0 at the end, or a negative errno. */
static ssize_t bmcweb_credentials_take(struct credentials_reader *reader)
{
    size_t room = CREDENTIALS_MAX - reader->used;
    ssize_t n = splice(reader->fd, NULL, reader->own[1], NULL, room, SPLICE_F_NONBLOCK);
    if (n > 0)
        n = read(reader->own[0], reader->text + reader->used, room);
    return n < 0 ? -errno : n;
}

static void on_bmcweb_credentials_poll(uv_poll_t *poll, int status, int events)
{
    struct credentials_reader *reader = poll->data;
    ssize_t n = status < 0 ? -EIO : bmcweb_credentials_take(reader);
    (void)events;
    if (n == -EAGAIN || n == -EINTR)
        return;
    if (n < 0) {
        bmcweb_credentials_finish(reader, -EIO);
        return;
    }
    reader->used += (size_t)n;
    int found = bmcweb_credentials_check(reader, n == 0);
    if (found != 0)
        bmcweb_credentials_finish(reader, found > 0 ? 0 : found);
}

static void on_bmcweb_credentials_timer(uv_timer_t *timer)
{
    bmcweb_credentials_finish(timer->data, -ETIMEDOUT);
}

/* Only a pipe or socket may be read: anything else could wait for a disk or a file server. */
static bool is_readable(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) &&
           (fcntl(fd, F_GETFL) & O_ACCMODE) != O_WRONLY;
}

struct credentials_reader *credentials_read(uv_loop_t *loop, int fd, credentials_done *done, void *arg, int *status)
{
    *status = is_readable(fd) ? -EIO : -EINVAL;
    if (*status == -EINVAL)
        return NULL;
    struct credentials_reader *reader = mem_alloc(sizeof *reader);
    reader->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (reader->fd < 0 || pipe2(reader->own, O_CLOEXEC | O_NONBLOCK) != 0) {
        if (reader->fd >= 0)
            close(reader->fd);
        mem_free(reader);
        return NULL;
    }
    if (uv_poll_init(loop, &reader->poll, reader->fd) != 0) {
        bmcweb_credentials_close_fds(reader);
        mem_free(reader);
        return NULL;
    }
    uv_timer_init(loop, &reader->timer);
    reader->poll.data = reader->timer.data = reader;
    reader->done = done;
    reader->arg = arg;
    uv_poll_start(&reader->poll, UV_READABLE, on_bmcweb_credentials_poll);
    uv_timer_start(&reader->timer, on_bmcweb_credentials_timer, CREDENTIALS_MS, 0);
    *status = 0;
    return reader;
}
