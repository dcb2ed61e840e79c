/* The helper's side: see helper.h. */
#include <build-config.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "auth/pam.h"
#include "base/log.h"
#include "base/text.h"
#include "base/thread.h"
#include "helper/helper.h"
#include "helper/message.h"
#include "host/hook.h"
#include "net/low_port.h"

#define WHO        "helper"
#define STACK_SIZE (1u << 20) /* PAM's modules run on it */

/* One call, on a thread of its own. */
struct call {
    struct helper_request request;
    int socket; /* the call's own */
    int fds[HELPER_FDS_MAX];
};

static const struct helper_options *options;
static struct helper_settings settings;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows, `settings` and the ports */
static unsigned calls;

/* --- the operations --- */

static int run_nbd(struct call *call, char error[KERNEL_ERROR_MAX])
{
    struct kernel_nbd nbd;
    helper_nbd_unpack(&call->request.nbd, &nbd);
    nbd.count = call->request.fds;
    memcpy(nbd.fds, call->fds, nbd.count * sizeof nbd.fds[0]);
    switch (call->request.op) {
    case HELPER_NBD_CONNECT:
        return kernel_real.nbd_connect(&nbd, error);
    case HELPER_NBD_RECONNECT:
        return kernel_real.nbd_reconnect(&nbd, error);
    default:
        return kernel_real.nbd_disconnect(nbd.index, nbd.backend, error);
    }
}

static bool is_configured_gadget(const char *name)
{
    bool found = false;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < HELPER_GADGETS_MAX; i++)
        found = found || strcmp(settings.gadgets[i], name) == 0;
    pthread_mutex_unlock(&lock);
    return found;
}

/* Other gadgets are not the daemon's to touch. A reload may have told the slots before it told us. */
static bool may_have_gadget(const char *name)
{
    static const struct timespec nap = {.tv_nsec = 100000000};
    bool may = strncmp(name, HELPER_GADGET_PREFIX, sizeof HELPER_GADGET_PREFIX - 1) == 0;
    for (int i = 0; i < 10 && !may && !(may = is_configured_gadget(name)); i++)
        nanosleep(&nap, NULL);
    return may;
}

static int run_gadget(const struct call *call, char error[KERNEL_ERROR_MAX])
{
    struct kernel_gadget gadget;
    struct kernel_medium medium;
    helper_gadget_unpack(&call->request.gadget, &gadget, &medium);
    if (!may_have_gadget(gadget.name)) {
        snprintf(error, KERNEL_ERROR_MAX, "the gadget %s is not the configuration's", gadget.name);
        return -EPERM;
    }
    switch (call->request.op) {
    case HELPER_GADGET_PREPARE:
        return kernel_real.gadget_prepare(&gadget, error);
    case HELPER_GADGET_INSERT:
        return kernel_real.gadget_insert(&gadget, &medium, error);
    case HELPER_GADGET_EJECT:
        return kernel_real.gadget_eject(&gadget, call->request.gadget.patience_ms, error);
    default:
        return kernel_real.gadget_remove(&gadget, error);
    }
}

static bool is_socket(int fd, int type, int protocol)
{
    int its_type = 0, its_protocol = -1;
    socklen_t length = sizeof its_type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &its_type, &length) == 0 && its_type == type &&
           getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &its_protocol, &length) == 0 && its_protocol == protocol;
}

static int run_low_port(const struct call *call)
{
    if (!is_socket(call->fds[0], SOCK_STREAM, IPPROTO_TCP))
        return -ENOTSOCK;
    pthread_mutex_lock(&lock);
    int status = low_port_bind(call->fds[0]);
    pthread_mutex_unlock(&lock);
    return status;
}

/* A UNIX socket is connected at once or not at all. */
static int run_bmcweb(const struct call *call, int *connected)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    pthread_mutex_lock(&lock);
    int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/Slot_%u.sock", settings.bmcweb_folder,
                          call->request.slot);
    bool known = *settings.bmcweb_folder != '\0';
    pthread_mutex_unlock(&lock);
    if (!known || length >= (int)sizeof address.sun_path)
        return -ENOENT;
    *connected = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return *connected >= 0 && connect(*connected, (const struct sockaddr *)&address, sizeof address) == 0 ? 0 : -errno;
}

static int run_password(const struct call *call)
{
    const struct helper_password *p = &call->request.password;
    const struct pam_question question = {NULL, p->name, p->password, p->peer, NULL};
    return pam_check(&question) ? 0 : -EACCES;
}

static int run_accounts(struct system_accounts *accounts)
{
    struct system_groups groups;
    pthread_mutex_lock(&lock);
    groups = settings.groups;
    pthread_mutex_unlock(&lock);
    return system_accounts_look(&groups, accounts);
}

static int server_run(struct call *call, char error[KERNEL_ERROR_MAX], int *connected)
{
    switch (call->request.op) {
    case HELPER_NBD_CONNECT:
    case HELPER_NBD_RECONNECT:
    case HELPER_NBD_DISCONNECT:
        return run_nbd(call, error);
    case HELPER_LOW_PORT:
        return run_low_port(call);
    case HELPER_BMCWEB:
        return run_bmcweb(call, connected);
    case HELPER_PASSWORD:
        return run_password(call);
    default:
        return run_gadget(call, error);
    }
}

/* --- the hook --- */

static void refuse_hook(int socket, int status, const char *error)
{
    struct hook_end end = {.status = status};
    snprintf(end.error, sizeof end.error, "%s", error);
    send(socket, &end, sizeof end, MSG_NOSIGNAL);
}

/* The fds are hook_serve()'s. */
static void run_hook(struct call *call)
{
    char error[HOST_ERROR_MAX] = "no hook is configured", hook[sizeof settings.hook];
    struct host_request request;
    pthread_mutex_lock(&lock);
    memcpy(hook, settings.hook, sizeof hook);
    pthread_mutex_unlock(&lock);
    helper_hook_unpack(&call->request.hook, &request);
    if (*hook && hook_file_check(hook, error)) {
        hook_serve(hook, &request, call->fds[0], call->fds[1], call->socket);
        call->request.fds = 0;
        call->socket = -1;
    } else {
        refuse_hook(call->socket, -EACCES, error);
    }
}

/* --- a call --- */

/* `accounts` NULL: none are asked for. */
static void server_answer(int socket, const struct helper_reply *reply, int connected, const struct system_accounts *accounts)
{
    union {
        char bytes[CMSG_SPACE(sizeof connected)];
        struct cmsghdr align;
    } control = {0};
    struct iovec parts[] = {{(void *)(uintptr_t)reply, sizeof *reply}, {(void *)(uintptr_t)accounts, sizeof *accounts}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = accounts && reply->status == 0 ? 2 : 1};
    if (connected >= 0 && reply->status == 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof connected);
        memcpy(CMSG_DATA(header), &connected, sizeof connected);
    }
    sendmsg(socket, &message, MSG_NOSIGNAL);
}

static void close_call(struct call *call)
{
    for (unsigned i = 0; i < call->request.fds; i++)
        close(call->fds[i]);
    if (call->socket >= 0)
        close(call->socket);
    explicit_bzero(call, sizeof *call);
    mem_free(call);
}

static void run_call(struct call *call)
{
    struct helper_reply reply = {0};
    struct system_accounts accounts;
    bool asked = call->request.op == HELPER_ACCOUNTS;
    int connected = -1;
    reply.status = asked ? run_accounts(&accounts) : server_run(call, reply.error, &connected);
    server_answer(call->socket, &reply, connected, asked ? &accounts : NULL);
    if (connected >= 0)
        close(connected);
}

static bool take_place(void)
{
    pthread_mutex_lock(&lock);
    bool there = calls < HELPER_CALLS_MAX;
    calls += there;
    pthread_mutex_unlock(&lock);
    return there;
}

static void leave_place(void)
{
    pthread_mutex_lock(&lock);
    calls--;
    pthread_mutex_unlock(&lock);
}

static void *on_server_thread(void *arg)
{
    struct call *call = arg;
    if (call->request.op == HELPER_HOOK)
        run_hook(call);
    else
        run_call(call);
    close_call(call);
    leave_place();
    return NULL;
}

static void server_refuse(struct call *call, int status, const char *words)
{
    struct helper_reply reply = {.status = status};
    snprintf(reply.error, sizeof reply.error, "%s", words);
    if (call->request.op == HELPER_HOOK)
        refuse_hook(call->socket, status, words);
    else
        server_answer(call->socket, &reply, -1, NULL);
    close_call(call);
}

static void start_call(struct call *call)
{
    if (!take_place()) {
        server_refuse(call, -EBUSY, "too many calls of the helper are under way");
        return;
    }
    int status = thread_detached(on_server_thread, call, STACK_SIZE);
    if (status == 0)
        return;
    leave_place();
    server_refuse(call, status, strerror(-status));
}

static void server_read_settings(void)
{
    struct helper_settings next = {0};
    if (!options->read(&next, options->arg))
        return;
    pthread_mutex_lock(&lock);
    settings = next;
    pthread_mutex_unlock(&lock);
}

/* --- what comes --- */

/* All descriptors of a message; more than there is room for are closed by the kernel (MSG_CTRUNC). */
static unsigned take_fds(struct msghdr *message, int fds[HELPER_FDS_MAX + 1])
{
    unsigned count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        count = (unsigned)((header->cmsg_len - CMSG_LEN(0)) / sizeof fds[0]);
        memcpy(fds, CMSG_DATA(header), count * sizeof fds[0]);
    }
    return count;
}

static void server_close_fds(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
}

/* What is no request gets no answer: its caller sees the call's socket close. */
static void server_take(struct call *call, size_t size, int fds[HELPER_FDS_MAX + 1], unsigned count)
{
    bool told = size == sizeof call->request && call->request.op == HELPER_SETTINGS;
    if ((count == 0) != told || !helper_request_check(&call->request, size, told ? 0 : count - 1)) {
        log_error(WHO, "what came is no request");
        server_close_fds(fds, count);
        mem_free(call);
    } else if (told) {
        mem_free(call);
        server_read_settings();
    } else {
        call->socket = fds[0];
        memcpy(call->fds, fds + 1, (count - 1) * sizeof fds[0]);
        start_call(call);
    }
}

static bool server_receive(int channel)
{
    union {
        char bytes[CMSG_SPACE((HELPER_FDS_MAX + 1) * sizeof(int))];
        struct cmsghdr align;
    } control;
    int fds[HELPER_FDS_MAX + 1];
    struct call *call = mem_alloc(sizeof *call);
    struct iovec part = {&call->request, sizeof call->request};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes};
    message.msg_controllen = CMSG_LEN(sizeof fds); /* CMSG_SPACE() may have room for one more */
    ssize_t n = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
    if (n > 0) {
        unsigned count = take_fds(&message, fds);
        server_take(call, message.msg_flags & MSG_TRUNC ? 0 : (size_t)n, fds, count);
        return true;
    }
    mem_free(call);
    return n < 0 && errno == EINTR;
}

/* --- the process --- */

static void ignore_signals(void)
{
    const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE};
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        signal(ignored[i], SIG_IGN);
}

/* stdin and stdout become /dev/null; stderr stays, for the log; nothing else is open. */
static int keep_only(int channel)
{
    closelog(); /* the log's socket is closed with all others */
    if (channel != 3)
        channel = dup3(channel, 3, O_CLOEXEC);
    close_range(4, ~0u, 0);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        close(null);
    }
    return channel;
}

static void say_hello(int channel)
{
    struct helper_hello hello = {0};
    hello.may_nbd = kernel_may_nbd(hello.nbd_error);
    hello.may_gadget = kernel_may_gadget(hello.gadget_error);
    send(channel, &hello, sizeof hello, MSG_NOSIGNAL);
}

void helper_serve(int channel, const struct helper_options *its)
{
    options = its;
    settings = its->settings;
    prctl(PR_SET_NAME, "nbd-proxy-root");
    ignore_signals();
    channel = keep_only(channel);
    say_hello(channel);
    while (server_receive(channel))
        ;
    _exit(0); /* what is under way ends with us, as with a daemon that is killed */
}
