/*
 * A byte stream on the loop: a socket, and later TLS or a WebSocket on another
 * stream. Whoever makes a stream owns it and sets the callbacks before the
 * first stream_read(). No callback comes from inside a call made on the stream.
 *
 * Order: any number of on_data and on_drain, at most one on_end (a socket has a second
 * one with an error, when the first had 0 and what is written after it can't be sent);
 * after stream_close() exactly one on_closed, in which the owner frees the stream with
 * stream_free(). Nothing but on_closed comes after stream_close().
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/bytes.h"

struct stream;

struct stream_ops {
    void (*read)(struct stream *stream, bool on);
    void (*write)(struct stream *stream, struct slices *data);
    void (*close)(struct stream *stream);
    void (*free)(struct stream *stream);
};

struct stream {
    const struct stream_ops *ops;
    uv_loop_t *loop;
    void *owner;
    size_t unsent; /* bytes accepted by stream_write() and not yet passed on */
    bool closing;

    void (*on_data)(struct stream *stream, const uint8_t *data, size_t length); /* data valid in the call */
    void (*on_end)(struct stream *stream, int status); /* 0: the peer ended it; else a negative errno */
    void (*on_drain)(struct stream *stream);           /* everything accepted has been passed on */
    void (*on_closed)(struct stream *stream);
};

/* Reading is off at first. Switching off takes effect at once: no on_data after. */
void stream_read(struct stream *stream, bool on);
/* Takes over the slices (the list is empty afterwards). Never blocks: the
 * caller bounds what it queues by looking at `unsent`. A failure to write
 * comes as on_end. */
void stream_write(struct stream *stream, struct slices *data);
/* Drops what is unsent. Idempotent. */
void stream_close(struct stream *stream);
void stream_free(struct stream *stream);

#endif
