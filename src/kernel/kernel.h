/*
 * What a slot asks of the kernel: an NBD device in front of our server, and a
 * USB gadget that shows the device to the host. Linux: drivers/block/nbd.c with
 * <linux/nbd-netlink.h>, and Documentation/usb/gadget_configfs.rst with
 * Documentation/ABI/testing/configfs-usb-gadget-mass-storage.
 *
 * Every call blocks and may wait for the device, which may wait for our own
 * server: they are made on a work thread only (base/work.h), with data of their
 * own. All return 0 or a negative errno, then `error` says in words what to do.
 * The calls stand in a table so that a test can put a kernel of its own there.
 */
#ifndef KERNEL_KERNEL_H
#define KERNEL_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#define KERNEL_ERROR_MAX 256
#define KERNEL_CONNECTIONS_MAX 8
#define KERNEL_NAME_MAX 64
#define KERNEL_DEVICE_MAX 32 /* "/dev/nbd15" */

/* An NBD device. The fds are the kernel's ends of the connections: the kernel
 * takes its own references, the caller closes them. */
struct kernel_nbd {
    unsigned index; /* N of /dev/nbdN */
    uint64_t size;  /* bytes, a multiple of block_size */
    uint32_t block_size;
    uint16_t flags;            /* transmission flags, NBD project, doc/proto.md */
    unsigned timeout_s;        /* a request without a reply for that long ends its connection */
    unsigned dead_timeout_s;   /* with no connection left, requests wait that long for a new one, then fail */
    uint32_t read_ahead_kb;    /* of the device's page cache */
    char backend[KERNEL_NAME_MAX]; /* whose device it is: shown in sysfs, compared at reconnect */
    int fds[KERNEL_CONNECTIONS_MAX];
    unsigned count;
};

/* A gadget with one mass storage function and one LUN. */
struct kernel_gadget {
    char name[KERNEL_NAME_MAX];      /* its folder in configfs */
    char function[32];               /* the name of its function, behind "mass_storage." */
    uint16_t vendor_id, product_id;
    char manufacturer[64], product[64], serial[64];
    char inquiry[29];                /* SCSI: 8 characters of vendor, 16 of model, 4 of revision */
    unsigned max_power_ma;
    char udc[128];                   /* glob patterns, separated by blanks; "": any */
    bool cdrom;                      /* the type of drive while it is empty */
    bool always_present;             /* bound to its UDC with no medium in, too */
};

struct kernel_medium {
    char device[KERNEL_DEVICE_MAX];
    bool cdrom, read_only;
    bool no_fua; /* SCSI FUA bits of the host are ignored */
};

struct kernel_ops {
    /* Connects the device; it must be free. Its size is in force at return. */
    int (*nbd_connect)(const struct kernel_nbd *nbd, char error[KERNEL_ERROR_MAX]);
    /* Gives a device that lost its connections new ones, and its readers go on.
     * -ENODEV: there is nothing of ours to go on with. */
    int (*nbd_reconnect)(const struct kernel_nbd *nbd, char error[KERNEL_ERROR_MAX]);
    /* Ends the device; waits until nobody holds it any more, for some seconds. One
     * that isn't connected, or is somebody else's, is left alone (0). */
    int (*nbd_disconnect)(unsigned index, const char *backend, char error[KERNEL_ERROR_MAX]);

    /* Makes the gadget, or takes over one of that name, with no medium in it. */
    int (*gadget_prepare)(const struct kernel_gadget *gadget, char error[KERNEL_ERROR_MAX]);
    /* Makes the gadget if it is missing, puts the medium in and lets the host see
     * it. A medium that is in already stays untouched. */
    int (*gadget_insert)(const struct kernel_gadget *gadget, const struct kernel_medium *medium,
                         char error[KERNEL_ERROR_MAX]);
    /* Takes the medium out. A host that locks it is asked for `patience_ms`, then
     * it is taken by force. */
    int (*gadget_eject)(const struct kernel_gadget *gadget, unsigned patience_ms, char error[KERNEL_ERROR_MAX]);
    int (*gadget_remove)(const struct kernel_gadget *gadget, char error[KERNEL_ERROR_MAX]);
    /* Has the host ejected the medium (START STOP UNIT)? The kernel tells nobody: it only empties lun.0/file. False
     * also when that can't be read. */
    bool (*gadget_is_empty)(const struct kernel_gadget *gadget);

    /* Can a medium be shown at all? 0, or why not. Quick, does not block: on any thread. The device kind needs the
     * nbd module, the gadget kind configfs and a UDC too. */
    int (*check_nbd)(char error[KERNEL_ERROR_MAX]);
    int (*check_gadget)(char error[KERNEL_ERROR_MAX]);
};

extern const struct kernel_ops kernel_real;

/* The two halves of those checks: has this machine what is needed, and has this process the rights? */
int kernel_has_nbd(char error[KERNEL_ERROR_MAX]);
int kernel_has_gadget(char error[KERNEL_ERROR_MAX]);
int kernel_may_nbd(char error[KERNEL_ERROR_MAX]);
int kernel_may_gadget(char error[KERNEL_ERROR_MAX]); /* 0 when there is no configfs yet */

/* In CD-ROM mode stock kernels show 256 * 60 * 75 - 1 sectors at most, and want a
 * track of 300 (drivers/usb/gadget/function/storage_common.c, fsg_lun_open()). */
#define KERNEL_CDROM_SECTOR 2048u
#define KERNEL_CDROM_MAX ((256ull * 60 * 75 - 1) * KERNEL_CDROM_SECTOR)
#define KERNEL_CDROM_MIN (300ull * KERNEL_CDROM_SECTOR)

#endif
