/* The small text files of sysfs and configfs. Blocking. Private to kernel/. */
#ifndef KERNEL_FILES_H
#define KERNEL_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "kernel/kernel.h"

#define FILES_PATH_MAX 512

/* The first `size` - 1 bytes without the newline at the end. 0 or a negative errno. */
int files_read(const char *path, char *out, size_t size);
/* In one write(), as these files want it. 0 or a negative errno. */
int files_write(const char *path, const char *text);
bool files_exist(const char *path);
/* Waits 20 ms: the kernel has no event for what these loops wait for. */
void files_nap(void);
/* Sets the error's words; returns `status`. */
__attribute__((format(printf, 3, 4))) int files_failed(char error[KERNEL_ERROR_MAX], int status, const char *format, ...);

#endif
