/*
 * From the URL of an NFS image to its file on the server.
 *
 * The host's name is resolved and its addresses judged by allow-local; of several addresses the one that is
 * connected first is used (net/dial.h). Which part of the path is the export is not asked of the user: version 4
 * walks from the server's root, and with version 3 the mount service is asked for the image's folder, then that
 * folder's folder, and so on, and the rest of the path is walked. `version` 0: 4, and 3 if the server does not
 * speak 4 or has not even the first name of the path there (the trees of both may differ).
 *
 * A symbolic link is read and followed as its text says, from its folder or from the server's root, at most
 * NFS_LINKS_MAX times, on the same server only, and with the same rights: never by this machine's own files.
 *
 * In the end one byte is read, so that a user who may not read the file learns it now.
 */
#ifndef REMOTE_NFS_FIND_H
#define REMOTE_NFS_FIND_H

#include "net/dial.h"
#include "remote/nfs/address.h"
#include "remote/nfs/protocol.h"

#define NFS_LINKS_MAX 8
#define NFS_ERROR_MAX (NFS_REPLY_ERROR_MAX + 64)

/* A file that may be read, and the connection to read it by. */
struct nfs_session {
    unsigned refs;
    const struct nfs_protocol *protocol;
    struct nfs_rpc *rpc;
    struct nfs_handle handle;
    struct nfs_attributes attributes;
    uint32_t read_max; /* as the server says */
};

struct nfs_find_options {
    struct nfs_address address;
    struct nfs_rpc_options rpc;
    enum address_local local;
    unsigned version;
};

struct nfs_found {
    enum remote_verdict verdict;
    int reason;
    char error[NFS_ERROR_MAX];
    struct nfs_session *session; /* OK: the callee's reference */
    uint64_t round_trip_us;
};

struct nfs_find;

/* `done` comes once, from the loop, never inside; then it is freed already. The options must live until then. */
struct nfs_find *nfs_find_start(const struct nfs_find_options *options,
                                void (*done)(void *owner, struct nfs_found *found), void *owner);
void nfs_find_cancel(struct nfs_find *find); /* `done` does not come; NULL is allowed */

struct nfs_session *nfs_session_ref(struct nfs_session *session);
void nfs_session_unref(struct nfs_session *session); /* the last one closes the connection; NULL is allowed */

#endif
