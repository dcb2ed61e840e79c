/*
 * What the URL of an NFS image says, and paths on a server. Pure.
 *
 *   nfs://HOST[:PORT]/PATH[?version=3|4&uid=N&gid=N&nfsport=N&mountport=N]
 *
 * The scheme and the path are RFC 2224's; remote/nfs/find.h finds out which part of the
 * path is the export. Other arguments than those are refused, not ignored: a mistyped one
 * must not mean its default.
 */
#ifndef REMOTE_NFS_ADDRESS_H
#define REMOTE_NFS_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NFS_HOST_MAX          256
#define NFS_PATH_MAX          1024 /* MNTPATHLEN of RFC 1813, 5.1 */
#define NFS_NAME_MAX          256
#define NFS_DEPTH_MAX         32 /* names in a path */
#define NFS_ADDRESS_ERROR_MAX 256

struct nfs_address {
    char host[NFS_HOST_MAX]; /* without brackets */
    char path[NFS_PATH_MAX]; /* decoded and clean, at least one name */
    unsigned version;        /* 3 or 4; 0: not said */
    uint16_t port;           /* of NFS; 0: not said */
    uint16_t mount_port;     /* of the mount service of version 3; 0: rpcbind tells */
    int64_t uid, gid;        /* -1: not said */
};

/* `url` is of location_url(): it has a host, no user and no control character. On failure `error` says what to do. */
bool nfs_address_parse(const char *url, struct nfs_address *address, char error[NFS_ADDRESS_ERROR_MAX]);

/* `path` as seen from `folder`, clean: absolute, without "", "." and "..", which never leads above "/".
 * False: it is too long or too deep. */
bool nfs_path_join(const char *folder, const char *path, char out[NFS_PATH_MAX]);
/* For clean paths: how many names, one of them, and the first `count` as a path. */
unsigned nfs_path_count(const char *path);
void nfs_path_name(const char *path, unsigned index, char name[NFS_NAME_MAX]);
void nfs_path_head(const char *path, unsigned count, char out[NFS_PATH_MAX]);

#endif
