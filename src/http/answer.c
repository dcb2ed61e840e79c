/* Answers: see http/server.h. Nothing of a peer gets into a head unchecked. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/text.h"
#include "http/connection.h"

#define STATUS_LINE_MAX  256 /* with Date and framing */
#define TARGET_SHOWN_MAX 256 /* of a request that is refused */

static const char *reason_of(unsigned status)
{
    static const struct {
        unsigned status;
        const char *reason;
    } reasons[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "";
}

/* --- output --- */

void http_answer_pass(struct http_connection *c)
{
    while (c->out.length > 0 && c->stream->unsent == 0 && !c->stream->closing) {
        struct slices piece;
        slices_init(&piece);
        slices_move(&piece, &c->out, c->out.length < HTTP_PIECE ? c->out.length : HTTP_PIECE);
        c->passed += piece.length;
        stream_write(c->stream, &piece);
    }
}

static bool is_usable(const struct http_exchange *e)
{
    return !e->dead && !e->answered;
}

/* The handler is done with the request, and hears nothing of it from here on, not even that it had
 * died before. False: there is nobody to answer. */
static bool end_use(struct http_exchange *e)
{
    bool usable = is_usable(e);
    e->answered = true;
    return usable;
}

static void http_answer_put(struct http_exchange *e, struct slices *data)
{
    struct http_connection *c = e->connection;
    slices_take(&c->out, data);
    http_answer_pass(c);
    c->drain_due = c->out.length > 0 || c->stream->unsent > 0;
}

/* --- the head --- */

static void http_answer_write_head(struct http_connection *c, unsigned status, const char *fields, size_t fields_length,
                                   const char *framing)
{
    char line[STATUS_LINE_MAX];
    int length = snprintf(line, sizeof line, "HTTP/1.1 %u %s\r\nDate: %s\r\n%s", status, reason_of(status),
                          http_server_date(c->server), framing);
    struct bytes *head = bytes_new((uint32_t)((size_t)length + fields_length + 2));
    memcpy(head->data, line, (size_t)length);
    if (fields_length > 0)
        memcpy(head->data + length, fields, fields_length);
    memcpy(head->data + length + fields_length, "\r\n", 2);
    slices_add(&c->out, head, 0, head->length);
    bytes_unref(head);
}

/* The refusal's body as the server's owner wants it; NULL: the owner leaves it to us. */
static char *refusal_body(const struct http_connection *c, unsigned status, const char **fields)
{
    char target[TARGET_SHOWN_MAX];
    if (!c->server->options.refusal)
        return NULL;
    http_head_target(c->exchange ? &c->exchange->head : &c->head, target, sizeof target);
    return c->server->options.refusal(status, reason_of(status), target, fields);
}

/* An answer of the server's own. */
void http_answer_plain(struct http_connection *c, unsigned status)
{
    char line[64], framing[96];
    const char *fields = "Content-Type: text/plain\r\n";
    char *own = refusal_body(c, status, &fields);
    const char *body = own ? own : line;
    snprintf(line, sizeof line, "%u %s\n", status, reason_of(status));
    snprintf(framing, sizeof framing, "%s%sContent-Length: %zu\r\n", c->close_after ? "Connection: close\r\n" : "",
             status == 503 ? "Retry-After: 2\r\n" : "", strlen(body));
    http_answer_write_head(c, status, fields, strlen(fields), framing);
    slices_add_copy(&c->out, body, (uint32_t)strlen(body));
    mem_free(own);
}

static bool is_own_field(const char *name)
{
    static const char *const own[] = {"Connection", "Content-Length", "Date",
                                      "Keep-Alive", "Trailer",        "Transfer-Encoding"};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (strcasecmp(name, own[i]) == 0)
            return true;
    return false;
}

void http_add_field(struct http_request *request, const char *name, const char *value)
{
    struct http_exchange *e = http_exchange_of(request);
    size_t length = strlen(name) + strlen(value) + 4;
    if (e->begun || !is_usable(e))
        return;
    if (!http_is_token(name) || !http_is_value(value) || is_own_field(name) ||
        e->fields_used + length > HTTP_ANSWER_HEAD_MAX) {
        log_error(e->connection->server->options.who, "http: the answer's field %s can't be sent", name);
        e->fields_bad = true;
        return;
    }
    if (!e->fields)
        e->fields = mem_alloc(HTTP_ANSWER_HEAD_MAX + 1);
    e->fields_used += (uint32_t)snprintf(e->fields + e->fields_used, length + 1, "%s: %s\r\n", name, value);
}

/* May the connection be used again, after what is left of the body? */
static bool keeps_connection(const struct http_connection *c)
{
    const struct http_exchange *e = c->exchange;
    if (c->close_after || c->server->closing || (e->head.expects_continue && !e->sent_continue && !e->complete))
        return false;
    return e->complete || (!e->head.chunked && e->head.length - e->received <= HTTP_DISCARD_MAX);
}

static void http_answer_begin(struct http_exchange *e, unsigned status, int64_t length)
{
    struct http_connection *c = e->connection;
    char framing[96];
    size_t used = 0;
    if (e->fields_bad) { /* the handler made an answer that can't be sent */
        status = 500;
        length = 0;
        e->fields_used = 0;
    }
    bool bodiless = status == 204 || status == 304;
    e->begun = true;
    e->no_body = bodiless || e->fields_bad || strcmp(e->head.method, "HEAD") == 0;
    e->left = length;
    if (length < 0 && e->head.minor == 0)
        c->close_after = true; /* the connection's end shows where the answer ends */
    if (!keeps_connection(c))
        c->close_after = true;
    framing[0] = 0;
    if (bodiless)
        e->left = 0;
    else if (length >= 0)
        used = (size_t)snprintf(framing, sizeof framing, "Content-Length: %lld\r\n", (long long)length);
    else if (e->head.minor > 0)
        used = (size_t)snprintf(framing, sizeof framing, "Transfer-Encoding: chunked\r\n");
    e->chunked = !bodiless && length < 0 && e->head.minor > 0;
    if (c->close_after)
        snprintf(framing + used, sizeof framing - used, "Connection: close\r\n");
    else if (e->head.minor == 0)
        snprintf(framing + used, sizeof framing - used, "Connection: keep-alive\r\n");
    http_answer_write_head(c, status, e->fields, e->fields_used, framing);
    mem_free(e->fields);
    e->fields = NULL;
    e->fields_used = 0;
}

/* The whole answer is on its way. */
static void send_rest(struct http_exchange *e)
{
    http_answer_pass(e->connection);
    http_connection_watch(e->connection);
    http_connection_resume(e->connection);
}

/* --- what the handler calls --- */

void http_begin(struct http_request *request, unsigned status, int64_t length)
{
    struct http_exchange *e = http_exchange_of(request);
    if (!is_usable(e) || e->begun)
        return;
    http_answer_begin(e, status, length);
    e->connection->drain_due = true; /* the head waits for the body's first bytes, in this turn */
    http_connection_resume(e->connection);
}

void http_write(struct http_request *request, struct slices *data)
{
    struct http_exchange *e = http_exchange_of(request);
    if (!is_usable(e) || !e->begun || e->no_body || data->length == 0) {
        slices_clear(data);
        return;
    }
    if (e->left >= 0 && data->length > (uint64_t)e->left) {
        log_error(e->connection->server->options.who, "http: an answer is longer than announced");
        slices_clear(data);
        http_connection_end(e->connection);
        return;
    }
    if (e->left >= 0)
        e->left -= (int64_t)data->length;
    if (e->chunked) {
        char size[24];
        struct slices chunk;
        slices_init(&chunk);
        slices_add_copy(&chunk, size,
                        (uint32_t)snprintf(size, sizeof size, "%llx\r\n", (unsigned long long)data->length));
        slices_take(&chunk, data);
        slices_add_copy(&chunk, "\r\n", 2);
        http_answer_put(e, &chunk);
    } else {
        http_answer_put(e, data);
    }
}

void http_end(struct http_request *request)
{
    struct http_exchange *e = http_exchange_of(request);
    if (!end_use(e))
        return;
    if (!e->begun || (!e->no_body && e->left > 0)) {
        http_connection_end(e->connection);
        return;
    }
    if (e->chunked && !e->no_body)
        slices_add_copy(&e->connection->out, "0\r\n\r\n", 5);
    send_rest(e);
}

void http_abort(struct http_request *request)
{
    struct http_exchange *e = http_exchange_of(request);
    if (end_use(e))
        http_connection_end(e->connection);
}

void http_reply_slices(struct http_request *request, unsigned status, struct slices *body)
{
    struct http_exchange *e = http_exchange_of(request);
    if (!end_use(e)) {
        slices_clear(body);
        return;
    }
    if (e->begun) { /* too late for another answer */
        slices_clear(body);
        http_connection_end(e->connection);
        return;
    }
    http_answer_begin(e, status, (int64_t)body->length);
    if (e->no_body)
        slices_clear(body);
    else
        slices_take(&e->connection->out, body);
    send_rest(e);
}

void http_reply(struct http_request *request, unsigned status, const char *type, const void *body, size_t length)
{
    struct slices data;
    slices_init(&data);
    if (type)
        http_add_field(request, "Content-Type", type);
    slices_add_copy(&data, body, (uint32_t)length);
    http_reply_slices(request, status, &data);
}

uint64_t http_unsent(const struct http_request *request)
{
    const struct http_exchange *e = http_exchange_of(request);
    return e->dead || !e->connection->stream ? 0 : e->connection->out.length + e->connection->stream->unsent;
}

struct stream *http_upgrade(struct http_request *request, const char *protocol, struct slices *early)
{
    struct http_exchange *e = http_exchange_of(request);
    struct http_connection *c = e->connection;
    char framing[96];
    if (!is_usable(e) || e->begun || !request->upgrade || !e->complete || e->fields_bad) {
        http_add_field(request, "Upgrade", protocol);
        http_reply(request, 426, NULL, NULL, 0);
        return NULL;
    }
    snprintf(framing, sizeof framing, "Connection: Upgrade\r\nUpgrade: %.40s\r\n", protocol);
    http_answer_write_head(c, 101, e->fields, e->fields_used, framing);
    stream_write(c->stream, &c->out);
    slices_take(early, &c->pending);
    end_use(e);
    return http_connection_release(c);
}
