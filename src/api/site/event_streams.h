/*
 * Server-sent events (HTML, 9.2): answers without an end. A client that listens is sent one text
 * after the other, each when the one before has been passed on, so nothing queues up here;
 * the owner of the streams keeps texts for slow clients. After EVENT_QUIET_MS without a text a
 * comment is sent, so that a client notices a stream that is cut or held back, and one that is gone is
 * noticed: its connection ends TCP_DEAD_MS later (net/tcp_listener.h).
 *
 * A stream ends with its session (one without a session when its account changes), when its
 * client goes, and by event_stream_end(). Private to api/.
 */
#ifndef API_SITE_EVENT_STREAMS_H
#define API_SITE_EVENT_STREAMS_H

#include <uv.h>

#include "api/json.h"
#include "auth/users.h"
#include "base/list.h"

#define EVENT_TICK_MS  1000 /* how often the owner's tick comes */
#define EVENT_QUIET_MS 15000

struct event_streams_options {
    unsigned max; /* streams at a time */
    /* The next text for a stream that has seen up to `seen`, which becomes what the stream has seen then; NULL: nothing
     * is new. The text is copied. */
    const char *(*next)(void *arg, uint64_t *seen);
    void (*tick)(void *arg); /* while somebody listens; may be NULL */
    const char *quiet;       /* what is sent when there was nothing else; NULL: a comment */
    void *arg;
};

struct event_stream {
    unsigned id; /* counts up */
    char user[USER_NAME_MAX + 1];

    struct event_streams *streams; /* private from here on */
    struct link link;
    struct http_request *request;
    struct session_attachment session;
    uint64_t spoken_at; /* loop time */
    uint64_t seen;
};

struct event_streams *event_streams_new(uv_loop_t *loop, const struct event_streams_options *options);
bool event_streams_full(const struct event_streams *streams); /* no more may be added */
/* Answers the request, to which fields may have been added, as a stream that has seen up to `seen`. */
void event_streams_add(struct event_streams *streams, struct http_request *request, const struct api_caller *caller,
                       uint64_t seen);
/* Something is new: it is sent soon, not inside the call. */
void event_streams_wake(struct event_streams *streams);
struct event_stream *event_streams_next(struct event_streams *streams, const struct event_stream *after);
void event_stream_end(struct event_stream *stream);
/* Ends the streams of the user's that have no session; the others end with theirs. */
void event_streams_user_changed(struct event_streams *streams, const char *user);
/* Ends all streams, calls their owner no more, and is freed. */
void event_streams_close(struct event_streams *streams);

#endif
