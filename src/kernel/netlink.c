#include "kernel/netlink.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#define ANSWER_TIMEOUT_S 30 /* a disconnect waits for what is in flight */

static struct nlmsghdr *message_begin(struct netlink *netlink, uint16_t type, uint8_t command, uint8_t version)
{
    struct nlmsghdr *message = mnl_nlmsg_put_header(netlink->buffer);
    message->nlmsg_type = type;
    message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    message->nlmsg_seq = ++netlink->sequence;
    struct genlmsghdr *header = mnl_nlmsg_put_extra_header(message, sizeof *header);
    header->cmd = command;
    header->version = version;
    return message;
}

struct nlmsghdr *netlink_message(struct netlink *netlink, uint8_t command)
{
    return message_begin(netlink, netlink->family, command, NBD_GENL_VERSION);
}

int netlink_request(struct netlink *netlink, struct nlmsghdr *message, mnl_cb_t on_answer, void *arg)
{
    char answer[8192] __attribute__((aligned(8)));
    uint32_t sequence = message->nlmsg_seq;
    if (mnl_socket_sendto(netlink->socket, message, message->nlmsg_len) < 0)
        return -errno;
    for (;;) {
        ssize_t n = mnl_socket_recvfrom(netlink->socket, answer, sizeof answer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        int more = mnl_cb_run(answer, (size_t)n, sequence, mnl_socket_get_portid(netlink->socket), on_answer, arg);
        if (more < 0)
            return -errno; /* the kernel's own error */
        if (more == MNL_CB_STOP)
            return 0;
    }
}

static int on_family_attribute(const struct nlattr *attribute, void *arg)
{
    uint16_t *family = arg;
    if (mnl_attr_get_type(attribute) == CTRL_ATTR_FAMILY_ID && mnl_attr_validate(attribute, MNL_TYPE_U16) == 0)
        *family = mnl_attr_get_u16(attribute);
    return MNL_CB_OK;
}

static int on_netlink_family(const struct nlmsghdr *message, void *arg)
{
    return mnl_attr_parse(message, sizeof(struct genlmsghdr), on_family_attribute, arg);
}

struct nlmsghdr *netlink_family_message(struct netlink *netlink)
{
    struct nlmsghdr *message = message_begin(netlink, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
    mnl_attr_put_strz(message, CTRL_ATTR_FAMILY_NAME, NBD_GENL_FAMILY_NAME);
    return message;
}

static int find_family(struct netlink *netlink)
{
    int status = netlink_request(netlink, netlink_family_message(netlink), on_netlink_family, &netlink->family);
    return status == 0 && netlink->family == 0 ? -ENOENT : status;
}

int netlink_open(struct netlink *netlink)
{
    netlink->family = 0;
    netlink->sequence = (uint32_t)time(NULL);
    netlink->socket = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);
    if (!netlink->socket)
        return -errno;
    struct timeval limit = {.tv_sec = ANSWER_TIMEOUT_S};
    setsockopt(mnl_socket_get_fd(netlink->socket), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    int status = mnl_socket_bind(netlink->socket, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : find_family(netlink);
    if (status != 0)
        netlink_close(netlink);
    return status;
}

void netlink_close(struct netlink *netlink)
{
    mnl_socket_close(netlink->socket);
    netlink->socket = NULL;
}
