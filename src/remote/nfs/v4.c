/* NFS version 4.0 (RFC 7530): each question is one COMPOUND. See remote/nfs/protocol.h. */
#include "remote/nfs/protocol.h"

#define PROGRAM_NFS          100003
#define PROC_COMPOUND        1
#define STATUS_MINOR_VERSION 10021
#define TAG_MAX              1024
#define VALUES_MAX           256 /* bytes of attributes; what is asked for has 60 */

enum {
    OP_GETATTR = 9,
    OP_GETFH = 10,
    OP_LOOKUP = 15,
    OP_PUTFH = 22,
    OP_PUTROOTFH = 24,
    OP_READ = 25,
    OP_READLINK = 27
};
enum {
    ATTR_TYPE = 1,
    ATTR_CHANGE = 3,
    ATTR_SIZE = 4,
    ATTR_FILEID = 20,
    ATTR_MAXREAD = 30,
    ATTR_CTIME = 52,
    ATTR_MTIME = 53,
};

/* --- attributes: the values follow each other in the order of their numbers --- */

#define BIT(number) (1u << ((number) % 32))
#define WANTED_0    (BIT(ATTR_TYPE) | BIT(ATTR_CHANGE) | BIT(ATTR_SIZE) | BIT(ATTR_FILEID) | BIT(ATTR_MAXREAD))
#define WANTED_1    (BIT(ATTR_CTIME) | BIT(ATTR_MTIME))
#define NEEDED_0    (BIT(ATTR_TYPE) | BIT(ATTR_CHANGE) | BIT(ATTR_SIZE))

static void nfs_v4_take_value(struct xdr_in *values, unsigned number, struct nfs_reply *reply)
{
    struct nfs_attributes *a = &reply->attributes;
    uint64_t most;
    switch (number) {
    case ATTR_TYPE:
        a->type = nfs_type_of(xdr_u32(values));
        break;
    case ATTR_CHANGE:
        a->change = xdr_u64(values);
        break;
    case ATTR_SIZE:
        a->size = xdr_u64(values);
        break;
    case ATTR_FILEID:
        a->fileid = xdr_u64(values);
        break;
    case ATTR_MAXREAD:
        most = xdr_u64(values);
        reply->read_max = most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
        break;
    case ATTR_CTIME:
        a->ctime = (int64_t)xdr_u64(values);
        a->ctime_ns = xdr_u32(values);
        break;
    case ATTR_MTIME:
        a->mtime = (int64_t)xdr_u64(values);
        a->mtime_ns = xdr_u32(values);
        break;
    default:
        values->bad = true; /* it was not asked for, so its length is not known */
    }
}

static void nfs_v4_take_attributes(struct xdr_in *in, struct nfs_reply *reply)
{
    uint32_t words[2] = {0}, count = xdr_u32(in), length;
    in->bad |= count > 2;
    for (uint32_t i = 0; i < count && !in->bad; i++)
        words[i] = xdr_u32(in);
    const unsigned char *bytes = xdr_bytes(in, VALUES_MAX, &length);
    if (!bytes)
        return;
    struct xdr_in values = {.next = bytes, .end = bytes + length};
    for (unsigned number = 0; number < 64 && !values.bad; number++)
        if (words[number / 32] & BIT(number))
            nfs_v4_take_value(&values, number, reply);
    reply->attributes.known = true;
    in->bad |= values.bad || values.next != values.end || (words[0] & NEEDED_0) != NEEDED_0;
}

/* --- answers --- */

/* The result of the next operation begins; false: it is another operation's, or the operation failed. */
static bool take_operation(struct xdr_in *in, uint32_t operation, struct nfs_reply *reply)
{
    if (reply->verdict != REMOTE_OK || in->bad)
        return false;
    in->bad |= xdr_u32(in) != operation;
    uint32_t status = xdr_u32(in);
    if (!in->bad)
        nfs_judge(reply, status);
    return reply->verdict == REMOTE_OK && !in->bad;
}

/* The answer begins, and is good so far. */
static bool take_compound(struct xdr_in *in, struct nfs_reply *reply)
{
    uint32_t length, status = xdr_u32(in);
    reply->unsupported = status == STATUS_MINOR_VERSION;
    if (reply->unsupported)
        nfs_refuse(reply, 0, "the server does not speak version 4.0 of NFS (try version=3)");
    else
        nfs_judge(reply, status);
    xdr_bytes(in, TAG_MAX, &length);
    xdr_u32(in); /* how many results: each is checked as it comes */
    return reply->verdict == REMOTE_OK && !in->bad;
}

static void take_found(struct xdr_in *in, struct nfs_reply *reply)
{
    uint32_t length;
    if (!take_operation(in, OP_GETFH, reply))
        return;
    const void *handle = xdr_bytes(in, NFS_HANDLE_MAX, &length);
    if (handle && nfs_take_handle(reply, handle, length, NFS_HANDLE_MAX) && take_operation(in, OP_GETATTR, reply))
        nfs_v4_take_attributes(in, reply);
}

static void decode_root(const struct nfs_call *call, struct xdr_in *in, struct nfs_reply *reply)
{
    (void)call;
    if (take_compound(in, reply) && take_operation(in, OP_PUTROOTFH, reply))
        take_found(in, reply);
}

static void nfs_v4_decode_lookup(const struct nfs_call *call, struct xdr_in *in, struct nfs_reply *reply)
{
    (void)call;
    if (take_compound(in, reply) && take_operation(in, OP_PUTFH, reply) && take_operation(in, OP_LOOKUP, reply))
        take_found(in, reply);
}

static void nfs_v4_decode_readlink(const struct nfs_call *call, struct xdr_in *in, struct nfs_reply *reply)
{
    uint32_t length;
    (void)call;
    if (!take_compound(in, reply) || !take_operation(in, OP_PUTFH, reply) || !take_operation(in, OP_READLINK, reply))
        return;
    const void *text = xdr_bytes(in, NFS_LINK_MAX, &length);
    if (text)
        nfs_take_link(reply, text, length);
}

static void nfs_v4_decode_attributes(const struct nfs_call *call, struct xdr_in *in, struct nfs_reply *reply)
{
    (void)call;
    if (take_compound(in, reply) && take_operation(in, OP_PUTFH, reply) && take_operation(in, OP_GETATTR, reply))
        nfs_v4_take_attributes(in, reply);
}

static void nfs_v4_decode_read(const struct nfs_call *call, struct xdr_in *in, struct nfs_reply *reply)
{
    if (!take_compound(in, reply) || !take_operation(in, OP_PUTFH, reply) || !take_operation(in, OP_READ, reply))
        return;
    reply->eof = xdr_u32(in);
    reply->data = xdr_bytes(in, call->count, &reply->length);
    if (take_operation(in, OP_GETATTR, reply))
        nfs_v4_take_attributes(in, reply);
}

/* --- questions --- */

static struct nfs_call *compound(struct nfs_rpc *rpc, uint32_t operations, const struct nfs_handle *handle,
                                 struct xdr_out *out, nfs_decode decode, nfs_done done, void *owner)
{
    struct nfs_call *call = nfs_call_new(rpc, PROGRAM_NFS, 4, PROC_COMPOUND, out, decode, done, owner);
    xdr_put_bytes(out, "", 0);
    xdr_put_u32(out, 0); /* minor version */
    xdr_put_u32(out, operations);
    xdr_put_u32(out, handle ? OP_PUTFH : OP_PUTROOTFH);
    if (handle)
        xdr_put_bytes(out, handle->data, handle->length);
    return call;
}

static void put_getattr(struct xdr_out *out)
{
    xdr_put_u32(out, OP_GETATTR);
    xdr_put_u32(out, 2);
    xdr_put_u32(out, WANTED_0);
    xdr_put_u32(out, WANTED_1);
}

static struct nfs_call *nfs_v4_lookup(struct nfs_rpc *rpc, const struct nfs_handle *folder, const char *name,
                                      nfs_done done, void *owner)
{
    struct xdr_out out;
    struct nfs_call *call =
        compound(rpc, folder ? 4 : 3, folder, &out, folder ? nfs_v4_decode_lookup : decode_root, done, owner);
    if (folder) {
        xdr_put_u32(&out, OP_LOOKUP);
        xdr_put_bytes(&out, name, (uint32_t)strlen(name));
    }
    xdr_put_u32(&out, OP_GETFH);
    put_getattr(&out);
    nfs_call_send(call, &out);
    return call;
}

static struct nfs_call *nfs_v4_read_link(struct nfs_rpc *rpc, const struct nfs_handle *link, nfs_done done, void *owner)
{
    struct xdr_out out;
    struct nfs_call *call = compound(rpc, 2, link, &out, nfs_v4_decode_readlink, done, owner);
    xdr_put_u32(&out, OP_READLINK);
    nfs_call_send(call, &out);
    return call;
}

static struct nfs_call *nfs_v4_attributes(struct nfs_rpc *rpc, const struct nfs_handle *file, nfs_done done,
                                          void *owner)
{
    struct xdr_out out;
    struct nfs_call *call = compound(rpc, 2, file, &out, nfs_v4_decode_attributes, done, owner);
    put_getattr(&out);
    nfs_call_send(call, &out);
    return call;
}

static struct nfs_call *nfs_v4_read_range(struct nfs_rpc *rpc, const struct nfs_handle *file, uint64_t offset,
                                          uint32_t count, nfs_done done, void *owner)
{
    struct xdr_out out;
    struct nfs_call *call = compound(rpc, 3, file, &out, nfs_v4_decode_read, done, owner);
    xdr_put_u32(&out, OP_READ);
    for (int i = 0; i < 4; i++) /* the stateid */
        xdr_put_u32(&out, UINT32_MAX);
    xdr_put_u64(&out, offset);
    xdr_put_u32(&out, count);
    put_getattr(&out);
    call->count = count;
    nfs_call_send(call, &out);
    return call;
}

const struct nfs_protocol nfs_protocol_4 = {
    4, nfs_v4_lookup, nfs_v4_read_link, nfs_v4_attributes, nfs_v4_attributes, nfs_v4_read_range};
