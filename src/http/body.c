/*
 * The body of a request: taken apart by llhttp, which goes on behind the head, counted, and given to the
 * handler.
 */
#include <string.h>

#include "base/text.h"
#include "base/wipe.h"
#include "http/connection.h"

#define FEED_SIZE   (16u << 10) /* given to llhttp at a time */
#define GATHER_STEP (4u << 10)

static struct http_connection *connection_of(llhttp_t *parser)
{
    return container_of(parser, struct http_connection, parser);
}

/* --- what llhttp finds --- */

static bool is_for_handler(const struct http_exchange *e)
{
    return e->wanted && !e->dead && !e->answered;
}

static void http_body_gather(struct http_exchange *e, const char *data, size_t length)
{
    size_t used = (size_t)e->received, needed = used + length + 1;
    if (needed > e->room) {
        e->room = needed + needed / 2 + GATHER_STEP;
        e->gathered = wipe_realloc(e->gathered, e->room);
    }
    memcpy(e->gathered + used, data, length);
    e->gathered[used + length] = 0;
}

static int on_http_body_body(llhttp_t *parser, const char *data, size_t length)
{
    struct http_exchange *e = connection_of(parser)->exchange;
    if (is_for_handler(e) && length > e->limit - e->received) {
        llhttp_set_error_reason(parser, "too long");
        return HPE_USER;
    }
    if (is_for_handler(e) && e->all)
        http_body_gather(e, data, length);
    else if (is_for_handler(e))
        e->on_body(&e->request, (const uint8_t *)data, length);
    e->received += length;
    return 0;
}

/* Chunk extensions and trailers are skipped, up to a bound. */
static int on_chunk_text(llhttp_t *parser, const char *data, size_t length)
{
    struct http_exchange *e = connection_of(parser)->exchange;
    (void)data;
    e->chunk_lines += length < HTTP_CHUNK_LINES_MAX ? (uint32_t)length : HTTP_CHUNK_LINES_MAX;
    return e->chunk_lines > HTTP_CHUNK_LINES_MAX ? HPE_USER : 0;
}

/* A chunk that announces too many bytes is refused at once, without waiting for them. */
static int on_chunk_header(llhttp_t *parser)
{
    const struct http_exchange *e = connection_of(parser)->exchange;
    return is_for_handler(e) && parser->content_length > e->limit - e->received ? -1 : 0;
}

static int on_chunk_complete(llhttp_t *parser)
{
    const struct http_exchange *e = connection_of(parser)->exchange;
    return e->more || !is_for_handler(e) ? 0 : HPE_PAUSED;
}

static int on_message_complete(llhttp_t *parser)
{
    connection_of(parser)->exchange->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t *body_settings(void)
{
    static llhttp_settings_t s;
    if (!s.on_body) {
        llhttp_settings_init(&s);
        s.on_body = on_http_body_body;
        s.on_chunk_extension_name = on_chunk_text;
        s.on_chunk_extension_value = on_chunk_text;
        s.on_header_field = on_chunk_text;
        s.on_header_value = on_chunk_text;
        s.on_chunk_header = on_chunk_header;
        s.on_chunk_complete = on_chunk_complete;
        s.on_message_complete = on_message_complete;
    }
    return &s;
}

/* --- input --- */

/* Feeds the parser; returns how much it took, and a status if it refuses. */
static size_t feed(struct http_connection *c, const uint8_t *data, size_t length, unsigned *status)
{
    struct http_exchange *e = c->exchange;
    llhttp_errno_t error = llhttp_execute(&c->parser, (const char *)data, length);
    *status = 0;
    if (error == HPE_OK)
        return length;
    const char *at = llhttp_get_error_pos(&c->parser);
    size_t done = at ? (size_t)(at - (const char *)data) : length;
    if (error == HPE_PAUSED && !e->complete)
        llhttp_resume(&c->parser);
    else if (error == HPE_USER || error == HPE_CB_CHUNK_HEADER)
        *status = 413;
    else if (error != HPE_PAUSED && error != HPE_PAUSED_UPGRADE)
        *status = error == HPE_INVALID_VERSION ? 505 : 400;
    return done;
}

void http_body_begin(struct http_connection *c)
{
    c->parser.settings = (void *)(uintptr_t)body_settings();
    llhttp_resume(&c->parser);
}

bool http_body_wants_input(const struct http_connection *c)
{
    const struct http_exchange *e = c->exchange;
    if (!e || e->complete || e->dead)
        return false;
    return e->answered ? !c->close_after : e->wanted && e->more;
}

size_t http_body_input(struct http_connection *c, const uint8_t *data, size_t length)
{
    size_t done = 0;
    unsigned status = 0;
    while (done < length && status == 0 && http_body_wants_input(c)) {
        size_t part = length - done < FEED_SIZE ? length - done : FEED_SIZE;
        done += feed(c, data + done, part, &status);
    }
    if (status)
        http_connection_refuse(c, status);
    if (c->exchange->complete)
        http_connection_resume(c);
    return done;
}

void http_body_tell_end(struct http_connection *c)
{
    struct http_exchange *e = c->exchange;
    if (!is_for_handler(e) || !e->complete || e->body_told || !e->more)
        return;
    e->body_told = true;
    if (e->all)
        e->on_body(&e->request, e->gathered ? (const uint8_t *)e->gathered : (const uint8_t *)"", (size_t)e->received);
    else
        e->on_body_end(&e->request);
}

/* --- what the handler asks for --- */

static void http_body_receive(struct http_request *request, uint64_t limit)
{
    static const char proceed[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct http_exchange *e = http_exchange_of(request);
    struct http_connection *c = e->connection;
    if (e->dead || e->wanted || e->begun)
        return;
    if (request->body_length > 0 && (uint64_t)request->body_length > limit) {
        http_connection_refuse(c, 413);
        return;
    }
    e->wanted = true;
    e->limit = limit;
    if (e->head.expects_continue && !e->complete && c->pending.length == 0) {
        e->sent_continue = true;
        slices_add_copy(&c->out, proceed, sizeof proceed - 1);
    }
    http_connection_watch(c);
    http_connection_resume(c);
}

void http_receive(struct http_request *request, uint64_t limit, http_on_body *on_body_data,
                  http_on_body_end *on_body_end)
{
    struct http_exchange *e = http_exchange_of(request);
    e->on_body = on_body_data;
    e->on_body_end = on_body_end;
    http_body_receive(request, limit);
}

void http_receive_all(struct http_request *request, size_t limit, http_on_body *on_body_data)
{
    struct http_exchange *e = http_exchange_of(request);
    e->on_body = on_body_data;
    e->all = true;
    http_body_receive(request, limit);
}

void http_receive_more(struct http_request *request, bool on)
{
    struct http_exchange *e = http_exchange_of(request);
    if (e->more == on || e->dead)
        return;
    e->more = on;
    http_connection_watch(e->connection);
    http_connection_resume(e->connection);
}

/* --- fields --- */

const char *http_field_nth(const struct http_request *request, const char *name, unsigned nth)
{
    return http_head_field(&http_exchange_of(request)->head, name, nth);
}

const char *http_field(const struct http_request *request, const char *name)
{
    return http_field_nth(request, name, 0);
}

bool http_field_has(const struct http_request *request, const char *name, const char *token)
{
    return http_head_field_has(&http_exchange_of(request)->head, name, token);
}
