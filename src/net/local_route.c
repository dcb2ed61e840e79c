#include "net/local_route.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct question {
    struct nlmsghdr head;
    struct rtmsg route;
    struct rtattr attribute;
    unsigned char address[16];
};

static size_t make_question(struct question *question, const struct in6_addr *address)
{
    bool four = IN6_IS_ADDR_V4MAPPED(address);
    unsigned char length = four ? 4 : 16;
    size_t size = offsetof(struct question, address) + length;
    *question = (struct question){
        .head = {.nlmsg_len = (uint32_t)size, .nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST},
        .route = {.rtm_family = four ? AF_INET : AF_INET6, .rtm_dst_len = (unsigned char)(8 * length)},
        .attribute = {.rta_len = (unsigned short)(sizeof question->attribute + length), .rta_type = RTA_DST},
    };
    memcpy(question->address, address->s6_addr + 16 - length, length);
    return size;
}

/* An error is an answer too: no route leads to the address. */
static bool is_local(const unsigned char *answer, ssize_t length)
{
    struct nlmsghdr head;
    struct rtmsg route;
    if (length < (ssize_t)(sizeof head + sizeof(int)))
        return true;
    memcpy(&head, answer, sizeof head);
    if (head.nlmsg_type != RTM_NEWROUTE || length < (ssize_t)(sizeof head + sizeof route))
        return head.nlmsg_type != NLMSG_ERROR;
    memcpy(&route, answer + sizeof head, sizeof route);
    return route.rtm_type == RTN_LOCAL;
}

bool local_route_has(const struct in6_addr *address)
{
    struct question question;
    unsigned char answer[1024];
    size_t size = make_question(&question, address);
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0)
        return true;
    bool local = send(fd, &question, size, 0) != (ssize_t)size || is_local(answer, recv(fd, answer, sizeof answer, 0));
    close(fd);
    return local;
}
