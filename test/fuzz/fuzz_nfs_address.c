/* URLs of NFS images, and the text of links: what is accepted is clean. */
#include <stdlib.h>
#include <string.h>

#include "remote/nfs/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_path(const char *path, unsigned least)
{
    unsigned count = nfs_path_count(path);
    char head[NFS_PATH_MAX], name[NFS_NAME_MAX];
    if (*path != '/' || strlen(path) >= NFS_PATH_MAX || count < least || count > NFS_DEPTH_MAX)
        abort();
    for (unsigned i = 0; i < count; i++) {
        nfs_path_name(path, i, name);
        if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            abort();
        nfs_path_head(path, i + 1, head);
        if (strncmp(path, head, strlen(head)) != 0 || nfs_path_count(head) != i + 1)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[4096], path[NFS_PATH_MAX], error[NFS_ADDRESS_ERROR_MAX];
    struct nfs_address address;
    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (nfs_address_parse(text, &address, error)) {
        if (!*address.host || strchr(address.host, '/') || strchr(address.host, '@'))
            abort();
        check_path(address.path, 1);
    }
    if (nfs_path_join("/folder/of", text, path))
        check_path(path, 0);
    return 0;
}
