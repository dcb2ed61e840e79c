#include "remote/nfs/rpc.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/closing.h"
#include "base/jitter.h"
#include "base/text.h"
#include "base/work.h"
#include "net/address.h"
#include "net/low_port.h"

#define MACHINE       "nbd-proxy" /* the machine's name in AUTH_SYS; servers only log it */
#define VERIFIER_MAX  400
#define LAST_FRAGMENT 0x80000000u

struct nfs_rpc {
    uv_loop_t *loop;
    struct nfs_pool *pool;
    uint32_t uid, gid, xid;
    char place[ADDRESS_TEXT_MAX + 16];
    uint64_t stall_timeout_ms;
    struct sockaddr_storage to;
    int fd;
    struct work asking_work;
    bool asking; /* somebody is asked for a port (net/low_port.h): the socket must stay */
    uv_poll_t poll;
    uv_timer_t timer; /* limits the time to connect; after that the stall, while calls wait */
    bool polled;      /* `poll` is in use */
    int events;       /* that are polled for */
    bool connected, dead, closing;
    int reason; /* why it is dead */
    char error[NFS_REPLY_ERROR_MAX];

    unsigned char *out; /* what is still to be sent */
    size_t out_used, out_sent, out_room;
    unsigned asked;        /* calls in `waiting` */
    unsigned char *record; /* what has come of an answer */
    uint32_t record_used, fragment_left, unasked;
    unsigned char marker[4];
    uint32_t marker_used;
    bool last_fragment;

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
    list_move_all(&rpc->failed, &rpc->waiting);
    defer_schedule(rpc->loop, &rpc->failing);
}

static void nfs_rpc_call_end(struct nfs_call *call, const struct nfs_reply *reply)
{
    list_remove(&call->link);
    if (call->done)
        call->done(call->owner, reply);
    mem_free(call);
}

static void on_failing(struct defer *defer)
{
    struct nfs_rpc *rpc = container_of(defer, struct nfs_rpc, failing);
    while (!list_empty(&rpc->failed)) {
        struct nfs_call *call = container_of(rpc->failed.next, struct nfs_call, link);
        struct nfs_reply reply = {.verdict = REMOTE_TRANSIENT, .reason = rpc->reason};
        snprintf(reply.error, sizeof reply.error, "%s", rpc->error);
        nfs_rpc_call_end(call, &reply);
    }
}

/* --- answers --- */

static void judge_accepted(uint32_t status, struct nfs_reply *reply)
{
    if (status == 0)
        return;
    reply->unsupported = status == 1 || status == 2;
    nfs_refuse(reply, 0, "%s",
               reply->unsupported ? "the server does not offer this version of the service"
                                  : "the server refuses the question");
}

static void decode_answer(const struct nfs_call *call, struct xdr_in *in, struct nfs_reply *reply)
{
    uint32_t length;
    if (xdr_u32(in) != 0) {
        nfs_refuse(reply, 0, "the server refuses the credentials (check nfs-uid and nfs-gid)");
        return;
    }
    xdr_u32(in);
    xdr_bytes(in, VERIFIER_MAX, &length);
    judge_accepted(xdr_u32(in), reply);
    if (reply->verdict == REMOTE_OK && !in->bad)
        call->decode(call, in, reply);
    if (in->bad && reply->verdict == REMOTE_OK)
        nfs_refuse(reply, 0, "the server's answer can't be understood");
}

static void take_record(struct nfs_rpc *rpc)
{
    struct xdr_in in = {.next = rpc->record, .end = rpc->record + rpc->record_used};
    uint32_t xid = xdr_u32(&in), type = xdr_u32(&in);
    list_for_each (l, &rpc->waiting) {
        struct nfs_call *call = container_of(l, struct nfs_call, link);
        struct nfs_reply reply = {.verdict = REMOTE_OK};
        if (call->xid != xid || type != 1 || in.bad)
            continue;
        rpc->unasked = 0;
        rpc->asked--;
        if (call->done)
            decode_answer(call, &in, &reply);
        nfs_rpc_call_end(call, &reply);
        return;
    }
}

/* --- the socket --- */

static void on_nfs_rpc_poll(uv_poll_t *poll, int status, int events);

static void arm(struct nfs_rpc *rpc)
{
    int events = !rpc->connected                 ? UV_WRITABLE
                 : rpc->out_sent < rpc->out_used ? UV_READABLE | UV_WRITABLE
                                                 : UV_READABLE;
    if (rpc->dead || !rpc->polled || events == rpc->events)
        return;
    uv_poll_start(&rpc->poll, events, on_nfs_rpc_poll);
    rpc->events = events;
}

static void on_stall(uv_timer_t *timer)
{
    struct nfs_rpc *rpc = timer->data;
    if (!rpc->connected)
        rpc_die(rpc, -EHOSTUNREACH, "no connection to %s within connect-timeout (check host and port)", rpc->place);
    else
        rpc_die(rpc, 0, "nothing came from %s within stall-timeout (is this the port of its NFS? if it is slow, raise that)", rpc->place);
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

static void die_of(struct nfs_rpc *rpc, int error)
{
    if (rpc->connected)
        rpc_die(rpc, 0, "the connection to %s was lost", rpc->place);
    else
        rpc_die(rpc, error == EHOSTUNREACH || error == ENETUNREACH ? -EHOSTUNREACH : -ECONNREFUSED,
                "no connection to %s: %s (check host and port)", rpc->place, strerror(error ? error : ECONNRESET));
}

static int socket_error(const struct nfs_rpc *rpc)
{
    int error = 0;
    socklen_t length = sizeof error;
    return getsockopt(rpc->fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

/* False: there is nothing to receive now, or the connection has ended. */
static bool nfs_rpc_receive(struct nfs_rpc *rpc, unsigned char *to, uint32_t length, uint32_t *used)
{
    ssize_t n = recv(rpc->fd, to + *used, length - *used, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        die_of(rpc, n < 0 ? errno : 0);
    if (n <= 0)
        return false;
    *used += (uint32_t)n;
    rpc->unasked += (uint32_t)n;
    if (rpc->unasked > NFS_UNASKED_MAX)
        rpc_die(rpc, 0, "%s sends what no answer is", rpc->place);
    return !rpc->dead;
}

static void begin_fragment(struct nfs_rpc *rpc)
{
    uint32_t marker;
    memcpy(&marker, rpc->marker, 4);
    marker = ntohl(marker);
    rpc->last_fragment = marker & LAST_FRAGMENT;
    rpc->fragment_left = marker & ~LAST_FRAGMENT;
    if (rpc->fragment_left > NFS_RECORD_MAX - rpc->record_used)
        rpc_die(rpc, 0, "%s sends what no answer is", rpc->place);
}

static void end_fragment(struct nfs_rpc *rpc)
{
    rpc->marker_used = 0;
    if (!rpc->last_fragment)
        return;
    take_record(rpc);
    rpc->record_used = 0;
}

static bool receive_some(struct nfs_rpc *rpc)
{
    if (rpc->marker_used < 4) {
        if (!nfs_rpc_receive(rpc, rpc->marker, 4, &rpc->marker_used))
            return false;
        if (rpc->marker_used == 4)
            begin_fragment(rpc);
    } else {
        uint32_t before = rpc->record_used;
        if (!nfs_rpc_receive(rpc, rpc->record, before + rpc->fragment_left, &rpc->record_used))
            return false;
        rpc->fragment_left -= rpc->record_used - before;
    }
    if (!rpc->dead && rpc->marker_used == 4 && rpc->fragment_left == 0)
        end_fragment(rpc);
    return !rpc->dead;
}

static void send_some(struct nfs_rpc *rpc)
{
    while (!rpc->dead && rpc->out_sent < rpc->out_used) {
        ssize_t n = send(rpc->fd, rpc->out + rpc->out_sent, rpc->out_used - rpc->out_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            die_of(rpc, errno);
        if (n < 0)
            return;
        rpc->out_sent += (size_t)n;
    }
    rpc->out_used = rpc->out_sent = 0;
}

static void on_nfs_rpc_poll(uv_poll_t *poll, int status, int events)
{
    struct nfs_rpc *rpc = poll->data;
    int error = !rpc->connected || status < 0 ? socket_error(rpc) : 0;
    if (status < 0 || error) {
        die_of(rpc, error);
        return;
    }
    bool first = !rpc->connected;
    rpc->connected = true;
    if (events & UV_READABLE)
        for (int i = 0; i < NFS_RECORDS_TURN && receive_some(rpc); i++)
            ;
    if (!rpc->dead)
        send_some(rpc);
    if (first || (events & UV_READABLE))
        watch_stall(rpc);
    arm(rpc);
}

/* --- making and closing --- */

static int rpc_connect(struct nfs_rpc *rpc)
{
    socklen_t length = rpc->to.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if (connect(rpc->fd, (struct sockaddr *)&rpc->to, length) != 0 && errno != EINPROGRESS)
        return errno;
    if (uv_poll_init(rpc->loop, &rpc->poll, rpc->fd) != 0)
        return ENOMEM;
    rpc->poll.data = rpc;
    rpc->polled = true;
    return 0;
}

static void rpc_begin(struct nfs_rpc *rpc)
{
    int error = rpc_connect(rpc);
    if (error)
        die_of(rpc, error);
    arm(rpc);
}

static void close_handles(struct nfs_rpc *rpc);

static void on_nfs_rpc_ask(struct work *work)
{
    low_port_ask(container_of(work, struct nfs_rpc, asking_work)->fd);
}

/* If we may not have such a port, we connect without. */
static void on_nfs_rpc_asked(struct work *work)
{
    struct nfs_rpc *rpc = container_of(work, struct nfs_rpc, asking_work);
    rpc->asking = false;
    if (rpc->closing)
        close_handles(rpc);
    else if (!rpc->dead)
        rpc_begin(rpc);
}

/* A server may believe only clients with a port that only root can have. */
static void rpc_bind(struct nfs_rpc *rpc)
{
    if (low_port_bind(rpc->fd) == -EACCES && low_port_can_ask()) {
        rpc->asking = true;
        work_start(rpc->loop, &rpc->asking_work, on_nfs_rpc_ask, on_nfs_rpc_asked);
    } else {
        rpc_begin(rpc);
    }
}

static void set_address(struct nfs_rpc *rpc, const struct sockaddr *address, uint16_t port)
{
    bool four = address->sa_family == AF_INET;
    memcpy(&rpc->to, address, four ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
    if (four)
        ((struct sockaddr_in *)&rpc->to)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)&rpc->to)->sin6_port = htons(port);
}

static void rpc_open(struct nfs_rpc *rpc)
{
    int on = 1; /* questions are small, and several are under way */
    rpc->fd = socket(rpc->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (rpc->fd < 0) {
        die_of(rpc, errno);
        return;
    }
    setsockopt(rpc->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    rpc_bind(rpc);
}

struct nfs_rpc *nfs_rpc_new(const struct nfs_rpc_options *options, const struct sockaddr *address, uint16_t port)
{
    struct nfs_rpc *rpc = mem_alloc(sizeof *rpc);
    char number[ADDRESS_TEXT_MAX];
    rpc->loop = options->loop;
    rpc->pool = options->pool;
    rpc->pool->count++;
    rpc->uid = options->uid;
    rpc->gid = options->gid;
    rpc->xid = (uint32_t)jitter_number();
    rpc->stall_timeout_ms = options->stall_timeout_ms;
    rpc->record = mem_alloc(NFS_RECORD_MAX);
    list_init(&rpc->waiting);
    list_init(&rpc->failed);
    defer_setup(&rpc->failing, on_failing);
    uv_timer_init(rpc->loop, &rpc->timer);
    rpc->timer.data = rpc;
    address_text(address, number);
    snprintf(rpc->place, sizeof rpc->place, "%s port %u", number, port);
    set_address(rpc, address, port);
    uv_timer_start(&rpc->timer, on_stall, options->connect_timeout_ms, 0);
    rpc_open(rpc);
    return rpc;
}

static void on_nfs_rpc_closed(struct closing *closing)
{
    struct nfs_rpc *rpc = container_of(closing, struct nfs_rpc, closer);
    struct nfs_pool *pool = rpc->pool;
    defer_cancel(&rpc->failing);
    for (struct link *l = list_pop(&rpc->failed); l; l = list_pop(&rpc->failed))
        mem_free(container_of(l, struct nfs_call, link));
    if (rpc->fd >= 0)
        close(rpc->fd);
    mem_free(rpc->out);
    mem_free(rpc->record);
    mem_free(rpc);
    if (--pool->count == 0 && pool->empty)
        pool->empty(pool);
}

static void close_handles(struct nfs_rpc *rpc)
{
    closing_begin(&rpc->closer, rpc->loop, on_nfs_rpc_closed);
    if (rpc->polled)
        closing_add(&rpc->closer, (uv_handle_t *)&rpc->poll);
    closing_add(&rpc->closer, (uv_handle_t *)&rpc->timer);
    closing_end(&rpc->closer);
}

void nfs_rpc_close(struct nfs_rpc *rpc)
{
    if (!rpc || rpc->closing)
        return;
    rpc->closing = true;
    rpc_die(rpc, -ECANCELED, "closed");
    list_for_each (l, &rpc->failed)
        container_of(l, struct nfs_call, link)->done = NULL;
    if (!rpc->asking)
        close_handles(rpc);
}

bool nfs_rpc_connected(const struct nfs_rpc *rpc)
{
    return rpc->connected;
}

bool nfs_rpc_ended(const struct nfs_rpc *rpc)
{
    return rpc->dead;
}

/* --- calls --- */

static void put_credentials(const struct nfs_rpc *rpc, struct xdr_out *out)
{
    struct xdr_out body;
    body.used = 0;
    xdr_put_u32(&body, 0);
    xdr_put_bytes(&body, MACHINE, sizeof MACHINE - 1);
    xdr_put_u32(&body, rpc->uid);
    xdr_put_u32(&body, rpc->gid);
    xdr_put_u32(&body, 0);
    xdr_put_u32(out, 1); /* AUTH_SYS */
    xdr_put_bytes(out, body.data, (uint32_t)body.used);
    xdr_put_u64(out, 0); /* no verifier */
}

struct nfs_call *nfs_call_new(struct nfs_rpc *rpc, uint32_t program, uint32_t version, uint32_t procedure,
                              struct xdr_out *out, nfs_decode decode, nfs_done done, void *owner)
{
    struct nfs_call *call = mem_alloc(sizeof *call);
    list_init(&call->link);
    call->rpc = rpc;
    call->xid = rpc->xid++;
    call->decode = decode;
    call->done = done;
    call->owner = owner;
    out->used = 4; /* the marker's place */
    xdr_put_u32(out, call->xid);
    xdr_put_u32(out, 0);
    xdr_put_u32(out, 2);
    xdr_put_u32(out, program);
    xdr_put_u32(out, version);
    xdr_put_u32(out, procedure);
    put_credentials(rpc, out);
    return call;
}

static void put_question(struct nfs_rpc *rpc, const struct xdr_out *out)
{
    uint32_t marker = htonl(LAST_FRAGMENT | (uint32_t)(out->used - 4));
    if (rpc->out_sent > 0) {
        rpc->out_used -= rpc->out_sent;
        memmove(rpc->out, rpc->out + rpc->out_sent, rpc->out_used);
        rpc->out_sent = 0;
    }
    if (rpc->out_used + out->used > rpc->out_room) {
        rpc->out_room = 2 * (rpc->out_used + out->used);
        rpc->out = mem_realloc(rpc->out, rpc->out_room);
    }
    memcpy(rpc->out + rpc->out_used, &marker, 4);
    memcpy(rpc->out + rpc->out_used + 4, out->data + 4, out->used - 4);
    rpc->out_used += out->used;
}

void nfs_call_send(struct nfs_call *call, const struct xdr_out *out)
{
    struct nfs_rpc *rpc = call->rpc;
    if (rpc->asked >= NFS_CALLS_MAX || rpc->out_used - rpc->out_sent + out->used > NFS_QUESTIONS_MAX)
        rpc_die(rpc, 0, "%s leaves too many questions without an answer", rpc->place);
    if (rpc->dead) {
        list_append(&rpc->failed, &call->link);
        defer_schedule(rpc->loop, &rpc->failing);
        return;
    }
    put_question(rpc, out);
    bool first = list_empty(&rpc->waiting);
    list_append(&rpc->waiting, &call->link);
    rpc->asked++;
    if (first)
        watch_stall(rpc);
    arm(rpc);
}

void nfs_call_cancel(struct nfs_call *call)
{
    if (call)
        call->done = NULL;
}
