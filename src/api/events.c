/* /api/events: the slots' state as server-sent events. See web_internal.h and web/api.js. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/web_internal.h"
#include "base/closing.h"
#include "base/text.h"

#define EVENTS_CLIENTS_MAX 16    /* more are answered 503 */
#define EVENTS_MS          1000  /* at most one event in that time */
#define EVENTS_QUIET_MS    15000 /* then a comment, so that who is gone is missed */

struct events_client {
    struct link link;
    struct events *events;
    struct http_request *request;
    struct session_attachment session; /* on none when the request came with its password */
    char user[USER_NAME_MAX + 1];
    uint64_t spoken_at; /* loop time */
    uint64_t seen;      /* the version it was sent last */
};

struct events {
    struct web *web;
    struct link clients;
    unsigned count;
    char *text; /* the newest event, as it is sent */
    uint64_t version; /* of the text */
    uv_timer_t timer;
    struct closing closing;
};

/* --- what is sent --- */

static void send_text(struct events_client *client, const char *text)
{
    struct slices data;
    slices_init(&data);
    slices_add_copy(&data, text, (uint32_t)strlen(text));
    client->spoken_at = uv_now(client->events->web->loop);
    http_write(client->request, &data);
}

static void refresh(struct events *events)
{
    static const char head[] = "event: slots\ndata: ";
    json_t *body = slot_routes_status(events->web);
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

/* One that has not read the last event is not sent another: it gets the newest when it has. */
static void bring_up_to_date(struct events_client *client)
{
    const struct events *events = client->events;
    if (http_unsent(client->request) > 0)
        return;
    if (client->seen != events->version)
        send_text(client, events->text);
    else if (uv_now(events->web->loop) - client->spoken_at >= EVENTS_QUIET_MS)
        send_text(client, ":\n\n");
    client->seen = events->version;
}

static void on_timer(uv_timer_t *timer)
{
    struct events *events = timer->data;
    refresh(events);
    list_for_each (l, &events->clients)
        bring_up_to_date(container_of(l, struct events_client, link));
}

/* --- who listens --- */

static void client_free(struct events_client *client)
{
    struct events *events = client->events;
    session_detach(&client->session);
    list_remove(&client->link);
    mem_free(client);
    if (--events->count == 0)
        uv_timer_stop(&events->timer);
}

static void on_gone(struct http_request *request)
{
    client_free(request->owner);
}

static void client_end(struct events_client *client)
{
    struct http_request *request = client->request;
    request->on_gone = NULL;
    client_free(client);
    http_end(request);
}

static void on_session_ended(struct session_attachment *attachment, const struct session *session)
{
    (void)session;
    client_end(container_of(attachment, struct events_client, session));
}

void events_user_changed(struct events *events, const char *user)
{
    list_for_each (l, &events->clients) {
        struct events_client *client = container_of(l, struct events_client, link);
        if (strcmp(client->user, user) == 0 && !client->session.session)
            client_end(client);
    }
}

static void client_new(struct events *events, struct http_request *request, const struct api_caller *caller)
{
    struct events_client *client = mem_alloc(sizeof *client);
    client->events = events;
    client->request = request;
    list_init(&client->session.link);
    client->session.ended = on_session_ended;
    snprintf(client->user, sizeof client->user, "%s", caller->user);
    if (caller->session)
        session_attach(caller->session, &client->session);
    list_append(&events->clients, &client->link);
    if (events->count++ == 0)
        uv_timer_start(&events->timer, on_timer, EVENTS_MS, EVENTS_MS);
    request->owner = client;
    request->on_gone = on_gone;
    http_add_field(request, "Content-Type", "text/event-stream");
    http_add_field(request, "Cache-Control", "no-store");
    http_begin(request, 200, -1);
    refresh(events);
    bring_up_to_date(client);
}

void events_handle(struct web *web, struct http_request *request, const struct api_caller *caller, char **words)
{
    (void)words;
    if (web->events->count >= EVENTS_CLIENTS_MAX) {
        http_add_field(request, "Retry-After", "10");
        api_reply_error(request, 503, "Too many pages are open.");
    } else if (strcmp(request->method, "HEAD") == 0) {
        http_add_field(request, "Content-Type", "text/event-stream");
        http_begin(request, 200, -1);
        http_end(request);
    } else {
        client_new(web->events, request, caller);
    }
}

/* --- life --- */

struct events *events_new(struct web *web)
{
    struct events *events = mem_alloc(sizeof *events);
    events->web = web;
    list_init(&events->clients);
    uv_timer_init(web->loop, &events->timer);
    events->timer.data = events;
    uv_unref((uv_handle_t *)&events->timer);
    return events;
}

static void on_closed(struct closing *closing)
{
    struct events *events = container_of(closing, struct events, closing);
    mem_free(events->text);
    mem_free(events);
}

void events_close(struct events *events)
{
    list_for_each (l, &events->clients)
        client_end(container_of(l, struct events_client, link));
    closing_begin(&events->closing, events->web->loop, on_closed);
    closing_add(&events->closing, (uv_handle_t *)&events->timer);
    closing_end(&events->closing);
}
