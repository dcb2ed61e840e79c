#include "source/nfs_rpc.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <nfsc/libnfs-zdr.h> /* before the others, which need it */

#include <nfsc/libnfs.h>

#include <nfsc/libnfs-raw.h>

#include "base/closing.h"
#include "base/log.h"
#include "base/text.h"
#include "net/address.h"
#include "net/tcp_received.h"

#define MACHINE "nbd-proxy" /* the machine's name in AUTH_SYS; servers only log it */

struct nfs_rpc {
    uv_loop_t *loop;
    struct nfs_pool *pool;
    struct rpc_context *context; /* NULL: it has ended */
    char place[ADDRESS_TEXT_MAX + 16];
    uint64_t stall_timeout_ms;
    uv_poll_t poll;
    uv_timer_t timer; /* until it is connected: that time; then while calls wait: the stall's */
    bool polled;      /* the handle is there */
    int events;       /* that are polled for */
    bool connected, dead, closing;
    uint64_t answered_bytes; /* received when the last answer came */
    int reason;              /* dead: why */
    char error[NFS_REPLY_ERROR_MAX];
    struct link waiting, failed; /* calls */
    struct defer failing;
    struct closing closer;
};

/* --- its end --- */

__attribute__((format(printf, 3, 4))) static void rpc_die(struct nfs_rpc *rpc, int reason, const char *format, ...)
{
    va_list args;
    if (rpc->dead)
        return;
    va_start(args, format);
    vsnprintf(rpc->error, sizeof rpc->error, format, args);
    va_end(args);
    rpc->dead = true;
    rpc->reason = reason;
    if (rpc->polled)
        uv_poll_stop(&rpc->poll);
    uv_timer_stop(&rpc->timer);
    defer_schedule(rpc->loop, &rpc->failing); /* libnfs may be calling us */
}

static void end_context(struct nfs_rpc *rpc)
{
    struct rpc_context *context = rpc->context;
    rpc->context = NULL;
    if (context)
        rpc_destroy_context(context); /* answers what waits, as cancelled */
}

static void call_fail(struct nfs_call *call)
{
    struct nfs_rpc *rpc = call->rpc;
    list_remove(&call->link);
    list_append(&rpc->failed, &call->link);
    defer_schedule(rpc->loop, &rpc->failing);
}

static void call_end(struct nfs_call *call, const struct nfs_reply *reply)
{
    list_remove(&call->link);
    if (call->done)
        call->done(call->owner, reply);
    mem_free(call);
}

static void on_failing(struct defer *defer)
{
    struct nfs_rpc *rpc = container_of(defer, struct nfs_rpc, failing);
    if (rpc->dead)
        end_context(rpc);
    while (!list_empty(&rpc->failed)) {
        struct nfs_call *call = container_of(rpc->failed.next, struct nfs_call, link);
        struct nfs_reply reply = {.verdict = rpc->dead ? REMOTE_TRANSIENT : REMOTE_REFUSED,
                                  .unsupported = call->unsupported};
        reply.reason = rpc->dead ? rpc->reason : 0;
        snprintf(reply.error, sizeof reply.error, "%s", rpc->dead ? rpc->error : call->error);
        call_end(call, &reply);
    }
}

/* --- the socket --- */

static void on_poll(uv_poll_t *poll, int status, int events);

static void arm(struct nfs_rpc *rpc)
{
    if (rpc->dead || !rpc->polled)
        return;
    int wanted = rpc_which_events(rpc->context), events = UV_READABLE;
    if (!rpc->connected)
        events = UV_WRITABLE;
    else if (wanted & POLLOUT)
        events |= UV_WRITABLE;
    if (events != rpc->events)
        uv_poll_start(&rpc->poll, events, on_poll);
    rpc->events = events;
}

static void on_stall(uv_timer_t *timer)
{
    struct nfs_rpc *rpc = timer->data;
    if (!rpc->connected)
        rpc_die(rpc, 0, "no connection to %s within connect-timeout (check host and port)", rpc->place);
    else
        rpc_die(rpc, 0, "nothing came from %s within stall-timeout", rpc->place);
}

/* Runs while an answer is due. */
static void watch_stall(struct nfs_rpc *rpc)
{
    if (!rpc->connected || rpc->dead)
        return;
    if (list_empty(&rpc->waiting))
        uv_timer_stop(&rpc->timer);
    else
        uv_timer_start(&rpc->timer, on_stall, rpc->stall_timeout_ms, 0);
}

static int socket_error(const struct nfs_rpc *rpc)
{
    int error = 0;
    socklen_t length = sizeof error;
    return getsockopt(rpc_get_fd(rpc->context), SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

static void die_of(struct nfs_rpc *rpc, int error)
{
    if (rpc->connected)
        rpc_die(rpc, 0, "the connection to %s was lost", rpc->place);
    else
        rpc_die(rpc, error == EHOSTUNREACH || error == ENETUNREACH ? -EHOSTUNREACH : -ECONNREFUSED,
                "no connection to %s: %s (check host and port)", rpc->place, strerror(error ? error : ECONNRESET));
}

static uint64_t received_bytes(const struct nfs_rpc *rpc)
{
    return tcp_received(rpc_get_fd(rpc->context));
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct nfs_rpc *rpc = poll->data;
    if (status < 0 || (!rpc->connected && (status = socket_error(rpc)) != 0)) {
        die_of(rpc, status < 0 ? socket_error(rpc) : status);
        return;
    }
    int flags = (events & UV_READABLE ? POLLIN : 0) | (events & UV_WRITABLE ? POLLOUT : 0);
    bool first = !rpc->connected;
    rpc->connected = true;
    if (rpc_service(rpc->context, flags) < 0) {
        log_debug("nfs", "%s: %s", rpc->place, rpc_get_error(rpc->context) ? rpc_get_error(rpc->context) : "closed");
        die_of(rpc, 0);
    } else if (received_bytes(rpc) > rpc->answered_bytes + NFS_ANSWER_MAX) {
        rpc_die(rpc, 0, "%s sends what no answer is", rpc->place);
    }
    if (first || (events & UV_READABLE))
        watch_stall(rpc);
    arm(rpc);
}

/* --- making and closing --- */

static void write_place(struct nfs_rpc *rpc, const struct sockaddr *address, char number[ADDRESS_TEXT_MAX],
                        uint16_t port)
{
    address_text(address, number);
    snprintf(rpc->place, sizeof rpc->place, "%s port %u", number, port);
}

static void rpc_connect(struct nfs_rpc *rpc, const char *number, uint16_t port, uint64_t timeout_ms)
{
    if (rpc_connect_async(rpc->context, number, port, nfs_call_answered, NULL) != 0 || rpc_get_fd(rpc->context) < 0 ||
        uv_poll_init(rpc->loop, &rpc->poll, rpc_get_fd(rpc->context)) != 0) {
        rpc_die(rpc, -EHOSTUNREACH, "no connection to %s can be made (check the host)", rpc->place);
        return;
    }
    rpc->polled = true;
    rpc->poll.data = rpc;
    uv_timer_start(&rpc->timer, on_stall, timeout_ms, 0);
    arm(rpc);
}

struct nfs_rpc *nfs_rpc_new(const struct nfs_rpc_options *options, const struct sockaddr *address, uint16_t port)
{
    struct nfs_rpc *rpc = mem_alloc(sizeof *rpc);
    char number[ADDRESS_TEXT_MAX];
    rpc->loop = options->loop;
    rpc->pool = options->pool;
    rpc->pool->count++;
    rpc->stall_timeout_ms = options->stall_timeout_ms;
    list_init(&rpc->waiting);
    list_init(&rpc->failed);
    defer_setup(&rpc->failing, on_failing);
    uv_timer_init(rpc->loop, &rpc->timer);
    rpc->timer.data = rpc;
    rpc->context = rpc_init_context();
    struct AUTH *auth = libnfs_authunix_create(MACHINE, options->uid, options->gid, 0, NULL);
    if (!rpc->context || !auth)
        mem_exhausted();
    rpc_set_auth(rpc->context, auth);
    write_place(rpc, address, number, port);
    rpc_connect(rpc, number, port, options->connect_timeout_ms);
    return rpc;
}

static void on_closed(struct closing *closing)
{
    struct nfs_rpc *rpc = container_of(closing, struct nfs_rpc, closer);
    struct nfs_pool *pool = rpc->pool;
    end_context(rpc);
    defer_cancel(&rpc->failing);
    for (struct link *l = list_pop(&rpc->failed); l; l = list_pop(&rpc->failed))
        mem_free(container_of(l, struct nfs_call, link));
    mem_free(rpc);
    if (--pool->count == 0 && pool->empty)
        pool->empty(pool);
}

void nfs_rpc_close(struct nfs_rpc *rpc)
{
    if (!rpc || rpc->closing)
        return;
    rpc->closing = true;
    list_for_each (l, &rpc->waiting)
        container_of(l, struct nfs_call, link)->done = NULL;
    list_for_each (l, &rpc->failed)
        container_of(l, struct nfs_call, link)->done = NULL;
    rpc_die(rpc, -ECANCELED, "closed");
    closing_begin(&rpc->closer, rpc->loop, on_closed);
    if (rpc->polled)
        closing_add(&rpc->closer, (uv_handle_t *)&rpc->poll);
    closing_add(&rpc->closer, (uv_handle_t *)&rpc->timer);
    closing_end(&rpc->closer);
}

bool nfs_rpc_connected(const struct nfs_rpc *rpc)
{
    return rpc->connected;
}

/* --- calls --- */

struct rpc_context *nfs_rpc_context(struct nfs_rpc *rpc)
{
    return rpc->dead ? NULL : rpc->context;
}

struct nfs_call *nfs_call_new(struct nfs_rpc *rpc,
                              void (*decode)(const struct nfs_call *call, const void *data, struct nfs_reply *reply),
                              void (*done)(void *owner, const struct nfs_reply *reply), void *owner)
{
    struct nfs_call *call = mem_alloc(sizeof *call);
    call->rpc = rpc;
    call->decode = decode;
    call->done = done;
    call->owner = owner;
    list_init(&call->link);
    return call;
}

void nfs_call_sent(struct nfs_call *call, int status)
{
    struct nfs_rpc *rpc = call->rpc;
    bool first = list_empty(&rpc->waiting);
    list_append(&rpc->waiting, &call->link);
    if (status != 0) {
        snprintf(call->error, sizeof call->error, "the question can't be asked");
        call_fail(call);
        return;
    }
    if (first)
        watch_stall(rpc);
    arm(rpc);
}

/* libnfs tells what the RPC layer refused in words only. */
static void note_refusal(struct nfs_call *call, const char *text)
{
    call->unsupported = strstr(text, "version mismatch") || strstr(text, "not available");
    snprintf(call->error, sizeof call->error, "%s",
             call->unsupported                 ? "the server does not offer this version of the service"
             : strstr(text, "rejected by")     ? "the server's answer can't be understood"
             : strstr(text, "not accepted by") ? "the server refuses the credentials (check nfs-uid and nfs-gid)"
                                               : "the server refuses the question");
}

void nfs_call_answered(struct rpc_context *context, int status, void *data, void *arg)
{
    struct nfs_call *call = arg;
    (void)context;
    if (!call)
        return; /* of the connection: on_poll() knows already */
    struct nfs_rpc *rpc = call->rpc;
    if (status != RPC_STATUS_SUCCESS || rpc->dead || !data) {
        if (status == RPC_STATUS_ERROR && data && !rpc->dead)
            note_refusal(call, data);
        call_fail(call);
        return;
    }
    struct nfs_reply reply = {.verdict = REMOTE_OK};
    rpc->answered_bytes = received_bytes(rpc);
    if (call->done)
        call->decode(call, data, &reply);
    call_end(call, &reply);
}

void nfs_call_cancel(struct nfs_call *call)
{
    if (call)
        call->done = NULL;
}
