/*
 * Ios that wait for their turn: demand before prefetch, each in order. Demand is
 * bounded by what the server admits; prefetch by IO_QUEUE_PREFETCH.
 */
#ifndef BLOCK_IO_QUEUE_H
#define BLOCK_IO_QUEUE_H

#include <stdbool.h>

#include "block/io.h"

#define IO_QUEUE_PREFETCH 64

struct io_queue {
    struct link demand, prefetch;
    unsigned prefetches;
};

void io_queue_init(struct io_queue *queue);
/* False: too many speculative ones wait; the io is still the caller's. */
bool io_queue_push(struct io_queue *queue, struct io *io);
/* The next io, taken off; with `demand_only` never a speculative one. NULL: none. */
struct io *io_queue_pop(struct io_queue *queue, bool demand_only);
/* A speculative one that waits here is demand from now on. */
void io_queue_promote(struct io_queue *queue, struct io *io);
void io_queue_remove(struct io_queue *queue, struct io *io);

#endif
