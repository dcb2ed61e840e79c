/*
 * A stream whose other end is the test itself: what a socket pair would be,
 * without its system calls. Fuzz targets use it, since a hundred thousand inputs
 * through sockets cost minutes. Everything is told from the loop's deferrals, in
 * the order in which a socket tells it.
 */
#ifndef TEST_NET_MEMORY_STREAM_H
#define TEST_NET_MEMORY_STREAM_H

#include "base/defer.h"
#include "net/stream.h"

#define MEMORY_STREAM_ROOM (200u << 10) /* what the stream can write before the other end has to take some */

/* The test's end. It must outlive the stream. */
struct memory_peer {
    struct memory_stream *stream; /* NULL: freed */
    struct slices to_stream, from_stream;
    bool hung_up;      /* this end was closed */
    bool stream_ended; /* the stream was closed */
};

struct stream *memory_stream_new(uv_loop_t *loop, struct memory_peer *peer);
/* False: the stream is closed, nothing was sent. */
bool memory_peer_send(struct memory_peer *peer, const void *data, size_t length);
/* Takes at most `size` bytes of what the stream has written; how many there were. */
size_t memory_peer_receive(struct memory_peer *peer, void *to, size_t size);
/* Closes this end: the stream is told when it has read what was sent; what it writes from now on fails. */
void memory_peer_hang_up(struct memory_peer *peer);
/* Drops what nobody took. */
void memory_peer_clear(struct memory_peer *peer);

#endif
