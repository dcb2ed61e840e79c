/*
 * The kernel's news of connections of NBD devices that died: the multicast
 * group "nbd_mc_group" of <linux/nbd-netlink.h>. On the loop; reading a netlink
 * socket does not block.
 */
#ifndef KERNEL_LINK_WATCH_H
#define KERNEL_LINK_WATCH_H

#include <uv.h>

struct link_watch;

/* `on_dead` comes for each connection of any device that died, with its index.
 * NULL when the kernel has no nbd: then there is no news. */
struct link_watch *link_watch_new(uv_loop_t *loop, void (*on_dead)(void *arg, unsigned index), void *arg);
/* NULL is allowed. Frees by itself, later. */
void link_watch_close(struct link_watch *watch);

#endif
