/* How many bytes the kernel has received on a TCP connection, read already or not; 0: that can't be told. */
#ifndef NET_TCP_RECEIVED_H
#define NET_TCP_RECEIVED_H

#include <stdint.h>

uint64_t tcp_received(int fd);

#endif
