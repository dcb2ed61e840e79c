#include "net/tcp_received.h"

#include <linux/tcp.h> /* not beside uv.h: that takes the C library's, whose tcp_info is shorter */
#include <netinet/in.h>
#include <sys/socket.h>

uint64_t tcp_received(int fd)
{
    struct tcp_info info = {0};
    socklen_t length = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 ? info.tcpi_bytes_received : 0;
}
