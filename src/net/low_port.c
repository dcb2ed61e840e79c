#include "net/low_port.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/jitter.h"

#define PORT_FIRST 600
#define PORT_COUNT 423
#define PORT_TRIES 32

static int (*asked)(int fd);

static int bind_port(int fd, int family, uint16_t port)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int status = family == AF_INET ? bind(fd, (struct sockaddr *)&four, sizeof four)
                                   : bind(fd, (struct sockaddr *)&six, sizeof six);
    return status == 0 ? 0 : -errno;
}

int low_port_bind(int fd)
{
    int family = 0, status = -EADDRINUSE;
    socklen_t length = sizeof family;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) != 0)
        return -errno;
    if (family != AF_INET && family != AF_INET6)
        return -EAFNOSUPPORT;
    for (int i = 0, start = (int)jitter_below(PORT_COUNT); i < PORT_TRIES && status == -EADDRINUSE; i++)
        status = bind_port(fd, family, (uint16_t)(PORT_FIRST + (start + i) % PORT_COUNT));
    return status;
}

void low_port_ask_by(int (*ask)(int fd))
{
    asked = ask;
}

bool low_port_can_ask(void)
{
    return asked != NULL;
}

int low_port_ask(int fd)
{
    return asked(fd);
}
