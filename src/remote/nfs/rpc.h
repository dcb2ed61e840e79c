/*
 * One connection to an RPC service of an NFS server (RFC 5531) over TCP, to an address that was judged
 * before (net/resolve.h).
 *
 * A call is answered exactly once, by `done` from the loop, never inside the function that made it; then it
 * frees itself. Calls may be made before the connection stands. A connection ends for good when it can't be
 * made in time, when the server closes it, when calls wait and nothing comes for the stall time, when a record is
 * longer than any answer, when too much comes that answers nothing, and when a call goes beyond a bound: what waits,
 * and each later call, then fails.
 *
 * Bounds: a record has NFS_RECORD_MAX bytes, in however many fragments, and one buffer of that size is all that a
 * connection receives into; NFS_CALLS_MAX calls wait, with the cancelled ones that are not answered yet, and
 * NFS_QUESTIONS_MAX bytes of questions that the server has not taken: a server that guesses the next call's number
 * can answer without reading, and so makes these grow.
 *
 * The connection is its maker's: nfs_rpc_close() cancels what waits, and is legal inside `done`.
 */
#ifndef REMOTE_NFS_RPC_H
#define REMOTE_NFS_RPC_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "remote/nfs/reply.h"
#include "remote/nfs/xdr.h"

#define NFS_READ_MAX      (256u << 10)          /* of one READ */
#define NFS_RECORD_MAX    (NFS_READ_MAX + 4096) /* a READ's bytes, and the rest of its answer */
#define NFS_UNASKED_MAX   (2 * NFS_RECORD_MAX)  /* bytes received in a row that answer nothing */
#define NFS_CALLS_MAX     1024                  /* ranges in flight make a quarter of that; the rest were cancelled */
#define NFS_QUESTIONS_MAX (256u << 10)
#define NFS_RECORDS_TURN  16 /* reads from the socket in one turn of the loop */

struct nfs_rpc;
struct nfs_call;

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

typedef void (*nfs_decode)(const struct nfs_call *call, struct xdr_in *in, struct nfs_reply *reply);
typedef void (*nfs_done)(void *owner, const struct nfs_reply *reply);

/* A question on its way. */
struct nfs_call {
    struct link link; /* in the connection's waiting or failed ones */
    struct nfs_rpc *rpc;
    uint32_t xid;
    uint32_t count; /* of a read: what was asked for */
    nfs_decode decode;
    nfs_done done; /* NULL: cancelled */
    void *owner;
};

struct nfs_rpc *nfs_rpc_new(const struct nfs_rpc_options *options, const struct sockaddr *address, uint16_t port);
void nfs_rpc_close(struct nfs_rpc *rpc);           /* NULL is allowed */
bool nfs_rpc_connected(const struct nfs_rpc *rpc); /* whether it was connected at any time */
bool nfs_rpc_ended(const struct nfs_rpc *rpc);

/* A call's question begins in `out`; its arguments follow; then it is sent. */
struct nfs_call *nfs_call_new(struct nfs_rpc *rpc, uint32_t program, uint32_t version, uint32_t procedure,
                              struct xdr_out *out, nfs_decode decode, nfs_done done, void *owner);
void nfs_call_send(struct nfs_call *call, const struct xdr_out *out);
void nfs_call_cancel(struct nfs_call *call); /* `done` does not come; NULL is allowed */

#endif
