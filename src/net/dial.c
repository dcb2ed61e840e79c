#include "net/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/text.h"

/* One address that is being tried; its handles are closed after the attempt has ended. */
struct attempt {
    uv_poll_t poll;
    struct link link; /* in dial->attempts, the oldest first */
    struct dial *dial;
    const struct sockaddr_storage *address;
    int fd;
};

struct dial {
    uv_loop_t *loop;
    dial_done *done;
    void *arg;
    struct resolve *resolve; /* while the name is asked for */
    uint16_t port;
    struct link attempts;
    struct sockaddr_storage addresses[RESOLVE_ADDRESSES_MAX]; /* in the order of the tries */
    unsigned count, next;
    uint64_t deadline;
    uv_timer_t timer; /* the next try, or the end of the time */
    int status;
    char error[DIAL_ERROR_MAX];
};

/* --- ends --- */

static void on_dial_poll_closed(uv_handle_t *handle)
{
    mem_free(container_of((uv_poll_t *)handle, struct attempt, poll));
}

/* The fd stays open for the callee. */
static int attempt_end(struct attempt *attempt)
{
    list_remove(&attempt->link);
    uv_poll_stop(&attempt->poll);
    uv_close((uv_handle_t *)&attempt->poll, on_dial_poll_closed);
    return attempt->fd;
}

static void attempts_close(struct dial *dial)
{
    while (!list_empty(&dial->attempts))
        close(attempt_end(container_of(dial->attempts.next, struct attempt, link)));
}

static void on_dial_timer_closed(uv_handle_t *handle)
{
    mem_free(container_of((uv_timer_t *)handle, struct dial, timer));
}

static void dial_free(struct dial *dial)
{
    resolve_cancel(dial->resolve);
    attempts_close(dial);
    uv_close((uv_handle_t *)&dial->timer, on_dial_timer_closed);
}

void dial_cancel(struct dial *dial)
{
    if (dial)
        dial_free(dial);
}

static void dial_finish(struct dial *dial, int fd, const struct sockaddr_storage *address)
{
    /* The dial may be gone before `done` has read them. */
    char error[DIAL_ERROR_MAX];
    struct sockaddr_storage copy;
    struct dial_result result = {.fd = fd, .error = error, .address = address ? &copy : NULL};
    dial_done *done = dial->done;
    void *arg = dial->arg;
    memcpy(error, dial->error, sizeof error);
    if (address)
        copy = *address;
    dial_free(dial);
    done(arg, &result);
}

static void dial_fail(struct dial *dial, int status, const char *words)
{
    dial->status = status;
    snprintf(dial->error, sizeof dial->error, "%s", words);
}

/* --- addresses --- */

static void dial_go_on(struct dial *dial);

/* A trouble of this machine, not of the server, may pass: -EAGAIN. */
static int dial_status_of(int error)
{
    bool here = error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS || error == EAGAIN;
    return error == ECONNREFUSED ? -ECONNREFUSED : here ? -EAGAIN : -EHOSTUNREACH;
}

static void address_failed(struct dial *dial, const struct sockaddr_storage *address, int status)
{
    char text[ADDRESS_TEXT_MAX], words[DIAL_ERROR_MAX];
    address_text((const struct sockaddr *)address, text);
    snprintf(words, sizeof words, "could not connect to %s: %s (check host and port)", text, strerror(-status));
    dial_fail(dial, dial_status_of(-status), words);
}

static void on_dial_connected(uv_poll_t *poll, int status, int events)
{
    struct attempt *attempt = container_of(poll, struct attempt, poll);
    struct dial *dial = attempt->dial;
    int error = 0, on = 1, fd = attempt_end(attempt);
    socklen_t length = sizeof error;
    (void)events;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        error = errno;
    if (error == 0 && status < 0)
        error = -status;
    if (error) {
        close(fd);
        address_failed(dial, attempt->address, -error);
        dial_go_on(dial);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    dial_finish(dial, fd, attempt->address);
}

static int address_connect(const struct sockaddr_storage *address)
{
    socklen_t length = address->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)address, length) == 0 || errno == EINPROGRESS)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

/* 0, or a negative errno. */
static int attempt_begin(struct dial *dial, const struct sockaddr_storage *address)
{
    int fd = address_connect(address);
    if (fd < 0)
        return fd;
    struct attempt *attempt = mem_alloc(sizeof *attempt);
    int status = uv_poll_init(dial->loop, &attempt->poll, fd);
    if (status < 0) {
        mem_free(attempt);
        close(fd);
        return status;
    }
    attempt->dial = dial;
    attempt->fd = fd;
    attempt->address = address;
    list_init(&attempt->link);
    list_append(&dial->attempts, &attempt->link);
    uv_poll_start(&attempt->poll, UV_WRITABLE, on_dial_connected);
    return 0;
}

static void on_dial_timer(uv_timer_t *timer)
{
    dial_go_on(container_of(timer, struct dial, timer));
}

/* Tries the next address that can be tried at all, and sets the time of the one after it. */
static void dial_go_on(struct dial *dial)
{
    uint64_t now = uv_now(dial->loop), left = dial->deadline > now ? dial->deadline - now : 0;
    bool begun = false;
    while (left > 0 && !begun && dial->next < dial->count) {
        const struct sockaddr_storage *address = &dial->addresses[dial->next++];
        int status = attempt_begin(dial, address);
        begun = status == 0;
        if (!begun)
            address_failed(dial, address, status);
    }
    if (left == 0 && !list_empty(&dial->attempts))
        address_failed(dial, container_of(dial->attempts.next, struct attempt, link)->address, -ETIMEDOUT);
    if (left == 0 || list_empty(&dial->attempts))
        dial_finish(dial, dial->status ? dial->status : -EHOSTUNREACH, NULL);
    else
        uv_timer_start(&dial->timer, on_dial_timer,
                       dial->next < dial->count && left > DIAL_STAGGER_MS ? DIAL_STAGGER_MS : left, 0);
}

/* --- names --- */

static void dial_set_port(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET)
        ((struct sockaddr_in *)address)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
}

/* RFC 8305, 4: the families in turns, beginning with that of the address that getaddrinfo() likes best. */
static void take_in_turns(struct dial *dial, const struct resolve_result *result)
{
    bool taken[RESOLVE_ADDRESSES_MAX] = {false};
    int family = result->count > 0 ? result->addresses[0].ss_family : AF_UNSPEC;
    for (dial->count = 0; dial->count < result->count; dial->count++) {
        unsigned first = RESOLVE_ADDRESSES_MAX, same = RESOLVE_ADDRESSES_MAX;
        for (unsigned i = result->count; i-- > 0;) {
            first = taken[i] ? first : i;
            same = taken[i] || result->addresses[i].ss_family != family ? same : i;
        }
        unsigned pick = same < RESOLVE_ADDRESSES_MAX ? same : first;
        taken[pick] = true;
        dial->addresses[dial->count] = result->addresses[pick];
        dial_set_port(&dial->addresses[dial->count], dial->port);
        family = result->addresses[pick].ss_family == AF_INET ? AF_INET6 : AF_INET;
    }
}

static void on_dial_resolved(void *owner, const struct resolve_result *result)
{
    struct dial *dial = owner;
    dial->resolve = NULL;
    dial_fail(dial, result->status, result->error);
    take_in_turns(dial, result);
    dial_go_on(dial);
}

static void on_no_name(uv_timer_t *timer)
{
    struct dial *dial = container_of(timer, struct dial, timer);
    dial_fail(dial, -EHOSTUNREACH, "the name server did not answer in time");
    dial_finish(dial, dial->status, NULL);
}

static struct dial *dial_make(uv_loop_t *loop, uint16_t port, uint64_t timeout_ms, dial_done *done, void *arg)
{
    struct dial *dial = mem_alloc(sizeof *dial);
    dial->loop = loop;
    dial->port = port;
    dial->done = done;
    dial->arg = arg;
    dial->deadline = uv_now(loop) + timeout_ms;
    list_init(&dial->attempts);
    uv_timer_init(loop, &dial->timer);
    return dial;
}

struct dial *dial_new(uv_loop_t *loop, const char *host, uint16_t port, enum address_local local, uint64_t timeout_ms,
                      dial_done *done, void *arg)
{
    struct dial *dial = dial_make(loop, port, timeout_ms, done, arg);
    uv_timer_start(&dial->timer, on_no_name, timeout_ms, 0);
    dial->resolve = resolve_start(loop, host, local, on_dial_resolved, dial);
    return dial;
}

struct dial *dial_race_new(uv_loop_t *loop, const struct resolve_result *addresses, uint16_t port, uint64_t timeout_ms,
                           dial_done *done, void *arg)
{
    struct dial *dial = dial_make(loop, port, timeout_ms, done, arg);
    take_in_turns(dial, addresses);
    uv_timer_start(&dial->timer, on_dial_timer, 0, 0);
    return dial;
}

struct dial *dial_address_new(uv_loop_t *loop, const struct sockaddr *address, enum address_local local,
                              uint64_t timeout_ms, dial_done *done, void *arg)
{
    bool is_v4 = address->sa_family == AF_INET;
    uint16_t port = is_v4 ? ((const struct sockaddr_in *)address)->sin_port : ((const struct sockaddr_in6 *)address)->sin6_port;
    char host[NI_MAXHOST] = ""; /* with its zone */
    getnameinfo(address, is_v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6), host, sizeof host, NULL, 0,
                NI_NUMERICHOST);
    return dial_new(loop, host, ntohs(port), local, timeout_ms, done, arg);
}
