/*
 * What the parts of the remote source share: the source, its ranges and its life (remote.c), the probes and what they
 * mean (probe.c), and time: deadlines, and ranges that are too slow (watch.c). Private to remote/.
 */
#ifndef REMOTE_INTERNAL_H
#define REMOTE_INTERNAL_H

#include "base/closing.h"
#include "base/trouble.h"
#include "block/io_queue.h"
#include "link/shared.h"
#include "remote/pace.h"
#include "remote/parallel.h"
#include "remote/remote.h"

/* Has one range at a time, on one request of the client's: what the request keeps (a connection, what a server asked
 * for) is used again for the next range. */
struct remote_worker {
    struct link link; /* in remote->idle or remote->active */
    struct remote *remote;
    struct remote_request *request; /* made at first use */
    struct io *io;                  /* two workers may have the same */
    uint64_t started;               /* loop time, ms */
    uint64_t started_us;            /* the same, finer: uv_hrtime() / 1000 */
    uint64_t counted;               /* bytes of the range that the link knows of */
    bool quiet;                     /* nothing of ours was under way when the range was asked for */
    struct pace pace;
    struct defer part;              /* io->part is due */
    uint32_t ready;                 /* bytes of the range, from its beginning, that the client last said are there */
};

struct remote_probe {
    struct remote *remote;
    struct remote_request *request; /* made at first use */
    bool running;
    uint64_t started; /* loop time, ms */
};

struct remote {
    struct source source;
    struct source_ops ops; /* the same for all but the name */
    struct remote_client *client;
    uint64_t io_timeout_ms;

    struct remote_probe probes[REMOTE_PROBES];
    uv_timer_t knock;          /* when it fires, the next probe is due */
    unsigned rounds;           /* pauses since a range succeeded: each is longer */
    uint64_t opening;          /* when opening began; loop time, ms */
    int open_status;           /* of the last probe that failed while opening; 0: none did */
    struct remote_image image; /* as the last good probe found it */

    struct remote_worker *workers;
    unsigned worker_count, active_count;
    struct link idle; /* the last used first: its connection is warm */
    struct link active;
    struct io_queue queue;
    struct parallel parallel;
    uv_timer_t hold; /* while the timer is active no range is started */

    bool down;         /* ranges wait until a probe succeeds */
    bool latched;      /* and fail at once: a probe found another image */
    unsigned refusals; /* ranges refused in a row */
    uint64_t success;  /* when a range succeeded last; loop time, ms */
    struct trouble away, wrong; /* there is no server; its answers can't be used */
    uv_timer_t deadline; /* fires at the earliest deadline */
    uv_timer_t watch;    /* ticks while ranges are in flight */
    struct link_user link;
    struct closing closing;
};

static inline uint64_t remote_now(const struct remote *remote)
{
    return uv_now(remote->source.loop);
}

/* remote.c */
/* `text` is the last error from now on, with the URL before it. */
void remote_say(struct remote *remote, const char *text);
uint64_t remote_received(const struct remote_worker *worker); /* bytes of the range in flight */
void remote_learn_link(struct remote *remote);
/* The round trip as measured, 0: it was not; `quiet`: see link_round_trip(). */
void remote_learn_round_trip(struct remote *remote, uint64_t round_trip_us, bool quiet);
struct remote_request *remote_request_new(struct remote *remote, void *owner, void (*done)(struct remote_request *));
/* Starts what may start. */
void remote_pump(struct remote *remote);
void remote_start(struct remote *remote, struct io *io); /* by an idle worker, which there must be */
/* Cancels the worker's request; to answer its io is left to the caller. */
void remote_give_up(struct remote_worker *worker);
/* Another worker that has the same io; NULL: there is none. */
struct remote_worker *remote_twin(const struct remote_worker *worker);

/* probe.c */
void remote_open_begin(struct remote *remote);
/* The server is away: what is speculative fails, the rest waits. `retry_after_ms`: the failed request's, or 0. */
void remote_go_down(struct remote *remote, uint64_t retry_after_ms);
void remote_probes_cancel(struct remote *remote);
bool remote_may_pass(const struct remote_request *request); /* this failure, of an image that was readable */

/* watch.c */
uint64_t remote_deadline_of(const struct remote *remote, const struct io *io); /* loop time, ms */
void remote_watch_io(struct remote *remote, const struct io *io);              /* the io is demand now */
void remote_watch_begin(struct remote *remote);                                /* a range is in flight */

#endif
