/*
 * The EventService: what happens to the slots and the tasks, as server-sent events and for those who are sent them
 * (DSP0266, "Eventing").
 *
 * The last EVENTS_KEPT events are kept. A stream goes through them at its own pace, and from where
 * Last-Event-ID says, and a subscription at its own; who wants one that is no longer kept is told so
 * (EventBufferExceeded). See api/redfish/internal.h, api/site/event_streams.h and api/redfish/subscriptions.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/redfish/internal.h"
#include "api/redfish/subscriptions.h"
#include "api/site/event_streams.h"
#include "base/text.h"

#define STREAMS_MAX 8  /* more are answered 503 */
#define EVENTS_KEPT 32 /* for those who read slowly, or come back */

struct redfish_events {
    struct slots *slots;
    struct event_streams *streams;
    uint64_t first, last; /* ids; first: the one before all that are kept since the start */
    struct kept_event {
        char *text;    /* for the streams */
        json_t *event; /* for subscriptions; NULL: there was none yet */
        bool test;     /* for all of them */
    } kept[EVENTS_KEPT];
    char *lost;        /* for streams that missed some */
    struct push *push; /* is woken at each event; NULL: nobody is sent them */
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

/* Takes over the records. */
static json_t *event_new(uint64_t id, json_t *records)
{
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)id);
    return json_pack("{s:s, s:s, s:s, s:I, s:o}", "@odata.type", "#" REDFISH_EVENT_TYPE ".Event", "Id", number, "Name",
                     "Virtual Media Event", "Events@odata.count", (json_int_t)json_array_size(records), "Events",
                     records);
}

/* The event as a stream has it, for mem_free(). */
static char *event_text(const json_t *event)
{
    const char *number = json_string_value(json_object_get(event, "Id"));
    char *json = json_dumps(event, JSON_COMPACT);
    if (!json)
        mem_exhausted();
    size_t size = strlen(json) + strlen(number) + sizeof "id: \ndata: \n\n";
    char *text = mem_alloc(size);
    snprintf(text, size, "id: %s\ndata: %s\n\n", number, json);
    free(json);
    return text;
}

/* Takes over the message. `origin`: the resource that has changed; NULL: none, it is a test. */
static void event_add(struct redfish_events *events, const char *origin, json_t *message)
{
    uint64_t id = ++events->last;
    struct kept_event *kept = &events->kept[id % EVENTS_KEPT];
    json_t *records = json_pack("[o]", event_service_record(id, 0, "Alert", message, origin));
    if (origin)
        json_array_append_new(records, event_service_record(id, 1, "ResourceUpdated",
                                                            redfish_message("ResourceChanged", NULL, NULL), origin));
    mem_free(kept->text);
    json_decref(kept->event);
    kept->event = event_new(id, records);
    kept->text = event_text(kept->event);
    kept->test = !origin;
    event_streams_wake(events->streams);
    if (events->push)
        push_wake(events->push);
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

static json_t *event_lost(uint64_t id)
{
    json_t *message = redfish_message("EventBufferExceeded", NULL, NULL);
    return event_new(id, json_pack("[o]", event_service_record(id, 0, "Alert", message, NULL)));
}

static const char *event_service_next(void *arg, uint64_t *seen)
{
    struct redfish_events *events = arg;
    if (*seen < oldest(events)) {
        *seen = oldest(events);
        mem_free(events->lost);
        json_t *event = event_lost(*seen);
        events->lost = event_text(event);
        json_decref(event);
        return events->lost;
    }
    return *seen == events->last ? NULL : events->kept[++*seen % EVENTS_KEPT].text;
}

/* --- for a subscription --- */

static bool event_is_wanted(const json_t *list, const char *text, size_t length)
{
    bool wanted = json_array_size(list) == 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *one = json_string_value(json_array_get(list, i));
        wanted = wanted || (one && strlen(one) == length && strncmp(one, text, length) == 0);
    }
    return wanted;
}

static bool record_is_wanted(const struct redfish_subscription *s, const json_t *record)
{
    const char *id = json_string_value(json_object_get(record, "MessageId"));
    const char *kind = json_string_value(json_object_get(record, "EventType"));
    const json_t *link = json_object_get(record, "OriginOfCondition");
    const char *origin = json_string_value(json_object_get(link, "@odata.id"));
    const char *type = origin && strncmp(origin, REDFISH_TASKS, strlen(REDFISH_TASKS)) == 0 ? "Task" : "VirtualMedia";
    return event_is_wanted(s->prefixes, id, strcspn(id, ".")) && event_is_wanted(s->kinds, kind, strlen(kind)) &&
           event_is_wanted(s->types, type, strlen(type));
}

/* The event with those of its records that the subscription wants, for mem_free(); NULL: it wants none. */
static char *event_for(const struct redfish_subscription *s, json_t *event, bool all)
{
    json_t *records = json_array(), *record, *copy = json_copy(event);
    size_t i;
    json_array_foreach (json_object_get(event, "Events"), i, record)
        if (all || record_is_wanted(s, record))
            json_array_append(records, record);
    bool some = json_array_size(records) > 0;
    json_object_set_new(copy, "Events@odata.count", json_integer((json_int_t)json_array_size(records)));
    json_object_set_new(copy, "Events", records);
    if (s->context)
        json_object_set_new(copy, "Context", api_text(s->context));
    char *json = some ? json_dumps(copy, JSON_COMPACT) : NULL, *text = mem_strdup(json);
    json_decref(copy);
    free(json);
    return text;
}

char *redfish_events_next_for(struct redfish_events *events, const struct redfish_subscription *s, uint64_t *seen)
{
    char *text = NULL;
    if (*seen < oldest(events)) {
        *seen = oldest(events);
        json_t *event = event_lost(*seen);
        text = event_for(s, event, true);
        json_decref(event);
    }
    while (!text && *seen < events->last) {
        const struct kept_event *kept = &events->kept[++*seen % EVENTS_KEPT];
        text = event_for(s, kept->event, kept->test);
    }
    return text;
}

uint64_t redfish_events_last(const struct redfish_events *events)
{
    return events->last;
}

void redfish_events_set_push(struct redfish_events *events, struct push *push)
{
    events->push = push;
}

void redfish_events_look(struct redfish_events *events)
{
    if (!event_streams_next(events->streams, NULL)) /* else that is done already */
        redfish_event_service_look(events, true);
}

/* --- a stream --- */

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
    if (!event_streams_next(events->streams, NULL) && !redfish_subscription_next(call->redfish->subscriptions, NULL))
        redfish_event_service_look(events, false);
    snprintf(user, sizeof user, "%s", call->user);
    struct http_request *request = redfish_release_stream(call);
    event_streams_add(events->streams, request, &caller, last_seen(events, request));
}

/* --- the service --- */

static const struct redfish_property service_properties[] = {
    {"DeliveryRetryAttempts", REDFISH_NUMBER},
    {"DeliveryRetryIntervalSeconds", REDFISH_NUMBER},
    {"ServiceEnabled", REDFISH_READ_ONLY},
    {"Status", REDFISH_READ_ONLY},
    {"Id", REDFISH_READ_ONLY},
    {"Name", REDFISH_READ_ONLY},
    {NULL, REDFISH_IGNORED},
};

/* From 1 on. */
static json_t *delivery_number(const json_t *body, const char *name, unsigned most, unsigned *number)
{
    const json_t *value = json_object_get(body, name);
    json_int_t given = json_integer_value(value);
    char shown[64];
    if (value && (given < 1 || given > most)) {
        redfish_show(name, value, shown);
        return redfish_message("PropertyValueIncorrect", name, name, shown, NULL);
    }
    *number = value ? (unsigned)given : *number;
    return NULL;
}

json_t *redfish_event_service(struct redfish_call *call)
{
    unsigned attempts, interval_s;
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
    redfish_subscriptions_get_retry(call->redfish->subscriptions, &attempts, &interval_s);
    json_object_set_new(service, "DeliveryRetryAttempts", json_integer((json_int_t)attempts));
    json_object_set_new(service, "DeliveryRetryIntervalSeconds", json_integer((json_int_t)interval_s));
    json_object_set_new(service, "Subscriptions", redfish_link(REDFISH_STREAMS));
    json_object_set_new(service, "Actions",
                        json_pack("{s:{s:s}}", "#EventService.SubmitTestEvent", "target",
                                  REDFISH_EVENTS "/Actions/EventService.SubmitTestEvent"));
    redfish_set_writeable(service, "", service_properties);
    return service;
}

void redfish_event_service_patch(struct redfish_call *call, json_t *body)
{
    struct redfish_subscriptions *set = call->redfish->subscriptions;
    unsigned attempts, interval_s;
    redfish_subscriptions_get_retry(set, &attempts, &interval_s);
    if (!redfish_check(call, body, service_properties))
        return;
    json_t *problem = delivery_number(body, "DeliveryRetryAttempts", DELIVERY_ATTEMPTS_MAX, &attempts);
    problem = problem ? problem : delivery_number(body, "DeliveryRetryIntervalSeconds", DELIVERY_INTERVAL_MAX, &interval_s);
    if (problem) {
        redfish_fail(call, 400, problem);
        return;
    }
    redfish_subscriptions_set_retry(set, attempts, interval_s);
    redfish_reply_changed(call, redfish_event_service(call));
}

/* What it says is always the same, whatever the client wants it to: only its coming is of interest. */
static const struct redfish_property test_parameters[] = {
    {"EventGroupId", REDFISH_IGNORED},
    {"EventId", REDFISH_IGNORED},
    {"EventTimestamp", REDFISH_IGNORED},
    {"EventType", REDFISH_IGNORED},
    {"Message", REDFISH_IGNORED},
    {"MessageArgs", REDFISH_IGNORED},
    {"MessageId", REDFISH_IGNORED},
    {"MessageSeverity", REDFISH_IGNORED},
    {"OriginOfCondition", REDFISH_IGNORED},
    {"Severity", REDFISH_IGNORED},
    {NULL, REDFISH_IGNORED},
};

void redfish_event_test(struct redfish_call *call, json_t *body)
{
    if (!redfish_check(call, body, test_parameters))
        return;
    event_add(call->redfish->events, NULL, redfish_message("TestMessage", NULL, NULL));
    redfish_reply_nothing(call);
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

void redfish_event_streams_add(const struct redfish_call *call, json_t *collection)
{
    struct event_streams *streams = call->redfish->events->streams;
    char id[16];
    for (struct event_stream *s = event_streams_next(streams, NULL); s; s = event_streams_next(streams, s))
        if (redfish_event_service_may_see(call, s)) {
            show_id(s, id);
            redfish_add_member(collection, REDFISH_STREAMS, id);
        }
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
    for (unsigned i = 0; i < EVENTS_KEPT; i++) {
        mem_free(events->kept[i].text);
        json_decref(events->kept[i].event);
    }
    mem_free(events->lost);
    mem_free(events);
}
