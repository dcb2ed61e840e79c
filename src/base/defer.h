/*
 * Work that runs later in the same loop, never inside the call that asked for
 * it. One queue belongs to each loop (defer_init), kept in loop->data. It is
 * run before the loop polls and right after, so a deferred callback costs no
 * turn of the loop. A deferral keeps the loop alive until it has run.
 */
#ifndef BASE_DEFER_H
#define BASE_DEFER_H

#include <uv.h>

#include "base/list.h"

struct defer {
    struct link link;
    void (*run)(struct defer *defer);
};

/* Gives the loop its queue. Once, before any other use of the loop here. */
void defer_init(uv_loop_t *loop);
/* Frees the queue: its handles are closed, so the loop must run once more. */
void defer_close(uv_loop_t *loop);

/* A deferral must be set up once with its callback before it is scheduled. */
void defer_setup(struct defer *defer, void (*run)(struct defer *defer));
/* Runs `defer->run` once; scheduling what is scheduled already changes nothing. */
void defer_schedule(uv_loop_t *loop, struct defer *defer);
void defer_cancel(struct defer *defer);

#endif
