#include "kernel/udc.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_version(const void *a, const void *b)
{
    return strverscmp(a, b);
}

static int list_all(const char *folder, struct udc_list *all)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return -errno;
    all->count = 0;
    for (struct dirent *entry = readdir(dir); entry && all->count < UDC_MAX; entry = readdir(dir))
        if (entry->d_name[0] != '.' && strlen(entry->d_name) < UDC_NAME_MAX)
            snprintf(all->names[all->count++], UDC_NAME_MAX, "%s", entry->d_name);
    closedir(dir);
    qsort(all->names, all->count, UDC_NAME_MAX, by_version);
    return 0;
}

static bool contains(const struct udc_list *list, const char *name)
{
    for (unsigned i = 0; i < list->count; i++)
        if (strcmp(list->names[i], name) == 0)
            return true;
    return false;
}

static void add_matching(struct udc_list *list, const struct udc_list *all, const char *pattern)
{
    for (unsigned i = 0; i < all->count; i++)
        if (fnmatch(pattern, all->names[i], 0) == 0 && !contains(list, all->names[i]))
            memcpy(list->names[list->count++], all->names[i], UDC_NAME_MAX);
}

int udc_find(const char *folder, const char *patterns, struct udc_list *list)
{
    struct udc_list all;
    char copy[256], *rest = copy;
    int status = list_all(folder, &all);
    list->count = 0;
    if (status != 0)
        return status;
    if (strspn(patterns, " ") == strlen(patterns))
        patterns = "*";
    snprintf(copy, sizeof copy, "%s", patterns);
    for (char *pattern = strsep(&rest, " "); pattern; pattern = strsep(&rest, " "))
        if (*pattern)
            add_matching(list, &all, pattern);
    return 0;
}
