/* NFS version 3 and the mount service beside it (RFC 1813), and rpcbind (RFC 1833). See source/nfs_protocol.h. */
#include <string.h>

#include <nfsc/libnfs-zdr.h> /* before the others, which need it */

#include <nfsc/libnfs.h>

#include <nfsc/libnfs-raw.h>

#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>
#include <nfsc/libnfs-raw-portmap.h>

#include "source/nfs_protocol.h"

#define TCP 6

/* --- answers --- */

static void take_fattr(struct nfs_attributes *to, const fattr3 *from)
{
    *to = (struct nfs_attributes){
        .known = true,
        .type = from->type == NF3REG   ? NFS_FILE
                : from->type == NF3DIR ? NFS_FOLDER
                : from->type == NF3LNK ? NFS_LINK
                                       : NFS_OTHER,
        .size = from->size,
        .fileid = from->fileid,
        .mtime = from->mtime.seconds,
        .mtime_ns = from->mtime.nseconds,
        .ctime = from->ctime.seconds,
        .ctime_ns = from->ctime.nseconds,
    };
}

static void take_attributes(struct nfs_reply *reply, const post_op_attr *attributes)
{
    if (attributes->attributes_follow)
        take_fattr(&reply->attributes, &attributes->post_op_attr_u.attributes);
}

static void decode_lookup(const struct nfs_call *call, const void *data, struct nfs_reply *reply)
{
    const LOOKUP3res *res = data;
    (void)call;
    nfs_judge(reply, res->status);
    if (res->status != NFS3_OK)
        return;
    const LOOKUP3resok *ok = &res->LOOKUP3res_u.resok;
    if (nfs_take_handle(reply, ok->object.data.data_val, ok->object.data.data_len, NFS3_FHSIZE))
        take_attributes(reply, &ok->obj_attributes);
}

static void decode_readlink(const struct nfs_call *call, const void *data, struct nfs_reply *reply)
{
    const READLINK3res *res = data;
    (void)call;
    nfs_judge(reply, res->status);
    if (res->status == NFS3_OK)
        nfs_take_link(reply, res->READLINK3res_u.resok.data, strlen(res->READLINK3res_u.resok.data));
}

static void decode_attributes(const struct nfs_call *call, const void *data, struct nfs_reply *reply)
{
    const GETATTR3res *res = data;
    (void)call;
    nfs_judge(reply, res->status);
    if (res->status == NFS3_OK)
        take_fattr(&reply->attributes, &res->GETATTR3res_u.resok.obj_attributes);
}

static void decode_limits(const struct nfs_call *call, const void *data, struct nfs_reply *reply)
{
    const FSINFO3res *res = data;
    (void)call;
    nfs_judge(reply, res->status);
    if (res->status == NFS3_OK)
        reply->read_max = res->FSINFO3res_u.resok.rtmax;
}

static void decode_read(const struct nfs_call *call, const void *data, struct nfs_reply *reply)
{
    const READ3res *res = data;
    nfs_judge(reply, res->status);
    if (res->status != NFS3_OK)
        return;
    const READ3resok *ok = &res->READ3res_u.resok;
    if (ok->data.data_len > call->count || ok->count != ok->data.data_len) {
        nfs_refuse(reply, 0, "the server sent another number of bytes than it says or than were asked for");
        return;
    }
    take_attributes(reply, &ok->file_attributes);
    reply->data = ok->data.data_val;
    reply->length = ok->data.data_len;
    reply->eof = ok->eof;
}

static void decode_port(const struct nfs_call *call, const void *data, struct nfs_reply *reply)
{
    (void)call;
    reply->port = *(const uint32_t *)data;
    if (reply->port > UINT16_MAX)
        nfs_refuse(reply, 0, "the server's rpcbind sent a port that is none");
}

static void decode_mount(const struct nfs_call *call, const void *data, struct nfs_reply *reply)
{
    const mountres3 *res = data;
    (void)call;
    nfs_judge(reply, res->fhs_status);
    const fhandle3 *handle = &res->mountres3_u.mountinfo.fhandle;
    if (res->fhs_status == MNT3_OK)
        nfs_take_handle(reply, handle->fhandle3_val, handle->fhandle3_len, NFS3_FHSIZE);
}

/* --- questions --- */

static nfs_fh3 fh3(const struct nfs_handle *handle)
{
    nfs_fh3 fh;
    fh.data.data_len = handle->length;
    fh.data.data_val = (char *)handle->data; /* libnfs only reads it */
    return fh;
}

static struct nfs_call *lookup(struct nfs_rpc *rpc, const struct nfs_handle *folder, const char *name, nfs_done done,
                               void *owner)
{
    struct nfs_call *call = nfs_call_new(rpc, decode_lookup, done, owner);
    struct rpc_context *context = nfs_rpc_context(rpc);
    LOOKUP3args args = {.what = {.dir = fh3(folder), .name = (char *)name}};
    nfs_call_sent(call, context ? rpc_nfs3_lookup_async(context, nfs_call_answered, &args, call) : -1);
    return call;
}

static struct nfs_call *read_link(struct nfs_rpc *rpc, const struct nfs_handle *link, nfs_done done, void *owner)
{
    struct nfs_call *call = nfs_call_new(rpc, decode_readlink, done, owner);
    struct rpc_context *context = nfs_rpc_context(rpc);
    READLINK3args args = {.symlink = fh3(link)};
    nfs_call_sent(call, context ? rpc_nfs3_readlink_async(context, nfs_call_answered, &args, call) : -1);
    return call;
}

static struct nfs_call *attributes(struct nfs_rpc *rpc, const struct nfs_handle *file, nfs_done done, void *owner)
{
    struct nfs_call *call = nfs_call_new(rpc, decode_attributes, done, owner);
    struct rpc_context *context = nfs_rpc_context(rpc);
    GETATTR3args args = {.object = fh3(file)};
    nfs_call_sent(call, context ? rpc_nfs3_getattr_async(context, nfs_call_answered, &args, call) : -1);
    return call;
}

static struct nfs_call *limits(struct nfs_rpc *rpc, const struct nfs_handle *file, nfs_done done, void *owner)
{
    struct nfs_call *call = nfs_call_new(rpc, decode_limits, done, owner);
    struct rpc_context *context = nfs_rpc_context(rpc);
    FSINFO3args args = {.fsroot = fh3(file)};
    nfs_call_sent(call, context ? rpc_nfs3_fsinfo_async(context, nfs_call_answered, &args, call) : -1);
    return call;
}

static struct nfs_call *read_range(struct nfs_rpc *rpc, const struct nfs_handle *file, uint64_t offset, uint32_t count,
                                   nfs_done done, void *owner)
{
    struct nfs_call *call = nfs_call_new(rpc, decode_read, done, owner);
    struct rpc_context *context = nfs_rpc_context(rpc);
    READ3args args = {.file = fh3(file), .offset = offset, .count = count};
    call->count = count;
    nfs_call_sent(call, context ? rpc_nfs3_read_async(context, nfs_call_answered, &args, call) : -1);
    return call;
}

struct nfs_call *nfs_ask_mount_port(struct nfs_rpc *rpc, nfs_done done, void *owner)
{
    struct nfs_call *call = nfs_call_new(rpc, decode_port, done, owner);
    struct rpc_context *context = nfs_rpc_context(rpc);
    nfs_call_sent(
        call, context ? rpc_pmap2_getport_async(context, MOUNT_PROGRAM, MOUNT_V3, TCP, nfs_call_answered, call) : -1);
    return call;
}

struct nfs_call *nfs_ask_mount(struct nfs_rpc *rpc, const char *folder, nfs_done done, void *owner)
{
    struct nfs_call *call = nfs_call_new(rpc, decode_mount, done, owner);
    struct rpc_context *context = nfs_rpc_context(rpc);
    nfs_call_sent(call, context ? rpc_mount3_mnt_async(context, nfs_call_answered, (char *)folder, call) : -1);
    return call;
}

const struct nfs_protocol nfs_protocol_3 = {3, lookup, read_link, attributes, limits, read_range};
