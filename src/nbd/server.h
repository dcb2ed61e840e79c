/*
 * An NBD server for one export: fixed newstyle handshake and transmission
 * (NBD project, doc/proto.md). One server belongs to one slot; any number of
 * clients up to a limit, all on the same source (so CAN_MULTI_CONN holds: a
 * FLUSH reply on one connection covers writes answered on all).
 *
 * The server outlives the media: with no source its export is unknown to
 * clients (NBD_REP_ERR_UNKNOWN), LIST answers no export. It never owns the
 * source.
 *
 * Order: nbd_server_new -> [attach -> detach -> detached]* -> close -> closed.
 */
#ifndef NBD_SERVER_H
#define NBD_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "block/source.h"
#include "net/stream.h"

/* Bounds of what one server and one client may hold. */
#define NBD_SERVER_IOS 64                         /* requests in flight a connection */
#define NBD_SERVER_UNSENT (4u << 20)              /* reply bytes waiting for one client before its requests wait */
#define NBD_SERVER_ALWAYS (1u << 20)              /* a request up to that is admitted when its client has no other */
#define NBD_SERVER_HANDSHAKE_OPTIONS 64           /* options before the client must have chosen */
#define NBD_SERVER_HANDSHAKE_TIMEOUT_MS 10000
#define NBD_SERVER_MAX_REQUEST (32u << 20)        /* proto.md: a client may send 32 MiB unasked */

struct nbd_server;

struct nbd_server_options {
    const char *who;            /* the log's prefix; must outlive the server */
    const char *export_name;    /* the name beside "", the default export */
    const char *description;    /* NBD_INFO_DESCRIPTION */
    unsigned max_connections;
    uint64_t idle_timeout_ms;   /* a client with no request for that long is dropped; 0: never */
    /* Bytes of all requests in flight on all servers that share it (reads and
     * write payloads, until their reply is sent). Over `limit`, or a quarter of it
     * for one client, reading pauses, between requests; a request larger than the
     * limit is admitted alone. */
    struct nbd_server_budget *budget;
    /* A READ that came to the source is answered, rightly or not; called inside. NULL: nobody is told. */
    void (*read_done)(void *arg, const struct io *io, uint64_t waited_us);
    void *arg;
};

struct nbd_server_budget {
    uint64_t limit, used;
    struct link waiting; /* connections that paused; to be set up by list_init() */
};

struct nbd_server_stats {
    unsigned connections;
    uint64_t reads, read_bytes, writes, write_bytes, others, errors;
    uint64_t connections_total;
    unsigned waiting; /* requests that the source has not answered yet */
};

/* A READ that is at the source. */
struct nbd_server_read {
    uint64_t offset;
    uint32_t length;
    uint64_t waited_us;
};

struct nbd_server *nbd_server_new(uv_loop_t *loop, const struct nbd_server_options *options);
/* The export is "vmN" too, as other virtual media daemons name theirs; at first it is not. */
void nbd_server_set_number(struct nbd_server *server, unsigned number);
/* Adds a client; the server owns the stream. Over the limit it is closed. */
void nbd_server_add_client(struct nbd_server *server, struct stream *stream);
/* Adds the kernel's end of a device: it has no handshake, so the source must be
 * attached; it counts in no limit and may be idle for ever. The server owns the
 * stream. */
void nbd_server_add_kernel(struct nbd_server *server, struct stream *stream);
/* The transmission flags (doc/proto.md) that the attached source gives. */
uint16_t nbd_server_flags(const struct nbd_server *server);
/* Clients may use the source from now on; it must be open. */
void nbd_server_attach(struct nbd_server *server, struct source *source);
/* No request reaches the source any more. Clients in transmission get answers to what
 * is outstanding, ESHUTDOWN for what they send meanwhile, and are then disconnected.
 * `detached` comes once no io of the server is at the source (deferred, even when there
 * was none). A client that does not read its replies is dropped. */
void nbd_server_detach(struct nbd_server *server, void (*detached)(void *arg), void *arg);
/* How many requests wait for the source now; and how many were answered in all. */
unsigned nbd_server_waiting(const struct nbd_server *server);
uint64_t nbd_server_answered(const struct nbd_server *server);
/* The READ that has waited longest of those whose client is there. False: none waits. */
bool nbd_server_oldest_read(const struct nbd_server *server, struct nbd_server_read *read);
/* Drops all clients at once, the kernel too. */
void nbd_server_drop_clients(struct nbd_server *server);
void nbd_server_get_stats(const struct nbd_server *server, struct nbd_server_stats *stats);
/* Drops all clients. `closed` comes when all is freed. The source must be
 * detached before. */
void nbd_server_close(struct nbd_server *server, void (*closed)(void *arg), void *arg);

#endif
