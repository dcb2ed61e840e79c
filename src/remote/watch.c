/* Time: deadlines, and ranges in flight that are too slow. See remote/remote.h. */
#include <errno.h>

#include "remote/internal.h"

static struct remote_worker *worker_at(struct link *l)
{
    return container_of(l, struct remote_worker, link);
}

static bool is_demand(const struct io *io)
{
    return !(io->flags & IO_PREFETCH);
}

/* --- deadlines --- */

uint64_t remote_deadline_of(const struct remote *remote, const struct io *io)
{
    return io->since + remote->io_timeout_ms;
}

static bool is_late(const struct remote *remote, const struct io *io)
{
    return is_demand(io) && remote_deadline_of(remote, io) <= remote_now(remote);
}

/* The io's time is over, while a range is in flight for it: the server counts as down. */
static void expire_active(struct remote *remote, struct io *io)
{
    list_for_each (l, &remote->active)
        if (worker_at(l)->io == io)
            remote_give_up(worker_at(l));
    remote_say(remote, "no answer within io-timeout");
    remote->source.stats.errors++;
    remote_go_down(remote, 0);
    io_finish_later(remote->source.loop, io, -EIO);
}

static struct io *late_active(struct remote *remote)
{
    list_for_each (l, &remote->active)
        if (is_late(remote, worker_at(l)->io))
            return worker_at(l)->io;
    return NULL;
}

static void expire_queued(struct remote *remote)
{
    list_for_each (l, &remote->queue.demand) {
        struct io *io = container_of(l, struct io, link);
        if (!is_late(remote, io))
            continue;
        io_queue_remove(&remote->queue, io);
        remote->source.stats.errors++;
        io_finish_later(remote->source.loop, io, -EIO);
    }
}

static void earliest(const struct remote *remote, const struct io *io, uint64_t *next)
{
    if (is_demand(io) && remote_deadline_of(remote, io) < *next)
        *next = remote_deadline_of(remote, io);
}

static void on_remote_watch_deadline(uv_timer_t *timer);

static void deadline_arm(struct remote *remote)
{
    uint64_t next = UINT64_MAX, now = remote_now(remote);
    list_for_each (l, &remote->queue.demand)
        earliest(remote, container_of(l, struct io, link), &next);
    list_for_each (l, &remote->active)
        earliest(remote, worker_at(l)->io, &next);
    if (next != UINT64_MAX)
        uv_timer_start(&remote->deadline, on_remote_watch_deadline, next > now ? next - now : 0, 0);
}

static void on_remote_watch_deadline(uv_timer_t *timer)
{
    struct remote *remote = timer->data;
    expire_queued(remote);
    for (struct io *io = late_active(remote); io; io = late_active(remote))
        expire_active(remote, io);
    deadline_arm(remote);
    remote_pump(remote);
}

void remote_watch_io(struct remote *remote, const struct io *io)
{
    uint64_t now = remote_now(remote), at = remote_deadline_of(remote, io);
    uint64_t wait = at > now ? at - now : 0;
    bool armed = uv_is_active((uv_handle_t *)&remote->deadline);
    if (!armed || uv_timer_get_due_in(&remote->deadline) > wait)
        uv_timer_start(&remote->deadline, on_remote_watch_deadline, wait, 0);
}

/* --- ranges that are too slow --- */

static struct pace_link watch_link(struct remote *remote)
{
    struct pace_link link = {.bandwidth = remote->source.stats.bandwidth, .requests = remote->active_count};
    list_for_each (l, &remote->active)
        link.gained += pace_gained(&worker_at(l)->pace);
    return link;
}

/* Reading ahead makes room for demand: the speculative range that has brought the least is given up. */
static bool watch_free_worker(struct remote *remote)
{
    struct remote_worker *least = NULL;
    list_for_each (l, &remote->active)
        if (!is_demand(worker_at(l)->io) && (!least || remote_received(worker_at(l)) < remote_received(least)))
            least = worker_at(l);
    if (!least)
        return false;
    struct io *io = least->io;
    remote_give_up(least);
    io_finish_later(remote->source.loop, io, -EIO);
    return true;
}

static bool too_slow(const struct remote_worker *worker, const struct pace_link *link)
{
    const struct remote *remote = worker->remote;
    uint64_t now = remote_now(remote), deadline = remote_deadline_of(remote, worker->io), got = remote_received(worker);
    uint64_t left = deadline > now ? deadline - now : 0;
    return pace_is_late(&worker->pace, worker->io->length - (got < worker->io->length ? got : worker->io->length), left,
                        link);
}

static unsigned twins(struct remote *remote)
{
    unsigned count = 0;
    list_for_each (l, &remote->active)
        count += remote_twin(worker_at(l)) != NULL;
    return count / 2;
}

/* Of two slow workers for one io the older gives way to another try. But if the older has brought nothing, it may be
 * about to (the server may fetch the image from afar): then the younger gives way. */
static bool watch_replace(struct remote_worker *worker, struct remote_worker *twin, const struct pace_link *link)
{
    if (twin->started < worker->started || !too_slow(twin, link))
        return false;
    remote_give_up(remote_received(worker) == 0 ? twin : worker);
    return true;
}

/* Asks for the worker's range on another connection too, if there is one to be had. */
static void watch_ask_anew(struct remote_worker *worker, const struct pace_link *link)
{
    struct remote *remote = worker->remote;
    struct io *io = worker->io;
    struct remote_worker *twin = remote_twin(worker);
    bool room = twin ? watch_replace(worker, twin, link)
                     : twins(remote) < REMOTE_TWINS && (!list_empty(&remote->idle) || watch_free_worker(remote));
    if (!room)
        return;
    remote->source.stats.retries++;
    remote_start(remote, io);
}

/* Gives up speculative ranges that hold their connections for nothing. */
static void watch_prefetches(struct remote *remote)
{
    uint64_t now = remote_now(remote);
    list_for_each (l, &remote->active) {
        struct remote_worker *worker = worker_at(l);
        struct io *io = worker->io;
        bool stuck = worker->pace.ticks >= PACE_WINDOW && pace_gained(&worker->pace) == 0;
        if (is_demand(io) || now - worker->started < (stuck ? PACE_PATIENCE * PACE_TICK_MS : remote->io_timeout_ms))
            continue;
        remote_give_up(worker);
        io_finish_later(remote->source.loop, io, -EIO);
    }
}

static void watch_demand(struct remote *remote)
{
    const struct pace_link link = watch_link(remote);
    if (remote->down)
        return;
    for (unsigned i = 0; i < remote->worker_count; i++) { /* not by the list of active workers, which changes */
        struct remote_worker *worker = &remote->workers[i];
        if (worker->io && is_demand(worker->io) && too_slow(worker, &link))
            watch_ask_anew(worker, &link);
    }
}

/* Helps demand that waits behind speculative ranges which bring nothing. */
static void watch_queue(struct remote *remote)
{
    if (list_empty(&remote->queue.demand) || !list_empty(&remote->idle) || remote->down)
        return;
    const struct pace_link link = watch_link(remote);
    if (link.gained < PACE_FLOOR && watch_free_worker(remote))
        remote_pump(remote);
}

static void on_remote_watch_watch(uv_timer_t *timer)
{
    struct remote *remote = timer->data;
    remote_learn_link(remote);
    list_for_each (l, &remote->active)
        pace_tick(&worker_at(l)->pace, remote_received(worker_at(l)));
    watch_prefetches(remote);
    watch_demand(remote);
    watch_queue(remote);
    remote_pump(remote);
    if (list_empty(&remote->active))
        uv_timer_stop(timer);
}

void remote_watch_begin(struct remote *remote)
{
    if (!uv_is_active((uv_handle_t *)&remote->watch))
        uv_timer_start(&remote->watch, on_remote_watch_watch, PACE_TICK_MS, PACE_TICK_MS);
}
