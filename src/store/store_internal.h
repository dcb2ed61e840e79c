/*
 * What the store's own files share: the queue of jobs on the directory, and the uploads
 * that pieces belong to. Private to store/.
 *
 * A piece: waiting -> begin -> hash the rest of earlier runs -> write ... -> end -> done.
 * "begin" and "end" are jobs on the directory; hashing and writing run beside them. At
 * most one of all these runs for an upload, so its part needs no lock.
 */
#ifndef STORE_STORE_INTERNAL_H
#define STORE_STORE_INTERNAL_H

#include "base/closing.h"
#include "store/part.h"

/* What is kept of an upload while a piece of it is there, and between pieces for its hash. */
struct store_upload {
    struct link link;
    struct store_piece *piece; /* NULL: none */
    struct part part;
    uint64_t used_at; /* uv_now() at the end of its last piece */
};

struct store_sweep {
    struct store_job job;
    bool runs;
    char *spared; /* names; STORE_NAME_MAX + 1 bytes each */
    unsigned count;
};

struct store {
    uv_loop_t *loop;
    struct folder folder;
    uint64_t partial_age_ms;
    struct link jobs; /* jobs that wait for the directory */
    struct store_job *running;
    unsigned queued; /* lists and removals that are not done */
    struct link uploads;
    unsigned upload_count;
    struct link pieces; /* pieces that wait until fewer are in work */
    unsigned writers;
    unsigned pending; /* calls that are not done, and the sweep */
    struct store_sweep sweep;
    uv_timer_t timer;
    bool closing;
    struct closing handles;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* Runs jobs on the directory one after the other, in the order of these calls. */
void store_job_add(struct store *store, struct store_job *job, void (*run)(struct store_job *job),
                   void (*done)(struct store_job *job));
/* Counts a call, which waits in the queue: 0, or the status why no more can be asked now. `queued` is the caller's then. */
int store_call_begin(struct store *store);
/* Counts a call as done: the last step, after its caller was told. */
void store_call_done(struct store *store);

struct store_upload *store_upload_find(struct store *store, const char *name); /* NULL: none */
/* Frees the upload, unless one of its pieces is there. */
void store_upload_drop(struct store *store, struct store_upload *upload);

#endif
