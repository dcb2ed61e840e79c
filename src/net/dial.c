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

#define ADDRESS_SHARE_MS 3000 /* for one of several addresses, if the timeout allows it */

/* One address that is being tried; its handles end after the attempt does. */
struct attempt {
    uv_poll_t poll;
    struct dial *dial;
    int fd;
};

struct dial {
    uv_loop_t *loop;
    dial_done *done;
    void *arg;
    struct resolve *resolve; /* while the name is asked for */
    uint16_t port;
    struct attempt *attempt;
    struct sockaddr_storage addresses[RESOLVE_ADDRESSES_MAX];
    unsigned count, next;
    uint64_t deadline;
    uv_timer_t timer;
    int status;
    char error[DIAL_ERROR_MAX];
};

/* --- ends --- */

static void on_poll_closed(uv_handle_t *handle)
{
    mem_free(container_of((uv_poll_t *)handle, struct attempt, poll));
}

/* The fd stays open for the callee. */
static int attempt_end(struct dial *dial)
{
    struct attempt *attempt = dial->attempt;
    int fd = attempt->fd;
    dial->attempt = NULL;
    uv_poll_stop(&attempt->poll);
    uv_close((uv_handle_t *)&attempt->poll, on_poll_closed);
    return fd;
}

static void on_timer_closed(uv_handle_t *handle)
{
    mem_free(container_of((uv_timer_t *)handle, struct dial, timer));
}

static void dial_free(struct dial *dial)
{
    resolve_cancel(dial->resolve);
    uv_close((uv_handle_t *)&dial->timer, on_timer_closed);
}

void dial_cancel(struct dial *dial)
{
    if (!dial)
        return;
    if (dial->attempt)
        close(attempt_end(dial));
    dial_free(dial);
}

static void dial_finish(struct dial *dial, int fd)
{
    struct dial_result result = {.fd = fd, .error = dial->error};
    dial_done *done = dial->done;
    void *arg = dial->arg;
    char error[DIAL_ERROR_MAX]; /* the dial may be gone before `done` has read it */
    memcpy(error, dial->error, sizeof error);
    result.error = error;
    dial_free(dial);
    done(arg, &result);
}

static void dial_fail(struct dial *dial, int status, const char *words)
{
    dial->status = status;
    snprintf(dial->error, sizeof dial->error, "%s", words);
}

/* --- addresses, one after the other --- */

static void try_next(struct dial *dial);

static void address_failed(struct dial *dial, int status)
{
    char text[ADDRESS_TEXT_MAX], words[DIAL_ERROR_MAX];
    address_text((const struct sockaddr *)&dial->addresses[dial->next - 1], text);
    snprintf(words, sizeof words, "could not connect to %s: %s (check host and port)", text, strerror(-status));
    dial_fail(dial, status == -ETIMEDOUT || status == -ENETUNREACH ? -EHOSTUNREACH : status, words);
    try_next(dial);
}

static void on_connected(uv_poll_t *poll, int status, int events)
{
    struct dial *dial = container_of(poll, struct attempt, poll)->dial;
    int error = 0, on = 1;
    socklen_t length = sizeof error;
    (void)events;
    int fd = attempt_end(dial);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        error = errno;
    if (error == 0 && status < 0)
        error = -status;
    if (error) {
        close(fd);
        address_failed(dial, -error);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    dial_finish(dial, fd);
}

static void on_timeout(uv_timer_t *timer)
{
    struct dial *dial = container_of(timer, struct dial, timer);
    if (dial->attempt) {
        close(attempt_end(dial));
        address_failed(dial, -ETIMEDOUT);
        return;
    }
    dial_fail(dial, -EHOSTUNREACH, "the name server did not answer in time");
    dial_finish(dial, dial->status);
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

static int watch(struct dial *dial, int fd)
{
    struct attempt *attempt = mem_alloc(sizeof *attempt);
    int status = uv_poll_init(dial->loop, &attempt->poll, fd);
    if (status < 0) {
        mem_free(attempt);
        close(fd);
        return status;
    }
    attempt->dial = dial;
    attempt->fd = fd;
    dial->attempt = attempt;
    uv_poll_start(&attempt->poll, UV_WRITABLE, on_connected);
    uint64_t now = uv_now(dial->loop), left = dial->deadline > now ? dial->deadline - now : 0;
    bool last = dial->next == dial->count;
    uv_timer_start(&dial->timer, on_timeout, last || left < ADDRESS_SHARE_MS ? left : ADDRESS_SHARE_MS, 0);
    return 0;
}

static void try_next(struct dial *dial)
{
    while (dial->next < dial->count && uv_now(dial->loop) < dial->deadline) {
        int fd = address_connect(&dial->addresses[dial->next++]);
        if (fd >= 0)
            fd = watch(dial, fd);
        if (fd < 0) {
            address_failed(dial, fd);
            return;
        }
        return;
    }
    dial_finish(dial, dial->status ? dial->status : -EHOSTUNREACH);
}

/* --- names --- */

static void set_port(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET)
        ((struct sockaddr_in *)address)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
}

static void on_resolved(void *owner, const struct resolve_result *result)
{
    struct dial *dial = owner;
    dial->resolve = NULL;
    uv_timer_stop(&dial->timer);
    dial_fail(dial, result->status, result->error);
    dial->count = result->count;
    memcpy(dial->addresses, result->addresses, sizeof dial->addresses);
    for (unsigned i = 0; i < dial->count; i++)
        set_port(&dial->addresses[i], dial->port);
    try_next(dial);
}

struct dial *dial_new(uv_loop_t *loop, const char *host, uint16_t port, enum address_local local, uint64_t timeout_ms,
                      dial_done *done, void *arg)
{
    struct dial *dial = mem_alloc(sizeof *dial);
    dial->loop = loop;
    dial->port = port;
    dial->done = done;
    dial->arg = arg;
    dial->deadline = uv_now(loop) + timeout_ms;
    uv_timer_init(loop, &dial->timer);
    uv_timer_start(&dial->timer, on_timeout, timeout_ms, 0);
    dial->resolve = resolve_start(loop, host, local, on_resolved, dial);
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
