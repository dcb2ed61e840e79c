/*
 * Work that runs later in the same loop, never inside the call that asked for
 * it. One queue belongs to each loop (defer_init), kept in loop->data. It is
 * run before the loop polls and right after, so a deferred callback costs no
 * turn of the loop. A deferral keeps the loop alive until it has run.
 *
 * One order for all: the queue is first in, first out, over all turns, however
 * much there is in it. A callback that schedules itself again and again does not
 * starve the loop: after DEFER_ROUNDS rounds the rest waits, in its order, until
 * the loop has looked at its handles.
 *
 * So whatever completes something that was asked for, and might come behind
 * something else of the same object, comes through this queue: the end of a
 * job (base/work.h), of handles (base/closing.h), of a source, stream or server.
 * libuv's callbacks for a closed handle or a finished request call nobody; they
 * schedule, or free. Then what ends an object is the last that is heard of it:
 * all that was scheduled before its close began has run before. Only what comes
 * from outside (bytes, time, a child's exit) is told straight from the loop.
 */
#ifndef BASE_DEFER_H
#define BASE_DEFER_H

#include <uv.h>

#include "base/list.h"

/* A round runs what was scheduled when it began. */
#define DEFER_ROUNDS 64

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
