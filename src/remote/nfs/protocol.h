/*
 * The few questions that reading a file takes, in NFS version 3 (RFC 1813) and 4.0 (RFC 7530), each
 * answered as struct nfs_reply. Version 4 is used without opening: a READ with the stateid of all ones
 * (RFC 7530, 9.1.4.3) needs no client ID, no lease, and no recovery after the server was started anew.
 *
 * Every answer's lengths are checked against what was asked. A READ's attributes are those after it, so
 * that bytes of another version of the file are recognised.
 */
#ifndef REMOTE_NFS_PROTOCOL_H
#define REMOTE_NFS_PROTOCOL_H

#include "remote/nfs/rpc.h"

#define NFS_PORT     2049
#define RPCBIND_PORT 111

struct nfs_protocol {
    unsigned version;
    /* A name in a folder: its handle and, mostly, its attributes. `folder` NULL: the root, version 4 only. */
    struct nfs_call *(*lookup)(struct nfs_rpc *rpc, const struct nfs_handle *folder, const char *name, nfs_done done,
                               void *owner);
    struct nfs_call *(*readlink)(struct nfs_rpc *rpc, const struct nfs_handle *link, nfs_done done, void *owner);
    struct nfs_call *(*attributes)(struct nfs_rpc *rpc, const struct nfs_handle *file, nfs_done done, void *owner);
    /* Answers read_max, and perhaps attributes. */
    struct nfs_call *(*limits)(struct nfs_rpc *rpc, const struct nfs_handle *file, nfs_done done, void *owner);
    /* At most `count` bytes, perhaps fewer; attributes, if the server gives them. */
    struct nfs_call *(*read)(struct nfs_rpc *rpc, const struct nfs_handle *file, uint64_t offset, uint32_t count,
                             nfs_done done, void *owner);
};

extern const struct nfs_protocol nfs_protocol_3, nfs_protocol_4;

/* Of version 3: rpcbind's word on the mount service's port (0: it has none), and a folder's handle from that service.
 */
struct nfs_call *nfs_ask_mount_port(struct nfs_rpc *rpc, nfs_done done, void *owner);
struct nfs_call *nfs_ask_mount(struct nfs_rpc *rpc, const char *folder, nfs_done done, void *owner);

#endif
