/* NFS version 3 and the mount service beside it (RFC 1813), and rpcbind (RFC 1833). See remote/nfs/protocol.h. */
#include "remote/nfs/protocol.h"

#define PROGRAM_RPCBIND 100000
#define PROGRAM_NFS     100003
#define PROGRAM_MOUNT   100005
#define TCP             6
#define HANDLE_MAX      64

enum {
    PROC_GETATTR = 1,
    PROC_LOOKUP = 3,
    PROC_READLINK = 5,
    PROC_READ = 6,
    PROC_FSINFO = 19,
    PROC_MNT = 1,
    PROC_GETPORT = 3
};

/* --- answers --- */

static void take_fattr(struct xdr_in *in, struct nfs_attributes *a)
{
    a->known = true;
    a->type = nfs_type_of(xdr_u32(in));
    for (int i = 0; i < 4; i++) /* mode, nlink, uid, gid */
        xdr_u32(in);
    a->size = xdr_u64(in);
    for (int i = 0; i < 3; i++) /* used, rdev, fsid */
        xdr_u64(in);
    a->fileid = xdr_u64(in);
    xdr_u64(in); /* atime */
    a->mtime = xdr_u32(in);
    a->mtime_ns = xdr_u32(in);
    a->ctime = xdr_u32(in);
    a->ctime_ns = xdr_u32(in);
}

static void nfs_v3_take_attributes(struct xdr_in *in, struct nfs_reply *reply)
{
    if (xdr_u32(in))
        take_fattr(in, &reply->attributes);
}

/* True: the status is good. */
static bool take_status(struct xdr_in *in, struct nfs_reply *reply)
{
    nfs_judge(reply, xdr_u32(in));
    return reply->verdict == REMOTE_OK && !in->bad;
}

static void take_handle(struct xdr_in *in, struct nfs_reply *reply)
{
    uint32_t length;
    const void *handle = xdr_bytes(in, HANDLE_MAX, &length);
    if (handle)
        nfs_take_handle(reply, handle, length, HANDLE_MAX);
}

static void nfs_v3_decode_lookup(const struct nfs_call *call, struct xdr_in *in, struct nfs_reply *reply)
{
    (void)call;
    if (!take_status(in, reply))
        return;
    take_handle(in, reply);
    nfs_v3_take_attributes(in, reply);
}

static void nfs_v3_decode_readlink(const struct nfs_call *call, struct xdr_in *in, struct nfs_reply *reply)
{
    uint32_t length;
    (void)call;
    if (!take_status(in, reply))
        return;
    nfs_v3_take_attributes(in, reply);
    const void *text = xdr_bytes(in, NFS_LINK_MAX, &length);
    if (text)
        nfs_take_link(reply, text, length);
}

static void nfs_v3_decode_attributes(const struct nfs_call *call, struct xdr_in *in, struct nfs_reply *reply)
{
    (void)call;
    if (take_status(in, reply))
        take_fattr(in, &reply->attributes);
}

static void decode_limits(const struct nfs_call *call, struct xdr_in *in, struct nfs_reply *reply)
{
    struct nfs_reply unused = {0};
    (void)call;
    if (!take_status(in, reply))
        return;
    nfs_v3_take_attributes(in, &unused);
    reply->read_max = xdr_u32(in);
}

static void nfs_v3_decode_read(const struct nfs_call *call, struct xdr_in *in, struct nfs_reply *reply)
{
    if (!take_status(in, reply))
        return;
    nfs_v3_take_attributes(in, reply);
    uint32_t count = xdr_u32(in);
    reply->eof = xdr_u32(in);
    reply->data = xdr_bytes(in, call->count, &reply->length);
    if (!in->bad && count != reply->length)
        nfs_refuse(reply, 0, "the server sent another number of bytes than it says");
}

static void decode_port(const struct nfs_call *call, struct xdr_in *in, struct nfs_reply *reply)
{
    (void)call;
    reply->port = xdr_u32(in);
    if (reply->port > UINT16_MAX)
        nfs_refuse(reply, 0, "the server's rpcbind sent a port that is none");
}

static void decode_mount(const struct nfs_call *call, struct xdr_in *in, struct nfs_reply *reply)
{
    (void)call;
    if (take_status(in, reply))
        take_handle(in, reply);
}

/* --- questions --- */

static struct nfs_call *nfs_v3_ask(struct nfs_rpc *rpc, uint32_t procedure, const struct nfs_handle *handle,
                                   struct xdr_out *out, nfs_decode decode, nfs_done done, void *owner)
{
    struct nfs_call *call = nfs_call_new(rpc, PROGRAM_NFS, 3, procedure, out, decode, done, owner);
    xdr_put_bytes(out, handle->data, handle->length);
    return call;
}

static struct nfs_call *ask_of(struct nfs_rpc *rpc, uint32_t procedure, const struct nfs_handle *handle,
                               nfs_decode decode, nfs_done done, void *owner)
{
    struct xdr_out out;
    struct nfs_call *call = nfs_v3_ask(rpc, procedure, handle, &out, decode, done, owner);
    nfs_call_send(call, &out);
    return call;
}

static struct nfs_call *nfs_v3_lookup(struct nfs_rpc *rpc, const struct nfs_handle *folder, const char *name,
                                      nfs_done done, void *owner)
{
    struct xdr_out out;
    struct nfs_call *call = nfs_v3_ask(rpc, PROC_LOOKUP, folder, &out, nfs_v3_decode_lookup, done, owner);
    xdr_put_bytes(&out, name, (uint32_t)strlen(name));
    nfs_call_send(call, &out);
    return call;
}

static struct nfs_call *nfs_v3_read_link(struct nfs_rpc *rpc, const struct nfs_handle *link, nfs_done done, void *owner)
{
    return ask_of(rpc, PROC_READLINK, link, nfs_v3_decode_readlink, done, owner);
}

static struct nfs_call *nfs_v3_attributes(struct nfs_rpc *rpc, const struct nfs_handle *file, nfs_done done,
                                          void *owner)
{
    return ask_of(rpc, PROC_GETATTR, file, nfs_v3_decode_attributes, done, owner);
}

static struct nfs_call *limits(struct nfs_rpc *rpc, const struct nfs_handle *file, nfs_done done, void *owner)
{
    return ask_of(rpc, PROC_FSINFO, file, decode_limits, done, owner);
}

static struct nfs_call *nfs_v3_read_range(struct nfs_rpc *rpc, const struct nfs_handle *file, uint64_t offset,
                                          uint32_t count, nfs_done done, void *owner)
{
    struct xdr_out out;
    struct nfs_call *call = nfs_v3_ask(rpc, PROC_READ, file, &out, nfs_v3_decode_read, done, owner);
    xdr_put_u64(&out, offset);
    xdr_put_u32(&out, count);
    call->count = count;
    nfs_call_send(call, &out);
    return call;
}

struct nfs_call *nfs_ask_mount_port(struct nfs_rpc *rpc, nfs_done done, void *owner)
{
    struct xdr_out out;
    struct nfs_call *call = nfs_call_new(rpc, PROGRAM_RPCBIND, 2, PROC_GETPORT, &out, decode_port, done, owner);
    xdr_put_u32(&out, PROGRAM_MOUNT);
    xdr_put_u32(&out, 3);
    xdr_put_u32(&out, TCP);
    xdr_put_u32(&out, 0);
    nfs_call_send(call, &out);
    return call;
}

struct nfs_call *nfs_ask_mount(struct nfs_rpc *rpc, const char *folder, nfs_done done, void *owner)
{
    struct xdr_out out;
    struct nfs_call *call = nfs_call_new(rpc, PROGRAM_MOUNT, 3, PROC_MNT, &out, decode_mount, done, owner);
    xdr_put_bytes(&out, folder, (uint32_t)strlen(folder));
    nfs_call_send(call, &out);
    return call;
}

const struct nfs_protocol nfs_protocol_3 = {3,      nfs_v3_lookup,    nfs_v3_read_link, nfs_v3_attributes,
                                            limits, nfs_v3_read_range};
