/*
 * The EventService: what happens to the slots, as server-sent events (DSP0266, "Eventing"). There
 * are no subscriptions but open streams, which are the members of Subscriptions.
 *
 * The last EVENTS_KEPT events are kept. A stream goes through them at its own pace, and from where
 * Last-Event-ID says; a stream whose next event is no longer kept is told so
 * (EventBufferExceeded). See api/redfish/internal.h and api/site/event_streams.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/redfish/internal.h"
#include "api/site/event_streams.h"
#include "base/text.h"

#define STREAMS_MAX 8  /* more are answered 503 */
#define EVENTS_KEPT 32 /* for those who read slowly, or come back */

struct redfish_events {
    struct slots *slots;
    struct event_streams *streams;
    uint64_t first, last; /* ids; first: the one before all that are kept since the start */
    char *texts[EVENTS_KEPT];
    char *lost;    /* for those who missed some */
    unsigned away; /* a bit a slot: its medium can't be read for now */
};

/* --- one event --- */

static json_t *event_service_record(uint64_t id, unsigned number, const char *type, json_t *message, const char *origin)
{
    char text[40];
    snprintf(text, sizeof text, "%llu.%u", (unsigned long long)id, number);
    json_t *json = json_pack("{s:s, s:s, s:s, s:o}", "EventType", type, "EventId", text, "MemberId",
                             text + strcspn(text, ".") + 1, "EventTimestamp", redfish_time(time(NULL)));
    json_object_update_missing(json, message);
    json_object_del(json, "@odata.type");
    json_object_del(json, "Resolution"); /* this version of the schema does not have it, and the registry tells it */
    if (origin)
        json_object_set_new(json, "OriginOfCondition", redfish_link(origin));
    json_decref(message);
    return json;
}

/* The event as it is sent, for mem_free(). Takes over the records. */
static char *event_text(uint64_t id, json_t *records)
{
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)id);
    json_t *event =
        json_pack("{s:s, s:s, s:s, s:I, s:o}", "@odata.type", "#" REDFISH_EVENT_TYPE ".Event", "Id", number, "Name",
                  "Virtual Media Event", "Events@odata.count", (json_int_t)json_array_size(records), "Events", records);
    char *json = json_dumps(event, JSON_COMPACT);
    json_decref(event);
    if (!json)
        mem_exhausted();
    size_t size = strlen(json) + sizeof number + sizeof "id: \ndata: \n\n";
    char *text = mem_alloc(size);
    snprintf(text, size, "id: %s\ndata: %s\n\n", number, json);
    free(json);
    return text;
}

/* Takes over the message. */
static void event_add(struct redfish_events *events, const char *origin, json_t *message)
{
    uint64_t id = ++events->last;
    char **place = &events->texts[id % EVENTS_KEPT];
    mem_free(*place);
    *place = event_text(
        id, json_pack("[o, o]", event_service_record(id, 0, "Alert", message, origin),
                      event_service_record(id, 1, "ResourceUpdated", redfish_message("ResourceChanged", NULL, NULL), origin)));
    event_streams_wake(events->streams);
}

static void redfish_event_service_add(struct redfish_events *events, const struct slot_status *s, json_t *message)
{
    char origin[REDFISH_PATH_MAX];
    redfish_media_path(s->index, origin);
    event_add(events, origin, message);
}

void redfish_events_tell_task(struct redfish_events *events, json_t *message, const char *path)
{
    event_add(events, path, message);
}

void redfish_events_tell(struct redfish_events *events, struct slot *slot, enum slot_change change)
{
    struct slot_status s;
    slot_get_status(slot, &s);
    if (change == SLOT_INSERTED) {
        redfish_event_service_add(
            events, &s,
            redfish_message("MediaInserted", NULL, *s.image_name ? s.image_name : "A medium", s.name, NULL));
        return;
    }
    redfish_event_service_add(
        events, &s,
        change == SLOT_EJECTED
            ? redfish_message("MediaEjected", NULL, s.name, NULL)
            : redfish_message(slot_awaits(slot) ? "MediaAwaited" : "MediaFailed", NULL, s.name, s.error, NULL));
}

/* Looks for what no slot tells by itself: sources that go away and come back. */
static void redfish_event_service_look(struct redfish_events *events, bool tell)
{
    for (unsigned i = 0; i < slots_count(events->slots); i++) {
        struct slot_status s;
        slot_get_status(slots_get(events->slots, i), &s);
        bool was = events->away & (1u << i), back = was && s.state == SLOT_READY && !s.failing;
        if (tell && s.failing && !was)
            redfish_event_service_add(events, &s, redfish_message("MediaUnreadable", NULL, s.name, s.error, NULL));
        else if (tell && back)
            redfish_event_service_add(events, &s, redfish_message("MediaReadable", NULL, s.name, NULL));
        events->away = (events->away & ~(1u << i)) | (s.failing ? 1u << i : 0);
    }
}

static void on_redfish_event_service_tick(void *arg)
{
    redfish_event_service_look(arg, true);
}

/* --- what is sent --- */

static uint64_t oldest(const struct redfish_events *events)
{
    uint64_t count = events->last - events->first;
    return count > EVENTS_KEPT ? events->last - EVENTS_KEPT : events->first;
}

static const char *event_service_next(void *arg, uint64_t *seen)
{
    struct redfish_events *events = arg;
    if (*seen < oldest(events)) {
        *seen = oldest(events);
        mem_free(events->lost);
        events->lost = event_text(
            *seen,
            json_pack("[o]", event_service_record(*seen, 0, "Alert", redfish_message("EventBufferExceeded", NULL, NULL), NULL)));
        return events->lost;
    }
    return *seen == events->last ? NULL : events->texts[++*seen % EVENTS_KEPT];
}

static uint64_t last_seen(const struct redfish_events *events, const struct http_request *request)
{
    const char *field = http_field(request, "Last-Event-ID");
    uint64_t id;
    return field && text_parse_uint(field, &id) && id < events->last ? id : events->last;
}

void redfish_event_stream_open(struct redfish_call *call)
{
    struct redfish_events *events = call->redfish->events;
    char user[USER_NAME_MAX + 1];
    struct api_caller caller = {
        .user = user, .role = call->role, .session = sessions_by_id(call->site->sessions, call->session)};
    if (event_streams_full(events->streams)) {
        redfish_fail_later(call, 503, 10000, redfish_message("EventSubscriptionLimitExceeded", NULL, NULL));
        return;
    }
    if (!event_streams_next(events->streams, NULL))
        redfish_event_service_look(events, false);
    snprintf(user, sizeof user, "%s", call->user);
    struct http_request *request = redfish_release(call);
    event_streams_add(events->streams, request, &caller, last_seen(events, request));
}

/* --- the service --- */

json_t *redfish_event_service(struct redfish_call *call)
{
    json_t *service = redfish_resource(TYPE_EVENT_SERVICE, call->path, "EventService", "Event Service");
    json_object_set_new(service, "ServiceEnabled", json_true());
    json_object_set_new(service, "Status", json_pack("{s:s, s:s}", "State", "Enabled", "Health", "OK"));
    json_object_set_new(service, "ServerSentEventUri", json_string(REDFISH_EVENTS "/SSE"));
    json_object_set_new(service, "EventFormatTypes", json_pack("[s]", "Event"));
    json_object_set_new(service, "RegistryPrefixes", json_pack("[s, s, s, s]", "Base", "NbdProxy", "ResourceEvent", "TaskEvent"));
    json_object_set_new(service, "ResourceTypes", json_pack("[s, s]", "Task", "VirtualMedia"));
    json_object_set_new(service, "IncludeOriginOfConditionSupported", json_false());
    json_object_set_new(service, "SubordinateResourcesSupported", json_false());
    json_object_set_new(service, "SSEFilterPropertiesSupported",
                        json_pack("{s:b, s:b, s:b, s:b, s:b, s:b, s:b}", "EventFormatType", 0, "MessageId", 0,
                                  "MetricReportDefinition", 0, "OriginResource", 0, "RegistryPrefix", 0, "ResourceType",
                                  0, "SubordinateResources", 0));
    return service; /* without a link to Subscriptions, which clients take for leave to POST there */
}

/* --- open streams as subscriptions --- */

static bool redfish_event_service_may_see(const struct redfish_call *call, const struct event_stream *stream)
{
    return strcmp(stream->user, call->user) == 0 || auth_allows(call->role, AUTH_CONFIGURE_MANAGER);
}

static void show_id(const struct event_stream *stream, char id[16])
{
    snprintf(id, 16, "%u", stream->id);
}

json_t *redfish_event_streams(struct redfish_call *call)
{
    struct event_streams *streams = call->redfish->events->streams;
    json_t *collection = redfish_collection(call, "Event Subscriptions Collection");
    char id[16];
    for (struct event_stream *s = event_streams_next(streams, NULL); s; s = event_streams_next(streams, s))
        if (redfish_event_service_may_see(call, s)) {
            show_id(s, id);
            redfish_add_member(collection, REDFISH_STREAMS, id);
        }
    return collection;
}

static struct event_stream *redfish_event_service_find(const struct redfish_call *call)
{
    struct event_streams *streams = call->redfish->events->streams;
    char id[16];
    for (struct event_stream *s = event_streams_next(streams, NULL); s; s = event_streams_next(streams, s)) {
        show_id(s, id);
        if (strcmp(id, call->id) == 0)
            return redfish_event_service_may_see(call, s) ? s : NULL;
    }
    return NULL;
}

json_t *redfish_event_stream(struct redfish_call *call)
{
    if (!redfish_event_service_find(call))
        return NULL;
    json_t *json = redfish_resource(TYPE_EVENT_DESTINATION, call->path, call->id, "Stream of server-sent events");
    json_object_set_new(json, "Context", json_null());
    json_object_set_new(json, "Protocol", json_string("Redfish"));
    json_object_set_new(json, "SubscriptionType", json_string("SSE"));
    json_object_set_new(json, "EventFormatType", json_string("Event"));
    return json;
}

void redfish_event_stream_delete(struct redfish_call *call)
{
    struct event_stream *stream = redfish_event_service_find(call);
    if (!stream) {
        redfish_not_found(call);
        return;
    }
    event_stream_end(stream);
    redfish_reply_nothing(call);
}

/* --- life --- */

void redfish_events_user_changed(struct redfish_events *events, const char *user)
{
    event_streams_user_changed(events->streams, user);
}

/* Ids go on from those of the last process, more or less: a client that comes back with an old one hears that
 * it has missed some. */
struct redfish_events *redfish_events_new(struct site *site)
{
    struct redfish_events *events = mem_alloc(sizeof *events);
    struct event_streams_options options = {
        .max = STREAMS_MAX, .next = event_service_next, .tick = on_redfish_event_service_tick, .arg = events};
    events->slots = site->slots;
    events->first = events->last = (uint64_t)time(NULL) * 1000;
    events->streams = event_streams_new(site->loop, &options);
    return events;
}

void redfish_events_close(struct redfish_events *events)
{
    event_streams_close(events->streams);
    for (unsigned i = 0; i < EVENTS_KEPT; i++)
        mem_free(events->texts[i]);
    mem_free(events->lost);
    mem_free(events);
}
