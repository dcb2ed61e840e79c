/*
 * An NBD server for tests, on the loop: serves bytes in memory on its end of a socket
 * pair, in any order, counts what it is asked, and misbehaves on command.
 */
#ifndef TEST_NBD_PEER_H
#define TEST_NBD_PEER_H

#include "base/defer.h"
#include "nbd/wire.h"
#include "net/stream.h"

#define NBD_PEER_HELD  4096
#define NBD_PEER_FLAGS (NBD_TX_HAS_FLAGS | NBD_TX_READ_ONLY)
#define NBD_PEER_WRITABLE                                                                                              \
    (NBD_TX_HAS_FLAGS | NBD_TX_SEND_FLUSH | NBD_TX_SEND_FUA | NBD_TX_SEND_TRIM | NBD_TX_SEND_WRITE_ZEROES)

struct nbd_peer_request {
    struct nbd_request wire;
    unsigned char *payload; /* of a WRITE */
};

struct nbd_peer {
    /* Set before the loop runs. */
    unsigned char *content;
    uint64_t size, told_size; /* told_size 0: size */
    uint16_t greeting, flags; /* handshake's and transmission's */
    bool knows_go;
    uint32_t minimum, preferred, maximum; /* told in answer to GO, if not 0 */
    bool silent;                          /* sends no greeting */
    bool free_itself;                     /* once its stream is closed */
    /* Set at any time. */
    bool hold;           /* requests wait for nbd_peer_reply() */
    uint32_t read_error; /* for READs, instead of data */
    uint64_t cut_after;  /* closes when so many bytes were sent; 0: never */

    /* To look at. */
    unsigned options, requests, reads, writes, flushes, others; /* that came */
    uint64_t past_end;                                          /* requests beyond `size` */
    unsigned in_flight, most_in_flight;
    uint64_t bytes, most_bytes;
    uint64_t most_answers; /* bytes of the answers to what is in flight, headers too */
    uint32_t longest;  /* READ */
    bool disconnected; /* DISC came */
    bool ended;        /* the client's end is closed */
    bool closed;       /* so is ours */
    struct nbd_peer_request held[NBD_PEER_HELD];
    unsigned held_count;

    /* Its own. */
    struct stream *stream;
    unsigned char *in;
    size_t have;
    int phase;
    uint64_t sent;
    struct defer answer;
};

/* With a client's end for the caller. Options have their defaults: `content`, NO_ZEROES, read-only. */
struct nbd_peer *nbd_peer_new(uv_loop_t *loop, unsigned char *content, uint64_t size, struct stream **client);
/* The same with two pipes between them. */
struct nbd_peer *nbd_peer_piped(uv_loop_t *loop, unsigned char *content, uint64_t size, struct stream **client);
/* Answers the held request: its data, or the error. */
void nbd_peer_reply(struct nbd_peer *peer, unsigned index, uint32_t error);
void nbd_peer_send(struct nbd_peer *peer, const void *data, size_t length);
void nbd_peer_close(struct nbd_peer *peer); /* may be called again */
void nbd_peer_free(struct nbd_peer *peer);  /* closed, and the loop has run */

#endif
