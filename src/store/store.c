/* The store's life, its queue, and what is asked about it; pieces are in piece.c. */
#include "store/store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "store/store_internal.h"

/* --- jobs on the directory --- */

static void store_jobs_start(struct store *store);

static void on_store_job_run(struct work *work)
{
    struct store_job *job = container_of(work, struct store_job, work);
    job->run(job);
}

static void on_store_job_done(struct work *work)
{
    struct store_job *job = container_of(work, struct store_job, work);
    struct store *store = job->store;
    store->running = NULL;
    store_jobs_start(store); /* first the next job: this one's owner may end with it, and the store too */
    job->done(job);
}

static void store_jobs_start(struct store *store)
{
    struct link *next = store->running ? NULL : list_pop(&store->jobs);
    if (!next)
        return;
    store->running = container_of(next, struct store_job, link);
    work_start(store->loop, &store->running->work, on_store_job_run, on_store_job_done);
}

void store_job_add(struct store *store, struct store_job *job, void (*run)(struct store_job *job),
                   void (*done)(struct store_job *job))
{
    job->store = store;
    job->run = run;
    job->done = done;
    list_append(&store->jobs, &job->link);
    store_jobs_start(store);
}

/* --- uploads --- */

struct store_upload *store_upload_find(struct store *store, const char *name)
{
    list_for_each (l, &store->uploads) {
        struct store_upload *upload = container_of(l, struct store_upload, link);
        if (strcmp(upload->part.name, name) == 0)
            return upload;
    }
    return NULL;
}

void store_upload_drop(struct store *store, struct store_upload *upload)
{
    if (!upload || upload->piece)
        return;
    list_remove(&upload->link);
    store->upload_count--;
    part_clear(&upload->part);
    mem_free(upload);
}

/* --- the list --- */

static void list_done(struct store_list *list)
{
    struct store *store = list->job.store;
    struct store_entry *found = list->found;
    store->queued--;
    list->done(list);
    mem_free(found);
    store_call_done(store);
}

static void on_list_run(struct store_job *job)
{
    struct store_list *list = container_of(job, struct store_list, job);
    struct folder_listing listing;
    list->status = folder_scan(&job->store->folder, true, &listing);
    list->entries = list->found = listing.entries;
    list->count = listing.count;
    list->free = list->status == 0 ? listing.free : 0;
}

static void on_list_done(struct store_job *job)
{
    list_done(container_of(job, struct store_list, job));
}

static void on_list_answer(struct defer *defer)
{
    list_done(container_of(defer, struct store_list, answer));
}

int store_call_begin(struct store *store)
{
    store->pending++;
    store->queued++;
    return store->closing ? -ECANCELED : store->queued > STORE_QUEUE_MAX ? -EAGAIN : 0;
}

void store_list(struct store *store, struct store_list *list)
{
    list->status = store_call_begin(store);
    list->entries = list->found = NULL;
    list->count = 0;
    list->free = 0;
    list->job.store = store;
    defer_setup(&list->answer, on_list_answer);
    if (list->status != 0)
        defer_schedule(store->loop, &list->answer);
    else
        store_job_add(store, &list->job, on_list_run, on_list_done);
}

/* --- removal --- */

static void removal_done(struct store_removal *removal)
{
    struct store *store = removal->job.store;
    store->queued--;
    removal->done(removal);
    store_call_done(store);
}

static void on_removal_run(struct store_job *job)
{
    struct store_removal *removal = container_of(job, struct store_removal, job);
    removal->status = folder_remove(&job->store->folder, removal->name);
}

static void on_removal_done(struct store_job *job)
{
    struct store_removal *removal = container_of(job, struct store_removal, job);
    if (removal->status == 0)
        store_upload_drop(job->store, store_upload_find(job->store, removal->name));
    removal_done(removal);
}

static void on_removal_answer(struct defer *defer)
{
    removal_done(container_of(defer, struct store_removal, answer));
}

void store_remove(struct store *store, struct store_removal *removal)
{
    const struct store_upload *upload = store_upload_find(store, removal->name);
    removal->status = store_call_begin(store);
    removal->job.store = store;
    if (removal->status == 0 && store_name_problem(removal->name))
        removal->status = -EINVAL;
    if (removal->status == 0 && upload && upload->piece)
        removal->status = -EBUSY;
    defer_setup(&removal->answer, on_removal_answer);
    if (removal->status != 0)
        defer_schedule(store->loop, &removal->answer);
    else
        store_job_add(store, &removal->job, on_removal_run, on_removal_done);
}

char *store_path(const struct store *store, const char *name)
{
    if (store_name_problem(name))
        return NULL;
    size_t size = strlen(store->folder.path) + strlen(name) + 2;
    char *path = mem_alloc(size);
    snprintf(path, size, "%s/%s", store->folder.path, name);
    return path;
}

/* --- the sweep --- */

static void on_sweep_run(struct store_job *job)
{
    struct store_sweep *sweep = &job->store->sweep;
    folder_sweep(&job->store->folder, job->store->partial_age_ms, sweep->spared, sweep->count);
}

static void on_sweep_done(struct store_job *job)
{
    mem_free(job->store->sweep.spared);
    job->store->sweep.runs = false;
    store_call_done(job->store);
}

/* In work, or used a short while ago by a clock that nobody sets. Pieces that come after
 * this look at the directory after the sweep. */
static bool store_is_spared(const struct store *store, const struct store_upload *upload)
{
    return upload->piece || uv_now(store->loop) - upload->used_at < store->partial_age_ms;
}

static void sweep(struct store *store)
{
    struct store_sweep *s = &store->sweep;
    if (s->runs)
        return;
    s->runs = true;
    s->count = 0;
    s->spared = mem_alloc(store->upload_count * (STORE_NAME_MAX + 1));
    list_for_each (l, &store->uploads) {
        const struct store_upload *upload = container_of(l, struct store_upload, link);
        if (store_is_spared(store, upload))
            strcpy(s->spared + s->count++ * (STORE_NAME_MAX + 1), upload->part.name);
    }
    store->pending++;
    store_job_add(store, &s->job, on_sweep_run, on_sweep_done);
}

static void on_store_timer(uv_timer_t *timer)
{
    sweep(container_of(timer, struct store, timer));
}

/* --- life --- */

struct store *store_new(uv_loop_t *loop, const struct store_options *options, char error[STORE_ERROR_MAX])
{
    struct folder folder;
    if (folder_open(&folder, options, error) != 0)
        return NULL;
    struct store *store = mem_alloc(sizeof *store);
    store->loop = loop;
    store->folder = folder;
    store->partial_age_ms = options->partial_age_ms ? options->partial_age_ms : STORE_PARTIAL_AGE_MS;
    list_init(&store->jobs);
    list_init(&store->uploads);
    list_init(&store->pieces);
    uv_timer_init(loop, &store->timer);
    uv_timer_start(&store->timer, on_store_timer, STORE_SWEEP_MS, STORE_SWEEP_MS);
    uv_unref((uv_handle_t *)&store->timer);
    sweep(store);
    return store;
}

static void on_store_handles_closed(struct closing *closing)
{
    struct store *store = container_of(closing, struct store, handles);
    void (*closed)(void *arg) = store->closed;
    void *arg = store->closed_arg;
    while (!list_empty(&store->uploads))
        store_upload_drop(store, container_of(store->uploads.next, struct store_upload, link));
    folder_close(&store->folder);
    mem_free(store);
    closed(arg);
}

static void store_maybe_closed(struct store *store)
{
    if (!store->closing || store->pending > 0)
        return;
    assert(!store->running && list_empty(&store->jobs) && store->writers == 0);
    closing_begin(&store->handles, store->loop, on_store_handles_closed);
    closing_add(&store->handles, (uv_handle_t *)&store->timer);
    closing_end(&store->handles);
}

void store_call_done(struct store *store)
{
    store->pending--;
    store_maybe_closed(store);
}

void store_close(struct store *store, void (*closed)(void *arg), void *arg)
{
    store->closing = true;
    store->closed = closed;
    store->closed_arg = arg;
    uv_timer_stop(&store->timer);
    list_for_each (l, &store->uploads) {
        struct store_upload *upload = container_of(l, struct store_upload, link);
        if (upload->piece)
            store_cut(upload->piece);
    }
    store_maybe_closed(store);
}
