/*
 * Generic netlink to the kernel's nbd module, on libmnl: one request, one
 * answer. Blocking, with a time limit. Private to kernel/.
 */
#ifndef KERNEL_NETLINK_H
#define KERNEL_NETLINK_H

#include <libmnl/libmnl.h>
#include <stdint.h>

struct netlink {
    struct mnl_socket *socket;
    uint16_t family; /* "nbd" */
    uint32_t sequence;
    char buffer[8192] __attribute__((aligned(8)));
};

/* 0 or a negative errno; -ENOENT: the nbd module is not loaded. */
int netlink_open(struct netlink *netlink);
void netlink_close(struct netlink *netlink);
/* Begins a message that asks for the family, of which link_watch.c needs the multicast group. */
struct nlmsghdr *netlink_family_message(struct netlink *netlink);
/* Begins a message of the nbd family in the buffer. */
struct nlmsghdr *netlink_message(struct netlink *netlink, uint8_t command);
/* Sends the message and waits for the answer; `on_answer` (NULL: none) sees each
 * message before the acknowledgement. 0 or the kernel's negative errno. */
int netlink_request(struct netlink *netlink, struct nlmsghdr *message, mnl_cb_t on_answer, void *arg);

#endif
