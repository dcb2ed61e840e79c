#include "base/work.h"

#include <stdio.h>
#include <stdlib.h>

void work_pool_size(unsigned threads)
{
    char text[16];
    snprintf(text, sizeof text, "%u", threads);
    setenv("UV_THREADPOOL_SIZE", text, 1);
}

static void on_run(uv_work_t *req)
{
    struct work *work = (struct work *)req;
    work->run(work);
}

static void on_done(uv_work_t *req, int status)
{
    (void)status; /* never cancelled: nobody calls uv_cancel() on it */
    struct work *work = (struct work *)req;
    work->done(work);
}

void work_start(uv_loop_t *loop, struct work *work, void (*run)(struct work *), void (*done)(struct work *))
{
    work->run = run;
    work->done = done;
    uv_queue_work(loop, &work->req, on_run, on_done);
}
