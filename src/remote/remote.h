/*
 * An image on another machine, read in ranges, whatever the protocol. A client (struct remote_client) speaks the
 * protocol: it learns what the image is (a probe), and gets a range of the image's bytes, checked. This source keeps
 * what all protocols have in common: the queue, the requests in flight, the tries, the deadlines, the measured link,
 * and what happens while the server is away.
 *
 * Opening probes the image. While probes fail for a reason that may pass, opening tries again for `io_timeout_ms`, or
 * for REMOTE_ABSENT_MS if there is nobody at the address (hosts are mistyped). Only then comes `opened`, with the
 * `reason` of the last probe that failed; if that gave none, with -EAGAIN if it may pass, else -EREMOTEIO.
 *
 * A range that fails for a reason that may pass is tried again. Once tries of a range fail in a row, or at once when a
 * failure is not REMOTE_TRANSIENT or the server wants to be left alone, the server counts as down: what is read ahead
 * is given up, probes ask whether the server is back, with growing pauses (as long as the server wants, but one each
 * `io_timeout_ms`), and all ranges wait until it is. That an image is not there, or not allowed, may pass too once the
 * image was readable: a proxy says so while the server behind it restarts. A range that was asked for more than
 * `io_timeout_ms` ago (see io->since) is answered with EIO, but the probing goes on, so that the host's own retry finds
 * the server again.
 *
 * A range in flight that can't be done in time at its pace (remote/pace.h) is asked for on another connection too; the
 * first answer counts. So is a probe that is not answered within REMOTE_PATIENCE_MS.
 *
 * An answer that can't be right is EIO at once; after REMOTE_REFUSALS in a row the server counts as down. When a probe
 * finds another image (another size or version) in place of the one that was opened, all ranges are EIO at once,
 * without a request, until a probe finds the right image again.
 *
 * Where a server has no room for more requests, fewer are made: remote/parallel.h.
 *
 * Bounds: REMOTE_REQUESTS_MAX requests at a time; what waits is bounded as block/io_queue.h says.
 */
#ifndef REMOTE_REMOTE_H
#define REMOTE_REMOTE_H

#include "block/source.h"
#include "link/shared.h"

#define REMOTE_ERROR_MAX        512
#define REMOTE_VERSION_MAX      SOURCE_VALIDATOR_MAX
#define REMOTE_REQUESTS_MAX     64
#define REMOTE_BACKOFF_FIRST_MS 250
#define REMOTE_BACKOFF_MAX_MS   5000
#define REMOTE_LATCHED_MAX_MS   30000 /* the longest pause between looks for an image that was changed */
#define REMOTE_ABSENT_MS        5000  /* while opening: no such host, or nobody listens there */
#define REMOTE_PATIENCE_MS      3000  /* for a probe, before another one is sent beside it */
#define REMOTE_PROBES           2     /* at a time */
#define REMOTE_HOLD_MS          250   /* at most, before the first new try when a server goes away */
#define REMOTE_REFUSALS         2     /* answers that can't be right, in a row */
#define REMOTE_TWINS            4     /* ranges that are asked for twice, at a time */

enum remote_verdict {
    REMOTE_OK,
    REMOTE_TRANSIENT, /* may pass: no connection, a stall, the server is busy */
    REMOTE_MOVED,     /* what the probe found is no use any more (a stale handle, a lost session): probe again first */
    REMOTE_REFUSED,   /* the answer can't be used, or is not of this image */
};

/* What an image is, as a probe learnt it. */
struct remote_image {
    uint64_t size;
    char version[REMOTE_VERSION_MAX];   /* another text means other bytes; "": nothing tells but the size */
    char identity[SOURCE_IDENTITY_MAX]; /* see struct source; "": the version is not that sure */
};

struct remote_client;

/* One probe or range at a time. The client embeds this in its own struct. */
struct remote_request {
    struct remote_client *client; /* whose request_new() made the request */

    /* The result, which the client sets: valid in `done`, until the next start. */
    enum remote_verdict verdict;
    int reason;                   /* not OK: a negative errno, if one says what went wrong; else 0 */
    char error[REMOTE_ERROR_MAX]; /* not OK: in words, and what to do; no secrets */
    struct slices data;           /* a range, OK: exactly its bytes; `done` may take them */
    uint64_t received;            /* bytes that came, also when it failed */
    uint64_t first_byte_us;       /* from the asking to the answer's first byte; 0: none came, or not measured */
    bool busy;                    /* TRANSIENT: the server has no room for this request beside others */
    uint64_t retry_after_ms;      /* TRANSIENT: the server wants to be left alone for so long; 0: it did not say */
    struct remote_image found;    /* a probe, OK: the image */

    /* The source's. */
    void *owner;
    /* NULL, or called by a client that can vouch for it: the first `ready` bytes of the range in flight are in `data`.
     * Called from anywhere, libcurl's callbacks too: it only takes note. */
    void (*filled)(struct remote_request *request, uint32_t ready);
    /* From the loop, exactly once for each start, never from inside it; may start again, cancel others or free. */
    void (*done)(struct remote_request *request);
};

struct remote_client_ops {
    /* Makes a request with the fields above zero, `data` an empty list, and `client` set. */
    struct remote_request *(*request_new)(struct remote_client *client);
    void (*probe)(struct remote_request *request);
    /* Within the size of the image that was adopted last; length > 0. */
    void (*range)(struct remote_request *request, uint64_t offset, uint32_t length);
    /* `done` does not come any more, and the request may be started again or freed; legal when idle. */
    void (*cancel)(struct remote_request *request);
    /* Bytes that came of the range in flight, or of the one that ended last. */
    uint64_t (*received)(const struct remote_request *request);
    void (*request_free)(struct remote_request *request); /* it is idle */
    /* What this probe found is the image from now on: ranges that start later read that. Called from inside `done`;
     * after the first time only for the same image as before. NULL: nothing to do. */
    void (*adopt)(struct remote_request *probe);
    /* No request is left. Ends connections and closes handles, then calls client->closed, never from inside the call.
     * NULL: nothing to end. */
    void (*close)(struct remote_client *client);
    void (*free)(struct remote_client *client);
};

/* The base of a client; whoever makes the client fills it. */
struct remote_client {
    const struct remote_client_ops *ops;
    uv_loop_t *loop;
    char *url; /* the client's; shown, by text_url_public(), before each error; its scheme is the source's name */

    /* The source's. */
    void *owner;
    void (*closed)(struct remote_client *client);
};

/* --- for clients --- */

/* A new start: no byte has come, nothing is judged (REMOTE_TRANSIENT, without words), and `data` has room for `length`
 * bytes. */
void remote_request_begin(struct remote_request *request, uint32_t length);
/* Sets the verdict and its words; reason, busy and retry_after_ms are 0 after that. */
__attribute__((format(printf, 3, 4))) void remote_judge(struct remote_request *request, enum remote_verdict verdict,
                                                        const char *format, ...);
/* The request is over: drops `data` unless the verdict is OK, and calls `done`. */
void remote_request_end(struct remote_request *request);

/* The source owns the client. `requests`: ranges at a time, 1..REMOTE_REQUESTS_MAX. */
struct source *remote_source_new(struct remote_client *client, const char *who, unsigned requests,
                                 uint64_t io_timeout_ms);
/* The source, not open yet, shares the link to its origin with the others of the set, which must outlive the source. */
void remote_source_share(struct source *source, struct links *links);

#endif
