/*
 * A source is anything that has the bytes of an image: a file, a URL, a
 * browser, or another source below (cache, overlay). All keep one contract,
 * and one test (test/unit/block/contract.c) runs against each of them:
 *
 * 1. `opened`, each io's `done`, and `closed` come exactly once, never from
 *    inside the call that caused them.
 * 2. After source_close() an io is answered with -ESHUTDOWN; every outstanding
 *    io is answered (-ECANCELED if it was not finished), then comes `closed`.
 * 3. source_close() is legal in every state, while opening too (then `opened`
 *    comes first, with -ECANCELED if it had not succeeded), and idempotent.
 * 4. A source that dies answers each io with its error, and calls `died` once:
 *    ios and death are separate channels. A dead source still must be closed. The
 *    status is 0 if that is how it was meant to end: nothing has failed.
 *    A source whose `opened` brought an error has not died: it is just closed.
 * 5. The calls return nothing: an error has one way out, the callback.
 *
 * Life: xxx_source_new() -> source_open() -> opened(0) -> ios ...
 *       -> source_close() -> closed -> source_free().
 * A source is the property of whoever made it, except that a source built on
 * another owns the lower one: it opens, closes and frees it.
 */
#ifndef BLOCK_SOURCE_H
#define BLOCK_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/defer.h"
#include "base/latency.h"
#include "block/io.h"

#define SOURCE_ERROR_MAX 512
#define SOURCE_IDENTITY_MAX 1024
#define SOURCE_VALIDATOR_MAX 512

enum source_state { SOURCE_NEW, SOURCE_OPENING, SOURCE_OPEN, SOURCE_CLOSING, SOURCE_CLOSED };

struct source;

struct source_ops {
    const char *name; /* for the log: "http", "file", "cache" */
    /* Each is called by the source_*() function of its name, in a legal state
     * only; submit gets ios whose range, alignment and rights were checked. */
    void (*open)(struct source *source);
    void (*submit)(struct source *source, struct io *io);
    void (*close)(struct source *source);
    void (*free)(struct source *source); /* closed, or never opened */
    /* See source_promote(); io->since is set already. Calls io_promote(). NULL: order and deadlines mean nothing here. */
    void (*promote)(struct source *source, struct io *io);
};

/* Counters since open, and the link as measured; for status and statistics. */
struct source_stats {
    uint64_t requests, bytes, errors, retries;
    uint64_t rtt_us;              /* 0: not measured */
    uint64_t bandwidth;           /* bytes a second; 0: not measured */
    unsigned gain;                /* how many times what the link holds may be under way, hundredths; 0: not known */
    unsigned sharers;             /* sources that read ahead on that link, this one too; 0: not known, counts as 1 */
    uint64_t hits, misses;        /* cache: read requests answered without / with a fetch */
    uint64_t prefetched, wasted;  /* cache: bytes read ahead, and evicted unread */
    uint64_t quiet_rtt_us;        /* the round trip as measured while nothing else of ours was under way; 0: it was not */
    struct latency ranges;        /* how long what was asked of a server or a browser took */
};

struct source {
    const struct source_ops *ops;
    uv_loop_t *loop;
    enum source_state state;
    const char *who; /* the log's prefix, usually the slot's name; must outlive the source */

    /* Facts: valid from opened(0) until closed. */
    uint64_t size;            /* bytes */
    uint32_t block_preferred; /* bytes, a power of two; good request size and alignment */
    bool read_only;           /* WRITE, TRIM, ZERO fail with EPERM */
    bool can_trim, can_zero;  /* else the NBD server does not offer them */
    bool can_flush;           /* FLUSH and FUA mean something */
    bool local;               /* no latency worth a cache */
    unsigned parallel;        /* requests worth having in flight at a time */
    /* Same non-empty identity = same bytes (URL, size and strong validator): two sources may share cached blocks. */
    char identity[SOURCE_IDENTITY_MAX];
    /* What tells versions of the image apart (an ETag and a time, say): by the same protocol another text means other
     * bytes, from whatever URL. "": nothing tells but the size. */
    char validator[SOURCE_VALIDATOR_MAX];

    struct source_stats stats;
    /* The last failure in words, for people; "" if none. No secrets in it. */
    char error[SOURCE_ERROR_MAX];
    time_t error_at; /* when that failure was, or while `failing` when the trouble began; 0: never */
    bool failing;    /* what the source reads from is away now, and is tried again */

    /* The owner's callbacks; all set before source_open(). */
    void (*opened)(struct source *source, int status);
    void (*died)(struct source *source, int status);
    void (*closed)(struct source *source);
    void *owner;

    struct defer opened_defer, closed_defer; /* for the functions below */
    int opened_status;
    bool opened_due; /* opened() was promised and has not come */
};

void source_init(struct source *source, const struct source_ops *ops, uv_loop_t *loop, const char *who);
void source_open(struct source *source);
/* Checks the io against the facts (past the end EINVAL, or ENOSPC for WRITE and ZERO; EPERM, ENOTSUP, ESHUTDOWN when
 * not open), then hands it to the source. */
void source_submit(struct source *source, struct io *io);
/* Somebody who asked at `since` waits now for this READ, which was submitted and is not done: a speculative READ
 * becomes demand, with its deadline counted from `since`; so is a demand READ's, if that is earlier. What is there
 * already of io->part_at bytes is told. */
void source_promote(struct source *source, struct io *io, uint64_t since);
void source_close(struct source *source);
void source_free(struct source *source); /* NULL is allowed */

/* For implementations: the state changes that go with the callbacks. source_report_opened() calls `opened` at once, so
 * it is for callbacks of the loop; source_report_opened_later() may be called from anywhere. `closed` always comes
 * through the queue of base/defer.h: behind the answer of each io that was finished before. A source that is closed
 * while it opens need not report `opened`: source_report_closed() does. */
void source_report_opened(struct source *source, int status);
void source_report_opened_later(struct source *source, int status);
void source_report_closed(struct source *source);
/* For a source on a source: takes over the facts and the last error of `lower`. */
void source_copy_facts(struct source *source, const struct source *lower);
__attribute__((format(printf, 2, 3))) void source_set_error(struct source *source, const char *format, ...);

#endif
