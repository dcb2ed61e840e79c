#include "net/socket.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/closing.h"
#include "base/list.h"
#include "base/text.h"

#define SOCKET_BUFFER (1 << 20) /* asked of the kernel, so that a whole reply goes in one call */
#define PIPE_LEAST    (64 << 10) /* what a pipe has anyway */
#define WRITE_IOVECS 64         /* slices a call */

struct socket_stream {
    struct stream stream;
    uv_pipe_t pipe;   /* what is read, and written to unless `second` is */
    uv_pipe_t second; /* of a pair: what is written to */
    uv_pipe_t *out;
    struct closing closing;
    struct defer defer; /* an error to tell, or everything sent */
    int error;
    bool end_told, error_told;
    struct slices unsent; /* in the hands of `req` */
    uint64_t in_flight;   /* bytes of it that were not sent before */
    struct slices queued; /* behind it */
    uv_write_t req;
    bool writing;
    void (*freed)(void *arg);
    void *freed_arg;
};

static struct socket_stream *socket_of(struct stream *stream)
{
    return container_of(stream, struct socket_stream, stream);
}

/* --- reading --- */

#define SMALL_READ (8 << 10) /* a command or a request for a plain port, which may have a password */

/* One buffer serves all: it is full only during on_data. */
static void on_socket_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char *shared;
    (void)handle;
    (void)suggested;
    if (!shared)
        shared = mem_alloc(SOCKET_READ_BUFFER);
    *buf = uv_buf_init(shared, SOCKET_READ_BUFFER);
}

static void tell_end(struct socket_stream *s, int status)
{
    bool *told = status == 0 ? &s->end_told : &s->error_told;
    if (*told || s->error_told)
        return;
    *told = true;
    uv_read_stop((uv_stream_t *)&s->pipe);
    s->stream.on_end(&s->stream, status);
}

static void on_socket_read(uv_stream_t *handle, ssize_t n, const uv_buf_t *buf)
{
    struct socket_stream *s = container_of((uv_pipe_t *)handle, struct socket_stream, pipe);
    if (n > 0)
        s->stream.on_data(&s->stream, (const uint8_t *)buf->base, (size_t)n);
    if (n > 0 && n <= SMALL_READ)
        explicit_bzero(buf->base, (size_t)n);
    else if (n < 0)
        tell_end(s, n == UV_EOF ? 0 : (int)n);
}

static void socket_read(struct stream *stream, bool on)
{
    struct socket_stream *s = socket_of(stream);
    if (on && !s->end_told && !s->error_told)
        uv_read_start((uv_stream_t *)&s->pipe, on_socket_alloc, on_socket_read);
    else
        uv_read_stop((uv_stream_t *)&s->pipe);
}

/* --- writing --- */

static void on_socket_deferred(struct defer *defer)
{
    struct socket_stream *s = container_of(defer, struct socket_stream, defer);
    if (s->stream.closing)
        return;
    if (s->error)
        tell_end(s, s->error);
    else if (s->stream.unsent == 0 && s->stream.on_drain)
        s->stream.on_drain(&s->stream);
}

static void socket_write_failed(struct socket_stream *s, int status)
{
    s->error = status;
    s->stream.unsent = 0;
    slices_clear(&s->queued);
    defer_schedule(s->stream.loop, &s->defer);
}

static unsigned buffers_from(const struct slices *data, uint64_t skip, uv_buf_t bufs[WRITE_IOVECS], uint64_t *offered)
{
    unsigned count = 0;
    *offered = 0;
    for (uint32_t i = 0; i < data->count && count < WRITE_IOVECS; i++) {
        const struct slice *slice = &data->v[i];
        if (skip >= slice->length) {
            skip -= slice->length;
            continue;
        }
        *offered += slice->length - skip;
        bufs[count++] = uv_buf_init((char *)slice_data(slice) + skip, (unsigned)(slice->length - skip));
        skip = 0;
    }
    return count;
}

/* As much as the socket takes now; the number of bytes, or an error. */
static int64_t write_now(struct socket_stream *s, const struct slices *data)
{
    uint64_t done = 0;
    while (done < data->length) {
        uv_buf_t bufs[WRITE_IOVECS];
        uint64_t offered;
        unsigned count = buffers_from(data, done, bufs, &offered);
        int n = uv_try_write((uv_stream_t *)s->out, bufs, count);
        if (n == UV_EAGAIN)
            break;
        if (n < 0)
            return n;
        done += (uint64_t)n;
        if ((uint64_t)n < offered)
            break; /* full: to try again would be a call in vain */
    }
    return (int64_t)done;
}

static void write_rest(struct socket_stream *s, struct slices *data, uint64_t skip);

static void on_socket_written(uv_write_t *req, int status)
{
    struct socket_stream *s = container_of(req, struct socket_stream, req);
    s->writing = false;
    s->stream.unsent -= s->stream.unsent < s->in_flight ? s->stream.unsent : s->in_flight;
    slices_clear(&s->unsent);
    if (s->stream.closing)
        return;
    if (status < 0) {
        socket_write_failed(s, status);
        return;
    }
    if (s->queued.length > 0) {
        struct slices data;
        slices_init(&data);
        slices_take(&data, &s->queued);
        write_rest(s, &data, 0);
    } else {
        s->stream.unsent = 0;
        defer_schedule(s->stream.loop, &s->defer);
    }
}

/* Hands the rest to libuv; the slices stay until it is done. */
static void write_rest(struct socket_stream *s, struct slices *data, uint64_t skip)
{
    slices_take(&s->unsent, data);
    s->in_flight = s->unsent.length - skip;
    uv_buf_t *bufs = mem_alloc(s->unsent.count * sizeof *bufs);
    unsigned count = 0;
    for (uint32_t i = 0; i < s->unsent.count; i++) {
        const struct slice *slice = &s->unsent.v[i];
        if (skip >= slice->length) {
            skip -= slice->length;
            continue;
        }
        bufs[count++] = uv_buf_init((char *)slice_data(slice) + skip, (unsigned)(slice->length - skip));
        skip = 0;
    }
    int status = uv_write(&s->req, (uv_stream_t *)s->out, bufs, count, on_socket_written);
    mem_free(bufs);
    s->writing = status == 0;
    if (status < 0) {
        slices_clear(&s->unsent);
        socket_write_failed(s, status);
    }
}

static void socket_write(struct stream *stream, struct slices *data)
{
    struct socket_stream *s = socket_of(stream);
    if (s->error) {
        slices_clear(data);
        return;
    }
    if (s->writing) {
        stream->unsent += data->length;
        slices_take(&s->queued, data);
        return;
    }
    int64_t done = write_now(s, data);
    if (done < 0) {
        slices_clear(data);
        socket_write_failed(s, (int)done);
    } else if ((uint64_t)done < data->length) {
        stream->unsent += data->length - (uint64_t)done;
        write_rest(s, data, (uint64_t)done);
    } else {
        slices_clear(data);
    }
}

/* --- life --- */

static void on_socket_closed(struct closing *closing)
{
    struct socket_stream *s = container_of(closing, struct socket_stream, closing);
    s->stream.on_closed(&s->stream);
}

static void socket_close(struct stream *stream)
{
    struct socket_stream *s = socket_of(stream);
    defer_cancel(&s->defer);
    slices_clear(&s->queued);
    closing_begin(&s->closing, stream->loop, on_socket_closed);
    closing_add(&s->closing, (uv_handle_t *)&s->pipe);
    if (s->out == &s->second)
        closing_add(&s->closing, (uv_handle_t *)&s->second);
    closing_end(&s->closing);
}

static void socket_free(struct stream *stream)
{
    struct socket_stream *s = socket_of(stream);
    assert(!s->writing);
    if (s->freed)
        s->freed(s->freed_arg);
    mem_free(s);
}

static const struct stream_ops socket_ops = {socket_read, socket_write, socket_close, socket_free};

static struct socket_stream *socket_new(uv_loop_t *loop)
{
    struct socket_stream *s = mem_alloc(sizeof *s);
    s->stream.ops = &socket_ops;
    s->stream.loop = loop;
    slices_init(&s->unsent);
    slices_init(&s->queued);
    defer_setup(&s->defer, on_socket_deferred);
    uv_pipe_init(loop, &s->pipe, 0);
    s->out = &s->pipe;
    return s;
}

static void widen_buffers(int fd)
{
    int size = SOCKET_BUFFER; /* the kernel caps it; a smaller one only costs calls */
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

static void on_unused_closed(uv_handle_t *handle)
{
    mem_free(container_of((uv_pipe_t *)handle, struct socket_stream, pipe));
}

struct stream *socket_stream_connected(uv_loop_t *loop, int fd, int *status)
{
    struct socket_stream *s = socket_new(loop);
    *status = uv_pipe_open(&s->pipe, fd);
    if (*status == 0)
        return &s->stream;
    close(fd);
    uv_close((uv_handle_t *)&s->pipe, on_unused_closed);
    return NULL;
}

struct stream *socket_stream_new(uv_loop_t *loop, int fd, int *status)
{
    struct stream *stream = socket_stream_connected(loop, fd, status);
    if (stream)
        widen_buffers(fd);
    return stream;
}

/* The largest that the kernel gives; it is full later then, and what fills it waits less. */
static void widen_pipe(int fd)
{
    for (int size = SOCKET_PIPE; size > PIPE_LEAST && fcntl(fd, F_SETPIPE_SZ, size) < 0; size /= 2)
        ;
}

static void on_unused_pair_closed(struct closing *closing)
{
    mem_free(container_of(closing, struct socket_stream, closing));
}

/* Each handle closes the descriptor that it has. */
static void drop_pair(struct socket_stream *s)
{
    closing_begin(&s->closing, s->stream.loop, on_unused_pair_closed);
    closing_add(&s->closing, (uv_handle_t *)&s->pipe);
    closing_add(&s->closing, (uv_handle_t *)&s->second);
    closing_end(&s->closing);
}

static bool is_pipe_or_stream(int fd)
{
    struct stat st;
    int type;
    socklen_t length = sizeof type;
    if (fstat(fd, &st) != 0)
        return false;
    return S_ISFIFO(st.st_mode) || (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM);
}

static bool is_pair(int in, int out)
{
    int reads = fcntl(in, F_GETFL), writes = fcntl(out, F_GETFL);
    return reads >= 0 && writes >= 0 && (reads & O_ACCMODE) != O_WRONLY && (writes & O_ACCMODE) != O_RDONLY &&
           is_pipe_or_stream(in) && is_pipe_or_stream(out);
}

struct stream *socket_stream_pair(uv_loop_t *loop, int in, int out, int *status)
{
    if (!is_pair(in, out)) {
        close(in);
        close(out);
        *status = -EINVAL;
        return NULL;
    }
    struct socket_stream *s = socket_new(loop);
    uv_pipe_init(loop, &s->second, 0);
    s->out = &s->second;
    int first = uv_pipe_open(&s->pipe, in), second = uv_pipe_open(&s->second, out);
    *status = first < 0 ? first : second;
    if (first < 0)
        close(in);
    if (second < 0)
        close(out);
    if (*status < 0) {
        drop_pair(s);
        return NULL;
    }
    widen_pipe(in);
    return &s->stream;
}

void socket_cut(struct stream *stream)
{
    struct socket_stream *s = socket_of(stream);
    if (stream->closing || s->error)
        return;
    uv_read_stop((uv_stream_t *)&s->pipe);
    socket_write_failed(s, -ECONNRESET);
}

int socket_fd(struct stream *stream)
{
    uv_os_fd_t fd;
    return uv_fileno((uv_handle_t *)&socket_of(stream)->pipe, &fd) == 0 ? fd : -1;
}

void socket_on_free(struct stream *stream, void (*freed)(void *arg), void *arg)
{
    struct socket_stream *s = socket_of(stream);
    assert(!s->freed);
    s->freed = freed;
    s->freed_arg = arg;
}

int socket_peer(struct stream *stream, struct socket_peer *peer)
{
    struct ucred cred;
    socklen_t length = sizeof cred;
    int fd = socket_fd(stream);
    if (fd < 0)
        return -EBADF;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &length) != 0)
        return -errno;
    *peer = (struct socket_peer){cred.pid, cred.uid, cred.gid};
    return 0;
}

/* The peer's supplementary groups, for mem_free(); NULL: it has none, or the kernel can't tell. */
static gid_t *peer_groups(int fd, size_t *count)
{
    socklen_t length = 0;
    *count = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &length) == 0 || errno != ERANGE ||
        length > NGROUPS_MAX * sizeof(gid_t))
        return NULL;
    gid_t *groups = mem_alloc(length);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &length) == 0)
        *count = length / sizeof(gid_t);
    return groups;
}

bool socket_peer_has_group(struct stream *stream, gid_t group)
{
    struct socket_peer peer;
    size_t count;
    if (socket_peer(stream, &peer) != 0)
        return false;
    gid_t *groups = peer_groups(socket_fd(stream), &count);
    bool found = peer.gid == group;
    for (size_t i = 0; i < count && !found; i++)
        found = groups[i] == group;
    mem_free(groups);
    return found;
}

struct stream *socket_stream_accept(uv_stream_t *server)
{
    struct socket_stream *s = socket_new(server->loop);
    uv_os_fd_t fd;
    if (uv_accept(server, (uv_stream_t *)&s->pipe) != 0) {
        uv_close((uv_handle_t *)&s->pipe, on_unused_closed);
        return NULL;
    }
    if (uv_fileno((uv_handle_t *)&s->pipe, &fd) == 0)
        widen_buffers(fd);
    return &s->stream;
}
