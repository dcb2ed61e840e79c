#include "ctl/ctl_connection.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"

#define LINE_MAX_BYTES (16u << 20) /* of an answer: a status of all slots is some KiB */
#define CONNECT_SECONDS 10         /* that a daemon may take to have a place in its queue */

static void say_unreachable(const struct ctl_connection *c, int status, char error[CTL_ERROR_MAX])
{
    if (status == EACCES || status == EPERM)
        snprintf(error, CTL_ERROR_MAX, "%s: you may not use this socket: be root, or a member of control-group, which nbd-proxy.conf "
                 "names (who has become one logs in again)", c->path);
    else
        snprintf(error, CTL_ERROR_MAX, "no daemon answers at %s: %s (is it running? -c FILE or --socket=PATH say where another one is)",
                 c->path, strerror(status));
}

bool ctl_connect(struct ctl_connection *c, char error[CTL_ERROR_MAX])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = CONNECT_SECONDS};
    if (c->fd >= 0)
        return true;
    if (strlen(c->path) >= sizeof address.sun_path) {
        snprintf(error, CTL_ERROR_MAX, "%s: the path of a socket may have 107 characters", c->path);
        return false;
    }
    memcpy(address.sun_path, c->path, strlen(c->path) + 1);
    c->used = c->taken = 0;
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd >= 0)
        setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (c->fd >= 0 && connect(c->fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return true;
    say_unreachable(c, errno, error);
    ctl_disconnect(c);
    return false;
}

void ctl_disconnect(struct ctl_connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    mem_free(c->buffer);
    c->buffer = NULL;
    c->used = c->taken = c->size = 0;
}

bool ctl_send(struct ctl_connection *c, const char *line)
{
    struct iovec parts[] = {{(char *)(uintptr_t)line, strlen(line)}, {(char[]){'\n'}, 1}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    size_t length = parts[0].iov_len + 1; /* a command's line is smaller than a socket's buffer */
    return sendmsg(c->fd, &message, MSG_NOSIGNAL) == (ssize_t)length;
}

bool ctl_has_line(const struct ctl_connection *c)
{
    return c->used > c->taken && memchr(c->buffer + c->taken, '\n', c->used - c->taken);
}

bool ctl_fill(struct ctl_connection *c)
{
    if (c->taken > 0) {
        memmove(c->buffer, c->buffer + c->taken, c->used - c->taken);
        c->used -= c->taken;
        c->taken = 0;
    }
    if (c->used + 1 >= LINE_MAX_BYTES)
        return false;
    if (c->used + 1 >= c->size) { /* a zero byte is behind it all */
        c->size = c->size ? c->size * 2 : 4096;
        c->buffer = mem_realloc(c->buffer, c->size);
    }
    ssize_t n;
    do
        n = recv(c->fd, c->buffer + c->used, c->size - c->used - 1, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return false;
    c->used += (size_t)n;
    c->buffer[c->used] = '\0';
    return true;
}

char *ctl_receive(struct ctl_connection *c)
{
    while (!ctl_has_line(c))
        if (!ctl_fill(c))
            return NULL;
    char *line = c->buffer + c->taken, *end = memchr(line, '\n', c->used - c->taken);
    *end = '\0';
    c->taken = (size_t)(end - c->buffer) + 1;
    return line;
}
