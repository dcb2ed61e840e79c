#include "kernel/kernel.h"

#include "kernel/checks.h"
#include "kernel/gadget.h"
#include "kernel/nbd_device.h"

const struct kernel_ops kernel_real = {
    .nbd_connect = nbd_device_connect,
    .nbd_reconnect = nbd_device_reconnect,
    .nbd_disconnect = nbd_device_disconnect,
    .gadget_prepare = gadget_prepare,
    .gadget_insert = gadget_insert,
    .gadget_eject = gadget_eject,
    .gadget_remove = gadget_remove,
    .gadget_is_empty = gadget_is_empty,
    .check_nbd = kernel_check_nbd,
    .check_gadget = kernel_check_gadget,
};
