/*
 * Ios that wait for their turn: demand before prefetch, both in the order in which they came. Demand is bounded by what
 * the NBD server admits, prefetch by IO_QUEUE_PREFETCH.
 */
#ifndef BLOCK_IO_QUEUE_H
#define BLOCK_IO_QUEUE_H

#include <stdbool.h>

#include "block/io.h"

#define IO_QUEUE_PREFETCH 64 /* ios */

struct io_queue {
    struct link demand, prefetch;
    unsigned prefetches;
};

void io_queue_init(struct io_queue *queue);
/* False: too many speculative ios wait; this one is still the caller's. */
bool io_queue_push(struct io_queue *queue, struct io *io);
/* Takes the next io off; with `demand_only` never a speculative one. NULL: there is none. */
struct io *io_queue_pop(struct io_queue *queue, bool demand_only);
/* A speculative io that waits here is demand from now on, behind all other demand. */
void io_queue_promote(struct io_queue *queue, struct io *io);
void io_queue_remove(struct io_queue *queue, struct io *io);

#endif
