#include "base/defer.h"

#include <assert.h>

#include "base/text.h"

struct defer_queue {
    uv_prepare_t prepare; /* runs before the loop polls */
    uv_check_t check;     /* and right after */
    uv_idle_t idle;       /* active while anything waits: keeps the loop alive and from sleeping */
    struct link waiting;
    unsigned open_handles;
};

static struct defer_queue *defer_queue(uv_loop_t *loop)
{
    return loop->data;
}

static void defer_run(struct defer_queue *queue)
{
    for (int round = 0; round < DEFER_ROUNDS && !list_empty(&queue->waiting); round++) {
        struct link batch;
        list_init(&batch);
        list_move_all(&batch, &queue->waiting);
        for (struct link *l = list_pop(&batch); l; l = list_pop(&batch)) {
            struct defer *defer = container_of(l, struct defer, link);
            defer->run(defer);
        }
    }
    if (list_empty(&queue->waiting))
        uv_idle_stop(&queue->idle);
}

static void on_prepare(uv_prepare_t *handle)
{
    defer_run(handle->data);
}

static void on_check(uv_check_t *handle)
{
    defer_run(handle->data);
}

static void on_defer_idle(uv_idle_t *handle)
{
    (void)handle;
}

void defer_init(uv_loop_t *loop)
{
    struct defer_queue *queue = mem_alloc(sizeof *queue);
    list_init(&queue->waiting);
    uv_prepare_init(loop, &queue->prepare);
    uv_check_init(loop, &queue->check);
    uv_idle_init(loop, &queue->idle);
    queue->prepare.data = queue->check.data = queue->idle.data = queue;
    uv_prepare_start(&queue->prepare, on_prepare);
    uv_check_start(&queue->check, on_check);
    uv_unref((uv_handle_t *)&queue->prepare);
    uv_unref((uv_handle_t *)&queue->check);
    queue->open_handles = 3;
    loop->data = queue;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct defer_queue *queue = handle->data;
    if (--queue->open_handles == 0) {
        handle->loop->data = NULL;
        mem_free(queue);
    }
}

void defer_close(uv_loop_t *loop)
{
    struct defer_queue *queue = defer_queue(loop);
    assert(list_empty(&queue->waiting));
    uv_close((uv_handle_t *)&queue->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&queue->check, on_handle_closed);
    uv_close((uv_handle_t *)&queue->idle, on_handle_closed);
}

void defer_setup(struct defer *defer, void (*run)(struct defer *defer))
{
    list_init(&defer->link);
    defer->run = run;
}

void defer_schedule(uv_loop_t *loop, struct defer *defer)
{
    struct defer_queue *queue = defer_queue(loop);
    if (!list_empty(&defer->link))
        return;
    if (list_empty(&queue->waiting))
        uv_idle_start(&queue->idle, on_defer_idle);
    list_append(&queue->waiting, &defer->link);
}

void defer_cancel(struct defer *defer)
{
    list_remove(&defer->link);
}
