/* Requests and replies (doc/proto.md, "Transmission phase"). */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "block/source.h"
#include "nbd/connection.h"

void transmission_begin(struct nbd_connection *c)
{
    c->phase = PHASE_REQUEST;
    c->want = NBD_REQUEST_SIZE;
    c->in = mem_realloc(c->in, NBD_REQUEST_SIZE);
    c->active_at = uv_now(c->server->loop);
    connection_watch_idle(c);
}

/* What this client's requests go to; NULL while they are refused. */
static struct source *source_of(const struct nbd_connection *c)
{
    return c->draining ? NULL : c->server->source;
}

/* --- request objects --- */

static struct nbd_client_request *nbd_transmission_request_new(struct nbd_connection *c)
{
    struct link *l = list_pop(&c->idle);
    struct nbd_client_request *r = l ? container_of(l, struct nbd_client_request, link) : mem_alloc(sizeof *r);
    list_init(&r->link);
    r->connection = c;
    r->charge = r->filled = 0;
    return r;
}

static void request_free(struct nbd_client_request *r)
{
    mem_free(r->extents);
    r->extents = NULL;
    list_append(&r->connection->idle, &r->link);
}

void transmission_free(struct nbd_connection *c)
{
    if (c->held)
        request_free(c->held); /* the request was never charged */
    for (struct link *l = list_pop(&c->idle); l; l = list_pop(&c->idle))
        mem_free(container_of(l, struct nbd_client_request, link));
}

/* --- the budget --- */

void transmission_release(struct nbd_connection *c, uint64_t charge)
{
    struct nbd_server_budget *budget = c->server->options.budget;
    if (charge == 0)
        return;
    budget->used -= charge;
    c->charged -= charge;
    for (struct link *l = list_pop(&budget->waiting); l; l = list_pop(&budget->waiting)) {
        struct nbd_connection *next = container_of(l, struct nbd_connection, waiting);
        defer_schedule(next->server->loop, &next->resume);
    }
}

/* One client may take a quarter, so that one that doesn't read its replies
 * leaves room for others; more only with a single large request. A client with
 * nothing in flight is always served a small one. */
static bool budget_allows(const struct nbd_connection *c, uint32_t charge)
{
    const struct nbd_server_budget *budget = c->server->options.budget;
    if (budget->used == 0 || (c->charged == 0 && charge <= NBD_SERVER_ALWAYS))
        return true;
    if (budget->used + charge > budget->limit)
        return false;
    return c->charged == 0 || c->charged + charge <= budget->limit / 4;
}

static bool admits(struct nbd_connection *c, uint32_t charge)
{
    if (c->requests >= NBD_SERVER_IOS || c->stream->unsent >= NBD_SERVER_UNSENT)
        return false; /* resumes when one is answered, or the socket drains */
    if (budget_allows(c, charge))
        return true;
    if (list_empty(&c->waiting))
        list_append(&c->server->options.budget->waiting, &c->waiting);
    return false;
}

bool transmission_may_resume(const struct nbd_connection *c)
{
    return c->requests <= NBD_SERVER_IOS / 2 && c->stream->unsent <= NBD_SERVER_UNSENT / 2;
}

/* --- replies --- */

static void reply_simple(struct nbd_client_request *r, int status)
{
    uint8_t *to = connection_reserve(r->connection, NBD_SIMPLE_REPLY_SIZE);
    nbd_encode_simple_reply(to, nbd_error(status), r->wire.cookie);
}

static void reply_error_chunk(struct nbd_client_request *r, int status)
{
    const char *text = strerror(-status);
    uint32_t length = (uint32_t)strlen(text);
    uint8_t *to = connection_reserve(r->connection, NBD_CHUNK_SIZE + 6 + length);
    nbd_encode_chunk(to, NBD_CHUNK_DONE, NBD_CHUNK_ERROR, r->wire.cookie, 6 + length);
    nbd_put32(to + NBD_CHUNK_SIZE, nbd_error(status));
    nbd_put16(to + NBD_CHUNK_SIZE + 4, (uint16_t)length);
    memcpy(to + NBD_CHUNK_SIZE + 6, text, length);
}

/* A small reply would otherwise hold a large cached piece for as long as its
 * client is slow, and so much more memory than the budget counts. */
static void add_data(struct slices *out, struct slices *data)
{
    for (uint32_t i = 0; i < data->count; i++) {
        const struct slice *s = &data->v[i];
        if (s->length >= s->bytes->length / COPY_SHARE) {
            slices_add(out, s->bytes, s->offset, s->length);
            continue;
        }
        struct bytes *copy = bytes_new(s->length);
        memcpy(copy->data, slice_data(s), s->length);
        slices_add(out, copy, 0, s->length);
        bytes_unref(copy);
    }
    slices_clear(data);
}

static void reply_read(struct nbd_client_request *r)
{
    struct nbd_connection *c = r->connection;
    if (!c->structured) {
        reply_simple(r, 0);
    } else if (r->wire.length == 0) {
        nbd_encode_chunk(connection_reserve(c, NBD_CHUNK_SIZE), NBD_CHUNK_DONE, NBD_CHUNK_NONE, r->wire.cookie, 0);
    } else {
        uint8_t *to = connection_reserve(c, NBD_CHUNK_SIZE + 8);
        nbd_encode_chunk(to, NBD_CHUNK_DONE, NBD_CHUNK_OFFSET_DATA, r->wire.cookie, 8 + r->wire.length);
        nbd_put64(to + NBD_CHUNK_SIZE, r->wire.offset);
    }
    add_data(&c->out, &r->io.data);
    c->server->stats.reads++;
    c->server->stats.read_bytes += r->wire.length;
}

static void reply_extents(struct nbd_client_request *r)
{
    uint32_t count = r->io.extent_count;
    if (r->wire.flags & NBD_CMD_REQ_ONE && count > 1)
        count = 1;
    uint32_t length = 4 + 8 * count;
    uint8_t *to = connection_reserve(r->connection, NBD_CHUNK_SIZE + length);
    nbd_encode_chunk(to, NBD_CHUNK_DONE, NBD_CHUNK_BLOCK_STATUS, r->wire.cookie, length);
    nbd_put32(to + NBD_CHUNK_SIZE, 1);
    for (uint32_t i = 0; i < count; i++) {
        nbd_put32(to + NBD_CHUNK_SIZE + 4 + 8 * i, r->extents[i].length);
        nbd_put32(to + NBD_CHUNK_SIZE + 8 + 8 * i, r->extents[i].flags);
    }
    r->connection->server->stats.others++;
}

static void nbd_transmission_reply(struct nbd_client_request *r, int status)
{
    struct nbd_server_stats *stats = &r->connection->server->stats;
    bool structured_only = r->wire.type == NBD_CMD_READ || r->wire.type == NBD_CMD_BLOCK_STATUS;
    if (status != 0) {
        stats->errors++;
        if (r->connection->structured && structured_only)
            reply_error_chunk(r, status);
        else
            reply_simple(r, status);
    } else if (r->wire.type == NBD_CMD_READ) {
        reply_read(r);
    } else if (r->wire.type == NBD_CMD_BLOCK_STATUS) {
        reply_extents(r);
    } else {
        bool write = r->wire.type == NBD_CMD_WRITE;
        stats->writes += write;
        stats->write_bytes += write ? r->wire.length : 0;
        stats->others += !write;
        reply_simple(r, 0);
    }
}

/* The reply is queued; what it is charged is given back when it has been sent. */
static void request_answer(struct nbd_client_request *r, int status)
{
    struct nbd_connection *c = r->connection;
    nbd_transmission_reply(r, status);
    c->active_at = uv_now(c->server->loop);
    c->unsent_charge += r->charge;
    c->requests--;
    request_free(r);
}

static void tell_read(struct nbd_client_request *r)
{
    const struct nbd_server_options *options = &r->connection->server->options;
    list_remove(&r->link);
    if (options->read_done)
        options->read_done(options->arg, &r->io, (uv_hrtime() - r->began) / 1000);
}

static void on_io_done(struct io *io)
{
    struct nbd_client_request *r = container_of(io, struct nbd_client_request, io);
    struct nbd_connection *c = r->connection;
    int status = io->status;
    if (r->wire.type == NBD_CMD_BLOCK_STATUS && (status == -ENOTSUP || (status == 0 && io->extent_count == 0))) {
        r->extents[0] = (struct io_extent){r->wire.length, 0};
        io->extent_count = 1;
        status = 0;
    }
    if (io->op == IO_WRITE)
        slices_clear(&io->data);
    c->at_source--;
    if (io->op == IO_READ)
        tell_read(r);
    request_answer(r, status);
    slices_clear(&io->data);
    server_io_done(c->server);
    defer_schedule(c->server->loop, &c->resume);
}

/* --- requests --- */

static uint16_t allowed_flags(const struct nbd_connection *c, uint16_t type)
{
    switch (type) {
    case NBD_CMD_READ:
        return c->structured ? NBD_CMD_FUA | NBD_CMD_DF : NBD_CMD_FUA;
    case NBD_CMD_WRITE_ZEROES:
        return NBD_CMD_FUA | NBD_CMD_NO_HOLE | NBD_CMD_FAST_ZERO;
    case NBD_CMD_BLOCK_STATUS:
        return NBD_CMD_FUA | NBD_CMD_REQ_ONE;
    default:
        return NBD_CMD_FUA;
    }
}

/* A source that can't do it would say ENOTSUP, which is only for a fast zero (doc/proto.md, "Error values"). */
static bool is_offered(const struct source *source, uint16_t type)
{
    if (source->read_only)
        return true; /* the source says EPERM */
    return type == NBD_CMD_TRIM ? source->can_trim : type == NBD_CMD_WRITE_ZEROES ? source->can_zero : true;
}

static bool carries_data(uint16_t type)
{
    return type == NBD_CMD_READ || type == NBD_CMD_WRITE;
}

static int request_check(const struct nbd_connection *c, const struct nbd_request *wire)
{
    const struct source *source = source_of(c);
    if (!source)
        return -ESHUTDOWN;
    if (wire->type > NBD_CMD_BLOCK_STATUS || wire->flags & ~allowed_flags(c, wire->type))
        return -EINVAL;
    if (!is_offered(source, wire->type))
        return -EINVAL;
    if (carries_data(wire->type) && wire->length > NBD_SERVER_MAX_REQUEST)
        return -EINVAL;
    if (wire->type == NBD_CMD_WRITE && source->read_only)
        return -EPERM; /* refused before the payload is given memory */
    if (wire->type == NBD_CMD_BLOCK_STATUS && (!c->allocation || wire->length == 0))
        return -EINVAL;
    return 0;
}

static void set_up_io(struct nbd_client_request *r)
{
    static const enum io_op ops[] = {
        [NBD_CMD_READ] = IO_READ,   [NBD_CMD_WRITE] = IO_WRITE,       [NBD_CMD_FLUSH] = IO_FLUSH,
        [NBD_CMD_TRIM] = IO_TRIM,   [NBD_CMD_CACHE] = IO_CACHE,       [NBD_CMD_WRITE_ZEROES] = IO_ZERO,
        [NBD_CMD_BLOCK_STATUS] = IO_EXTENTS,
    };
    bool flush = r->wire.type == NBD_CMD_FLUSH;
    io_init(&r->io, ops[r->wire.type], flush ? 0 : r->wire.offset, flush ? 0 : r->wire.length, on_io_done);
    if (r->wire.flags & NBD_CMD_FUA)
        r->io.flags |= IO_FUA;
    if (r->wire.type == NBD_CMD_WRITE_ZEROES && r->wire.flags & NBD_CMD_NO_HOLE)
        r->io.flags |= IO_NO_HOLE;
    if (r->wire.type == NBD_CMD_WRITE_ZEROES && r->wire.flags & NBD_CMD_FAST_ZERO)
        r->io.flags |= IO_FAST_ZERO;
    if (r->wire.type == NBD_CMD_BLOCK_STATUS) {
        r->extents = mem_alloc(EXTENTS_MAX * sizeof *r->extents);
        r->io.extents = r->extents;
        r->io.extent_capacity = EXTENTS_MAX;
    }
}

static void request_submit(struct nbd_client_request *r)
{
    struct nbd_connection *c = r->connection;
    struct source *source = source_of(c);
    if (!source) { /* the medium went while the payload arrived */
        slices_clear(&r->io.data);
        request_answer(r, -ESHUTDOWN);
        return;
    }
    c->at_source++;
    c->server->at_source++;
    r->began = uv_hrtime();
    if (r->io.op == IO_READ)
        list_append(&c->server->reads, &r->link);
    source_submit(source, &r->io);
}

/* The request counts from now on. A WRITE waits for its payload first. */
static void request_start(struct nbd_client_request *r)
{
    struct nbd_connection *c = r->connection;
    c->requests++;
    c->server->options.budget->used += r->charge;
    c->charged += r->charge;
    set_up_io(r);
    if (r->wire.type != NBD_CMD_WRITE || r->wire.length == 0) {
        request_submit(r);
        return;
    }
    slices_alloc(&r->io.data, r->wire.length, BYTES_PIECE);
    c->writing = r;
    c->phase = PHASE_PAYLOAD;
}

static void request_refuse(struct nbd_client_request *r, int status)
{
    struct nbd_connection *c = r->connection;
    r->charge = 0; /* the request was not admitted */
    if (r->wire.type == NBD_CMD_WRITE)
        c->skip = r->wire.length;
    c->requests++;
    request_answer(r, status);
}

static bool step_request(struct nbd_connection *c)
{
    struct nbd_client_request *r = nbd_transmission_request_new(c);
    if (!nbd_decode_request(c->in, &r->wire)) {
        request_free(r);
        connection_end(c, "sent a request with a bad magic");
        return false;
    }
    c->active_at = uv_now(c->server->loop);
    if (r->wire.type == NBD_CMD_DISC) {
        request_free(r);
        connection_finish(c);
        return false;
    }
    int status = request_check(c, &r->wire);
    r->charge = status == 0 && carries_data(r->wire.type) ? r->wire.length : 0;
    if (!admits(c, r->charge)) {
        c->held = r;
        return false;
    }
    if (status == 0)
        request_start(r);
    else
        request_refuse(r, status);
    return true;
}

void transmission_resume_held(struct nbd_connection *c)
{
    struct nbd_client_request *r = c->held;
    int status = request_check(c, &r->wire); /* the medium may have gone */
    if (!admits(c, status == 0 ? r->charge : 0))
        return;
    list_remove(&c->waiting);
    c->held = NULL;
    if (status == 0)
        request_start(r);
    else
        request_refuse(r, status);
}

static size_t input_payload(struct nbd_connection *c, const uint8_t *data, size_t length)
{
    struct nbd_client_request *r = c->writing;
    size_t left = r->wire.length - r->filled, part = length < left ? length : left;
    slices_copy_in(&r->io.data, r->filled, data, part);
    r->filled += (uint32_t)part;
    c->active_at = uv_now(c->server->loop);
    if (r->filled == r->wire.length) {
        c->writing = NULL;
        c->phase = PHASE_REQUEST;
        request_submit(r);
    }
    return part;
}

size_t transmission_input(struct nbd_connection *c, const uint8_t *data, size_t length)
{
    if (c->held)
        return 0;
    if (c->phase == PHASE_PAYLOAD)
        return input_payload(c, data, length);
    size_t part = c->want - c->have < length ? c->want - c->have : length;
    memcpy(c->in + c->have, data, part);
    c->have += (uint32_t)part;
    if (c->have == c->want) {
        c->have = 0;
        step_request(c);
    }
    return part;
}
