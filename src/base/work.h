/*
 * Calls that may block run here, off the loop, on libuv's thread pool.
 * work_pool_size() sets the number of threads and must come before the pool's
 * first use: an attach job that waits for a read keeps a thread, and the read
 * of a file source needs another (slots + 4).
 *
 * work_begin() makes the loop and all of these threads. If the machine has no room for
 * them the process ends with a message; libuv would abort without a message, and not
 * before the first job.
 */
#ifndef BASE_WORK_H
#define BASE_WORK_H

#include "base/defer.h"

struct work {
    uv_work_t req;
    struct defer defer;
    void (*run)(struct work *work);  /* on a pool thread: touches only the job's own data */
    void (*done)(struct work *work); /* on the loop; the job may be freed or started again */
};

void work_pool_size(unsigned threads);
/* Initialises the loop and starts the pool's threads. Once, on the main thread. */
void work_begin(uv_loop_t *loop, unsigned threads);
/* Calls `run` once on each of the pool's threads, and waits for them all. For the start, while nothing else is
 * queued. */
void work_each(uv_loop_t *loop, void (*run)(void));
/* Starts the job; `done` is called exactly once, through the queue of base/defer.h. */
void work_start(uv_loop_t *loop, struct work *work, void (*run)(struct work *), void (*done)(struct work *));

#endif
