#include "api/site/event_streams.h"

#include <stdio.h>
#include <string.h>

#include "base/closing.h"
#include "base/text.h"

struct event_streams {
    uv_loop_t *loop;
    struct event_streams_options options;
    struct link streams;
    unsigned count, last_id;
    uv_timer_t timer;
    struct defer wake;
    struct closing closing;
};

/* --- what is sent --- */

static void send_text(struct event_stream *stream, const char *text)
{
    struct slices data;
    slices_init(&data);
    slices_add_copy(&data, text, (uint32_t)strlen(text));
    stream->spoken_at = uv_now(stream->streams->loop);
    http_write(stream->request, &data);
}

/* A client that has not read the last text is not sent another. */
static void bring_up_to_date(struct event_stream *stream)
{
    const struct event_streams_options *options = &stream->streams->options;
    const char *text = NULL;
    while (http_unsent(stream->request) == 0 && (text = options->next(options->arg, &stream->seen)) != NULL)
        send_text(stream, text);
    if (http_unsent(stream->request) == 0 && uv_now(stream->streams->loop) - stream->spoken_at >= EVENT_QUIET_MS)
        send_text(stream, options->quiet ? options->quiet : ":\n\n");
}

static void bring_all(struct event_streams *streams)
{
    list_for_each (l, &streams->streams)
        bring_up_to_date(container_of(l, struct event_stream, link));
}

static void on_wake(struct defer *defer)
{
    bring_all(container_of(defer, struct event_streams, wake));
}

void event_streams_wake(struct event_streams *streams)
{
    defer_schedule(streams->loop, &streams->wake);
}

static void on_site_event_streams_drain(struct http_request *request)
{
    bring_up_to_date(request->owner);
}

/* --- who listens --- */

static void event_stream_free(struct event_stream *stream)
{
    struct event_streams *streams = stream->streams;
    session_detach(&stream->session);
    list_remove(&stream->link);
    mem_free(stream);
    if (--streams->count == 0)
        uv_timer_stop(&streams->timer);
}

static void on_site_event_streams_gone(struct http_request *request)
{
    event_stream_free(request->owner);
}

void event_stream_end(struct event_stream *stream)
{
    struct http_request *request = stream->request;
    event_stream_free(stream);
    http_end(request);
}

static void on_site_event_streams_session_ended(struct session_attachment *attachment, const struct session *session)
{
    (void)session;
    event_stream_end(container_of(attachment, struct event_stream, session));
}

void event_streams_user_changed(struct event_streams *streams, const char *user)
{
    list_for_each (l, &streams->streams) {
        struct event_stream *stream = container_of(l, struct event_stream, link);
        if (!stream->session.session && strcmp(stream->user, user) == 0)
            event_stream_end(stream);
    }
}

static void on_site_event_streams_timer(uv_timer_t *timer)
{
    struct event_streams *streams = timer->data;
    if (streams->options.tick)
        streams->options.tick(streams->options.arg);
    bring_all(streams);
}

static struct event_stream *event_stream_new(struct event_streams *streams, struct http_request *request,
                                             const struct api_caller *caller, uint64_t seen)
{
    struct event_stream *stream = mem_alloc(sizeof *stream);
    stream->streams = streams;
    stream->id = ++streams->last_id;
    stream->request = request;
    stream->seen = seen;
    snprintf(stream->user, sizeof stream->user, "%s", caller->user);
    list_init(&stream->session.link);
    stream->session.ended = on_site_event_streams_session_ended;
    if (caller->session)
        session_attach(caller->session, &stream->session);
    list_append(&streams->streams, &stream->link);
    if (streams->count++ == 0)
        uv_timer_start(&streams->timer, on_site_event_streams_timer, EVENT_TICK_MS, EVENT_TICK_MS);
    request->owner = stream;
    request->on_gone = on_site_event_streams_gone;
    request->on_drain = on_site_event_streams_drain;
    return stream;
}

bool event_streams_full(const struct event_streams *streams)
{
    return streams->count >= streams->options.max;
}

void event_streams_add(struct event_streams *streams, struct http_request *request, const struct api_caller *caller,
                       uint64_t seen)
{
    http_add_field(request, "Content-Type", "text/event-stream");
    http_add_field(request, "Cache-Control", "no-store, no-transform"); /* a proxy that compresses would hold texts back */
    http_add_field(request, "X-Accel-Buffering", "no");                 /* nginx would */
    http_begin(request, 200, -1);
    if (strcmp(request->method, "HEAD") == 0) {
        http_end(request);
        return;
    }
    struct event_stream *stream = event_stream_new(streams, request, caller, seen);
    send_text(stream, ":\n\n"); /* the head leaves with the first bytes */
    event_streams_wake(streams);
}

struct event_stream *event_streams_next(struct event_streams *streams, const struct event_stream *after)
{
    struct link *l = after ? after->link.next : streams->streams.next;
    return l == &streams->streams ? NULL : container_of(l, struct event_stream, link);
}

/* --- life --- */

struct event_streams *event_streams_new(uv_loop_t *loop, const struct event_streams_options *options)
{
    struct event_streams *streams = mem_alloc(sizeof *streams);
    streams->loop = loop;
    streams->options = *options;
    list_init(&streams->streams);
    defer_setup(&streams->wake, on_wake);
    uv_timer_init(loop, &streams->timer);
    streams->timer.data = streams;
    uv_unref((uv_handle_t *)&streams->timer);
    return streams;
}

static void on_site_event_streams_closed(struct closing *closing)
{
    mem_free(container_of(closing, struct event_streams, closing));
}

void event_streams_close(struct event_streams *streams)
{
    list_for_each (l, &streams->streams)
        event_stream_end(container_of(l, struct event_stream, link));
    defer_cancel(&streams->wake);
    closing_begin(&streams->closing, streams->loop, on_site_event_streams_closed);
    closing_add(&streams->closing, (uv_handle_t *)&streams->timer);
    closing_end(&streams->closing);
}
