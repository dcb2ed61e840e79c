/*
 * An image on an NFS server, by parallel READs on one connection (remote/remote.h).
 *
 * Each probe makes a new connection and finds the file anew (remote/nfs/find.h); its inode, size, times and (version
 * 4) change attribute are compared by remote/remote.c. A range is read in pieces of what the server gives at a time,
 * NFS_PIECES of them in flight. Every answer must carry the attributes that were found, or is followed by a question
 * for them: a changed file gives EIO, never its bytes. A lost connection and a handle that is not known any more lead
 * to a new probe.
 *
 * The client is our own and not libnfs's, which believes the lengths in an answer: with 4.0.0 (Debian 12) one COMPOUND
 * reply with a large array count ends the process, and a reply in fragments without end holds the loop for as long as
 * they come; much of this also happens with 5. What reading takes is eleven kinds of questions
 * (remote/nfs/protocol.h).
 *
 * Nothing is encrypted, and the reader's identity is only claimed (AUTH_SYS): NFS is for networks that are trusted.
 */
#ifndef REMOTE_NFS_NFS_H
#define REMOTE_NFS_NFS_H

#include "net/address.h"
#include "remote/nfs/address.h"
#include "remote/remote.h"

#define NFS_PIECES    4     /* of one range, at a time */
#define NFS_PIECE_MIN 4096u /* what is asked for at least, whatever the server says */

struct nfs_source_options {
    const char *url;  /* of location_url(); see remote/nfs/address.h */
    unsigned version; /* 3 or 4; 0: what the server speaks */
    uint32_t uid, gid;
    enum address_local local;
    uint64_t connect_timeout_ms, stall_timeout_ms;
    unsigned connections; /* ranges in flight, 1..REMOTE_REQUESTS_MAX */
    uint64_t io_timeout_ms;
};

/* NULL: the URL can't be used; `error` says why. */
struct source *nfs_source_new(uv_loop_t *loop, const char *who, const struct nfs_source_options *options,
                              char error[NFS_ADDRESS_ERROR_MAX]);

#endif
