#include "remote/lines.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static struct fetch *fetch_at(struct link *link)
{
    return container_of(link, struct fetch, link);
}

/* --- ends are told outside of whatever brought them --- */

static void on_tell(struct defer *defer)
{
    struct fetch_lines *lines = container_of(defer, struct fetch_lines, tell);
    struct link *first = list_pop(&lines->finished);
    if (!first)
        return;
    if (!list_empty(&lines->finished))
        defer_schedule(lines->loop, &lines->tell); /* before `done`, which may free all of this */
    fetch_finish(fetch_at(first));
}

static void tell_later(struct fetch_lines *lines, struct fetch *fetch)
{
    list_remove(&fetch->link);
    fetch->line = NULL;
    list_append(&lines->finished, &fetch->link);
    defer_schedule(lines->loop, &lines->tell);
}

/* --- the current one --- */

static void begin_next(struct fetch_line *line)
{
    struct link *first = list_pop(&line->queue);
    line->current = first ? fetch_at(first) : NULL;
    if (line->current)
        line->ops->begin(line);
}

void fetch_line_take(struct fetch_line *line, const void *data, size_t length)
{
    struct fetch *fetch = line->current;
    slices_copy_in(&fetch->data, fetch->filled, data, length);
    fetch->filled += (uint32_t)length;
    fetch->received += length;
}

void fetch_line_finished(struct fetch_line *line)
{
    struct fetch *fetch = line->current;
    line->current = NULL;
    tell_later(line->lines, fetch);
    begin_next(line);
}

bool fetch_line_check(struct fetch_line *line, uint64_t size, const char *modified)
{
    struct fetch *fetch = line->current;
    const struct fetch_resource *expect = fetch->expect;
    if (!expect) {
        fetch->found.size = size;
        fetch_set_validator(fetch->found.modified, modified);
        if (size > 0)
            return true;
        fetch_judge(fetch, FETCH_REFUSED, "the image is empty");
        return false;
    }
    if (size != expect->size)
        fetch_judge(fetch, FETCH_REFUSED,
                    "the image changed on the server: its size was %" PRIu64 " and is %" PRIu64
                    " (eject and insert it again)",
                    expect->size, size);
    else if (strcmp(modified, expect->modified) != 0)
        fetch_judge(fetch, FETCH_REFUSED, "the image changed on the server (eject and insert it again)");
    else
        return true;
    return false;
}

void fetch_line_init(struct fetch_line *line, const struct fetch_line_ops *ops, struct fetch_lines *lines)
{
    line->ops = ops;
    line->lines = lines;
    list_init(&line->link);
    list_init(&line->queue);
}

/* --- which line --- */

/* Does the range begin where the line will be once it has done what it has to do? */
static bool continues(const struct fetch_line *line, const struct fetch *fetch)
{
    const struct fetch *last =
        list_empty(&line->queue) ? line->current : container_of(line->queue.prev, struct fetch, link);
    if (fetch->probe || (last && last->probe))
        return false;
    if (last)
        return last->offset + last->length == fetch->offset;
    return line->streaming && line->position == fetch->offset;
}

static unsigned work_of(const struct fetch_line *line)
{
    unsigned count = line->current ? 1 : 0;
    for (const struct link *l = line->queue.next; l != &line->queue; l = l->next)
        count++;
    return count;
}

static struct fetch_line *line_make(struct fetch_lines *lines)
{
    struct fetch_line *line = lines->ops->make(lines);
    list_append(&lines->lines, &line->link);
    lines->count++;
    return line;
}

/* A line whose work the range goes on with is best. Else one with nothing to do; rather than out of the
 * stream that it stands in one is taken out of none, or made. */
static struct fetch_line *line_for(struct fetch_lines *lines, const struct fetch *fetch)
{
    struct fetch_line *best = NULL;
    unsigned least = 0;
    list_for_each (l, &lines->lines) {
        struct fetch_line *line = container_of(l, struct fetch_line, link);
        unsigned work = 2 * work_of(line) + (line->streaming ? 1 : 0);
        if (line->barred)
            continue;
        if (lines->ops->streams && continues(line, fetch))
            return line;
        if (!best || work < least) {
            best = line;
            least = work;
        }
    }
    return best && (least == 0 || lines->count == FETCH_LINES_MAX) ? best : line_make(lines);
}

static struct fetch_lines *lines_of(struct fetch *fetch, const struct fetch_line_ops *ops, const char *url)
{
    struct fetch_lines *lines = fetch->setup->lines;
    if (lines)
        return lines;
    lines = mem_alloc(sizeof *lines);
    lines->ops = ops;
    lines->url = mem_strdup(url);
    lines->setup = fetch->setup;
    lines->loop = curl_loop_uv(fetch->curl);
    list_init(&lines->lines);
    list_init(&lines->finished);
    defer_setup(&lines->tell, on_tell);
    fetch->setup->lines = lines;
    return lines;
}

static void unbar(struct fetch_lines *lines)
{
    list_for_each (l, &lines->lines)
        container_of(l, struct fetch_line, link)->barred = false;
}

static void place(struct fetch_lines *lines, struct fetch *fetch)
{
    struct fetch_line *line = line_for(lines, fetch);
    fetch->line = line;
    list_append(&line->queue, &fetch->link);
    if (!line->current)
        begin_next(line);
}

static bool others_are_established(const struct fetch_line *line)
{
    const struct link *list = &line->lines->lines;
    for (const struct link *l = list->next; l != list; l = l->next)
        if (l != &line->link && container_of(l, struct fetch_line, link)->established)
            return true;
    return false;
}

bool fetch_line_yield(struct fetch_line *line)
{
    struct link fetches;
    if (!line->current || line->current->probe || !others_are_established(line))
        return false;
    line->barred = true;
    list_init(&fetches);
    list_append(&fetches, &line->current->link);
    list_move_all(&fetches, &line->queue);
    line->current = NULL;
    for (struct link *l = list_pop(&fetches); l; l = list_pop(&fetches))
        place(line->lines, fetch_at(l));
    return true;
}

void fetch_line_failed(struct fetch_line *line, enum fetch_verdict verdict, int reason, const char *format, ...)
{
    char words[FETCH_ERROR_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    if (line->current)
        list_prepend(&line->queue, &line->current->link);
    line->current = NULL;
    for (struct link *l = list_pop(&line->queue); l; l = list_pop(&line->queue)) {
        struct fetch *fetch = fetch_at(l);
        fetch_judge(fetch, verdict, "%s", words);
        fetch->reason = reason;
        tell_later(line->lines, fetch);
    }
}

void fetch_lines_start(struct fetch *fetch, const struct fetch_line_ops *ops, const char *url)
{
    struct fetch_lines *lines = lines_of(fetch, ops, url);
    if (fetch->setup->proxy) {
        fetch_judge(fetch, FETCH_REFUSED, "only http:// and https:// go by a proxy (set proxy = \"\" for this slot)");
        fetch->reason = -EPERM;
        tell_later(lines, fetch);
        return;
    }
    if (fetch->probe) {
        snprintf(fetch->found.url, sizeof fetch->found.url, "%s", url);
        unbar(lines);
    }
    place(lines, fetch);
}

void fetch_lines_cancel(struct fetch *fetch)
{
    struct fetch_line *line = fetch->line;
    list_remove(&fetch->link); /* from a queue, or the finished */
    fetch->line = NULL;
    if (!line || line->current != fetch)
        return;
    line->current = NULL;
    line->ops->abandon(line);
    begin_next(line);
}

void fetch_lines_free(struct fetch_lines *lines)
{
    if (!lines)
        return;
    defer_cancel(&lines->tell);
    list_for_each (l, &lines->lines) {
        struct fetch_line *line = container_of(l, struct fetch_line, link);
        list_remove(l);
        line->ops->close(line);
    }
    mem_free(lines->url);
    mem_free(lines);
}
