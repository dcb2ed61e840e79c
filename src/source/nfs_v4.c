/* NFS version 4.0 (RFC 7530). See source/nfs_protocol.h. */
#include <string.h>

#include <nfsc/libnfs-zdr.h> /* before the others, which need it */

#include <nfsc/libnfs.h>

#include <nfsc/libnfs-raw.h>

#include <nfsc/libnfs-raw-nfs4.h>

#include "source/nfs_protocol.h"

#define STATUS_MINOR_VERSION 10021
#define OPERATIONS_MAX       4
#define VALUES_MAX           256 /* bytes of attributes; what is asked for has 60 */

/* --- attributes: the values follow each other in the order of their numbers --- */

struct values {
    const unsigned char *next, *end;
    bool bad;
};

static uint32_t take_u32(struct values *values)
{
    const unsigned char *p = values->next;
    if (values->end - p < 4) {
        values->bad = true;
        return 0;
    }
    values->next += 4;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t take_u64(struct values *values)
{
    uint64_t high = take_u32(values);
    return high << 32 | take_u32(values);
}

static enum nfs_type type_of(uint32_t type)
{
    return type == NF4REG ? NFS_FILE : type == NF4DIR ? NFS_FOLDER : type == NF4LNK ? NFS_LINK : NFS_OTHER;
}

static void take_value(struct values *values, unsigned number, struct nfs_reply *reply)
{
    struct nfs_attributes *a = &reply->attributes;
    uint64_t most;
    switch (number) {
    case FATTR4_TYPE:
        a->type = type_of(take_u32(values));
        break;
    case FATTR4_CHANGE:
        a->change = take_u64(values);
        break;
    case FATTR4_SIZE:
        a->size = take_u64(values);
        break;
    case FATTR4_FILEID:
        a->fileid = take_u64(values);
        break;
    case FATTR4_MAXREAD:
        most = take_u64(values);
        reply->read_max = most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
        break;
    case FATTR4_TIME_METADATA:
        a->ctime = (int64_t)take_u64(values);
        a->ctime_ns = take_u32(values);
        break;
    case FATTR4_TIME_MODIFY:
        a->mtime = (int64_t)take_u64(values);
        a->mtime_ns = take_u32(values);
        break;
    default:
        values->bad = true; /* was not asked for: how long it is isn't known */
    }
}

#define BIT(number) (1u << ((number) % 32))
#define WANTED_0    (BIT(FATTR4_TYPE) | BIT(FATTR4_CHANGE) | BIT(FATTR4_SIZE) | BIT(FATTR4_FILEID) | BIT(FATTR4_MAXREAD))
#define WANTED_1    (BIT(FATTR4_TIME_METADATA) | BIT(FATTR4_TIME_MODIFY))
#define NEEDED_0    (BIT(FATTR4_TYPE) | BIT(FATTR4_CHANGE) | BIT(FATTR4_SIZE))

static void take_attributes(struct nfs_reply *reply, const fattr4 *from)
{
    uint32_t words[2] = {0};
    static const unsigned char none[1];
    const void *bytes = from->attr_vals.attrlist4_val;
    struct values values = {.next = bytes ? bytes : none, .bad = !bytes || from->attr_vals.attrlist4_len > VALUES_MAX};
    values.end = values.next + (values.bad ? 0 : from->attr_vals.attrlist4_len);
    for (uint32_t i = 0; i < from->attrmask.bitmap4_len && i < 2; i++)
        words[i] = from->attrmask.bitmap4_val[i];
    for (unsigned number = 0; number < 64 && !values.bad; number++)
        if (words[number / 32] & BIT(number))
            take_value(&values, number, reply);
    reply->attributes.known = true;
    if (values.bad || values.next != values.end || (words[0] & NEEDED_0) != NEEDED_0)
        nfs_refuse(reply, 0, "the server sent attributes that can't be understood");
}

/* --- answers --- */

/* The results of the operations, in their order; false: refused. They are copied, as libnfs's arrays are not aligned.
 */
static bool results(const void *data, const nfs_opnum4 *operations, unsigned count, nfs_resop4 got[OPERATIONS_MAX],
                    struct nfs_reply *reply)
{
    const COMPOUND4res *res = data;
    nfs_judge(reply, res->status);
    reply->unsupported = (unsigned)res->status == STATUS_MINOR_VERSION;
    if (reply->unsupported)
        nfs_refuse(reply, 0, "the server does not speak version 4.0 of NFS (try version=3)");
    if (res->status != NFS4_OK)
        return false;
    bool right = res->resarray.resarray_len == count;
    if (right)
        memcpy(got, res->resarray.resarray_val, count * sizeof *got);
    for (unsigned i = 0; right && i < count; i++)
        right = got[i].resop == operations[i];
    if (!right)
        nfs_refuse(reply, 0, "the server answered something else than was asked");
    return right;
}

/* Handle, attributes: the last two of both kinds of lookup. */
static void take_found(struct nfs_reply *reply, const nfs_resop4 *last_two)
{
    const nfs_fh4 *fh = &last_two[0].nfs_resop4_u.opgetfh.GETFH4res_u.resok4.object;
    if (nfs_take_handle(reply, fh->nfs_fh4_val, fh->nfs_fh4_len, NFS4_FHSIZE))
        take_attributes(reply, &last_two[1].nfs_resop4_u.opgetattr.GETATTR4res_u.resok4.obj_attributes);
}

static const nfs_opnum4 root_operations[] = {OP_PUTROOTFH, OP_GETFH, OP_GETATTR};
static const nfs_opnum4 lookup_operations[] = {OP_PUTFH, OP_LOOKUP, OP_GETFH, OP_GETATTR};
static const nfs_opnum4 readlink_operations[] = {OP_PUTFH, OP_READLINK};
static const nfs_opnum4 attributes_operations[] = {OP_PUTFH, OP_GETATTR};
static const nfs_opnum4 read_operations[] = {OP_PUTFH, OP_READ, OP_GETATTR};
#define COUNT(array) (sizeof(array) / sizeof *(array))

static void decode_root(const struct nfs_call *call, const void *data, struct nfs_reply *reply)
{
    nfs_resop4 got[OPERATIONS_MAX];
    (void)call;
    if (results(data, root_operations, COUNT(root_operations), got, reply))
        take_found(reply, got + 1);
}

static void decode_lookup(const struct nfs_call *call, const void *data, struct nfs_reply *reply)
{
    nfs_resop4 got[OPERATIONS_MAX];
    (void)call;
    if (results(data, lookup_operations, COUNT(lookup_operations), got, reply))
        take_found(reply, got + 2);
}

static void decode_readlink(const struct nfs_call *call, const void *data, struct nfs_reply *reply)
{
    nfs_resop4 got[OPERATIONS_MAX];
    (void)call;
    if (!results(data, readlink_operations, COUNT(readlink_operations), got, reply))
        return;
    const linktext4 *text = &got[1].nfs_resop4_u.opreadlink.READLINK4res_u.resok4.link;
    nfs_take_link(reply, text->utf8string_val, text->utf8string_len);
}

static void decode_attributes(const struct nfs_call *call, const void *data, struct nfs_reply *reply)
{
    nfs_resop4 got[OPERATIONS_MAX];
    (void)call;
    if (results(data, attributes_operations, COUNT(attributes_operations), got, reply))
        take_attributes(reply, &got[1].nfs_resop4_u.opgetattr.GETATTR4res_u.resok4.obj_attributes);
}

static void decode_read(const struct nfs_call *call, const void *data, struct nfs_reply *reply)
{
    nfs_resop4 got[OPERATIONS_MAX];
    if (!results(data, read_operations, COUNT(read_operations), got, reply))
        return;
    const READ4resok *ok = &got[1].nfs_resop4_u.opread.READ4res_u.resok4;
    if (ok->data.data_len > call->count) {
        nfs_refuse(reply, 0, "the server sent more bytes than were asked for");
        return;
    }
    take_attributes(reply, &got[2].nfs_resop4_u.opgetattr.GETATTR4res_u.resok4.obj_attributes);
    reply->data = ok->data.data_val;
    reply->length = ok->data.data_len;
    reply->eof = ok->eof;
}

/* --- questions --- */

struct compound {
    nfs_argop4 operations[OPERATIONS_MAX];
    uint32_t wanted[2];
};

static void compound_begin(struct compound *compound, const nfs_opnum4 *operations, unsigned count,
                           const struct nfs_handle *handle)
{
    memset(compound, 0, sizeof *compound);
    compound->wanted[0] = WANTED_0;
    compound->wanted[1] = WANTED_1;
    for (unsigned i = 0; i < count; i++) {
        nfs_argop4 *op = &compound->operations[i];
        op->argop = operations[i];
        if (op->argop == OP_PUTFH) {
            op->nfs_argop4_u.opputfh.object.nfs_fh4_len = handle->length;
            op->nfs_argop4_u.opputfh.object.nfs_fh4_val = (char *)handle->data; /* libnfs only reads it */
        } else if (op->argop == OP_GETATTR) {
            op->nfs_argop4_u.opgetattr.attr_request.bitmap4_len = COUNT(compound->wanted);
            op->nfs_argop4_u.opgetattr.attr_request.bitmap4_val = compound->wanted;
        }
    }
}

static struct nfs_call *send_compound(struct nfs_call *call, struct compound *compound, unsigned count)
{
    struct rpc_context *context = nfs_rpc_context(call->rpc);
    COMPOUND4args args = {.tag = {.utf8string_len = 0, .utf8string_val = (char *)""}};
    args.argarray.argarray_len = count;
    args.argarray.argarray_val = compound->operations;
    nfs_call_sent(call, context ? rpc_nfs4_compound_async(context, nfs_call_answered, &args, call) : -1);
    return call;
}

static struct nfs_call *lookup(struct nfs_rpc *rpc, const struct nfs_handle *folder, const char *name, nfs_done done,
                               void *owner)
{
    struct nfs_call *call = nfs_call_new(rpc, folder ? decode_lookup : decode_root, done, owner);
    struct compound compound;
    if (!folder) {
        compound_begin(&compound, root_operations, COUNT(root_operations), NULL);
        return send_compound(call, &compound, COUNT(root_operations));
    }
    compound_begin(&compound, lookup_operations, COUNT(lookup_operations), folder);
    component4 *component = &compound.operations[1].nfs_argop4_u.oplookup.objname;
    component->utf8string_len = (unsigned)strlen(name);
    component->utf8string_val = (char *)name;
    return send_compound(call, &compound, COUNT(lookup_operations));
}

static struct nfs_call *read_link(struct nfs_rpc *rpc, const struct nfs_handle *link, nfs_done done, void *owner)
{
    struct compound compound;
    compound_begin(&compound, readlink_operations, COUNT(readlink_operations), link);
    return send_compound(nfs_call_new(rpc, decode_readlink, done, owner), &compound, COUNT(readlink_operations));
}

static struct nfs_call *attributes(struct nfs_rpc *rpc, const struct nfs_handle *file, nfs_done done, void *owner)
{
    struct compound compound;
    compound_begin(&compound, attributes_operations, COUNT(attributes_operations), file);
    return send_compound(nfs_call_new(rpc, decode_attributes, done, owner), &compound, COUNT(attributes_operations));
}

static struct nfs_call *read_range(struct nfs_rpc *rpc, const struct nfs_handle *file, uint64_t offset, uint32_t count,
                                   nfs_done done, void *owner)
{
    struct nfs_call *call = nfs_call_new(rpc, decode_read, done, owner);
    struct compound compound;
    compound_begin(&compound, read_operations, COUNT(read_operations), file);
    READ4args *args = &compound.operations[1].nfs_argop4_u.opread;
    memset(&args->stateid, 0xff, sizeof args->stateid);
    args->offset = offset;
    args->count = count;
    call->count = count;
    return send_compound(call, &compound, COUNT(read_operations));
}

const struct nfs_protocol nfs_protocol_4 = {4, lookup, read_link, attributes, attributes, read_range};
