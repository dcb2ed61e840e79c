#include "kernel/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int files_read(const char *path, char *out, size_t size)
{
    *out = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, out, size - 1);
    int status = n < 0 ? -errno : 0;
    close(fd);
    out[n < 0 ? 0 : n] = '\0';
    out[strcspn(out, "\n")] = '\0';
    return status;
}

int files_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    size_t length = strlen(text);
    ssize_t n = write(fd, text, length);
    int status = n < 0 ? -errno : (size_t)n == length ? 0 : -EIO;
    close(fd);
    return status;
}

bool files_exist(const char *path)
{
    return access(path, F_OK) == 0;
}

void files_nap(void)
{
    struct timespec nap = {0, 20 * 1000 * 1000};
    nanosleep(&nap, NULL);
}

int files_failed(char error[KERNEL_ERROR_MAX], int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, KERNEL_ERROR_MAX, format, args);
    va_end(args);
    return status;
}
