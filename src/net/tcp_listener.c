#include "net/tcp_listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "net/address.h"
#include "net/socket.h"

#define KEEPALIVE_IDLE_S     60 /* a peer that vanished is noticed in about two minutes */
#define KEEPALIVE_INTERVAL_S 20
#define KEEPALIVE_COUNT      3

struct tcp_listener {
    uv_pipe_t handle;               /* of any stream socket */
    struct listener *unix_listener; /* instead of `handle` */
    tcp_listener_accept *accept;
    void *owner;
    struct tcp_limits *limits;
    char *address;
    bool local;
};

struct failure {
    int *status;
    char *text;
    size_t size;
};

__attribute__((format(printf, 3, 4))) static void *failed(const struct failure *failure, int status, const char *format,
                                                          ...)
{
    va_list args;
    va_start(args, format);
    *failure->status = status;
    vsnprintf(failure->text, failure->size, format, args);
    va_end(args);
    return NULL;
}

/* --- limits --- */

struct tcp_source {
    struct link link; /* in limits->addresses */
    uint8_t key[9];   /* family, then 4 or 8 bytes */
    unsigned count;
};

struct tcp_claim {
    struct tcp_limits *limits;
    struct tcp_source *source; /* NULL: a UNIX socket */
};

void tcp_limits_init(struct tcp_limits *limits, unsigned max, unsigned max_each)
{
    *limits = (struct tcp_limits){.max = max, .max_each = max_each};
    list_init(&limits->addresses);
}

static bool source_key(const struct tcp_limits *limits, const struct sockaddr_storage *address, uint8_t key[9])
{
    struct sockaddr_storage plain;
    tcp_address_unmap(address, &plain);
    if (limits->proxies && address_prefixes_have(limits->proxies, (const struct sockaddr *)&plain))
        return false;
    memset(key, 0, 9);
    key[0] = (uint8_t)plain.ss_family;
    if (plain.ss_family == AF_INET)
        memcpy(key + 1, &((const struct sockaddr_in *)(const void *)&plain)->sin_addr, 4);
    else if (plain.ss_family == AF_INET6)
        memcpy(key + 1, &((const struct sockaddr_in6 *)(const void *)&plain)->sin6_addr, 8);
    else
        return false;
    return true;
}

/* There are never more of them than connections. */
static struct tcp_source *find_source(struct tcp_limits *limits, const uint8_t key[9])
{
    list_for_each (l, &limits->addresses) {
        struct tcp_source *source = container_of(l, struct tcp_source, link);
        if (memcmp(source->key, key, sizeof source->key) == 0)
            return source;
    }
    struct tcp_source *source = mem_alloc(sizeof *source);
    memcpy(source->key, key, sizeof source->key);
    list_append(&limits->addresses, &source->link);
    return source;
}

static void drop_source(struct tcp_source *source)
{
    if (!source || source->count > 0)
        return;
    list_remove(&source->link);
    mem_free(source);
}

static void on_claim_freed(void *arg)
{
    struct tcp_claim *claim = arg;
    claim->limits->count--;
    if (claim->source)
        claim->source->count--;
    drop_source(claim->source);
    mem_free(claim);
}

static bool is_taken(const struct tcp_limits *limits, const struct tcp_source *source)
{
    return source && limits->max_each && source->count >= limits->max_each;
}

static bool has_room(const struct tcp_limits *limits)
{
    return !limits->max || limits->count < limits->max ||
           (limits->make_room && limits->count < limits->max + TCP_LEAVING_MAX &&
            limits->make_room(limits->make_room_arg));
}

/* Counts the connection until its stream is freed; NULL if that would be one too many. */
static struct tcp_claim *claim(struct tcp_limits *limits, struct stream *stream, const struct sockaddr_storage *address)
{
    uint8_t key[9];
    struct tcp_source *source = source_key(limits, address, key) ? find_source(limits, key) : NULL;
    if (is_taken(limits, source) || !has_room(limits)) {
        drop_source(source);
        limits->refused++;
        return NULL;
    }
    struct tcp_claim *c = mem_alloc(sizeof *c);
    *c = (struct tcp_claim){limits, source};
    limits->count++;
    if (source)
        source->count++;
    socket_on_free(stream, on_claim_freed, c);
    return c;
}

bool tcp_claim_move(struct tcp_claim *claim, const char *address)
{
    struct sockaddr_storage parsed;
    uint8_t key[9];
    struct tcp_source *old = claim->source, *source = NULL;
    if (address && address_parse(address, &parsed) && source_key(claim->limits, &parsed, key))
        source = find_source(claim->limits, key);
    if (source == old)
        return true;
    bool taken = is_taken(claim->limits, source);
    claim->source = taken ? NULL : source;
    if (claim->source)
        source->count++;
    else
        drop_source(source);
    if (old)
        old->count--;
    drop_source(old);
    return !taken;
}

unsigned tcp_claim_share(const struct tcp_claim *claim)
{
    return claim->source ? claim->source->count : 1;
}

/* --- connections --- */

static void on_tcp_listener_refused_closed(struct stream *stream)
{
    stream_free(stream);
}

static void tcp_listener_refuse(struct stream *stream)
{
    stream->on_closed = on_tcp_listener_refused_closed;
    stream_close(stream);
}

static void tcp_listener_tune(int fd)
{
    const struct {
        int level, name, value;
    } options[] = {{IPPROTO_TCP, TCP_NODELAY, 1}, /* answers leave in one call anyway */
                   {SOL_SOCKET, SO_KEEPALIVE, 1},
                   {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
                   {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
                   {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT},
                   {IPPROTO_TCP, TCP_USER_TIMEOUT, TCP_DEAD_MS}};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof options[i].value);
}

static void add_connection(struct tcp_listener *listener, struct stream *stream)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof address;
    char peer[TCP_ADDRESS_SIZE];
    int fd = socket_fd(stream);
    if (fd < 0 || getpeername(fd, (struct sockaddr *)&address, &length) != 0) { /* it is gone already */
        tcp_listener_refuse(stream);
        return;
    }
    struct tcp_claim *claimed = listener->limits ? claim(listener->limits, stream, &address) : NULL;
    if (listener->limits && !claimed) {
        tcp_listener_refuse(stream);
        return;
    }
    if (address.ss_family != AF_UNIX)
        tcp_listener_tune(fd);
    tcp_address_text(&address, peer);
    listener->accept(listener, stream, peer, claimed);
}

static void on_tcp_listener_connection(uv_stream_t *server, int status)
{
    struct stream *stream = status == 0 ? socket_stream_accept(server) : NULL;
    if (stream)
        add_connection(container_of((uv_pipe_t *)server, struct tcp_listener, handle), stream);
}

static void on_unix_connection(struct listener *unix_listener, struct stream *stream)
{
    add_connection(listener_owner(unix_listener), stream);
}

/* --- listening --- */

/* An address that no interface has may come later, by DHCP, a slow link or the end of IPv6's check for duplicates:
 * ip(7), IP_FREEBIND. */
static int bind_now_or_ahead(int fd, const struct sockaddr_storage *address, const char *text)
{
    bool ipv6 = address->ss_family == AF_INET6;
    socklen_t length = ipv6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int on = 1, status = bind(fd, (const struct sockaddr *)address, length);
    if (status == 0 || errno != EADDRNOTAVAIL)
        return status;
    setsockopt(fd, ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, ipv6 ? IPV6_FREEBIND : IP_FREEBIND, &on, sizeof on);
    status = bind(fd, (const struct sockaddr *)address, length);
    if (status == 0)
        log_warning("listen", "%s: no interface has this address yet (it is served from when one has)", text);
    return status;
}

static int bind_address(const struct sockaddr_storage *address, const char *text, const struct failure *failure)
{
    bool ipv6 = address->ss_family == AF_INET6;
    int on = 1, off = 0, fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        failed(failure, -errno, "%s: %s%s", text, strerror(errno), ipv6 ? " (without IPv6, take 0.0.0.0)" : "");
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (ipv6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind_now_or_ahead(fd, address, text) == 0)
        return fd;
    int error = errno;
    failed(failure, -error, "%s: %s%s", text, strerror(error),
           error == EADDRINUSE      ? " (stop who listens there, or choose another port)"
           : error == EADDRNOTAVAIL ? " (no interface has this address)"
           : error == EACCES        ? " (ports below 1024 need CAP_NET_BIND_SERVICE)"
                                    : "");
    close(fd);
    return -1;
}

/* A socket that somebody else made must be a listening stream socket. */
static bool check_adopted(int fd, const struct failure *failure)
{
    int listening = 0, type = 0;
    socklen_t length = sizeof listening;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && listening && type == SOCK_STREAM)
        return true;
    failed(failure, -EINVAL, "fd %d: not a listening stream socket (see ListenStream= and Accept=no)", fd);
    return false;
}

static void on_tcp_listener_closed(uv_handle_t *handle)
{
    struct tcp_listener *listener = container_of((uv_pipe_t *)handle, struct tcp_listener, handle);
    mem_free(listener->address);
    mem_free(listener);
}

static struct tcp_listener *tcp_listener_listen_on(uv_loop_t *loop, int fd, int backlog, const struct failure *failure)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof address;
    char text[TCP_ADDRESS_SIZE];
    struct tcp_listener *listener = mem_alloc(sizeof *listener);
    getsockname(fd, (struct sockaddr *)&address, &length);
    tcp_address_text(&address, text);
    listener->address = mem_strdup(text);
    listener->local = tcp_address_is_loopback(&address);
    uv_pipe_init(loop, &listener->handle, 0);
    int status = uv_pipe_open(&listener->handle, fd);
    if (status != 0)
        close(fd);
    else
        status = uv_listen((uv_stream_t *)&listener->handle, backlog, on_tcp_listener_connection);
    if (status == 0)
        return listener;
    failed(failure, status, "%s: %s%s", text, uv_strerror(status),
           status == UV_EADDRINUSE ? " (stop who listens there, or choose another port)" : "");
    uv_close((uv_handle_t *)&listener->handle, on_tcp_listener_closed);
    return NULL;
}

static struct tcp_listener *listen_unix(uv_loop_t *loop, const struct tcp_listener_options *options,
                                        const struct failure *failure)
{
    struct listener_options o = {.path = options->address + sizeof TCP_ADDRESS_UNIX - 1,
                                 .mode = options->mode,
                                 .group = options->group,
                                 .backlog = options->backlog};
    struct tcp_listener *listener = mem_alloc(sizeof *listener);
    listener->unix_listener =
        listener_new(loop, &o, on_unix_connection, listener, failure->status, failure->text, failure->size);
    if (!listener->unix_listener) {
        mem_free(listener);
        return NULL;
    }
    listener->address = mem_strdup(options->address);
    listener->local = true;
    return listener;
}

static struct tcp_listener *listen_tcp(uv_loop_t *loop, const struct tcp_listener_options *options,
                                       const struct failure *failure)
{
    struct sockaddr_storage address;
    if (!tcp_address_parse(options->address, &address))
        return failed(failure, -EINVAL, "%s: not an address with a port (like [::]:443 or 127.0.0.1:8080)",
                      options->address);
    int fd = bind_address(&address, options->address, failure);
    return fd < 0 ? NULL : tcp_listener_listen_on(loop, fd, options->backlog, failure);
}

struct tcp_listener *tcp_listener_new(uv_loop_t *loop, const struct tcp_listener_options *options,
                                      tcp_listener_accept *accept, void *owner, int *status, char *error,
                                      size_t error_size)
{
    struct failure failure = {status, error, error_size};
    struct tcp_listener *listener = NULL;
    *status = 0;
    if (options->address && strncmp(options->address, TCP_ADDRESS_UNIX, sizeof TCP_ADDRESS_UNIX - 1) == 0)
        listener = listen_unix(loop, options, &failure);
    else if (options->address)
        listener = listen_tcp(loop, options, &failure);
    else if (check_adopted(options->fd, &failure))
        listener = tcp_listener_listen_on(loop, options->fd, options->backlog, &failure);
    else
        close(options->fd);
    if (!listener)
        return NULL;
    listener->accept = accept;
    listener->owner = owner;
    listener->limits = options->limits;
    return listener;
}

void *tcp_listener_owner(const struct tcp_listener *listener)
{
    return listener->owner;
}

const char *tcp_listener_address(const struct tcp_listener *listener)
{
    return listener->address;
}

bool tcp_listener_is_local(const struct tcp_listener *listener)
{
    return listener->local;
}

void tcp_listener_close(struct tcp_listener *listener)
{
    if (!listener->unix_listener) {
        uv_close((uv_handle_t *)&listener->handle, on_tcp_listener_closed);
        return;
    }
    listener_close(listener->unix_listener);
    mem_free(listener->address);
    mem_free(listener);
}

/* --- socket activation --- */

int activation_fds(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t for_pid = 0, count = 0;
    bool ours = pid && fds && text_parse_uint(pid, &for_pid) && text_parse_uint(fds, &count) &&
                for_pid == (uint64_t)getpid() && count <= ACTIVATION_MAX;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (!ours)
        return 0;
    for (int i = 0; i < (int)count; i++)
        fcntl(ACTIVATION_FIRST_FD + i, F_SETFD, FD_CLOEXEC);
    return (int)count;
}
