/*
 * WebSocket (RFC 6455, server side, no extensions) as a byte stream on a stream.
 *
 * What binary messages hold is passed on as bytes as soon as it is here,
 * however it was cut into messages and frames; each stream_write() is one
 * message (or several of WEBSOCKET_MESSAGE_MAX). Pings are answered, and sent;
 * a peer of which nothing is heard for `dead_ms`, while it is being read, is gone.
 *
 * on_end comes with 0 when the peer closes the WebSocket properly: see
 * websocket_peer_code(). Its other statuses: -EPROTO, the peer broke the rules, which
 * is answered with the fitting close code; -EMSGSIZE, a message was over the limit;
 * -ECONNRESET, the connection ended without a close; -ETIMEDOUT, the peer is dead.
 *
 * websocket_close() tells the peer why and then closes; so does stream_close(),
 * with 1001. Then the peer has WEBSOCKET_LINGER_MS for its own close, and
 * on_closed may come that late.
 *
 * The frames' headers are wslay's, their payloads are unmasked here: see
 * http/websocket_frame.h.
 */
#ifndef HTTP_WEBSOCKET_H
#define HTTP_WEBSOCKET_H

#include "http/server.h"
#include "net/stream.h"

#define WEBSOCKET_MESSAGE_MAX (1u << 20)  /* that we send */
#define WEBSOCKET_CONTROL_MAX (64u << 10) /* unsent pongs; more, and the peer is not read */
#define WEBSOCKET_LINGER_MS   1000
#define WEBSOCKET_PING_MS     20000
#define WEBSOCKET_DEAD_MS     60000
#define WEBSOCKET_REASON_MAX  123 /* bytes of UTF-8 in a close */

enum websocket_code {
    WEBSOCKET_NORMAL = 1000,
    WEBSOCKET_GOING_AWAY = 1001,
    WEBSOCKET_PROTOCOL_ERROR = 1002,
    WEBSOCKET_UNSUPPORTED = 1003,
    WEBSOCKET_NO_CODE = 1005, /* never sent */
    WEBSOCKET_CUT = 1006,     /* never sent */
    WEBSOCKET_BAD_TEXT = 1007,
    WEBSOCKET_POLICY = 1008,
    WEBSOCKET_TOO_BIG = 1009,
    WEBSOCKET_INTERNAL_ERROR = 1011,
    WEBSOCKET_TRY_LATER = 1013,
};

struct websocket_options {
    uint64_t message_max;      /* of a message that is received, all its frames; 0: no limit: nothing is gathered */
    uint64_t ping_ms, dead_ms; /* 0: as above */
};

/* --- the handshake --- */

#define WEBSOCKET_ACCEPT_SIZE 29
/* Sec-WebSocket-Accept for a Sec-WebSocket-Key; false if it is not 16 bytes in base64. */
bool websocket_accept_key(const char *key, char accept[WEBSOCKET_ACCEPT_SIZE]);
/* 0: the request asks for a WebSocket as it should. Else the status to answer, for which fields
 * have been added. */
unsigned websocket_check(struct http_request *request);
bool websocket_offers(const struct http_request *request, const char *protocol); /* the exact word */
/* May a page of this origin connect to us? It may if it comes from the host that it asks for,
 * by https if we speak TLS, or is listed ("https://example.org"; NULL at the end). `origin` is
 * the field's value; without the field the client is no browser: the caller decides. */
bool websocket_origin_allowed(const char *origin, const char *host, bool tls, const char *const *allowed);
/* Answers 101, for a request that passed websocket_check(). `protocol` is one that the client
 * offers, or NULL. Ends the use of the request, as http_upgrade(). NULL: the client is gone. */
struct stream *websocket_upgrade(struct http_request *request, const char *protocol,
                                 const struct websocket_options *options);

/* --- the stream --- */

/* Takes over the stream, on which the handshake is done, and the bytes that came behind it. */
struct stream *websocket_stream_new(struct stream *below, struct slices *early,
                                    const struct websocket_options *options);
/* Instead of stream_close(). The reason is cut to fit. */
void websocket_close(struct stream *stream, uint16_t code, const char *reason);
/* After on_end: what the peer said. NO_CODE: nothing; CUT: it did not close. */
uint16_t websocket_peer_code(struct stream *stream);
const char *websocket_peer_reason(struct stream *stream); /* valid UTF-8; may hold control characters */
/* Why on_end came with an error; "" if it did not. */
const char *websocket_error(struct stream *stream);

#endif
