#include "kernel/link_watch.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <string.h>
#include <sys/socket.h>

#include "base/text.h"
#include "kernel/netlink.h"

#define MESSAGES_A_TURN 16

struct link_watch {
    uv_poll_t poll;
    struct mnl_socket *socket;
    uint16_t family;
    void (*on_dead)(void *arg, unsigned index);
    void *arg;
};

static int on_link_watch_index(const struct nlattr *attribute, void *arg)
{
    struct link_watch *watch = arg;
    if (mnl_attr_get_type(attribute) == NBD_ATTR_INDEX && mnl_attr_validate(attribute, MNL_TYPE_U32) == 0)
        watch->on_dead(watch->arg, mnl_attr_get_u32(attribute));
    return MNL_CB_OK;
}

static int on_message(const struct nlmsghdr *message, void *arg)
{
    struct link_watch *watch = arg;
    const struct genlmsghdr *header = mnl_nlmsg_get_payload(message);
    if (message->nlmsg_type == watch->family && mnl_nlmsg_get_payload_len(message) >= sizeof *header &&
        header->cmd == NBD_CMD_LINK_DEAD)
        mnl_attr_parse(message, sizeof *header, on_link_watch_index, watch);
    return MNL_CB_OK;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct link_watch *watch = poll->data;
    char buffer[4096] __attribute__((aligned(8)));
    (void)events;
    for (int i = 0; status == 0 && i < MESSAGES_A_TURN; i++) {
        ssize_t n = recv(mnl_socket_get_fd(watch->socket), buffer, sizeof buffer, MSG_DONTWAIT);
        if (n <= 0)
            return;
        mnl_cb_run(buffer, (size_t)n, 0, 0, on_message, watch);
    }
}

static int on_group_attribute(const struct nlattr *attribute, void *arg)
{
    uint32_t *group = arg;
    if (mnl_attr_get_type(attribute) == CTRL_ATTR_MCAST_GRP_ID && mnl_attr_validate(attribute, MNL_TYPE_U32) == 0)
        *group = mnl_attr_get_u32(attribute);
    return MNL_CB_OK;
}

/* The module has one group, so its name need not be compared. */
static int on_attribute(const struct nlattr *attribute, void *arg)
{
    const struct nlattr *item;
    if (mnl_attr_get_type(attribute) == CTRL_ATTR_MCAST_GROUPS)
        mnl_attr_for_each_nested(item, attribute)
            mnl_attr_parse_nested(item, on_group_attribute, arg);
    return MNL_CB_OK;
}

static int on_link_watch_family(const struct nlmsghdr *message, void *arg)
{
    return mnl_attr_parse(message, sizeof(struct genlmsghdr), on_attribute, arg);
}

static uint32_t link_watch_find_group(struct link_watch *watch)
{
    struct netlink netlink;
    uint32_t group = 0;
    if (netlink_open(&netlink) != 0)
        return 0;
    watch->family = netlink.family;
    struct nlmsghdr *message = netlink_family_message(&netlink);
    if (netlink_request(&netlink, message, on_link_watch_family, &group) != 0)
        group = 0;
    netlink_close(&netlink);
    return group;
}

static bool join(struct link_watch *watch)
{
    uint32_t group = link_watch_find_group(watch);
    if (group == 0)
        return false;
    watch->socket = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (!watch->socket)
        return false;
    if (mnl_socket_bind(watch->socket, 0, MNL_SOCKET_AUTOPID) == 0 &&
        mnl_socket_setsockopt(watch->socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) == 0)
        return true;
    mnl_socket_close(watch->socket);
    return false;
}

struct link_watch *link_watch_new(uv_loop_t *loop, void (*on_dead)(void *arg, unsigned index), void *arg)
{
    struct link_watch *watch = mem_alloc(sizeof *watch);
    watch->on_dead = on_dead;
    watch->arg = arg;
    if (!join(watch)) {
        mem_free(watch);
        return NULL;
    }
    uv_poll_init(loop, &watch->poll, mnl_socket_get_fd(watch->socket));
    watch->poll.data = watch;
    uv_poll_start(&watch->poll, UV_READABLE, on_readable);
    return watch;
}

static void on_link_watch_closed(uv_handle_t *handle)
{
    struct link_watch *watch = handle->data;
    mnl_socket_close(watch->socket);
    mem_free(watch);
}

void link_watch_close(struct link_watch *watch)
{
    if (watch)
        uv_close((uv_handle_t *)&watch->poll, on_link_watch_closed);
}
