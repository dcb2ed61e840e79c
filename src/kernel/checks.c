/* Which of the kernel's parts are there, and which we may use. See kernel/kernel.h. */
#include "kernel/checks.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel/files.h"
#include "kernel/gadget.h"
#include "kernel/udc.h"

#define GADGET_FOLDER GADGET_CONFIGFS "/usb_gadget"

int kernel_has_nbd(char error[KERNEL_ERROR_MAX])
{
    if (!files_exist("/sys/module/nbd"))
        return files_failed(error, -ENODEV, "the kernel's nbd module is not loaded (modprobe nbd)");
    return 0;
}

/* Asks for the capability that netlink_capable() in nbd_genl_connect() will ask for. */
int kernel_may_nbd(char error[KERNEL_ERROR_MAX])
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    if (syscall(SYS_capget, &header, data) == 0 && data[0].effective & 1u << CAP_SYS_ADMIN)
        return 0;
    return files_failed(error, -EPERM, "/dev/nbd needs root's rights (CAP_SYS_ADMIN)");
}

int kernel_has_gadget(char error[KERNEL_ERROR_MAX])
{
    struct udc_list list;
    if (!files_exist(GADGET_FOLDER))
        return files_failed(error, -ENODEV,
                            "there is no " GADGET_FOLDER " "
                            "(modprobe libcomposite; mount -t configfs none " GADGET_CONFIGFS ")");
    if (udc_find(GADGET_UDC_CLASS, "", &list) != 0 || list.count == 0)
        return files_failed(error, -ENODEV, "there is no USB device controller (see " GADGET_UDC_CLASS ")");
    return 0;
}

int kernel_may_gadget(char error[KERNEL_ERROR_MAX])
{
    if (faccessat(AT_FDCWD, GADGET_FOLDER, W_OK, AT_EACCESS) != 0 && errno != ENOENT)
        return files_failed(error, -errno, GADGET_FOLDER ": %s (the daemon needs write access)", strerror(errno));
    return 0;
}

int kernel_check_nbd(char error[KERNEL_ERROR_MAX])
{
    int status = kernel_has_nbd(error);
    return status == 0 ? kernel_may_nbd(error) : status;
}

int kernel_check_gadget(char error[KERNEL_ERROR_MAX])
{
    int status = kernel_has_gadget(error);
    return status == 0 ? kernel_may_gadget(error) : status;
}
