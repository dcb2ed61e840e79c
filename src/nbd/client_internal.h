/*
 * What the parts of the NBD client share: its life (client.c), the handshake
 * (client_handshake.c) and requests (client_transmission.c). Private to nbd/.
 *
 * Input arrives in any pieces: `want` bytes are gathered in `in`, `skip` more are
 * dropped, then the phase's step runs. A READ's payload goes straight into its io.
 * Everything that goes wrong ends in client_fail(); from then on nothing is read or sent.
 */
#ifndef NBD_CLIENT_INTERNAL_H
#define NBD_CLIENT_INTERNAL_H

#include <uv.h>

#include "base/defer.h"
#include "nbd/client.h"
#include "nbd/wire.h"

#define CLIENT_INPUT 256 /* what is kept of one message; the rest of a long text is dropped */

enum client_phase {
    CLIENT_GREETING,
    CLIENT_ANSWER,      /* an option reply's header */
    CLIENT_ANSWER_DATA, /* the data that follows it */
    CLIENT_EXPORT,      /* the answer to EXPORT_NAME */
    CLIENT_REPLIES,     /* a request's reply */
    CLIENT_DEAD,
};

/* An io: part of it may wait to be sent, part be in flight. */
struct client_call {
    struct link link;  /* in client->calls, in the order of submission */
    struct link queue; /* in client->demand or prefetch while part of it is to be sent */
    struct io *io;
    uint32_t sent;    /* bytes of its range that were asked for */
    unsigned pending; /* requests in flight */
    int status;       /* the first error */
};

/* A request in flight. Its place in the table is in the low bits of its cookie. */
struct client_request {
    struct link link;         /* in client->idle while it stands for no request */
    uint64_t cookie;          /* 0: none */
    struct client_call *call; /* NULL: nobody waits for it any more */
    uint16_t type;
    uint32_t at, length; /* of the io's range */
    uint32_t charge;     /* bytes in flight */
    uint64_t alone_us;   /* when it was sent, if nothing else was in flight; else 0 */
};

struct nbd_client {
    struct stream *stream;
    uv_loop_t *loop;
    struct nbd_client_options options;
    char *export_name;
    struct nbd_client_callbacks callbacks;
    struct nbd_client_facts facts;
    enum client_phase phase;
    int status; /* why the connection died */
    char error[NBD_CLIENT_ERROR_MAX];

    uint8_t in[CLIENT_INPUT];
    uint32_t have, want, skip;

    /* Handshake. */
    uint16_t flags; /* both sides' */
    struct nbd_option_answer answer;
    unsigned answers;
    bool exported; /* `export` was told in answer to GO */
    struct nbd_export export;
    char refusal[CLIENT_INPUT]; /* the server's words when it refused GO */
    uint64_t asked_us;          /* when the option was sent; 0: it is answered */

    /* Transmission. */
    struct link calls, demand, prefetch;
    unsigned prefetches; /* in `prefetch` */
    struct client_request *requests;
    struct link idle;
    unsigned in_flight;
    uint64_t bytes_in_flight;
    uint64_t serial;                  /* the number in the last cookie */
    struct client_request *receiving; /* its payload is arriving */
    uint32_t received;
    struct slices out; /* what leaves at the end of client_pump() */

    struct defer pump, tell, closed;
    uv_timer_t timer;     /* the handshake's deadline, then looks for silence */
    uint64_t answered_ms; /* loop time of the last answer, or of the first request after a pause */
    unsigned open;    /* how many of stream and timer are not closed */
    bool ready_told, died_told, closing;
};

static inline uint64_t client_now_us(void)
{
    return uv_hrtime() / 1000;
}

/* client.c */
__attribute__((format(printf, 3, 4))) void client_fail(struct nbd_client *c, int status, const char *format, ...);
void client_expect(struct nbd_client *c, enum client_phase phase, uint32_t want);

/* client_handshake.c: what was gathered is a whole message of its phase. */
void client_handshake_step(struct nbd_client *c);

/* client_transmission.c */
void client_transmission_begin(struct nbd_client *c);
void client_transmission_step(struct nbd_client *c); /* a reply's header */
/* Takes payload of `receiving`; returns how much. */
size_t client_transmission_payload(struct nbd_client *c, const uint8_t *data, size_t length);
/* The connection is dead: nothing is in flight any more, the calls are left. */
void client_transmission_stop(struct nbd_client *c);
void client_transmission_end_calls(struct nbd_client *c, int status);
void client_transmission_free(struct nbd_client *c);
void client_pump(struct nbd_client *c);

#endif
