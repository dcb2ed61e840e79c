/* USB device controllers, as /sys/class/udc lists them. Private to kernel/. */
#ifndef KERNEL_UDC_H
#define KERNEL_UDC_H

#include <stdbool.h>

#define UDC_MAX 32
#define UDC_NAME_MAX 64

struct udc_list {
    char names[UDC_MAX][UDC_NAME_MAX]; /* sorted, with numbers in their order */
    unsigned count;
};

/* What the folder lists and `patterns` allow: globs separated by blanks, "" allows
 * all. The order is that of the patterns, then of the names. 0 or a negative errno. */
int udc_find(const char *folder, const char *patterns, struct udc_list *list);

#endif
