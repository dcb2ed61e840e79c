/* The NBD calls of kernel_ops (kernel/kernel.h says what each does). Private to kernel/. */
#ifndef KERNEL_NBD_DEVICE_H
#define KERNEL_NBD_DEVICE_H

#include "kernel/kernel.h"

int nbd_device_connect(const struct kernel_nbd *nbd, char error[KERNEL_ERROR_MAX]);
int nbd_device_reconnect(const struct kernel_nbd *nbd, char error[KERNEL_ERROR_MAX]);
int nbd_device_disconnect(unsigned index, const char *backend, char error[KERNEL_ERROR_MAX]);

#endif
