/* Listening UNIX sockets: see net/socket.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/list.h"
#include "base/text.h"
#include "net/group.h"
#include "net/socket.h"

struct listener {
    uv_pipe_t pipe;
    listener_accept *accept;
    void *owner;
    char *path;
    dev_t device; /* of the socket file: what is removed at the end is ours */
    ino_t inode;
};

struct failure {
    int *status;
    char *text;
    size_t size;
};

__attribute__((format(printf, 3, 4))) static bool failed(const struct failure *failure, int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    *failure->status = status;
    vsnprintf(failure->text, failure->size, format, args);
    va_end(args);
    return false;
}

/* Only a refused connection shows that nobody listens: a full backlog, missing
 * rights or a datagram socket belong to somebody alive. */
static bool listener_is_stale(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int status = fd < 0 ? 0 : connect(fd, (const struct sockaddr *)address, sizeof *address);
    bool stale = status != 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return stale;
}

/* Makes room for our socket file: removes a stale one, and nothing else. */
static bool clear_path(const struct sockaddr_un *address, const struct failure *failure)
{
    struct stat st;
    const char *path = address->sun_path;
    if (lstat(path, &st) != 0)
        return errno == ENOENT || failed(failure, -errno, "%s: %s", path, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return failed(failure, -EEXIST, "%s exists and is not a socket (remove it, or choose another path)", path);
    if (!listener_is_stale(address))
        return failed(failure, -EADDRINUSE, "%s is in use by another process (stop it, or choose another path)", path);
    if (unlink(path) != 0)
        return failed(failure, -errno, "%s: a stale socket can't be removed: %s", path, strerror(errno));
    return true;
}

static bool listener_find_group(const char *name, gid_t *gid, const struct failure *failure)
{
    *gid = (gid_t)-1;
    int status = name && *name ? group_find(name, gid) : 0;
    if (status == -EAGAIN)
        return failed(failure, -EINVAL, "there is no group \"%s\" in /etc/group (one of a directory service needs a restart)", name);
    return status == 0 || failed(failure, -EINVAL, "there is no group \"%s\"", name);
}

/* The file gets its owner and mode before anybody can connect: it is bound with
 * no rights for others, and listening starts last. */
static int bind_socket(const struct listener_options *options, const struct sockaddr_un *address, gid_t gid,
                       const struct failure *failure)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t old = umask(0177);
    int bound = fd < 0 ? -1 : bind(fd, (const struct sockaddr *)address, sizeof *address);
    int error = errno;
    umask(old);
    if (bound != 0) {
        failed(failure, -error, "%s: %s%s", options->path, strerror(error), error == ENOENT ? " (make the folder)" : "");
    } else if ((gid != (gid_t)-1 && chown(options->path, (uid_t)-1, gid) != 0) || chmod(options->path, options->mode) != 0) {
        failed(failure, -errno, "%s: mode and group can't be set: %s%s", options->path, strerror(errno),
               errno == EPERM ? " (restart it, or make its user a member of the group)" : "");
        unlink(options->path);
    } else {
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

static void on_listener_connection(uv_stream_t *server, int status)
{
    struct listener *listener = container_of((uv_pipe_t *)server, struct listener, pipe);
    struct stream *stream = status == 0 ? socket_stream_accept(server) : NULL;
    if (stream)
        listener->accept(listener, stream);
}

static bool prepare(const struct listener_options *options, struct sockaddr_un *address, gid_t *gid,
                    const struct failure *failure)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (strlen(options->path) >= sizeof address->sun_path)
        return failed(failure, -ENAMETOOLONG, "%s: the path of a socket may have %zu characters (choose a shorter one)",
                      options->path, sizeof address->sun_path - 1);
    strcpy(address->sun_path, options->path);
    return listener_find_group(options->group, gid, failure) && clear_path(address, failure);
}

struct listener *listener_new(uv_loop_t *loop, const struct listener_options *options, listener_accept *accept,
                              void *owner, int *status, char *error, size_t error_size)
{
    struct failure failure = {status, error, error_size};
    struct sockaddr_un address;
    struct stat st;
    gid_t gid = (gid_t)-1;
    *status = 0;
    if (!prepare(options, &address, &gid, &failure))
        return NULL;
    int fd = bind_socket(options, &address, gid, &failure);
    if (fd < 0)
        return NULL;
    struct listener *listener = mem_alloc(sizeof *listener);
    listener->accept = accept;
    listener->owner = owner;
    listener->path = mem_strdup(options->path);
    if (lstat(options->path, &st) == 0) {
        listener->device = st.st_dev;
        listener->inode = st.st_ino;
    }
    uv_pipe_init(loop, &listener->pipe, 0);
    *status = uv_pipe_open(&listener->pipe, fd);
    if (*status == 0)
        *status = uv_listen((uv_stream_t *)&listener->pipe, options->backlog, on_listener_connection);
    if (*status == 0)
        return listener;
    failed(&failure, *status, "%s: %s", options->path, uv_strerror(*status));
    listener_close(listener);
    return NULL;
}

void *listener_owner(const struct listener *listener)
{
    return listener->owner;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct listener *listener = container_of((uv_pipe_t *)handle, struct listener, pipe);
    mem_free(listener->path);
    mem_free(listener);
}

void listener_close(struct listener *listener)
{
    struct stat st;
    if (lstat(listener->path, &st) == 0 && st.st_dev == listener->device && st.st_ino == listener->inode)
        unlink(listener->path);
    uv_close((uv_handle_t *)&listener->pipe, on_listener_closed);
}
