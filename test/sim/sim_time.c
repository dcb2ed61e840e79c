/* Virtual time. See sim.h. */
#include <stdlib.h>
#include <time.h>

#include "base/text.h"
#include "sim.h"

struct event {
    uint64_t at_us, number;
    void (*fire)(void *arg);
    void *arg;
};

static struct {
    uint64_t now_us, number;
    uv_loop_t *loop;
    struct event *heap; /* the first event on top */
    size_t count, capacity;
} sim = {.now_us = 1000000000};

/* In the place of libc's, for libuv as well. */
int clock_gettime(clockid_t clock, struct timespec *t)
{
    (void)clock;
    t->tv_sec = (time_t)(sim.now_us / 1000000);
    t->tv_nsec = (long)(sim.now_us % 1000000 * 1000);
    return 0;
}

void sim_begin(uv_loop_t *loop)
{
    sim.loop = loop;
}

uint64_t sim_now_us(void)
{
    return sim.now_us;
}

static bool event_before(const struct event *a, const struct event *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->number < b->number);
}

static void event_swap(size_t a, size_t b)
{
    struct event kept = sim.heap[a];
    sim.heap[a] = sim.heap[b];
    sim.heap[b] = kept;
}

void sim_at(uint64_t at_us, void (*fire)(void *arg), void *arg)
{
    if (sim.count == sim.capacity) {
        sim.capacity = sim.capacity ? 2 * sim.capacity : 1024;
        sim.heap = realloc(sim.heap, sim.capacity * sizeof *sim.heap);
        if (!sim.heap)
            abort();
    }
    size_t at = sim.count++;
    sim.heap[at] = (struct event){at_us < sim.now_us ? sim.now_us : at_us, sim.number++, fire, arg};
    for (; at > 0 && event_before(&sim.heap[at], &sim.heap[(at - 1) / 2]); at = (at - 1) / 2)
        event_swap(at, (at - 1) / 2);
}

static void event_sink(size_t at)
{
    for (;;) {
        size_t least = at, left = 2 * at + 1, right = 2 * at + 2;
        if (left < sim.count && event_before(&sim.heap[left], &sim.heap[least]))
            least = left;
        if (right < sim.count && event_before(&sim.heap[right], &sim.heap[least]))
            least = right;
        if (least == at)
            return;
        event_swap(at, least);
        at = least;
    }
}

static void event_fire(void)
{
    struct event event = sim.heap[0];
    sim.heap[0] = sim.heap[--sim.count];
    event_sink(0);
    event.fire(event.arg);
    if (sim.count == 0) {
        free(sim.heap);
        sim.heap = NULL;
        sim.capacity = 0;
    }
}

/* All that can happen now on the loop has happened. A turn of it is dear: none is made for nothing. */
static void settle(void)
{
    uv_update_time(sim.loop);
    while (uv_backend_timeout(sim.loop) == 0 && uv_loop_alive(sim.loop))
        uv_run(sim.loop, UV_RUN_NOWAIT);
}

/* The next moment at which something happens; UINT64_MAX: never. */
static uint64_t sim_next_us(void)
{
    int timeout = uv_loop_alive(sim.loop) ? uv_backend_timeout(sim.loop) : -1; /* 0 when nothing is active */
    uint64_t timer = timeout < 0 ? UINT64_MAX : (uv_now(sim.loop) + (uint64_t)timeout) * 1000;
    uint64_t event = sim.count ? sim.heap[0].at_us : UINT64_MAX;
    return timer < event ? timer : event;
}

bool sim_run(bool (*condition)(void *arg), void *arg, uint64_t until_us)
{
    for (;;) {
        settle();
        if (condition(arg))
            return true;
        uint64_t next = sim_next_us();
        if (next == UINT64_MAX || next > until_us)
            return false;
        if (next > sim.now_us)
            sim.now_us = next;
        uv_update_time(sim.loop);
        while (sim.count && sim.heap[0].at_us <= sim.now_us)
            event_fire();
    }
}
