/*
 * What an NFS server answers, of versions 3 and 4 and the services beside it: no crash, no leak, each question is
 * answered once, and what is taken for good keeps its bounds.
 *
 * The first byte: which question (7: all that finding a file takes, and a read of it), the version (8), and whether
 * the rest is the stream as the server sends it (16), cut into parts by what remains of the byte, or messages, each a
 * length of two bytes and what follows the header's number and type: they answer the questions in their order.
 *
 * The linker puts functions here in the place of those that would lead to the network, and of random(): all calls'
 * numbers are known.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/defer.h"
#include "base/text.h"
#include "remote/nfs/find.h"

#define FIRST_XID   0x01020304
#define COUNT       4096u
#define PEERS_MAX   64
#define TURNS_MAX   4000
#define INPUT_MAX   65536
#define RAW_PART    (1 + (input.first >> 5) * 97)
#define ASKS_ALL(n) ((n) == 7)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
long __wrap_random(void);
int __wrap_socket(int family, int type, int protocol);
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length);
struct resolve *__wrap_resolve_start(uv_loop_t *loop, const char *host, enum address_local local,
                                     void (*done)(void *owner, const struct resolve_result *result), void *owner);
void __wrap_resolve_cancel(struct resolve *resolve);

/* --- the network --- */

static int peers[PEERS_MAX];
static unsigned peer_count;

long __wrap_random(void)
{
    return FIRST_XID;
}

int __wrap_socket(int family, int type, int protocol)
{
    int pair[2];
    (void)family, (void)protocol;
    if (peer_count == PEERS_MAX || socketpair(AF_UNIX, type, 0, pair) != 0)
        abort();
    peers[peer_count++] = pair[1];
    return pair[0];
}

int __wrap_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    (void)fd, (void)address, (void)length;
    return 0;
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    (void)fd, (void)address, (void)length;
    return 0;
}

struct resolve {
    struct defer defer;
    void (*done)(void *owner, const struct resolve_result *result);
    void *owner;
};

static const struct sockaddr_in server = {.sin_family = AF_INET};

static void on_resolving(struct defer *defer)
{
    struct resolve *resolve = container_of(defer, struct resolve, defer);
    struct resolve_result result = {.count = 1};
    memcpy(result.addresses, &server, sizeof server);
    resolve->done(resolve->owner, &result);
    free(resolve);
}

struct resolve *__wrap_resolve_start(uv_loop_t *loop, const char *host, enum address_local local,
                                     void (*done)(void *owner, const struct resolve_result *result), void *owner)
{
    struct resolve *resolve = malloc(sizeof *resolve);
    (void)host, (void)local;
    resolve->done = done;
    resolve->owner = owner;
    defer_setup(&resolve->defer, on_resolving);
    defer_schedule(loop, &resolve->defer);
    return resolve;
}

void __wrap_resolve_cancel(struct resolve *resolve)
{
    if (resolve)
        abort(); /* nothing is cancelled so early */
}

/* --- the server --- */

static struct {
    uint8_t first;
    const uint8_t *next, *end;
} input;

static void give(int fd, const void *bytes, size_t length)
{
    ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)n; /* what does not go is lost, as with a server that hangs up */
}

/* One message for each question of those that came. False: there are no more. */
static bool give_messages(int fd, const uint8_t *questions, size_t length)
{
    uint32_t question;
    for (size_t at = 0; at + 8 <= length; at += 4 + (ntohl(question) & 0x7fffffff)) {
        static uint8_t answer[12 + UINT16_MAX] = {[11] = 1};
        size_t left = (size_t)(input.end - input.next), n;
        memcpy(&question, questions + at, 4);
        if (left < 2)
            return false;
        n = (size_t)input.next[0] << 8 | input.next[1];
        n = n < left - 2 ? n : left - 2;
        uint32_t marker = htonl(0x80000000u | (uint32_t)(8 + n));
        memcpy(answer, &marker, 4);
        memcpy(answer + 4, questions + at + 4, 4);
        memcpy(answer + 12, input.next + 2, n);
        input.next += 2 + n;
        give(fd, answer, 12 + n);
    }
    return true;
}

/* False: the input is at its end. */
static bool serve(void)
{
    static uint8_t questions[65536];
    bool more = true;
    for (unsigned i = 0; i < peer_count; i++) {
        ssize_t n = recv(peers[i], questions, sizeof questions, MSG_DONTWAIT);
        if (n > 0 && !(input.first & 16))
            more = give_messages(peers[i], questions, (size_t)n) && more;
    }
    if ((input.first & 16) && peer_count > 0) {
        size_t left = (size_t)(input.end - input.next), n = left < RAW_PART ? left : RAW_PART;
        give(peers[peer_count - 1], input.next, n);
        input.next += n;
        more = left > 0;
    }
    return more;
}

static void hang_up(void)
{
    for (; peer_count > 0; peer_count--)
        close(peers[peer_count - 1]);
}

/* --- the questions --- */

static unsigned asked, answered;
static struct nfs_session *session;

static volatile uint8_t seen; /* each byte is read */

static uint8_t sum(const uint8_t *bytes, size_t length)
{
    uint8_t total = 0;
    for (size_t i = 0; i < length; i++)
        total ^= bytes[i];
    return total;
}

static void on_answer(void *owner, const struct nfs_reply *reply)
{
    const char *what = owner;
    answered++;
    if (reply->verdict != REMOTE_OK) {
        if (!*reply->error || strlen(reply->error) >= sizeof reply->error)
            abort();
        return;
    }
    if (strchr(what, 'd') && (reply->length > COUNT || !reply->data))
        abort();
    if (reply->data)
        seen = sum(reply->data, reply->length);
    if (strchr(what, 'h') && (reply->handle.length == 0 || reply->handle.length > NFS_HANDLE_MAX))
        abort();
    if (strchr(what, 'l') && (!*reply->link || strlen(reply->link) >= NFS_LINK_MAX))
        abort();
    if (reply->port > UINT16_MAX || (strchr(what, 'a') && !reply->attributes.known))
        abort();
}

static void on_found(void *owner, struct nfs_found *found)
{
    (void)owner;
    answered++;
    session = found->session;
    if (found->verdict != REMOTE_OK) {
        if (session || !*found->error)
            abort();
        return;
    }
    if (session->attributes.type != NFS_FILE || session->attributes.size == 0 || session->handle.length == 0)
        abort();
    asked++;
    session->protocol->read(session->rpc, &session->handle, session->attributes.size - 1, COUNT, on_answer, "d");
}

static void ask(struct nfs_rpc *rpc, const struct nfs_protocol *protocol, unsigned what)
{
    static const struct nfs_handle handle = {.length = 3, .data = "abc"};
    asked++;
    if (what == 0)
        protocol->lookup(rpc, protocol->version == 4 ? NULL : &handle, "name", on_answer, "h");
    else if (what == 1)
        protocol->lookup(rpc, &handle, "name", on_answer, "h");
    else if (what == 2)
        protocol->readlink(rpc, &handle, on_answer, "l");
    else if (what == 3)
        protocol->attributes(rpc, &handle, on_answer, "a");
    else if (what == 4)
        protocol->limits(rpc, &handle, on_answer, "");
    else if (what == 5 || protocol->version == 4)
        protocol->read(rpc, &handle, 1, COUNT, on_answer, "d");
    else
        nfs_ask_mount(rpc, "/folder", on_answer, "h");
    asked++;
    nfs_ask_mount_port(rpc, on_answer, "");
}

static void run(uv_loop_t *loop)
{
    struct nfs_pool pool = {0};
    struct nfs_find_options options = {
        .address = {.host = "server", .path = "/exports/one/image", .uid = -1, .gid = -1, .mount_port = 0},
        .rpc = {.loop = loop, .pool = &pool, .connect_timeout_ms = 60000, .stall_timeout_ms = 60000},
        .version = input.first & 8                             ? 4
                   : input.next < input.end && *input.next & 1 ? 3
                                                               : 0,
    };
    const struct nfs_protocol *protocol = input.first & 8 ? &nfs_protocol_4 : &nfs_protocol_3;
    struct nfs_rpc *rpc = NULL;
    asked = answered = 0;
    session = NULL;
    if (ASKS_ALL(input.first & 7)) {
        asked++;
        nfs_find_start(&options, on_found, NULL);
    } else {
        rpc = nfs_rpc_new(&options.rpc, (const struct sockaddr *)&server, 1);
        ask(rpc, protocol, input.first & 7);
    }
    bool more = true;
    for (unsigned turn = 0; more && turn < TURNS_MAX && answered < asked; turn++) {
        uv_run(loop, UV_RUN_NOWAIT);
        more = serve();
    }
    uv_run(loop, UV_RUN_NOWAIT);
    /* Then nobody is there; who tries another version, or follows a link, finds nobody again. */
    for (unsigned turn = 0; answered < asked; turn++) {
        hang_up();
        uv_run(loop, UV_RUN_NOWAIT);
        if (turn > TURNS_MAX)
            abort();
    }
    nfs_rpc_close(rpc);
    nfs_session_unref(session);
    uv_run(loop, UV_RUN_DEFAULT);
    hang_up();
    if (pool.count != 0 || answered != asked)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uv_loop_t loop;
    if (size < 1 || size > INPUT_MAX)
        return 0;
    input.first = data[0];
    input.next = data + 1;
    input.end = data + size;
    uv_loop_init(&loop);
    defer_init(&loop);
    run(&loop);
    defer_close(&loop);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop) != 0)
        abort();
    return 0;
}
