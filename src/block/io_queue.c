#include "block/io_queue.h"

void io_queue_init(struct io_queue *queue)
{
    list_init(&queue->demand);
    list_init(&queue->prefetch);
    queue->prefetches = 0;
}

bool io_queue_push(struct io_queue *queue, struct io *io)
{
    if (!(io->flags & IO_PREFETCH)) {
        list_append(&queue->demand, &io->link);
        return true;
    }
    if (queue->prefetches == IO_QUEUE_PREFETCH)
        return false;
    queue->prefetches++;
    list_append(&queue->prefetch, &io->link);
    return true;
}

struct io *io_queue_pop(struct io_queue *queue, bool demand_only)
{
    struct link *l = list_pop(&queue->demand);
    if (!l && !demand_only && (l = list_pop(&queue->prefetch)))
        queue->prefetches--;
    return l ? container_of(l, struct io, link) : NULL;
}

void io_queue_promote(struct io_queue *queue, struct io *io)
{
    io_queue_remove(queue, io);
    io_promote(io);
    list_append(&queue->demand, &io->link);
}

void io_queue_remove(struct io_queue *queue, struct io *io)
{
    queue->prefetches -= io->flags & IO_PREFETCH ? 1 : 0;
    list_remove(&io->link);
}
