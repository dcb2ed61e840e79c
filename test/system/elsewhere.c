/*
 * For LD_PRELOAD: this machine plays others. 192.0.2.0/24 and 169.254.7.0/24 lead to 127.0.0.1, but the
 * program does not notice; 198.51.100.0/24 and 2001:db8::/32 take no connection and say nothing; and names below .test mean:
 *
 *   remote.test  192.0.2.1
 *   local.test   127.0.0.1
 *   mixed.test   127.0.0.1 and 192.0.2.1
 *   slow.test    nothing, after 12 seconds
 *   dead4.test   198.51.100.1 and 192.0.2.1
 *   dead6.test   2001:db8::1 and 192.0.2.1
 *   dead.test    198.51.100.1 and 2001:db8::1
 *   moved.test   192.0.2.1; once the file $ELSEWHERE_MOVED is there, 192.0.2.2, and 192.0.2.1 takes no connection
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FDS 4096
#define SLOW_S 12

static struct sockaddr_in pretended[FDS]; /* family 0: is what it is */

static int is_elsewhere(const struct sockaddr_in *address)
{
    unsigned a = ntohl(address->sin_addr.s_addr);
    return address->sin_family == AF_INET && (a >> 8 == 0xc00002 || a >> 8 == 0xa9fe07);
}

static int has_moved(void)
{
    const char *file = getenv("ELSEWHERE_MOVED");
    return file && access(file, F_OK) == 0;
}

static int is_dead(const struct sockaddr *address)
{
    const struct sockaddr_in *four = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
    static const unsigned char documentation[4] = {0x20, 0x01, 0x0d, 0xb8};
    if (address->sa_family == AF_INET)
        return ntohl(four->sin_addr.s_addr) >> 8 == 0xc63364 || (ntohl(four->sin_addr.s_addr) == 0xc0000201 && has_moved());
    return address->sa_family == AF_INET6 && memcmp(&six->sin6_addr, documentation, sizeof documentation) == 0;
}

/* Of a listener whose queue is full: the kernel drops what knocks there. */
static in_port_t full_port(int (*real)(int, const struct sockaddr *, socklen_t))
{
    static struct sockaddr_in full = {.sin_family = AF_INET};
    socklen_t length = sizeof full;
    if (full.sin_port)
        return full.sin_port;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    full.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(listener, (struct sockaddr *)&full, length);
    listen(listener, 0);
    getsockname(listener, (struct sockaddr *)&full, &length);
    for (int i = 0; i < 4; i++)
        real(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), (struct sockaddr *)&full, length);
    return full.sin_port;
}

static int connect_dead(int (*real)(int, const struct sockaddr *, socklen_t), int fd, int family)
{
    in_port_t port = full_port(real);
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = port};
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &six.sin6_addr);
    return family == AF_INET ? real(fd, (struct sockaddr *)&four, sizeof four) : real(fd, (struct sockaddr *)&six, sizeof six);
}

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    struct sockaddr_in here;
    if (length >= sizeof here && is_dead(address))
        return connect_dead(real, fd, address->sa_family);
    if (fd < 0 || fd >= FDS || length < sizeof here || !is_elsewhere((const struct sockaddr_in *)address))
        return real(fd, address, length);
    memcpy(&here, address, sizeof here);
    pretended[fd] = here;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return real(fd, (struct sockaddr *)&here, sizeof here);
}

int getpeername(int fd, struct sockaddr *restrict address, socklen_t *restrict length)
{
    int (*real)(int, struct sockaddr *, socklen_t *) = dlsym(RTLD_NEXT, "getpeername");
    int status = real(fd, address, length);
    if (status == 0 && fd < FDS && pretended[fd].sin_family)
        memcpy(address, &pretended[fd], sizeof pretended[fd]);
    return status;
}

int close(int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "close");
    if (fd >= 0 && fd < FDS)
        pretended[fd].sin_family = 0;
    return real(fd);
}

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* The addresses behind a name, in this order; NULL: it is an ordinary one. */
static const char *const *addresses_of(const char *name)
{
    static const struct {
        const char *name, *addresses[3];
    } names[] = {
        {"remote.test", {"192.0.2.1"}},
        {"local.test", {"127.0.0.1"}},
        {"mixed.test", {"127.0.0.1", "192.0.2.1"}},
        {"dead4.test", {"198.51.100.1", "192.0.2.1"}},
        {"dead6.test", {"2001:db8::1", "192.0.2.1"}},
        {"dead.test", {"198.51.100.1", "2001:db8::1"}},
        {"moved.test", {"192.0.2.1"}},
        {"moved.test", {"192.0.2.2"}},
    };
    for (unsigned i = 0; name && i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i].name) == 0)
            return names[i + (strcmp(name, "moved.test") == 0 && has_moved())].addresses;
    return NULL;
}

int getaddrinfo(const char *restrict node, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict result)
{
    lookup *real = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
    if (node && strcmp(node, "slow.test") == 0) {
        sleep(SLOW_S);
        return EAI_AGAIN;
    }
    const char *const *addresses = addresses_of(node);
    if (!addresses)
        return real(node, service, hints, result);
    int status = 0;
    struct addrinfo **end = result;
    for (; *addresses && status == 0; addresses++) {
        status = real(*addresses, service, hints, end);
        while (status == 0 && *end)
            end = &(*end)->ai_next;
    }
    return status;
}
