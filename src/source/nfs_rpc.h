/*
 * One connection to an RPC service of an NFS server (RFC 5531), by libnfs's raw
 * interface on the loop: nothing blocks, since it is given a numeric address that was judged before
 * (net/resolve.h).
 *
 * A call is answered exactly once, by `done` from the loop, never inside the function that made it; then it
 * frees itself. Calls may be made before the connection stands. A connection ends for good when it can't be
 * made in time, when the server closes it, when calls wait and nothing comes for the stall time, and
 * when more comes than any answer has (NFS_ANSWER_MAX): what waits, and each later call, then fails.
 *
 * libnfs itself believes the lengths in what a server sends: its versions 4 and 5 can be made to hang, or to
 * overwrite memory, by a server that means it (an array's count, fragments without end). What comes out of it is
 * checked here; against that only a newer libnfs helps.
 *
 * The connection is its maker's: nfs_rpc_close() cancels what waits, and is legal inside `done`.
 */
#ifndef SOURCE_NFS_RPC_H
#define SOURCE_NFS_RPC_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "source/nfs_reply.h"

#define NFS_ANSWER_MAX (16u << 20) /* bytes without an answer among them; what the kernel has received counts */

struct rpc_context;
struct nfs_rpc;

/* All connections of a client; `empty` comes when the last is closed, from the loop. */
struct nfs_pool {
    unsigned count;
    void (*empty)(struct nfs_pool *pool);
};

struct nfs_rpc_options {
    uv_loop_t *loop;
    struct nfs_pool *pool;
    uint32_t uid, gid; /* of AUTH_SYS */
    uint64_t connect_timeout_ms, stall_timeout_ms;
};

/* A question on its way. */
struct nfs_call {
    struct link link; /* in the connection's waiting or failed ones */
    struct nfs_rpc *rpc;
    void (*decode)(const struct nfs_call *call, const void *data, struct nfs_reply *reply);
    uint32_t count; /* of a read: what was asked for */
    char error[NFS_REPLY_ERROR_MAX];
    bool unsupported;
    void (*done)(void *owner, const struct nfs_reply *reply); /* NULL: cancelled */
    void *owner;
};

struct nfs_rpc *nfs_rpc_new(const struct nfs_rpc_options *options, const struct sockaddr *address, uint16_t port);
void nfs_rpc_close(struct nfs_rpc *rpc);           /* NULL is allowed */
bool nfs_rpc_connected(const struct nfs_rpc *rpc); /* it was, at some time */

/* For those who speak a protocol: makes a call; then nfs_rpc_context() is what libnfs is asked with, and
 * nfs_call_sent() takes what it said. The context is NULL when the connection has ended. */
struct nfs_call *nfs_call_new(struct nfs_rpc *rpc,
                              void (*decode)(const struct nfs_call *call, const void *data, struct nfs_reply *reply),
                              void (*done)(void *owner, const struct nfs_reply *reply), void *owner);
struct rpc_context *nfs_rpc_context(struct nfs_rpc *rpc);
void nfs_call_sent(struct nfs_call *call, int status);
/* The callback to give to libnfs, with the call as its private data. */
void nfs_call_answered(struct rpc_context *context, int status, void *data, void *arg);
void nfs_call_cancel(struct nfs_call *call); /* `done` does not come; NULL is allowed */

#endif
