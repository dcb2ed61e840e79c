#include "remote/nfs/nfs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/defer.h"
#include "base/text.h"
#include "remote/nfs/find.h"

struct nfs_client {
    struct remote_client client;
    struct nfs_find_options find;
    struct nfs_pool pool;
    struct nfs_session *session; /* what was adopted last */
    struct defer closed;
};

struct nfs_request;

struct nfs_piece {
    struct nfs_request *request;
    struct nfs_call *call;           /* NULL: the piece is idle */
    uint32_t offset, length, filled; /* in the range */
    uint32_t checked;                /* bytes of `filled` that are known to be of the image */
};

struct nfs_request {
    struct remote_request request;
    struct nfs_find *find;       /* a probe */
    struct nfs_session *session; /* of a range; or what the last probe found, until that is adopted */
    uint64_t offset, started_us;
    uint32_t length, next; /* next: up to where pieces were begun */
    struct nfs_piece pieces[NFS_PIECES];
};

static struct nfs_client *nfs_of(struct remote_client *client)
{
    return container_of(client, struct nfs_client, client);
}

static struct nfs_request *nfs_request_of(struct remote_request *request)
{
    return container_of(request, struct nfs_request, request);
}

static void drop_session(struct nfs_session **session)
{
    nfs_session_unref(*session);
    *session = NULL;
}

static void nfs_request_begin(struct nfs_request *nfs, uint32_t length)
{
    drop_session(&nfs->session);
    remote_request_begin(&nfs->request, length);
}

static void nfs_request_judge(struct nfs_request *nfs, enum remote_verdict verdict, int reason, const char *error)
{
    remote_judge(&nfs->request, verdict, "%s", error);
    nfs->request.reason = reason;
}

/* --- probes --- */

/* The attributes that each READ is compared with also identify the bytes for other slots, and for a daemon that is
 * started anew. */
static void identify(struct remote_image *image, const struct nfs_session *session, const struct nfs_address *address)
{
    image->size = session->attributes.size;
    nfs_version_text(&session->attributes, image->version);
    *image->identity = '\0';
    int n = snprintf(image->identity, sizeof image->identity, "nfs%u %s %u %s %s", session->protocol->version,
                     address->host, address->port, address->path, image->version);
    if (n < 0 || (size_t)n >= sizeof image->identity)
        *image->identity = '\0';
}

static void on_found(void *owner, struct nfs_found *found)
{
    struct nfs_request *nfs = owner;
    struct remote_request *request = &nfs->request;
    nfs->find = NULL;
    nfs_request_judge(nfs, found->verdict, found->reason, found->error);
    if (found->verdict == REMOTE_OK) {
        nfs->session = found->session;
        request->first_byte_us = found->round_trip_us;
        identify(&request->found, found->session, &nfs_of(request->client)->find.address);
    }
    remote_request_end(request);
}

static void nfs_probe(struct remote_request *request)
{
    struct nfs_request *nfs = nfs_request_of(request);
    nfs_request_begin(nfs, 0);
    nfs->find = nfs_find_start(&nfs_of(request->client)->find, on_found, nfs);
}

/* The version of NFS that found the image is kept: what one version tells of a file can't be compared with what the
 * other tells. */
static void nfs_adopt(struct remote_request *probe)
{
    struct nfs_client *nfs = nfs_of(probe->client);
    nfs_session_unref(nfs->session);
    nfs->session = nfs_request_of(probe)->session;
    nfs_request_of(probe)->session = NULL;
    nfs->find.version = nfs->session->protocol->version;
}

/* --- ranges --- */

static void cancel_pieces(struct nfs_request *nfs)
{
    for (unsigned i = 0; i < NFS_PIECES; i++) {
        nfs_call_cancel(nfs->pieces[i].call);
        nfs->pieces[i].call = NULL;
    }
}

static void nfs_range_end(struct nfs_request *nfs)
{
    cancel_pieces(nfs);
    drop_session(&nfs->session);
    remote_request_end(&nfs->request);
}

static void on_nfs_piece(void *owner, const struct nfs_reply *reply);

static void nfs_piece_ask(struct nfs_piece *piece)
{
    struct nfs_request *nfs = piece->request;
    struct nfs_session *session = nfs->session;
    piece->call = session->protocol->read(session->rpc, &session->handle, nfs->offset + piece->offset + piece->filled,
                                          piece->length - piece->filled, on_nfs_piece, piece);
}

static uint32_t piece_length(const struct nfs_session *session)
{
    uint32_t most = session->read_max == 0 || session->read_max > NFS_READ_MAX ? NFS_READ_MAX : session->read_max;
    return most < NFS_PIECE_MIN ? NFS_PIECE_MIN : most;
}

/* Begins the range's next part on the idle piece. */
static void piece_begin(struct nfs_piece *piece)
{
    struct nfs_request *nfs = piece->request;
    uint32_t rest = nfs->length - nfs->next, most = piece_length(nfs->session);
    if (rest == 0)
        return;
    piece->offset = nfs->next;
    piece->length = rest < most ? rest : most;
    piece->filled = piece->checked = 0;
    nfs->next += piece->length;
    nfs_piece_ask(piece);
}

static bool all_idle(const struct nfs_request *nfs)
{
    for (unsigned i = 0; i < NFS_PIECES; i++)
        if (nfs->pieces[i].call)
            return false;
    return true;
}

/* How far the range is there, without a gap. */
static void tell_filled(struct nfs_request *nfs)
{
    uint32_t ready = nfs->next;
    for (unsigned i = 0; i < NFS_PIECES; i++) {
        const struct nfs_piece *piece = &nfs->pieces[i];
        if (piece->call && piece->offset + piece->checked < ready)
            ready = piece->offset + piece->checked;
    }
    if (nfs->request.filled)
        nfs->request.filled(&nfs->request, ready);
}

static void piece_go_on(struct nfs_piece *piece)
{
    struct nfs_request *nfs = piece->request;
    piece->checked = piece->filled;
    if (piece->filled < piece->length)
        nfs_piece_ask(piece); /* a short read, as a server may answer */
    else
        piece_begin(piece);
    if (!all_idle(nfs)) {
        tell_filled(nfs);
        return;
    }
    nfs_request_judge(nfs, REMOTE_OK, 0, "");
    nfs_range_end(nfs);
}

/* False: there is another file by now, or the file has other content; the range has ended then. */
static bool piece_same(struct nfs_piece *piece, const struct nfs_attributes *attributes)
{
    struct nfs_request *nfs = piece->request;
    if (nfs_same_file(attributes, &nfs->session->attributes))
        return true;
    nfs_request_judge(nfs, REMOTE_REFUSED, 0, "the image changed on the server (eject and insert it again)");
    nfs_range_end(nfs);
    return false;
}

/* False: the question failed, and the range with it. */
static bool piece_got(struct nfs_piece *piece, const struct nfs_reply *reply)
{
    struct nfs_request *nfs = piece->request;
    piece->call = NULL;
    if (reply->verdict == REMOTE_OK)
        return true;
    bool lost = nfs_rpc_ended(nfs->session->rpc);
    nfs_request_judge(nfs, lost ? REMOTE_MOVED : reply->verdict, reply->reason, reply->error);
    nfs_range_end(nfs);
    return false;
}

static void on_piece_attributes(void *owner, const struct nfs_reply *reply)
{
    struct nfs_piece *piece = owner;
    if (piece_got(piece, reply) && piece_same(piece, &reply->attributes))
        piece_go_on(piece);
}

static void on_nfs_piece(void *owner, const struct nfs_reply *reply)
{
    struct nfs_piece *piece = owner;
    struct nfs_request *nfs = piece->request;
    const struct nfs_session *session = nfs->session;
    if (!piece_got(piece, reply) || (reply->attributes.known && !piece_same(piece, &reply->attributes)))
        return;
    if (nfs->request.received == 0 && reply->length <= NFS_PIECE_MIN)
        nfs->request.first_byte_us = uv_hrtime() / 1000 - nfs->started_us;
    nfs->request.received += reply->length;
    if (reply->length == 0) {
        remote_judge(&nfs->request, reply->eof ? REMOTE_REFUSED : REMOTE_TRANSIENT,
                     "the server sent %" PRIu32 " of %" PRIu32 " bytes", piece->filled, piece->length);
        nfs_range_end(nfs);
        return;
    }
    slices_copy_in(&nfs->request.data, piece->offset + piece->filled, reply->data, reply->length);
    piece->filled += reply->length;
    if (reply->attributes.known)
        piece_go_on(piece);
    else
        piece->call = session->protocol->attributes(session->rpc, &session->handle, on_piece_attributes, piece);
}

static void nfs_range(struct remote_request *request, uint64_t offset, uint32_t length)
{
    struct nfs_request *nfs = nfs_request_of(request);
    nfs_request_begin(nfs, length);
    nfs->session = nfs_session_ref(nfs_of(request->client)->session);
    nfs->offset = offset;
    nfs->length = length;
    nfs->next = 0;
    nfs->started_us = uv_hrtime() / 1000;
    for (unsigned i = 0; i < NFS_PIECES; i++)
        piece_begin(&nfs->pieces[i]);
}

/* --- life --- */

static struct remote_request *nfs_request_new(struct remote_client *client)
{
    struct nfs_request *nfs = mem_alloc(sizeof *nfs);
    nfs->request.client = client;
    slices_init(&nfs->request.data);
    for (unsigned i = 0; i < NFS_PIECES; i++)
        nfs->pieces[i].request = nfs;
    return &nfs->request;
}

static void nfs_cancel(struct remote_request *request)
{
    struct nfs_request *nfs = nfs_request_of(request);
    nfs_find_cancel(nfs->find);
    nfs->find = NULL;
    cancel_pieces(nfs);
    nfs_request_begin(nfs, 0);
}

static uint64_t nfs_received(const struct remote_request *request)
{
    return request->received;
}

static void nfs_request_free(struct remote_request *request)
{
    nfs_cancel(request);
    mem_free(nfs_request_of(request));
}

static void on_nfs_closed(struct defer *defer)
{
    struct nfs_client *nfs = container_of(defer, struct nfs_client, closed);
    nfs->client.closed(&nfs->client);
}

static void on_empty(struct nfs_pool *pool)
{
    struct nfs_client *nfs = container_of(pool, struct nfs_client, pool);
    nfs->client.closed(&nfs->client);
}

static void nfs_close(struct remote_client *client)
{
    struct nfs_client *nfs = nfs_of(client);
    drop_session(&nfs->session);
    if (nfs->pool.count > 0)
        nfs->pool.empty = on_empty;
    else
        defer_schedule(client->loop, &nfs->closed);
}

static void nfs_free(struct remote_client *client)
{
    mem_free(client->url);
    mem_free(nfs_of(client));
}

static struct nfs_find_options find_options(uv_loop_t *loop, struct nfs_pool *pool, const struct nfs_address *address,
                                            const struct nfs_source_options *options)
{
    return (struct nfs_find_options){
        .address = *address,
        .rpc = {.loop = loop,
                .pool = pool,
                .uid = address->uid >= 0 ? (uint32_t)address->uid : options->uid,
                .gid = address->gid >= 0 ? (uint32_t)address->gid : options->gid,
                .connect_timeout_ms = options->connect_timeout_ms,
                .stall_timeout_ms = options->stall_timeout_ms},
        .local = options->local,
        .version = options->version,
    };
}

struct source *nfs_source_new(uv_loop_t *loop, const char *who, const struct nfs_source_options *options,
                              char error[NFS_ADDRESS_ERROR_MAX])
{
    static const struct remote_client_ops ops = {
        .request_new = nfs_request_new,
        .probe = nfs_probe,
        .range = nfs_range,
        .cancel = nfs_cancel,
        .received = nfs_received,
        .request_free = nfs_request_free,
        .adopt = nfs_adopt,
        .close = nfs_close,
        .free = nfs_free,
    };
    struct nfs_address address;
    if (!nfs_address_parse(options->url, &address, error))
        return NULL;
    struct nfs_client *nfs = mem_alloc(sizeof *nfs);
    nfs->client = (struct remote_client){.ops = &ops, .loop = loop, .url = mem_strdup(options->url)};
    defer_setup(&nfs->closed, on_nfs_closed);
    nfs->find = find_options(loop, &nfs->pool, &address, options);
    return remote_source_new(&nfs->client, who, options->connections, options->io_timeout_ms);
}
