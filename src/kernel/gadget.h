/* The gadget calls of kernel_ops (kernel/kernel.h says what each does). Private to kernel/. */
#ifndef KERNEL_GADGET_H
#define KERNEL_GADGET_H

#include "kernel/kernel.h"

#define GADGET_CONFIGFS "/sys/kernel/config"
#define GADGET_UDC_CLASS "/sys/class/udc"

int gadget_prepare(const struct kernel_gadget *gadget, char error[KERNEL_ERROR_MAX]);
int gadget_insert(const struct kernel_gadget *gadget, const struct kernel_medium *medium, char error[KERNEL_ERROR_MAX]);
int gadget_eject(const struct kernel_gadget *gadget, unsigned patience_ms, char error[KERNEL_ERROR_MAX]);
int gadget_remove(const struct kernel_gadget *gadget, char error[KERNEL_ERROR_MAX]);
bool gadget_is_empty(const struct kernel_gadget *gadget);

#endif
