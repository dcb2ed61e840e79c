/*
 * An NBD client (NBD project, doc/proto.md) on a stream: what talks to a browser's
 * server behind a WebSocket, or to any other NBD server.
 *
 * nbd_client_new() takes over the stream and starts the handshake by itself:
 * EXPORT_NAME, which every server knows, or with `go` GO first. Then comes `ready`,
 * once, and ios may be submitted. A newstyle server that does not say it is a fixed one is
 * taken too, and asked for EXPORT_NAME only: at any other option it may close the connection.
 * What the server sends is taken as bytes, however they were cut into pieces. READs and
 * WRITEs larger than `request_max` are sent as several requests, and at most `requests_max`
 * requests and `bytes_max` bytes are in flight (a single larger request goes alone), and of answers no more
 * than `answers_max`; other ios wait in the order in which they came, demand before prefetch.
 *
 * A server that breaks the protocol (a wrong magic, a cookie that is not in flight, an
 * answer in a form that was not agreed on) is not spoken to any more: `died` comes
 * once, in which the ios that were not answered may be taken back; ios that are not taken back
 * are done with `died`'s status. No byte of what was not answered in full ever counts as data. A
 * server that answers no request in full for `silence_ms` while some are in flight is given up
 * in the same way (-ETIMEDOUT), however alive its connection is. The client stays until
 * nbd_client_close(), after which unanswered ios get -ECANCELED and then `closed` comes once. No
 * callback comes from inside a call.
 */
#ifndef NBD_CLIENT_H
#define NBD_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "block/io.h"
#include "link/estimate.h"
#include "net/stream.h"

#define NBD_CLIENT_ERROR_MAX    256
#define NBD_CLIENT_HANDSHAKE_MS 15000
#define NBD_CLIENT_REQUESTS_MAX 1024       /* what requests_max may be */
#define NBD_CLIENT_PREFETCH     64         /* speculative ios that wait to be sent; others get -EAGAIN */
#define NBD_CLIENT_UNSENT       (1u << 20) /* bytes in the stream from which on nothing more is sent */
#define NBD_CLIENT_ANSWERS      64         /* replies to one option */
#define NBD_CLIENT_ANSWER_MAX   (8u << 10) /* bytes of one of them */
#define NBD_CLIENT_BLOCK_MAX    4096       /* a server that takes no requests as small is refused */

struct nbd_client_options {
    const char *who;               /* the log's prefix; must outlive the client */
    const char *export_name;       /* copied; NULL: "" */
    bool go;                       /* the server knows GO: it is tried first, EXPORT_NAME if it refuses */
    uint64_t handshake_timeout_ms; /* 0: NBD_CLIENT_HANDSHAKE_MS */
    uint32_t request_max;          /* bytes of one READ or WRITE */
    unsigned requests_max;
    uint64_t bytes_max;
    uint64_t answers_max; /* bytes of all answers to what is in flight, their headers too; 0: no such bound */
    bool quiet;           /* somebody else tells the server of the end (DISC) */
    uint64_t silence_ms; /* 0: it may be silent for ever */
    /* Turns the size that the server tells into the real one; NULL: it is real as it is. */
    uint64_t (*understand_size)(uint64_t told);
    /* Where to note what is learnt of the link's speed; must outlive the client; may be NULL. */
    struct link_estimate *link;
};

struct nbd_client;

struct nbd_client_callbacks {
    void *owner;
    /* 0: the facts are valid. Else a negative errno: see nbd_client_error(); `died` does not follow. */
    void (*ready)(struct nbd_client *client, int status);
    /* The server ended the connection (0), it was lost or is in error (negative errno). */
    void (*died)(struct nbd_client *client, int status);
    /* Frees the client, in the callback. The stream is closed by then. */
    void (*closed)(struct nbd_client *client);
    /* Closes the stream, in nbd_client_close(); NULL: stream_close(). `status` and `error`: why
     * the client gave it up; 0 and "": it was asked to close. */
    void (*hang_up)(void *owner, struct stream *stream, int status, const char *error);
};

struct nbd_client_facts {
    uint64_t size;      /* as it is to be understood */
    uint64_t size_told; /* as the server says */
    bool read_only, can_flush, can_fua, can_trim, can_zero, can_fast_zero;
    uint32_t block_minimum, block_preferred, payload_max; /* 0: not told */
};

struct nbd_client *nbd_client_new(struct stream *stream, const struct nbd_client_options *options,
                                  const struct nbd_client_callbacks *callbacks);
void *nbd_client_owner(const struct nbd_client *client);
const struct nbd_client_facts *nbd_client_facts(const struct nbd_client *client);
const char *nbd_client_error(const struct nbd_client *client); /* in words; "" if nothing was wrong */
/* READ, WRITE, FLUSH, TRIM, ZERO inside the size, once it was ready; it belongs to the client
 * until its `done`. */
void nbd_client_submit(struct nbd_client *client, struct io *io);
/* Takes back an io that should wait no longer: it is done (deferred) with the status, unless it
 * was answered already. The server's late answer is read and dropped, and counts as in flight
 * until then. */
void nbd_client_cancel(struct nbd_client *client, struct io *io, int status);
/* Takes back all ios that were not answered, as they were submitted, in that order. */
void nbd_client_take_back(struct nbd_client *client, struct link *ios);
/* In transmission the server is told so (DISC), unless the client is quiet. Legal in every state, also inside callbacks. */
void nbd_client_close(struct nbd_client *client);
void nbd_client_free(struct nbd_client *client); /* in or after `closed`; frees the stream */

#endif
