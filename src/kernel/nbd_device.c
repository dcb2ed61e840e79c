/* /dev/nbdN by netlink (<linux/nbd-netlink.h>; drivers/block/nbd.c, nbd_genl_*()). */
#include <errno.h>
#include <inttypes.h>
#include <linux/nbd-netlink.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernel/files.h"
#include "kernel/nbd_device.h"
#include "kernel/netlink.h"

#define SYS_BLOCK "/sys/block/nbd%u/%s"
#define RELEASE_NAPS 150 /* of 20 ms: for the last user of a device to let go */

static void device_path(char path[FILES_PATH_MAX], unsigned index, const char *file)
{
    snprintf(path, FILES_PATH_MAX, SYS_BLOCK, index, file);
}

/* Sysfs tells: NBD_CMD_STATUS calls an idle device connected while anybody has it open. */
static bool is_connected(unsigned index)
{
    char path[FILES_PATH_MAX];
    device_path(path, index, "pid");
    return files_exist(path);
}

/* A device is ours if it carries our name. Kernels before Linux 5.14 have no names:
 * there it is ours if this process connected it, or a process that has ended. */
static bool nbd_device_is_ours(unsigned index, const char *backend)
{
    char path[FILES_PATH_MAX], text[KERNEL_NAME_MAX];
    device_path(path, index, "backend");
    if (files_read(path, text, sizeof text) == 0)
        return strcmp(text, backend) == 0;
    device_path(path, index, "pid");
    if (files_read(path, text, sizeof text) != 0)
        return false;
    pid_t pid = (pid_t)atoi(text);
    return pid == getpid() || (kill(pid, 0) != 0 && errno == ESRCH);
}

static int open_netlink(struct netlink *netlink, char error[KERNEL_ERROR_MAX])
{
    int status = netlink_open(netlink);
    if (status == -ENOENT)
        return files_failed(error, -ENODEV, "the kernel's nbd module is not loaded (modprobe nbd)");
    if (status != 0)
        return files_failed(error, status, "netlink: %s", strerror(-status));
    return 0;
}

static int explain(int status, unsigned index, const char *what, char error[KERNEL_ERROR_MAX])
{
    switch (status) {
    case 0:
        return 0;
    case -EPERM:
        return files_failed(error, status, "/dev/nbd%u: the kernel refuses (the daemon needs CAP_SYS_ADMIN)", index);
    case -EBUSY:
        return files_failed(error, status, "/dev/nbd%u is in use by another program (choose another with nbd-device)", index);
    default:
        return files_failed(error, status, "/dev/nbd%u: %s: %s", index, what, strerror(-status));
    }
}

static void put_sockets(struct nlmsghdr *message, const struct kernel_nbd *nbd)
{
    struct nlattr *list = mnl_attr_nest_start(message, NBD_ATTR_SOCKETS);
    for (unsigned i = 0; i < nbd->count; i++) {
        struct nlattr *item = mnl_attr_nest_start(message, NBD_SOCK_ITEM);
        mnl_attr_put_u32(message, NBD_SOCK_FD, (uint32_t)nbd->fds[i]);
        mnl_attr_nest_end(message, item);
    }
    mnl_attr_nest_end(message, list);
}

static struct nlmsghdr *device_message(struct netlink *netlink, uint8_t command, const struct kernel_nbd *nbd)
{
    struct nlmsghdr *message = netlink_message(netlink, command);
    mnl_attr_put_u32(message, NBD_ATTR_INDEX, nbd->index);
    mnl_attr_put_u64(message, NBD_ATTR_TIMEOUT, nbd->timeout_s);
    mnl_attr_put_u64(message, NBD_ATTR_DEAD_CONN_TIMEOUT, nbd->dead_timeout_s);
    mnl_attr_put_strz(message, NBD_ATTR_BACKEND_IDENTIFIER, nbd->backend); /* older kernels skip this attribute */
    return message;
}

static int request_connect(struct netlink *netlink, const struct kernel_nbd *nbd)
{
    struct nlmsghdr *message = device_message(netlink, NBD_CMD_CONNECT, nbd);
    mnl_attr_put_u64(message, NBD_ATTR_SIZE_BYTES, nbd->size);
    mnl_attr_put_u64(message, NBD_ATTR_BLOCK_SIZE_BYTES, nbd->block_size);
    mnl_attr_put_u64(message, NBD_ATTR_SERVER_FLAGS, nbd->flags);
    mnl_attr_put_u64(message, NBD_ATTR_CLIENT_FLAGS, 0);
    put_sockets(message, nbd);
    return netlink_request(netlink, message, NULL, NULL);
}

/* A device whose last user is just going is busy for a moment more. */
static int connect_patiently(struct netlink *netlink, const struct kernel_nbd *nbd)
{
    int status = -EBUSY;
    for (int i = 0; i < RELEASE_NAPS && status == -EBUSY && !is_connected(nbd->index); i++) {
        status = request_connect(netlink, nbd);
        if (status == -EBUSY)
            files_nap();
    }
    return status;
}

static void nbd_device_tune(unsigned index, const char *file, const char *value)
{
    char path[FILES_PATH_MAX];
    device_path(path, index, file);
    files_write(path, value); /* a hint: not every kernel has each of them */
}

/* What was measured is in bench/README.md; max_sectors_kb made no difference. */
static void tune_queue(const struct kernel_nbd *nbd)
{
    char text[16];
    snprintf(text, sizeof text, "%u", nbd->read_ahead_kb);
    nbd_device_tune(nbd->index, "queue/read_ahead_kb", text);
    nbd_device_tune(nbd->index, "queue/scheduler", "none"); /* we order requests ourselves */
    nbd_device_tune(nbd->index, "queue/add_random", "0");
    nbd_device_tune(nbd->index, "queue/rotational", "0");
}

static int check_size(const struct kernel_nbd *nbd, char error[KERNEL_ERROR_MAX])
{
    char path[FILES_PATH_MAX], text[32];
    device_path(path, nbd->index, "size");
    int status = files_read(path, text, sizeof text);
    uint64_t size = strtoull(text, NULL, 10) * 512;
    if (status != 0 || size != nbd->size)
        return files_failed(error, -EIO, "/dev/nbd%u has %" PRIu64 " bytes instead of %" PRIu64, nbd->index, size, nbd->size);
    return 0;
}

int nbd_device_connect(const struct kernel_nbd *nbd, char error[KERNEL_ERROR_MAX])
{
    struct netlink netlink;
    int status = open_netlink(&netlink, error);
    if (status != 0)
        return status;
    status = connect_patiently(&netlink, nbd);
    netlink_close(&netlink);
    if (status != 0)
        return explain(status, nbd->index, "connect", error);
    tune_queue(nbd);
    status = check_size(nbd, error);
    if (status != 0) {
        char ignored[KERNEL_ERROR_MAX];
        nbd_device_disconnect(nbd->index, nbd->backend, ignored);
    }
    return status;
}

int nbd_device_reconnect(const struct kernel_nbd *nbd, char error[KERNEL_ERROR_MAX])
{
    struct netlink netlink;
    if (!is_connected(nbd->index) || !nbd_device_is_ours(nbd->index, nbd->backend))
        return files_failed(error, -ENODEV, "/dev/nbd%u is not there any more to go on with", nbd->index);
    int status = check_size(nbd, error);
    if (status == 0)
        status = open_netlink(&netlink, error);
    if (status != 0)
        return status;
    struct nlmsghdr *message = device_message(&netlink, NBD_CMD_RECONFIGURE, nbd);
    put_sockets(message, nbd);
    status = netlink_request(&netlink, message, NULL, NULL);
    netlink_close(&netlink);
    return explain(status, nbd->index, "reconfigure", error);
}

int nbd_device_disconnect(unsigned index, const char *backend, char error[KERNEL_ERROR_MAX])
{
    struct netlink netlink;
    if (!is_connected(index) || !nbd_device_is_ours(index, backend))
        return 0;
    int status = open_netlink(&netlink, error);
    if (status != 0)
        return status;
    struct nlmsghdr *message = netlink_message(&netlink, NBD_CMD_DISCONNECT);
    mnl_attr_put_u32(message, NBD_ATTR_INDEX, index);
    status = netlink_request(&netlink, message, NULL, NULL);
    netlink_close(&netlink);
    if (status != 0)
        return explain(status, index, "disconnect", error);
    for (int i = 0; i < RELEASE_NAPS && is_connected(index); i++)
        files_nap();
    if (is_connected(index))
        return files_failed(error, -EBUSY, "/dev/nbd%u is still held by a program (close what has it open)", index);
    return 0;
}
