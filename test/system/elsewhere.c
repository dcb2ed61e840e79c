/*
 * For LD_PRELOAD: this machine plays others. 192.0.2.0/24 and 169.254.7.0/24 lead to 127.0.0.1, but the
 * program does not notice; and names below .test mean:
 *
 *   remote.test  192.0.2.1
 *   local.test   127.0.0.1
 *   mixed.test   127.0.0.1 and 192.0.2.1
 *   slow.test    nothing, after 12 seconds
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
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

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    struct sockaddr_in here;
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

int getaddrinfo(const char *restrict node, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict result)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    int mixed = node && strcmp(node, "mixed.test") == 0;
    if (node && strcmp(node, "slow.test") == 0) {
        sleep(SLOW_S);
        return EAI_AGAIN;
    }
    if (node && (mixed || strcmp(node, "local.test") == 0))
        node = "127.0.0.1";
    else if (node && strcmp(node, "remote.test") == 0)
        node = "192.0.2.1";
    int status = real(node, service, hints, result);
    struct addrinfo *last = *result;
    while (status == 0 && last->ai_next)
        last = last->ai_next;
    return status == 0 && mixed ? real("192.0.2.1", service, hints, &last->ai_next) : status;
}
