#include "source/hidden.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define MOUNTS_MAX (256u << 10) /* of a table; what is behind is not looked at */

static const struct {
    const char *folder, *sign, *hint; /* sign: in the root of what is mounted there */
} hidden[] = {
    {"/tmp", "/systemd-private-", " (the service has a /tmp of its own, PrivateTmp in its unit: put the image elsewhere, as in /srv)"},
    {"/var/tmp", "/systemd-private-", " (the service has a /var/tmp of its own, PrivateTmp in its unit: put the image elsewhere, as in /srv)"},
    {"/home", "/systemd/inaccessible", " (the service does not see /home, ProtectHome in its unit: put the image elsewhere, as in /srv)"},
    {"/root", "/systemd/inaccessible", " (the service does not see /root, ProtectHome in its unit: put the image elsewhere, as in /srv)"},
    {"/run/user", "/systemd/inaccessible", " (the service does not see /run/user, ProtectHome in its unit: put the image elsewhere, as "
                                           "in /srv)"},
};

/* A line is "ID PARENT DEVICE ROOT PLACE ..." (proc(5)). A whole file system has the root "/". */
static bool is_mounted(const char *mounts, const char *folder, const char *sign)
{
    for (const char *line = mounts; line && *line; line = strchr(line, '\n'), line += line != NULL) {
        char root[256], place[64];
        if (sscanf(line, "%*s %*s %*s %255s %63s", root, place) == 2 && strcmp(place, folder) == 0 && strcmp(root, "/") != 0 &&
            strstr(root, sign))
            return true;
    }
    return false;
}

const char *hidden_hint_in(const char *path, const char *mounts)
{
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        size_t length = strlen(hidden[i].folder);
        if (strncmp(path, hidden[i].folder, length) == 0 && path[length] == '/' &&
            is_mounted(mounts, hidden[i].folder, hidden[i].sign))
            return hidden[i].hint;
    }
    return NULL;
}

const char *hidden_hint(const char *path)
{
    FILE *in = fopen("/proc/self/mountinfo", "re");
    if (!in)
        return NULL;
    char *mounts = mem_alloc(MOUNTS_MAX);
    mounts[fread(mounts, 1, MOUNTS_MAX - 1, in)] = '\0';
    fclose(in);
    const char *hint = hidden_hint_in(path, mounts);
    mem_free(mounts);
    return hint;
}
