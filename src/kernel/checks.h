/* The checks of kernel_ops (kernel/kernel.h says what each does). Private to kernel/. */
#ifndef KERNEL_CHECKS_H
#define KERNEL_CHECKS_H

#include "kernel/kernel.h"

int kernel_check_nbd(char error[KERNEL_ERROR_MAX]);
int kernel_check_gadget(char error[KERNEL_ERROR_MAX]);

#endif
