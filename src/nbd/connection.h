/*
 * One client of an NBD server: what the handshake (handshake.c), transmission
 * (transmission.c) and the server (server.c) share. Private to nbd/.
 *
 * Input arrives in any pieces: `want` bytes are gathered in `in`, then the
 * phase's step runs on them. A WRITE's payload goes straight into its own bytes.
 * A connection that may not take another request pauses: what was read already
 * waits in `pending`, the socket is not read.
 */
#ifndef NBD_CONNECTION_H
#define NBD_CONNECTION_H

#include "base/defer.h"
#include "block/io.h"
#include "nbd/server.h"
#include "nbd/wire.h"

#define OPTION_DATA_MAX (16u << 10) /* of one option; larger ones are refused and skipped */
#define EXTENTS_MAX 128             /* in one BLOCK_STATUS answer */
#define EXPORT_NAME_MAX 1024u       /* of ours: so that a reply with it fits in HEADERS_SIZE */
#define HEADERS_SIZE 4096u          /* bytes that reply headers share */
#define COPY_SHARE 4                /* a reply that needs less than 1/4 of the bytes it would hold gets a copy */

enum phase {
    PHASE_FLAGS,   /* the client's flags */
    PHASE_OPTION,  /* an option's header */
    PHASE_DATA,    /* an option's data */
    PHASE_REQUEST, /* a request's header */
    PHASE_PAYLOAD, /* a WRITE's data */
    PHASE_ENDING,  /* input is ignored; closes once the replies were sent */
};

struct nbd_connection {
    struct link link;    /* in server->connections */
    struct link waiting; /* in budget->waiting while paused for the budget */
    struct nbd_server *server;
    struct stream *stream;
    enum phase phase;
    uint8_t *in; /* OPTION_DATA_MAX during the handshake, then NBD_REQUEST_SIZE */
    uint32_t have, want;
    uint64_t skip; /* bytes of input to ignore first */

    /* Handshake. */
    struct nbd_option_header option;
    unsigned options;
    bool no_zeroes, structured, allocation; /* negotiated */

    /* Transmission. */
    struct nbd_client_request *held; /* decoded, and not admitted yet */
    struct nbd_client_request *writing; /* its payload is arriving */
    struct link idle;           /* struct nbd_client_request, for reuse */
    unsigned requests;          /* admitted and not answered */
    unsigned at_source;         /* ios at the source that are not done */
    struct slices pending;      /* input that waits */
    bool reading;
    bool is_kernel; /* the kernel's end of a device: no handshake, no limits of clients */
    bool draining; /* the medium goes: ESHUTDOWN to what comes, the end when all is answered */
    struct slices out;          /* replies of this turn of the loop */
    struct bytes *headers;
    uint32_t headers_used;
    uint64_t charged;           /* bytes of the budget: for requests in flight, and */
    uint64_t unsent_charge;     /* of that, for replies the socket has not taken yet */
    struct defer flush;
    struct defer resume;
    uv_timer_t timer; /* the handshake's deadline, then idleness, then the end's */
    uint64_t active_at;
    bool closed, timer_closed;
};

struct nbd_client_request {
    struct link link; /* in connection->idle, or a READ in server->reads */
    struct nbd_connection *connection;
    struct nbd_request wire;
    uint32_t charge; /* of the budget */
    uint32_t filled; /* WRITE: payload bytes here */
    struct io io;
    struct io_extent *extents; /* BLOCK_STATUS */
    uint64_t began;            /* at the source; uv_hrtime() */
};

struct nbd_server {
    uv_loop_t *loop;
    struct nbd_server_options options;
    char *export_name, *description;
    char alias[16]; /* "": none */
    struct source *source; /* NULL: no medium, or it is going */
    struct link connections;
    struct link reads; /* struct nbd_client_request: READs at the source, the oldest first */
    unsigned count, kernel_count; /* connections, and how many of them are the kernel's */
    unsigned at_source;           /* ios of all clients, those that have gone too */
    uint64_t answered;            /* ios that came back from the source */
    struct nbd_server_stats stats;
    void (*detached)(void *arg);
    void *detached_arg;
    struct defer detach_defer;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
    struct defer close_defer;
};

/* server.c */
void connection_end(struct nbd_connection *c, const char *why); /* closes at once; `why` for the log */
void connection_finish(struct nbd_connection *c);               /* closes once everything is sent */
void connection_watch_idle(struct nbd_connection *c);           /* starts the idle time, or starts it again */
void server_io_done(struct nbd_server *server);
/* Room for a header in the output that leaves at the end of this turn. `length` <= HEADERS_SIZE. */
uint8_t *connection_reserve(struct nbd_connection *c, uint32_t length);

/* handshake.c: one step; false if the connection has been ended. */
bool handshake_step(struct nbd_connection *c);
uint16_t nbd_transmission_flags(const struct source *source, bool structured);

/* transmission.c */
void transmission_begin(struct nbd_connection *c);
/* Takes input; returns how much, less than `length` only when paused or ended. */
size_t transmission_input(struct nbd_connection *c, const uint8_t *data, size_t length);
bool transmission_may_resume(const struct nbd_connection *c);
void transmission_resume_held(struct nbd_connection *c);
void transmission_release(struct nbd_connection *c, uint64_t charge);
void transmission_free(struct nbd_connection *c);

#endif
