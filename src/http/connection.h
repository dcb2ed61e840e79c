/*
 * One connection of the HTTP server, and the request it works on: what
 * connection (connection.c), body (body.c) and answer
 * (answer.c) share. Private to http/.
 *
 *             first byte        head complete         answered and sent
 *   IDLE -----------------> HEAD ----------> BUSY ----------------------> IDLE
 *                            |                 |
 *                            +--- refused -----+---> LINGER (input is dropped) ---> closed
 *
 * Everything that ends something (a request, a connection) happens in
 * on_resume(), which is deferred: never inside a call of the handler or of llhttp.
 */
#ifndef HTTP_CONNECTION_H
#define HTTP_CONNECTION_H

#include "base/defer.h"
#include "base/list.h"
#include "http/head.h"
#include "http/server.h"

enum http_phase { HTTP_PHASE_IDLE, HTTP_PHASE_HEAD, HTTP_PHASE_BUSY, HTTP_PHASE_LINGER };

struct http_exchange {
    struct http_request request;
    struct http_connection *connection;
    struct http_head head;

    /* The body. */
    http_on_body *on_body;
    http_on_body_end *on_body_end;
    uint64_t limit, received;
    bool wanted, all; /* http_receive...() was called; as one piece */
    bool more;        /* http_receive_more() */
    bool complete;    /* the whole message is here */
    bool body_told;   /* the body's end too */
    bool sent_continue;
    char *gathered; /* with `all`: the body so far, in memory of `room` bytes */
    size_t room;
    uint32_t chunk_lines;

    /* The answer. */
    char *fields; /* added by http_add_field() */
    uint32_t fields_used;
    bool fields_bad;
    bool begun, answered; /* answered: the handler is done with the request, which may be dead */
    bool chunked, no_body;
    int64_t left; /* bytes left of the length announced; -1: unknown */
    bool dead;     /* the handler's calls have no effect but to end its use */
    bool gone_due; /* dead, and the handler is still to be told, unless it answers before */
};

struct http_connection {
    struct link link;
    struct http_server *server;
    struct stream *stream; /* NULL: handed over by an upgrade */
    char *peer;
    bool tls, anywhere;
    const char *(*subject)(struct stream *stream);
    const char *(*common_name)(struct stream *stream);
    void *place;
    unsigned (*share)(const void *place);
    bool known;
    enum http_phase phase;
    struct http_head head;          /* of the next request */
    struct http_exchange *exchange; /* the request in work */
    bool dispatch_due;              /* its handler is to be called */
    llhttp_t parser;                /* of the head, then of the body */
    struct slices pending; /* input that was not looked at yet */
    struct slices out;     /* answers not given to the stream yet */
    bool drain_due;
    bool close_after;                    /* this answer is the last */
    uint64_t passed;                     /* bytes given to the stream */
    uint64_t tick_passed, tick_received; /* as of the last tick of the timer */
    uv_timer_t timer;
    struct defer resume;
    bool closed, timer_closed;
};

struct http_server {
    uv_loop_t *loop;
    struct http_server_options options;
    struct link connections;
    unsigned count;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
    struct defer close_defer;
    char date[40];
    uint64_t date_at; /* uv_now() in seconds, plus one */
};

/* server.c */
const char *http_server_date(struct http_server *server);
void http_server_removed(struct http_server *server);

/* connection.c */
void http_connection_new(struct http_server *server, struct stream *stream, const struct http_client *client,
                         bool refuse);
void http_connection_end(struct http_connection *c); /* closes the connection at once */
bool http_connection_is_ended(const struct http_connection *c);
/* Hands over the stream; the connection frees itself. */
struct stream *http_connection_release(struct http_connection *c);
void http_connection_resume(struct http_connection *c);
/* The server answers a faulty request by itself, and the connection ends. The handler hears on_gone. */
void http_connection_refuse(struct http_connection *c, unsigned status);
void http_connection_watch(struct http_connection *c); /* sets the timer for the phase */

/* body.c */
void http_body_begin(struct http_connection *c); /* behind the head */
bool http_body_wants_input(const struct http_connection *c);
size_t http_body_input(struct http_connection *c, const uint8_t *data, size_t length);
void http_body_tell_end(struct http_connection *c);

/* answer.c */
void http_answer_pass(struct http_connection *c); /* gives the stream as much as it takes */
void http_answer_plain(struct http_connection *c, unsigned status);

static inline struct http_exchange *http_exchange_of(const struct http_request *request)
{
    return container_of((struct http_request *)(uintptr_t)request, struct http_exchange, request);
}

#endif
