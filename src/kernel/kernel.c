#include "kernel/kernel.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "kernel/files.h"
#include "kernel/gadget.h"
#include "kernel/nbd_device.h"
#include "kernel/udc.h"

const struct kernel_ops kernel_real = {
    .nbd_connect = nbd_device_connect,
    .nbd_reconnect = nbd_device_reconnect,
    .nbd_disconnect = nbd_device_disconnect,
    .gadget_prepare = gadget_prepare,
    .gadget_insert = gadget_insert,
    .gadget_eject = gadget_eject,
    .gadget_remove = gadget_remove,
};

int kernel_check_nbd(char error[KERNEL_ERROR_MAX])
{
    if (!files_exist("/sys/module/nbd"))
        return files_failed(error, -ENODEV, "the kernel's nbd module is not loaded (modprobe nbd)");
    if (geteuid() != 0)
        return files_failed(error, -EPERM, "/dev/nbd needs root's rights (CAP_SYS_ADMIN)");
    return 0;
}

int kernel_check_gadget(char error[KERNEL_ERROR_MAX])
{
    struct udc_list list;
    if (!files_exist(GADGET_CONFIGFS "/usb_gadget"))
        return files_failed(error, -ENODEV, "there is no " GADGET_CONFIGFS "/usb_gadget "
                                            "(modprobe libcomposite; mount -t configfs none " GADGET_CONFIGFS ")");
    if (access(GADGET_CONFIGFS "/usb_gadget", W_OK) != 0)
        return files_failed(error, -errno, GADGET_CONFIGFS "/usb_gadget: %s (the daemon needs write access)", strerror(errno));
    if (udc_find(GADGET_UDC_CLASS, "", &list) != 0 || list.count == 0)
        return files_failed(error, -ENODEV, "there is no USB device controller (see " GADGET_UDC_CLASS ")");
    return 0;
}
