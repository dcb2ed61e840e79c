/*
 * An HTTP/1.1 server (RFC 9110, RFC 9112) on streams, parsed by llhttp and then
 * judged (http/head.h): what is not exactly right is refused.
 *
 * The handler is called once for each request, when its head is complete. Its
 * use of the request ends exactly once, in one of two ways:
 *   - it answers, in the call or later: http_reply(), http_reply_slices(),
 *     http_end() behind http_begin() and http_write(), http_abort(),
 *     http_upgrade(). Each of these ends the use, whether somebody is there to
 *     get the answer or not, and whether it could be sent or not;
 *   - `on_gone` tells that nobody waits for an answer any more: the client went
 *     away, its body is too long or too slow, the server closes.
 * After either no callback comes and the request must not be touched: it frees itself.
 * So who answers never has to take `on_gone` back. Since `on_gone` comes late, an
 * answer may meet a request that is dead already: the answer is dropped, and `on_gone`
 * does not come. Until then every call is allowed on a dead request, and has no effect.
 * No callback comes from inside a call made on the request. Whoever takes a request
 * over from another part of the program, and does not answer it at once, must set
 * `owner` and the callbacks anew: they are still those of the other part.
 *
 * Requests of one connection are handled one after the other; those sent ahead
 * wait in a bounded buffer, then in the socket.
 *
 * A client that ends its side of the connection has gone away, unless its
 * request is answered whole already: half-closed connections are not waited for.
 */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include "net/stream.h"

#define HTTP_HEAD_MAX        (16u << 10) /* request line and fields; else 431 */
#define HTTP_LINE_MAX        (8u << 10)  /* one line of it; else 414 (the first) or 431 */
#define HTTP_FIELDS_MAX      64u         /* else 431 */
#define HTTP_PIPELINE_MAX    (64u << 10) /* read ahead of the request in work, besides one read */
#define HTTP_DISCARD_MAX     (64u << 10) /* of a body nobody wanted, to keep the connection */
#define HTTP_CHUNK_LINES_MAX (4u << 10)  /* chunk extensions and trailers of one body */
#define HTTP_ANSWER_HEAD_MAX (16u << 10)
#define HTTP_PIECE           (128u << 10) /* of an answer given to the stream at a time */
#define HTTP_BODY_RATE_MIN   (4u << 10)   /* bytes of a body in each body_timeout; else 408 */
#define HTTP_HEAD_TIMEOUT_MS 10000
#define HTTP_BODY_TIMEOUT_MS 30000 /* and for a client to take a piece of its answer */
#define HTTP_IDLE_TIMEOUT_MS 60000
#define HTTP_LINGER_MS       2000 /* for a client to read a last answer while it still sends */

struct http_request {
    const char *method;                /* GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS; others are answered 501 */
    const char *path;                  /* decoded, without empty, "." and ".." segments; starts with '/', or is "*" */
    const char *query;                 /* behind the '?', as it was sent; "" */
    const char *host;                  /* as it was sent; "" with HTTP/1.0 only */
    const char *peer;                  /* the client's address, for people to read */
    void *place;                       /* of struct http_client */
    const char *subject, *common_name; /* of the client's certificate; NULL */
    bool tls, anywhere;                /* of struct http_client */
    bool upgrade;        /* asks for another protocol: http_upgrade() is allowed */
    int64_t body_length; /* 0: no body; -1: not said */

    void *owner;                                    /* the handler's */
    void (*on_gone)(struct http_request *request);  /* may be NULL */
    void (*on_drain)(struct http_request *request); /* all that was written has been passed on; may be NULL */
};

typedef void http_handler(struct http_request *request, void *arg);

/* Makes the body of an answer that the server gives by itself (400, 413, 431, ...), for mem_free();
 * NULL: the body is a plain line. `target` is what the client sent, as far as it is known; `fields`,
 * which belong to the body, are whole lines of a head and outlive the call. */
typedef char *http_refusal(unsigned status, const char *reason, const char *target, const char **fields);

struct http_server_options {
    const char *who; /* for the log; must outlive the server */
    http_handler *handler;
    void *arg;
    http_refusal *refusal;                                      /* may be NULL */
    unsigned max_connections;                                   /* one more is answered 503 */
    uint64_t head_timeout_ms, body_timeout_ms, idle_timeout_ms; /* 0: as above */
};

/* Where a stream comes from. `peer` is copied; the names may be NULL. */
struct http_client {
    const char *peer;
    bool tls;
    bool anywhere; /* it came by an address that other machines reach */
    const char *(*subject)(struct stream *stream);
    const char *(*common_name)(struct stream *stream);
    void *place;                          /* the caller's, as long as the stream lives; NULL */
    unsigned (*share)(const void *place); /* how many connections the client has, if `place` is one */
};

struct http_server;
struct http_server *http_server_new(uv_loop_t *loop, const struct http_server_options *options);
/* Takes over the stream. */
void http_server_add_client(struct http_server *server, struct stream *stream, const struct http_client *client);
unsigned http_server_connections(const struct http_server *server);
/* Closes a connection whose client is not known (http_set_known()), to make room for another. First choice is one
 * that waits for a request, then one whose request is not whole or not taken, then one in work; among equals the
 * client with most connections loses its oldest. False: all clients are known. */
bool http_server_make_room(struct http_server *server);
/* Closes all connections; `closed` comes once, later, and the server is freed then. */
void http_server_close(struct http_server *server, void (*closed)(void *arg), void *arg);

/* --- the request --- */

/* Says whether the request's client is known, by an account: then http_server_make_room() leaves the connection
 * alone. This holds for the requests that follow on it, too; at first no client is known. */
void http_set_known(struct http_request *request, bool known);
/* The value of a field; the name in any case. NULL if there is none. Fields that must
 * not be repeated are there once; of others, `nth` counts from 0. */
const char *http_field(const struct http_request *request, const char *name);
const char *http_field_nth(const struct http_request *request, const char *name, unsigned nth);
/* Is the token in the list (comma separated, over all lines of that field)? */
bool http_field_has(const struct http_request *request, const char *name, const char *token);

/* One of these asks for the body, at most once, before the answer has begun. A body that
 * exceeds `limit` is answered 413, and `on_gone` follows. */
typedef void http_on_body(struct http_request *request, const uint8_t *data, size_t length);
typedef void http_on_body_end(struct http_request *request);
/* As it comes, piece by piece. */
void http_receive(struct http_request *request, uint64_t limit, http_on_body *on_body, http_on_body_end *on_end);
/* In one piece, with a NUL behind it; valid in the call. Memory grows with what has arrived. */
void http_receive_all(struct http_request *request, size_t limit, http_on_body *on_body);
/* Turns receiving on (as it is at first) or off, which takes effect at once. */
void http_receive_more(struct http_request *request, bool on);

/* --- the answer --- */

/* Adds a field to the answer. A name or value that is not allowed in HTTP, or a field that
 * the server writes itself, turns the answer into a 500: nothing of it is sent. */
void http_add_field(struct http_request *request, const char *name, const char *value);
/* The whole answer. The body is copied; `type` may be NULL. After http_begin() no whole answer can be
 * given: the connection is cut. */
void http_reply(struct http_request *request, unsigned status, const char *type, const void *body, size_t length);
/* The whole answer; takes over the slices. */
void http_reply_slices(struct http_request *request, unsigned status, struct slices *body);
/* Piece by piece, until http_end() or http_abort(). `length` -1: unknown, sent in chunks. With HEAD, 204
 * and 304 the body is dropped. More bytes than announced cut the connection, and `on_gone` follows. */
void http_begin(struct http_request *request, unsigned status, int64_t length);
void http_write(struct http_request *request, struct slices *data); /* takes over the slices */
/* Bytes not passed on yet; on_drain comes when there were some and none are left. A dead request has none. */
uint64_t http_unsent(const struct http_request *request);
/* If fewer bytes than announced were written, or http_begin() never came, the connection is cut, so that the client
 * knows. */
void http_end(struct http_request *request);
/* Ends an answer that can't be completed: the connection is cut. */
void http_abort(struct http_request *request);
/* Answers 101 and hands over the stream, not reading, for the caller to set its callbacks.
 * `early` (an empty list) gets what was read behind the request. NULL: the client is gone, or its
 * request was answered 426, since it did not ask for an upgrade or has a body. */
struct stream *http_upgrade(struct http_request *request, const char *protocol, struct slices *early);

#endif
