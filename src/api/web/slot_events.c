/* /api/events: the slots' state as server-sent events. See api/web/handlers.h and web/api.js. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/site/event_streams.h"
#include "api/web/handlers.h"
#include "base/text.h"

#define EVENTS_CLIENTS_MAX 16 /* more are answered 503 */
#define EVENTS_ALIVE       ":\nevent: alive\ndata: 1\n\n" /* EventSource keeps comments to itself */

struct events {
    struct site *site;
    struct event_streams *streams;
    char *text;       /* the newest event, as it is sent */
    uint64_t version; /* of the text */
};

/* --- what is sent --- */

static void web_slot_events_refresh(void *arg)
{
    static const char head[] = "event: slots\ndata: ";
    struct events *events = arg;
    json_t *body = slot_shown_status(events->site);
    char *json = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    if (!json)
        mem_exhausted();
    size_t size = strlen(json) + sizeof head + 2;
    char *text = mem_alloc(size);
    snprintf(text, size, "%s%s\n\n", head, json);
    free(json);
    events->version += !events->text || strcmp(text, events->text) != 0;
    mem_free(events->text);
    events->text = text;
}

/* Only the newest event counts: a client that missed some gets that one. */
static const char *slot_events_next(void *arg, uint64_t *seen)
{
    const struct events *events = arg;
    if (*seen == events->version)
        return NULL;
    *seen = events->version;
    return events->text;
}

/* --- who listens --- */

void events_handle(const struct web_parts *parts, struct http_request *request, const struct api_caller *caller,
                   char **words)
{
    (void)words;
    if (event_streams_full(parts->events->streams)) {
        http_add_field(request, "Retry-After", "10");
        api_reply_error(request, 503, "Too many pages are open: this one asks for news every few seconds.");
        return;
    }
    web_slot_events_refresh(parts->events);
    event_streams_add(parts->events->streams, request, caller, 0);
}

void events_user_changed(struct events *events, const char *user)
{
    event_streams_user_changed(events->streams, user);
}

/* --- life --- */

struct events *events_new(struct site *site)
{
    struct events *events = mem_alloc(sizeof *events);
    struct event_streams_options options = {.max = EVENTS_CLIENTS_MAX,
                                            .next = slot_events_next,
                                            .tick = web_slot_events_refresh,
                                            .quiet = EVENTS_ALIVE,
                                            .arg = events};
    events->site = site;
    events->streams = event_streams_new(site->loop, &options);
    return events;
}

void events_close(struct events *events)
{
    event_streams_close(events->streams);
    mem_free(events->text);
    mem_free(events);
}
