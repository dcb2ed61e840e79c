/* The daemon's side: see helper.h. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "helper/helper.h"
#include "helper/message.h"

#define HELLO_TIMEOUT_S 20

static struct {
    int channel;
    pid_t pid;
    uv_poll_t poll;
    bool watched;
    void (*lost)(void *arg);
    void *arg;
    struct helper_hello hello;
} helper = {.channel = -1};

/* --- its life --- */

static int fork_it(const struct helper_options *options)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return -errno;
    helper.pid = fork();
    if (helper.pid == 0) {
        close(pair[0]);
        helper_serve(pair[1], options);
    }
    int status = helper.pid < 0 ? -errno : 0;
    close(pair[1]);
    helper.channel = pair[0];
    return status;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (snprintf(address.sun_path, sizeof address.sun_path, "%s", path) >= (int)sizeof address.sun_path)
        return -ENAMETOOLONG;
    helper.channel = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    return helper.channel >= 0 && connect(helper.channel, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : -errno;
}

static int hear_hello(void)
{
    struct timeval limit = {.tv_sec = HELLO_TIMEOUT_S}, none = {0};
    setsockopt(helper.channel, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ssize_t n = recv(helper.channel, &helper.hello, sizeof helper.hello, 0);
    setsockopt(helper.channel, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none);
    helper.hello.nbd_error[KERNEL_ERROR_MAX - 1] = helper.hello.gadget_error[KERNEL_ERROR_MAX - 1] = '\0';
    return n == sizeof helper.hello ? 0 : n < 0 ? -errno : -EPIPE;
}

int helper_begin(const struct helper_options *options, const char *path)
{
    int status = path ? connect_to(path) : fork_it(options);
    return status == 0 ? hear_hello() : status;
}

/* The helper sends nothing more by itself: if the channel becomes readable, the helper has ended. */
static void on_channel(uv_poll_t *poll, int status, int events)
{
    char byte;
    (void)status, (void)events;
    if (recv(helper.channel, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    uv_poll_stop(poll);
    helper.lost(helper.arg);
}

void helper_watch(uv_loop_t *loop, void (*lost)(void *arg), void *arg)
{
    helper.lost = lost;
    helper.arg = arg;
    helper.watched = uv_poll_init(loop, &helper.poll, helper.channel) == 0;
    if (!helper.watched)
        return;
    uv_poll_start(&helper.poll, UV_READABLE, on_channel);
    uv_unref((uv_handle_t *)&helper.poll);
}

void helper_unwatch(void)
{
    if (helper.watched)
        uv_close((uv_handle_t *)&helper.poll, NULL);
    helper.watched = false;
}

void helper_end(void)
{
    if (helper.channel < 0)
        return;
    close(helper.channel);
    helper.channel = -1;
    while (helper.pid > 0 && waitpid(helper.pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* --- a call --- */

static int send_all(const struct helper_request *request, const int *fds, unsigned count, int flags)
{
    union {
        char bytes[CMSG_SPACE((HELPER_FDS_MAX + 1) * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec part = {(void *)(uintptr_t)request, sizeof *request};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(count * sizeof fds[0]);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof fds[0]);
        memcpy(CMSG_DATA(header), fds, count * sizeof fds[0]);
    }
    return sendmsg(helper.channel, &message, flags | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Waits by poll(): the loop polls the channel too, and has made it one that does not block. */
static int send_patiently(const struct helper_request *request, const int *fds, unsigned count)
{
    struct pollfd writable = {.fd = helper.channel, .events = POLLOUT};
    int status = send_all(request, fds, count, 0);
    while (status == -EAGAIN || status == -EINTR) {
        poll(&writable, 1, -1);
        status = send_all(request, fds, count, 0);
    }
    return status;
}

/* The call's socket, on which the answer will come; `patient` on a work thread only. */
static int client_begin_call(struct helper_request *request, const int *fds, unsigned count, bool patient)
{
    int pair[2], all[HELPER_FDS_MAX + 1];
    request->fds = count;
    if (count > HELPER_FDS_MAX || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return count > HELPER_FDS_MAX ? -EINVAL : -errno;
    all[0] = pair[1];
    for (unsigned i = 0; i < count; i++)
        all[i + 1] = fds[i];
    int status = patient ? send_patiently(request, all, count + 1) : send_all(request, all, count + 1, MSG_DONTWAIT);
    close(pair[1]);
    if (status == 0)
        return pair[0];
    close(pair[0]);
    return status;
}

/* The descriptor that came beside the answer; -1: none. */
static int taken_fd(struct msghdr *message)
{
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    int fd = -1;
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof fd))
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

/* Waits for the answer. False: the helper has ended, or refused the message as no request. `accounts` NULL: none come
 * with it. */
static bool end_call(int socket, struct helper_reply *reply, int *fd, struct system_accounts *accounts)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec parts[] = {{reply, sizeof *reply}, {accounts, sizeof *accounts}};
    struct msghdr message = {
        .msg_iov = parts, .msg_iovlen = accounts ? 2 : 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t n;
    do
        n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    close(socket);
    bool whole = n >= (ssize_t)sizeof *reply && accounts && reply->status == 0;
    if (n != (ssize_t)(sizeof *reply + (whole ? sizeof *accounts : 0)))
        return false;
    *fd = taken_fd(&message);
    reply->error[sizeof reply->error - 1] = '\0';
    return true;
}

static int client_failed(char error[KERNEL_ERROR_MAX], int status)
{
    snprintf(error, KERNEL_ERROR_MAX, "the helper, which has the rights for this, does not answer: %s", strerror(-status));
    return status;
}

static int client_ask_for(struct helper_request *request, const int *fds, unsigned count, char error[KERNEL_ERROR_MAX],
                          int *fd, struct system_accounts *accounts)
{
    struct helper_reply reply;
    int none = -1, socket = client_begin_call(request, fds, count, true);
    fd = fd ? fd : &none;
    *fd = -1;
    if (socket < 0)
        return client_failed(error, socket);
    if (!end_call(socket, &reply, fd, accounts))
        return client_failed(error, -EPIPE);
    if (none >= 0)
        close(none);
    memcpy(error, reply.error, KERNEL_ERROR_MAX);
    return reply.status <= 0 ? reply.status : -EPROTO;
}

static int client_ask(struct helper_request *request, const int *fds, unsigned count, char error[KERNEL_ERROR_MAX],
                      int *fd)
{
    return client_ask_for(request, fds, count, error, fd, NULL);
}

/* --- the kernel's calls --- */

static int ask_nbd(enum helper_op op, const struct kernel_nbd *nbd, char error[KERNEL_ERROR_MAX])
{
    struct helper_request request = {.op = op};
    helper_nbd_pack(&request.nbd, nbd);
    return client_ask(&request, nbd->fds, nbd->count, error, NULL);
}

static int nbd_connect(const struct kernel_nbd *nbd, char error[KERNEL_ERROR_MAX])
{
    return ask_nbd(HELPER_NBD_CONNECT, nbd, error);
}

static int nbd_reconnect(const struct kernel_nbd *nbd, char error[KERNEL_ERROR_MAX])
{
    return ask_nbd(HELPER_NBD_RECONNECT, nbd, error);
}

static int nbd_disconnect(unsigned index, const char *backend, char error[KERNEL_ERROR_MAX])
{
    struct kernel_nbd nbd = {.index = index};
    snprintf(nbd.backend, sizeof nbd.backend, "%s", backend);
    return ask_nbd(HELPER_NBD_DISCONNECT, &nbd, error);
}

static int ask_gadget(enum helper_op op, const struct kernel_gadget *gadget, const struct kernel_medium *medium,
                      unsigned patience_ms, char error[KERNEL_ERROR_MAX])
{
    struct helper_request request = {.op = op};
    helper_gadget_pack(&request.gadget, gadget, medium);
    request.gadget.patience_ms = patience_ms;
    return client_ask(&request, NULL, 0, error, NULL);
}

static int gadget_prepare(const struct kernel_gadget *gadget, char error[KERNEL_ERROR_MAX])
{
    return ask_gadget(HELPER_GADGET_PREPARE, gadget, NULL, 0, error);
}

static int gadget_insert(const struct kernel_gadget *gadget, const struct kernel_medium *medium, char error[KERNEL_ERROR_MAX])
{
    return ask_gadget(HELPER_GADGET_INSERT, gadget, medium, 0, error);
}

static int gadget_eject(const struct kernel_gadget *gadget, unsigned patience_ms, char error[KERNEL_ERROR_MAX])
{
    return ask_gadget(HELPER_GADGET_EJECT, gadget, NULL, patience_ms, error);
}

static int gadget_remove(const struct kernel_gadget *gadget, char error[KERNEL_ERROR_MAX])
{
    return ask_gadget(HELPER_GADGET_REMOVE, gadget, NULL, 0, error);
}

/* To look takes no rights. */
static bool client_gadget_is_empty(const struct kernel_gadget *gadget)
{
    return kernel_real.gadget_is_empty(gadget);
}

/* What the machine has may change, and can be seen without rights: only the rights are the helper's to tell. */
static int client_check_nbd(char error[KERNEL_ERROR_MAX])
{
    int status = kernel_has_nbd(error);
    if (status == 0 && helper.hello.may_nbd != 0)
        memcpy(error, helper.hello.nbd_error, KERNEL_ERROR_MAX);
    return status == 0 ? helper.hello.may_nbd : status;
}

static int client_check_gadget(char error[KERNEL_ERROR_MAX])
{
    int status = kernel_has_gadget(error);
    if (status == 0 && helper.hello.may_gadget != 0)
        memcpy(error, helper.hello.gadget_error, KERNEL_ERROR_MAX);
    return status == 0 ? helper.hello.may_gadget : status;
}

const struct kernel_ops helper_kernel = {
    .nbd_connect = nbd_connect,
    .nbd_reconnect = nbd_reconnect,
    .nbd_disconnect = nbd_disconnect,
    .gadget_prepare = gadget_prepare,
    .gadget_insert = gadget_insert,
    .gadget_eject = gadget_eject,
    .gadget_remove = gadget_remove,
    .gadget_is_empty = client_gadget_is_empty,
    .check_nbd = client_check_nbd,
    .check_gadget = client_check_gadget,
};

/* --- the other calls --- */

int helper_low_port(int fd)
{
    struct helper_request request = {.op = HELPER_LOW_PORT};
    char error[KERNEL_ERROR_MAX];
    return client_ask(&request, &fd, 1, error, NULL);
}

int helper_connect_bmcweb(unsigned slot)
{
    struct helper_request request = {.op = HELPER_BMCWEB, .slot = slot};
    char error[KERNEL_ERROR_MAX];
    int fd, status = client_ask(&request, NULL, 0, error, &fd);
    return status < 0 ? status : fd >= 0 ? fd : -EPROTO;
}

static bool copy(char *to, size_t size, const char *from)
{
    return (size_t)snprintf(to, size, "%s", from) < size;
}

bool helper_check_password(const char *name, const char *password, const char *peer)
{
    struct helper_request request = {.op = HELPER_PASSWORD};
    struct helper_password *p = &request.password;
    char error[KERNEL_ERROR_MAX];
    bool right = copy(p->name, sizeof p->name, name) && copy(p->password, sizeof p->password, password) &&
                 copy(p->peer, sizeof p->peer, peer) && client_ask(&request, NULL, 0, error, NULL) == 0;
    explicit_bzero(&request, sizeof request);
    return right;
}

int helper_look_at_accounts(struct system_accounts *accounts)
{
    struct helper_request request = {.op = HELPER_ACCOUNTS};
    char error[KERNEL_ERROR_MAX];
    return client_ask_for(&request, NULL, 0, error, NULL, accounts);
}

int helper_start_hook(const char *path, const struct host_request *asked, int out, int err)
{
    struct helper_request request = {
        .op = HELPER_HOOK,
        .hook = {asked->verb, asked->reset, asked->boot.target, asked->boot.enabled, asked->boot.mode}};
    const int pipes[] = {out, err};
    (void)path; /* the helper has the path from its own settings */
    return client_begin_call(&request, pipes, 2, false);
}

void helper_reload(void)
{
    struct helper_request request = {.op = HELPER_SETTINGS};
    send_all(&request, NULL, 0, MSG_DONTWAIT);
}
