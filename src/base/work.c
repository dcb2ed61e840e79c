#include "base/work.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/text.h"

void work_pool_size(unsigned threads)
{
    char text[16];
    snprintf(text, sizeof text, "%u", threads);
    if (setenv("UV_THREADPOOL_SIZE", text, 1) != 0)
        mem_exhausted();
}

/* libuv calls abort() where it can't make a thread or a pipe: on this thread, inside the calls of this file. */
static void on_abort(int number)
{
    static const char text[] = "nbd-proxy: the event loop or its threads can't be made: too few threads (TasksMax=, "
                               "ulimit -u), open files (ulimit -n) or too little memory\n";
    (void)number;
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(EX_OSERR);
}

static void work_nothing(uv_work_t *req)
{
    (void)req;
}

static void on_nothing(uv_work_t *req, int status)
{
    (void)req, (void)status;
}

static unsigned pool_threads;

void work_begin(uv_loop_t *loop, unsigned threads)
{
    pool_threads = threads;
    static uv_work_t first;
    struct sigaction speak = {.sa_handler = on_abort}, before;
    sigaction(SIGABRT, &speak, &before);
    work_pool_size(threads);
    if (uv_loop_init(loop) != 0)
        abort();
    uv_queue_work(loop, &first, work_nothing, on_nothing); /* the pool is made at its first job */
    sigaction(SIGABRT, &before, NULL);
}

/* No thread takes a second of these jobs before each thread has one. */
struct each {
    pthread_barrier_t all;
    void (*run)(void);
};

static void on_each(uv_work_t *req)
{
    struct each *each = req->data;
    each->run();
    pthread_barrier_wait(&each->all);
}

static void on_each_done(uv_work_t *req, int status)
{
    (void)status;
    mem_free(req);
}

void work_each(uv_loop_t *loop, void (*run)(void))
{
    static struct each each;
    each.run = run;
    pthread_barrier_init(&each.all, NULL, pool_threads + 1);
    for (unsigned i = 0; i < pool_threads; i++) {
        uv_work_t *req = mem_alloc(sizeof *req);
        req->data = &each;
        uv_queue_work(loop, req, on_each, on_each_done);
    }
    pthread_barrier_wait(&each.all);
}

static void on_work_run(uv_work_t *req)
{
    struct work *work = (struct work *)req;
    work->run(work);
}

static void on_work_deferred(struct defer *defer)
{
    struct work *work = container_of(defer, struct work, defer);
    work->done(work);
}

static void on_work_done(uv_work_t *req, int status)
{
    (void)status; /* never cancelled: nobody calls uv_cancel() on it */
    struct work *work = (struct work *)req;
    defer_schedule(req->loop, &work->defer);
}

void work_start(uv_loop_t *loop, struct work *work, void (*run)(struct work *), void (*done)(struct work *))
{
    work->run = run;
    work->done = done;
    defer_setup(&work->defer, on_work_deferred);
    uv_queue_work(loop, &work->req, on_work_run, on_work_done);
}
