#include "remote/lines.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"

static struct lines *line_lines_of(struct remote_client *client)
{
    return container_of(client, struct lines, client);
}

static struct line_job *job_of(struct remote_request *request)
{
    return container_of(request, struct line_job, request);
}

static struct line_job *job_at(struct link *link)
{
    return container_of(link, struct line_job, link);
}

/* --- the ends of jobs are told from the loop, outside of whatever brought them --- */

/* The image gets no identity: size and time do not name the bytes surely enough to share them with other slots. */
static void lines_tell(struct line_job *job)
{
    if (line_job_is_probe(job)) {
        job->request.found = (struct remote_image){.size = job->found.size};
        snprintf(job->request.found.version, sizeof job->request.found.version, "%s", job->found.modified);
    }
    remote_request_end(&job->request);
}

static void lines_on_tell(struct defer *defer)
{
    struct lines *lines = container_of(defer, struct lines, tell);
    struct link *first = list_pop(&lines->finished);
    if (!first)
        return;
    if (!list_empty(&lines->finished))
        defer_schedule(lines->client.loop, &lines->tell); /* before `done`, which may free the lines */
    lines_tell(job_at(first));
}

static void lines_tell_later(struct lines *lines, struct line_job *job)
{
    list_remove(&job->link);
    job->line = NULL;
    list_append(&lines->finished, &job->link);
    defer_schedule(lines->client.loop, &lines->tell);
}

/* --- the current job --- */

static void line_begin_next(struct line *line)
{
    struct link *first = list_pop(&line->queue);
    line->current = first ? job_at(first) : NULL;
    if (line->current)
        line->ops->begin(line);
}

void line_take(struct line *line, const void *data, size_t length)
{
    struct line_job *job = line->current;
    slices_copy_in(&job->request.data, job->filled, data, length);
    job->filled += (uint32_t)length;
    if (job->request.filled) /* what the file is was asked for before the range */
        job->request.filled(&job->request, job->filled);
    job->request.received += length;
}

void line_finished(struct line *line)
{
    struct line_job *job = line->current;
    line->current = NULL;
    lines_tell_later(line->lines, job);
    line_begin_next(line);
}

static bool line_learn(struct line_job *job, uint64_t size, const char *modified)
{
    job->found.size = size;
    /* A time too long to keep can't be compared: it counts as missing. */
    snprintf(job->found.modified, sizeof job->found.modified, "%s",
             strlen(modified) < sizeof job->found.modified ? modified : "");
    if (size == 0)
        remote_judge(&job->request, REMOTE_REFUSED, "the image is empty");
    return size > 0;
}

bool line_check(struct line *line, uint64_t size, const char *modified)
{
    struct line_job *job = line->current;
    const struct line_file *expect = job->expect;
    if (!expect)
        return line_learn(job, size, modified);
    if (size != expect->size)
        remote_judge(&job->request, REMOTE_REFUSED,
                     "the image changed on the server: its size was %" PRIu64 " and is %" PRIu64
                     " (eject and insert it again)",
                     expect->size, size);
    else if (strcmp(modified, expect->modified) != 0)
        remote_judge(&job->request, REMOTE_REFUSED, "the image changed on the server (eject and insert it again)");
    else
        return true;
    return false;
}

void line_init(struct line *line, const struct line_ops *ops, struct lines *lines)
{
    line->ops = ops;
    line->lines = lines;
    list_init(&line->link);
    list_init(&line->queue);
}

/* --- which line --- */

/* Does the range begin where the line will be once all of its jobs are done? */
static bool line_continues(const struct line *line, const struct line_job *job)
{
    const struct line_job *last =
        list_empty(&line->queue) ? line->current : container_of(line->queue.prev, struct line_job, link);
    if (line_job_is_probe(job) || (last && line_job_is_probe(last)))
        return false;
    if (last)
        return last->offset + last->length == job->offset;
    return line->streaming && line->position == job->offset;
}

static unsigned line_work(const struct line *line)
{
    unsigned count = line->current ? 1 : 0;
    for (const struct link *l = line->queue.next; l != &line->queue; l = l->next)
        count++;
    return count;
}

static struct line *line_make(struct lines *lines)
{
    struct line *line = lines->ops->make(lines);
    list_append(&lines->lines, &line->link);
    lines->count++;
    return line;
}

/* Best is a line whose transfer goes on with this range, then an idle line that is in no transfer. A line that stands
 * in a transfer is taken out of that only when no other line can be made. */
static struct line *line_for(struct lines *lines, const struct line_job *job)
{
    struct line *best = NULL;
    unsigned least = 0;
    list_for_each (l, &lines->lines) {
        struct line *line = container_of(l, struct line, link);
        unsigned work = 2 * line_work(line) + (line->streaming ? 1 : 0);
        if (line->barred)
            continue;
        if (lines->ops->streams && line_continues(line, job))
            return line;
        if (!best || work < least) {
            best = line;
            least = work;
        }
    }
    return best && (least == 0 || lines->count == LINES_MAX) ? best : line_make(lines);
}

static void lines_unbar(struct lines *lines)
{
    list_for_each (l, &lines->lines)
        container_of(l, struct line, link)->barred = false;
}

static void lines_place(struct lines *lines, struct line_job *job)
{
    struct line *line = line_for(lines, job);
    job->line = line;
    list_append(&line->queue, &job->link);
    if (!line->current)
        line_begin_next(line);
}

/* --- a line that can't go on --- */

static bool others_are_established(const struct line *line)
{
    const struct link *list = &line->lines->lines;
    for (const struct link *l = list->next; l != list; l = l->next)
        if (l != &line->link && container_of(l, struct line, link)->established)
            return true;
    return false;
}

/* Gives the line's jobs to lines that the server has let in. False: there are none. */
static bool line_yield(struct line *line)
{
    struct link jobs;
    if (!line->current || line_job_is_probe(line->current) || !others_are_established(line))
        return false;
    line->barred = true;
    list_init(&jobs);
    list_append(&jobs, &line->current->link);
    list_move_all(&jobs, &line->queue);
    line->current = NULL;
    for (struct link *l = list_pop(&jobs); l; l = list_pop(&jobs))
        lines_place(line->lines, job_at(l));
    return true;
}

static void line_end_jobs(struct line *line, enum remote_verdict verdict, int reason, const char *words)
{
    if (line->current)
        list_prepend(&line->queue, &line->current->link);
    line->current = NULL;
    for (struct link *l = list_pop(&line->queue); l; l = list_pop(&line->queue)) {
        struct line_job *job = job_at(l);
        remote_judge(&job->request, verdict, "%s", words);
        job->request.reason = reason;
        lines_tell_later(line->lines, job);
    }
}

void line_fail(struct line *line, enum remote_verdict verdict, int reason, const char *format, ...)
{
    char words[REMOTE_ERROR_MAX];
    bool established = line->established;
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args); /* the arguments may be in what the reset frees */
    va_end(args);
    line->ops->reset(line);
    if (established || !line_yield(line))
        line_end_jobs(line, verdict, reason, words);
}

/* --- the client: requests --- */

static struct remote_request *lines_request_new(struct remote_client *client)
{
    struct line_job *job = mem_alloc(sizeof *job);
    job->request.client = client;
    job->lines = line_lines_of(client);
    slices_init(&job->request.data);
    list_init(&job->link);
    return &job->request;
}

static void lines_start(struct line_job *job, const struct line_file *expect, uint64_t offset, uint32_t length)
{
    struct lines *lines = job->lines;
    remote_request_begin(&job->request, length);
    job->expect = expect;
    job->offset = offset;
    job->length = length;
    job->filled = 0;
    if (lines->proxied) {
        remote_judge(&job->request, REMOTE_REFUSED, "only http:// and https:// go by a proxy (set proxy = \"\" for this slot)");
        job->request.reason = -EPERM;
        lines_tell_later(lines, job);
    } else {
        lines_place(lines, job);
    }
}

static void lines_probe(struct remote_request *request)
{
    struct line_job *job = job_of(request);
    memset(&job->found, 0, sizeof job->found);
    lines_unbar(job->lines);
    lines_start(job, NULL, 0, LINES_PROBE_BYTES);
}

static void lines_range(struct remote_request *request, uint64_t offset, uint32_t length)
{
    struct line_job *job = job_of(request);
    lines_start(job, &job->lines->file, offset, length);
}

static void lines_cancel(struct remote_request *request)
{
    struct line_job *job = job_of(request);
    struct line *line = job->line;
    list_remove(&job->link); /* from a queue, or the finished */
    job->line = NULL;
    slices_clear(&request->data);
    if (!line || line->current != job)
        return;
    line->current = NULL;
    line->ops->reset(line);
    line_begin_next(line);
}

static uint64_t lines_received(const struct remote_request *request)
{
    return request->received;
}

static void lines_request_free(struct remote_request *request)
{
    slices_clear(&request->data);
    mem_free(job_of(request));
}

/* --- the client: what the image is, and its life --- */

static void lines_adopt(struct remote_request *probe)
{
    struct lines *lines = line_lines_of(probe->client);
    lines->file = job_of(probe)->found;
    if (!lines->adopted && !*lines->file.modified)
        log_warning(lines->who, "the image's server does not tell the time of the file: a change of the image shows only if "
                                "its size changes");
    lines->adopted = true;
}

static void lines_free(struct remote_client *client)
{
    struct lines *lines = line_lines_of(client);
    defer_cancel(&lines->tell);
    list_for_each (l, &lines->lines) {
        struct line *line = container_of(l, struct line, link);
        list_remove(l);
        line->ops->close(line);
    }
    mem_free(client->url);
    mem_free_secret(lines->user);
    mem_free_secret(lines->password);
    lines->ops->free(lines);
}

static const struct remote_client_ops lines_client_ops = {
    .request_new = lines_request_new,
    .probe = lines_probe,
    .range = lines_range,
    .cancel = lines_cancel,
    .received = lines_received,
    .request_free = lines_request_free,
    .adopt = lines_adopt,
    .free = lines_free,
};

struct source *lines_source_new(struct lines *lines, const struct line_ops *ops, uv_loop_t *loop, const char *who,
                                const struct lines_options *options, unsigned requests)
{
    lines->client = (struct remote_client){.ops = &lines_client_ops, .loop = loop, .url = mem_strdup(options->url)};
    lines->ops = ops;
    lines->who = who;
    lines->user = mem_strdup_nonempty(options->user);
    lines->password = mem_strdup_nonempty(options->password);
    lines->proxied = options->proxied;
    lines->local = options->local;
    lines->connect_timeout_ms = options->connect_timeout_ms;
    lines->stall_timeout_ms = options->stall_timeout_ms;
    list_init(&lines->lines);
    list_init(&lines->finished);
    defer_setup(&lines->tell, lines_on_tell);
    return remote_source_new(&lines->client, who, requests, options->io_timeout_ms);
}
