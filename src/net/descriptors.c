#include "net/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "base/text.h"
#include "net/socket.h"

struct descriptors {
    uv_poll_t poll;
    int fd; /* another number for the socket: the loop has one handle for each */
    void (*taken)(void *arg, int status, const int fds[DESCRIPTORS]);
    void *arg;
};

union room {
    char bytes[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
    struct cmsghdr align;
};

static void on_descriptors_closed(uv_handle_t *handle)
{
    struct descriptors *d = container_of((uv_poll_t *)handle, struct descriptors, poll);
    close(d->fd);
    mem_free(d);
}

void descriptors_cancel(struct descriptors *descriptors)
{
    uv_close((uv_handle_t *)&descriptors->poll, on_descriptors_closed);
}

/* How many came, which is as many as fit: the kernel has closed those that did not. */
static unsigned descriptors_in(struct msghdr *message, int fds[DESCRIPTORS])
{
    const struct cmsghdr *head = CMSG_FIRSTHDR(message);
    if (!head || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
        return 0;
    size_t length = head->cmsg_len - CMSG_LEN(0);
    memcpy(fds, CMSG_DATA(head), length);
    return (unsigned)(length / sizeof(int));
}

/* 0, or a negative errno; -EAGAIN: there was nothing yet. */
static int receive_descriptors(int socket, int fds[DESCRIPTORS])
{
    char byte;
    union room room;
    struct iovec vector = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = room.bytes, .msg_controllen = sizeof room.bytes};
    ssize_t n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n <= 0)
        return n == 0 ? -EPIPE : errno == EINTR ? -EAGAIN : -errno;
    unsigned count = descriptors_in(&message, fds);
    if (count == DESCRIPTORS && !(message.msg_flags & MSG_CTRUNC))
        return 0;
    while (count > 0)
        close(fds[--count]);
    return -EINVAL;
}

static void on_descriptors_readable(uv_poll_t *poll, int status, int events)
{
    struct descriptors *d = container_of(poll, struct descriptors, poll);
    int fds[DESCRIPTORS];
    (void)events;
    if (status == 0)
        status = receive_descriptors(d->fd, fds);
    if (status == -EAGAIN)
        return;
    void (*taken)(void *arg, int status, const int fds[DESCRIPTORS]) = d->taken;
    void *arg = d->arg;
    descriptors_cancel(d);
    taken(arg, status, fds);
}

struct descriptors *descriptors_take(struct stream *stream,
                                     void (*taken)(void *arg, int status, const int fds[DESCRIPTORS]), void *arg,
                                     int *status)
{
    int fd = fcntl(socket_fd(stream), F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        *status = -errno;
        return NULL;
    }
    struct descriptors *d = mem_alloc(sizeof *d);
    d->fd = fd;
    d->taken = taken;
    d->arg = arg;
    *status = uv_poll_init(stream->loop, &d->poll, fd);
    if (*status == 0) {
        uv_poll_start(&d->poll, UV_READABLE | UV_DISCONNECT, on_descriptors_readable);
        return d;
    }
    close(fd);
    mem_free(d);
    return NULL;
}
