/*
 * An image that a browser holds and serves over a WebSocket (any stream): a source on nbd/client,
 * with one client after the other, if connections are lost.
 *
 * A connection that is lost does not end the source. Ios wait for a new one: each until
 * `io_timeout_ms` have passed (then it is -ETIMEDOUT, EIO for the host), all of them until
 * `grace_ms` are over; then the source dies (-ENOTCONN), or with `stay` goes on waiting and
 * answers -EIO. Speculative ios don't wait (-EAGAIN). A browser that comes back is taken if
 * it has the same image: the size, the claim (if both connections made one), and what was
 * read before: the SHA-256 of some of the answers (BROWSER_SAMPLES at most) is kept and those
 * ranges are read again first. Ios that were not answered are then sent again. A connection that the browser's user
 * ended (see `left`) is not waited for: the source dies. That is no failure (the status is 0), and neither is it one when
 * a page that was left does not come back, nor when the only browser comes with another file.
 *
 * Where the way is doubted, one read of BROWSER_DOUBT by chance is answered only after a part of it was read again and was
 * the same. If it was not, that read fails (EIO), and the source dies.
 *
 * A browser that answers pings, but no request for BROWSER_SILENCE times `io_timeout_ms`, is hung
 * up on (BROWSER_FAILED, which says so), and counts as lost then.
 *
 * The size is what the server says; a read never goes beyond it. Builds of webui-vue
 * from 2025-11 to 2026-01 send a size whose upper half is a copy of the lower one: below
 * 4 GiB the lower half is right and is used, which is logged; such a build can't serve more.
 *
 * FLUSH of a read-only image is answered here: those servers don't know it. FUA is a FLUSH
 * of its own where the server has none.
 *
 * Bounds: the options, and those of nbd/client.h; demand that waits is bounded by what the
 * NBD server above admits. A connection that is being closed lives on until its stream is
 * closed, which source_close() waits for.
 */
#ifndef SOURCE_BROWSER_H
#define SOURCE_BROWSER_H

#include "block/source.h"
#include "net/stream.h"

#define BROWSER_SAMPLES    16
#define BROWSER_SAMPLE_MAX (64u << 10) /* bytes of one */
#define BROWSER_CLAIM_MAX  1024        /* bytes that are compared */
#define BROWSER_REASON_MAX 128
#define BROWSER_SILENCE    4
#define BROWSER_DOUBT      32    /* one answer of so many is asked for again, where the way is doubted */
#define BROWSER_CHECK_MS   15000 /* for the samples of a browser that came back, after its handshake */

/* What the peer is told when its connection is closed. */
enum browser_end {
    BROWSER_EJECTED,  /* in the ordinary way */
    BROWSER_FAILED,   /* we or the host failed */
    BROWSER_PROTOCOL, /* it broke the NBD protocol */
    BROWSER_REFUSED,  /* the browser may not connect, or has another image */
    BROWSER_STOPPING, /* the daemon stops */
};

/* How a connection ended that was not given up here. */
enum browser_leave {
    BROWSER_CUT,     /* who knows: the network, the browser's end */
    BROWSER_LEFT,    /* its page was left or loaded anew, and may come back */
    BROWSER_STOPPED, /* its user ended it */
};

struct browser_connection {
    struct stream *stream; /* taken over */
    bool go;               /* its NBD server knows GO */
    uint32_t request_max;  /* the largest request that something in between passes on; 0: as the options have it */
    uint64_t answers_max;  /* bytes of unread answers, headers and all, that it holds; 0: any number */
    bool doubted;          /* what is in between has been seen to mix up bytes, see above; the image is read-only then */
    bool quiet;            /* who hangs up says DISC, after the stream is closed */
    bool last_word;        /* there is no other browser: if this one has another image, the medium is out */
    const char *claim;     /* what the browser says the image is (name, times, hashes), opaque; copied; "": nothing */
    void (*ready)(void *arg); /* its handshake is done: it answers requests; may be NULL */
    /* Closes the stream in its protocol's way; NULL: stream_close(). Called once. */
    void (*hang_up)(struct stream *stream, enum browser_end end, const char *reason, void *arg);
    enum browser_leave (*left)(struct stream *stream); /* asked after on_end; NULL: always BROWSER_CUT */
    void (*gone)(void *arg); /* once, when the stream has been freed; may be NULL */
    void *arg;
};

struct browser_options {
    uint64_t grace_ms, io_timeout_ms;
    bool stay;            /* go on waiting after the grace */
    bool writable;        /* write if the server lets us; else the source is read-only */
    uint32_t request_max; /* see nbd/client.h */
    unsigned requests_max;
    uint64_t bytes_max;
};

/* Opens with the handshake of the first connection. Freed unopened, it hangs up. */
struct source *browser_source_new(uv_loop_t *loop, const char *who, const struct browser_options *options,
                                  const struct browser_connection *connection);
/* The source has no connection, and one with this claim could bring the same image. */
bool browser_source_awaits(const struct source *source, const char *claim);
/* Hands over another connection. If the source does not await one, the stream is closed
 * (BROWSER_REFUSED). A connection that is refused later is told why, too. */
void browser_source_connect(struct source *source, const struct browser_connection *connection);
/* Open, and without a connection that proved to be the image: ios wait, or with `stay` fail. */
bool browser_source_is_waiting(const struct source *source);
/* It is so, and not just because a page was left, which is given its time. */
bool browser_source_is_missed(const struct source *source);
/* Is the connection with this `arg` the source's now, or being checked? */
bool browser_source_has(const struct source *source, const void *arg);
/* Sets what the peer is told at source_close(): without this call, BROWSER_EJECTED. */
void browser_source_set_end(struct source *source, enum browser_end end, const char *reason);

#endif
