/* The handshake's options (doc/proto.md, "Option types"). */
#include <string.h>

#include "base/log.h"
#include "nbd/connection.h"

#define CONTEXT "base:allocation"
#define CONTEXT_ID 1u

static void nbd_handshake_reply(struct nbd_connection *c, uint32_t type, const void *data, uint32_t length)
{
    uint8_t *to = connection_reserve(c, NBD_OPTION_REPLY_SIZE + length);
    nbd_encode_option_reply(to, c->option.option, type, length);
    if (length > 0)
        memcpy(to + NBD_OPTION_REPLY_SIZE, data, length);
}

static void reply_text(struct nbd_connection *c, uint32_t type, const char *text)
{
    nbd_handshake_reply(c, type, text, (uint32_t)strlen(text));
}

static bool is_export_name(const char *ours, const char *name, uint32_t length)
{
    return length == strlen(ours) && memcmp(name, ours, length) == 0;
}

static bool name_matches(const struct nbd_server *server, const char *name, uint32_t length)
{
    return length == 0 || is_export_name(server->export_name, name, length) || is_export_name(server->alias, name, length);
}

uint16_t nbd_transmission_flags(const struct source *source, bool structured)
{
    unsigned flags = NBD_TX_HAS_FLAGS | NBD_TX_CAN_MULTI_CONN | NBD_TX_SEND_CACHE | NBD_TX_SEND_FLUSH;
    if (structured)
        flags |= NBD_TX_SEND_DF;
    if (source->read_only)
        return (uint16_t)(flags | NBD_TX_READ_ONLY);
    if (source->can_flush)
        flags |= NBD_TX_SEND_FUA;
    if (source->can_trim)
        flags |= NBD_TX_SEND_TRIM;
    if (source->can_zero)
        flags |= NBD_TX_SEND_WRITE_ZEROES | NBD_TX_SEND_FAST_ZERO;
    return (uint16_t)flags;
}

static bool option_export_name(struct nbd_connection *c)
{
    const struct source *source = c->server->source;
    if (!source || !name_matches(c->server, (const char *)c->in, c->option.length)) {
        connection_end(c, "asked for an export that is not here"); /* this option has no error reply */
        return false;
    }
    uint32_t zeroes = c->no_zeroes ? 0 : NBD_EXPORT_ZEROES;
    uint8_t *to = connection_reserve(c, NBD_EXPORT_SIZE + zeroes);
    nbd_encode_export(to, source->size, nbd_transmission_flags(source, c->structured));
    memset(to + NBD_EXPORT_SIZE, 0, zeroes);
    transmission_begin(c);
    return true;
}

static void option_list(struct nbd_connection *c)
{
    if (c->option.length > 0) {
        reply_text(c, NBD_REP_ERR_INVALID, "LIST has no data");
        return;
    }
    if (c->server->source) {
        uint8_t item[4 + EXPORT_NAME_MAX];
        uint32_t length = (uint32_t)strlen(c->server->export_name);
        nbd_put32(item, length);
        memcpy(item + 4, c->server->export_name, length);
        nbd_handshake_reply(c, NBD_REP_SERVER, item, 4 + length);
    }
    nbd_handshake_reply(c, NBD_REP_ACK, NULL, 0);
}

static void info_text(struct nbd_connection *c, uint16_t type, const char *text)
{
    uint8_t info[2 + 512];
    uint32_t length = (uint32_t)strnlen(text, sizeof info - 2);
    nbd_put16(info, type);
    memcpy(info + 2, text, length);
    nbd_handshake_reply(c, NBD_REP_INFO, info, 2 + length);
}

static void info_block_size(struct nbd_connection *c)
{
    uint8_t info[14];
    nbd_put16(info, NBD_INFO_BLOCK_SIZE);
    nbd_put32(info + 2, 1);
    nbd_put32(info + 6, c->server->source->block_preferred);
    nbd_put32(info + 10, NBD_SERVER_MAX_REQUEST);
    nbd_handshake_reply(c, NBD_REP_INFO, info, sizeof info);
}

static void option_info(struct nbd_connection *c)
{
    struct nbd_info_request request;
    const struct source *source = c->server->source;
    uint8_t info[2 + NBD_EXPORT_SIZE];
    if (!nbd_decode_info(c->in, c->option.length, &request)) {
        reply_text(c, NBD_REP_ERR_INVALID, "the lengths in the option don't add up");
        return;
    }
    if (!source || !name_matches(c->server, request.name, request.name_length)) {
        reply_text(c, NBD_REP_ERR_UNKNOWN, source ? "there is no such export" : "there is no medium in this slot");
        return;
    }
    nbd_put16(info, NBD_INFO_EXPORT);
    nbd_encode_export(info + 2, source->size, nbd_transmission_flags(source, c->structured));
    nbd_handshake_reply(c, NBD_REP_INFO, info, sizeof info);
    if (nbd_info_wanted(&request, NBD_INFO_NAME))
        info_text(c, NBD_INFO_NAME, c->server->export_name);
    if (nbd_info_wanted(&request, NBD_INFO_DESCRIPTION))
        info_text(c, NBD_INFO_DESCRIPTION, c->server->description);
    if (nbd_info_wanted(&request, NBD_INFO_BLOCK_SIZE))
        info_block_size(c);
    nbd_handshake_reply(c, NBD_REP_ACK, NULL, 0);
    if (c->option.option == NBD_OPT_GO)
        transmission_begin(c);
}

static void option_structured(struct nbd_connection *c)
{
    if (c->option.length > 0) {
        reply_text(c, NBD_REP_ERR_INVALID, "STRUCTURED_REPLY has no data");
        return;
    }
    c->structured = true;
    nbd_handshake_reply(c, NBD_REP_ACK, NULL, 0);
}

/* LIST may ask for the whole namespace "base:"; SET needs the exact name. */
static bool query_matches(const char *query, uint32_t length, bool list)
{
    if (length == strlen(CONTEXT) && memcmp(query, CONTEXT, length) == 0)
        return true;
    return list && length == 5 && memcmp(query, "base:", 5) == 0;
}

static void option_meta(struct nbd_connection *c)
{
    struct nbd_meta_request request;
    bool list = c->option.option == NBD_OPT_LIST_META_CONTEXT;
    if (!list)
        c->allocation = false; /* a SET that fails leaves nothing selected */
    if (!c->structured || !nbd_decode_meta(c->in, c->option.length, &request)) {
        reply_text(c, NBD_REP_ERR_INVALID,
                   c->structured ? "the lengths in the option don't add up" : "negotiate structured replies first");
        return;
    }
    if (!c->server->source || !name_matches(c->server, request.name, request.name_length)) {
        reply_text(c, NBD_REP_ERR_UNKNOWN, "there is no such export");
        return;
    }
    bool match = list && request.query_count == 0;
    const uint8_t *at = request.queries;
    for (uint32_t i = 0; i < request.query_count; i++) {
        const char *query;
        uint32_t length;
        nbd_next_query(&at, &query, &length);
        match = match || query_matches(query, length, list);
    }
    if (match) {
        uint8_t context[4 + sizeof CONTEXT - 1];
        nbd_put32(context, list ? 0 : CONTEXT_ID);
        memcpy(context + 4, CONTEXT, sizeof CONTEXT - 1);
        nbd_handshake_reply(c, NBD_REP_META_CONTEXT, context, sizeof context);
    }
    if (!list)
        c->allocation = match;
    nbd_handshake_reply(c, NBD_REP_ACK, NULL, 0);
}

static bool option_run(struct nbd_connection *c)
{
    switch (c->option.option) {
    case NBD_OPT_EXPORT_NAME:
        return option_export_name(c);
    case NBD_OPT_ABORT:
        nbd_handshake_reply(c, NBD_REP_ACK, NULL, 0);
        connection_finish(c);
        return true;
    case NBD_OPT_LIST:
        option_list(c);
        return true;
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
        option_info(c);
        return true;
    case NBD_OPT_STRUCTURED_REPLY:
        option_structured(c);
        return true;
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT:
        option_meta(c);
        return true;
    default: /* STARTTLS too: a UNIX socket has no TLS */
        nbd_handshake_reply(c, NBD_REP_ERR_UNSUP, NULL, 0);
        return true;
    }
}

static bool step_flags(struct nbd_connection *c)
{
    uint32_t flags = nbd_get32(c->in);
    if (flags & ~(uint32_t)(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)) {
        connection_end(c, "sent unknown handshake flags");
        return false;
    }
    c->no_zeroes = flags & NBD_FLAG_NO_ZEROES;
    c->phase = PHASE_OPTION;
    c->want = NBD_OPTION_SIZE;
    return true;
}

static bool step_option(struct nbd_connection *c)
{
    if (!nbd_decode_option(c->in, &c->option)) {
        connection_end(c, "sent an option with a bad magic");
        return false;
    }
    if (++c->options > NBD_SERVER_HANDSHAKE_OPTIONS) {
        connection_end(c, "sent too many options");
        return false;
    }
    if (c->option.length > OPTION_DATA_MAX) {
        if (c->option.option == NBD_OPT_EXPORT_NAME) {
            connection_end(c, "sent an export name that is too long");
            return false;
        }
        c->skip = c->option.length;
        nbd_handshake_reply(c, NBD_REP_ERR_TOO_BIG, NULL, 0);
        return true;
    }
    c->phase = PHASE_DATA;
    c->want = c->option.length;
    return true;
}

bool handshake_step(struct nbd_connection *c)
{
    switch (c->phase) {
    case PHASE_FLAGS:
        return step_flags(c);
    case PHASE_OPTION:
        return step_option(c);
    default:
        c->phase = PHASE_OPTION;
        c->want = NBD_OPTION_SIZE;
        return option_run(c);
    }
}
