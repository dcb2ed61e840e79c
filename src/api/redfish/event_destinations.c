/*
 * Subscriptions: the event streams that are open, and who is sent events by POST (DSP0266, "Eventing"). The latter are
 * Administrators' business: what is sent, and where to, is seen and changed by them alone. See api/redfish/internal.h and
 * api/redfish/subscriptions.h.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/redfish/internal.h"
#include "api/redfish/subscriptions.h"
#include "base/log.h"
#include "base/text.h"
#include "http/head.h"

#define LIST_MAX   16 /* entries of a list of filters */
#define PUSH_ID    "push-%u"
#define EVENT_TEST "EventService.SubmitTestEvent"

static const char *const prefixes[] = {"Base", "NbdProxy", "ResourceEvent", "TaskEvent", NULL};
static const char *const types[] = {"Task", "VirtualMedia", NULL};
static const char *const kinds[] = {"Alert",         "MetricReport",    "Other",        "ResourceAdded",
                                    "ResourceRemoved", "ResourceUpdated", "StatusChange", NULL};

/* --- which one --- */

static struct redfish_subscription *destination_find(const struct redfish_call *call)
{
    struct redfish_subscriptions *set = call->redfish->subscriptions;
    char id[24];
    if (!auth_allows(call->role, AUTH_CONFIGURE_MANAGER))
        return NULL;
    for (struct redfish_subscription *s = NULL; (s = redfish_subscription_next(set, s)) != NULL;) {
        snprintf(id, sizeof id, PUSH_ID, s->number);
        if (strcmp(id, call->id) == 0)
            return s;
    }
    return NULL;
}

/* --- reading --- */

static const struct redfish_property destination_properties[] = {
    {"Context", REDFISH_TEXT_OR_NULL},
    {"DeliveryRetryPolicy", REDFISH_TEXT},
    {"VerifyCertificate", REDFISH_FLAG},
    {"HttpHeaders", REDFISH_LIST},
    {"Destination", REDFISH_READ_ONLY},
    {"Protocol", REDFISH_READ_ONLY},
    {"SubscriptionType", REDFISH_READ_ONLY},
    {"EventFormatType", REDFISH_READ_ONLY},
    {"RegistryPrefixes", REDFISH_READ_ONLY},
    {"ResourceTypes", REDFISH_READ_ONLY},
    {"EventTypes", REDFISH_READ_ONLY},
    {"Status", REDFISH_READ_ONLY},
    {"Actions", REDFISH_READ_ONLY},
    {"Id", REDFISH_READ_ONLY},
    {"Name", REDFISH_READ_ONLY},
    {NULL, REDFISH_IGNORED},
};

static json_t *destination_status(const struct redfish_subscription *s, const char *path)
{
    json_t *conditions = json_array();
    if (*s->error) {
        json_t *condition = redfish_condition(redfish_message("EventsNotDelivered", NULL, s->error, NULL));
        json_object_set_new(condition, "Timestamp", redfish_time(s->error_at));
        json_object_set_new(condition, "OriginOfCondition", redfish_link(path));
        json_array_append_new(conditions, condition);
    }
    return json_pack("{s:s, s:s, s:o}", "State", s->suspended ? "Disabled" : "Enabled", "Health",
                     *s->error ? "Warning" : "OK", "Conditions", conditions);
}

static json_t *destination_action(const char *path, const char *name)
{
    char target[2 * REDFISH_PATH_MAX];
    snprintf(target, sizeof target, "%s/Actions/EventDestination.%s", path, name);
    return json_pack("{s:s}", "target", target);
}

static json_t *destination_show(const struct redfish_subscription *s)
{
    char path[REDFISH_PATH_MAX], id[24];
    snprintf(id, sizeof id, PUSH_ID, s->number);
    snprintf(path, sizeof path, REDFISH_STREAMS "/%s", id);
    json_t *json = redfish_resource(TYPE_EVENT_DESTINATION, path, id, "Subscription of events");
    json_object_set_new(json, "Context", s->context ? api_text(s->context) : json_null());
    json_object_set_new(json, "Destination", api_text(s->destination));
    json_object_set_new(json, "Protocol", json_string("Redfish"));
    json_object_set_new(json, "SubscriptionType", json_string("RedfishEvent"));
    json_object_set_new(json, "EventFormatType", json_string("Event"));
    json_object_set(json, "RegistryPrefixes", s->prefixes);
    json_object_set(json, "ResourceTypes", s->types);
    if (json_array_size(s->kinds) > 0) /* which the schema has given up */
        json_object_set(json, "EventTypes", s->kinds);
    json_object_set_new(json, "HttpHeaders", json_array()); /* they may be secrets */
    json_object_set_new(json, "DeliveryRetryPolicy", json_string(redfish_retry_name(s->retry)));
    json_object_set_new(json, "VerifyCertificate", json_boolean(s->verify));
    json_object_set_new(json, "Status", destination_status(s, path));
    json_object_set_new(json, "Actions",
                        json_pack("{s:o, s:o}", "#EventDestination.ResumeSubscription",
                                  destination_action(path, "ResumeSubscription"), "#EventDestination.SuspendSubscription",
                                  destination_action(path, "SuspendSubscription")));
    redfish_set_writeable(json, "", destination_properties);
    return json;
}

json_t *redfish_destinations(struct redfish_call *call)
{
    json_t *collection = redfish_collection(call, "Event Subscriptions Collection");
    char id[24];
    redfish_event_streams_add(call, collection);
    if (!auth_allows(call->role, AUTH_CONFIGURE_MANAGER))
        return collection;
    struct redfish_subscriptions *set = call->redfish->subscriptions;
    for (struct redfish_subscription *s = NULL; (s = redfish_subscription_next(set, s)) != NULL;) {
        snprintf(id, sizeof id, PUSH_ID, s->number);
        redfish_add_member(collection, REDFISH_STREAMS, id);
    }
    return collection;
}

json_t *redfish_destination(struct redfish_call *call)
{
    const struct redfish_subscription *s = destination_find(call);
    return s ? destination_show(s) : redfish_event_stream(call);
}

/* --- what is asked for --- */

static json_t *wrong_format(const char *property, const char *shown, const char *resolution)
{
    return redfish_resolve(redfish_message("PropertyValueFormatError", property, shown, property, NULL), resolution);
}

static json_t *destination_problem(const struct redfish_call *call, const char *url)
{
    char error[LOCATION_ERROR_MAX], shown[256];
    enum location_kind kind = location_kind(url);
    text_url_public(url, shown, sizeof shown);
    if (strlen(url) >= SUBSCRIPTION_FIELD_MAX || (kind != LOCATION_HTTPS && kind != LOCATION_HTTP))
        return wrong_format("Destination", shown, "Give a URL that begins with https:// or http://, of 4095 bytes at most.");
    if (kind == LOCATION_HTTP && !config_allows_protocol(&call->site->config.http, "http"))
        return wrong_format("Destination", shown, "Give a URL that begins with https://: http is not in protocols.");
    if (location_has_user(url))
        return wrong_format("Destination", "(hidden)", "Give credentials in HttpHeaders, as Authorization.");
    char *good = location_url(url, error);
    mem_free(good);
    return good ? NULL : wrong_format("Destination", shown, error);
}

static bool is_in(const char *const *known, const char *text)
{
    for (; *known; known++)
        if (strcmp(*known, text) == 0)
            return true;
    return false;
}

/* Reads a list of some of the `known` into `list`, which is empty if there is none. */
static json_t *read_list(const struct redfish_call *call, json_t *body, const char *name, const char *const *known,
                         json_t **list)
{
    json_t *given = json_object_get(body, name);
    char shown[64];
    *list = json_array();
    for (size_t i = 0; i < json_array_size(given); i++) {
        const json_t *entry = json_array_get(given, i);
        redfish_show(name, entry, shown);
        if (i == LIST_MAX || !json_is_string(entry) || !is_in(known, json_string_value(entry)))
            return redfish_not_in_list(call, name, shown);
        json_array_append_new(*list, json_string(json_string_value(entry)));
    }
    return NULL;
}

/* Fields that are ours to write, or that are about the connection. */
static bool field_is_ours(const char *name)
{
    static const char *const ours[] = {"Connection", "Content-Length", "Content-Type", "Expect", "Host", "Keep-Alive",
                                       "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding",
                                       "Upgrade"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strcasecmp(ours[i], name) == 0)
            return true;
    return false;
}

/* "NAME: VALUE", for mem_free(); NULL: that is no field. */
static char *field_of(const char *name, const json_t *json)
{
    const char *value = json_string_value(json);
    if (!value || !*value || !http_is_token(name) || !http_is_value(value) || field_is_ours(name) ||
        strlen(name) + strlen(value) + 3 > SUBSCRIPTION_FIELD_MAX)
        return NULL;
    size_t size = strlen(name) + strlen(value) + 3;
    char *field = mem_alloc(size);
    snprintf(field, size, "%s: %s", name, value);
    return field;
}

static bool add_fields_of(json_t *object, char *fields[SUBSCRIPTION_FIELDS_MAX + 1], unsigned *count)
{
    const char *name;
    json_t *value;
    json_object_foreach (object, name, value) {
        char *field = *count < SUBSCRIPTION_FIELDS_MAX ? field_of(name, value) : NULL;
        api_wipe(value);
        if (!field)
            return false;
        fields[(*count)++] = field;
    }
    return json_is_object(object);
}

static json_t *read_fields(json_t *body, char *fields[SUBSCRIPTION_FIELDS_MAX + 1])
{
    json_t *list = json_object_get(body, "HttpHeaders");
    unsigned count = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!add_fields_of(json_array_get(list, i), fields, &count))
            return wrong_format("HttpHeaders", "(hidden)",
                                "Give 8 objects at most, of names of fields and their values, of 4 KiB each; fields of the "
                                "connection and of the body can't be given.");
    return NULL;
}

static json_t *read_policy_of(const struct redfish_call *call, json_t *body, enum redfish_retry *retry)
{
    const char *name = redfish_text(body, "DeliveryRetryPolicy");
    char shown[64];
    redfish_show("", json_object_get(body, "DeliveryRetryPolicy"), shown);
    return name && !redfish_retry_parse(name, retry) ? redfish_not_in_list(call, "DeliveryRetryPolicy", shown) : NULL;
}

static json_t *read_context(json_t *body, char **context)
{
    const char *text = redfish_text(body, "Context");
    char shown[64];
    redfish_show("Context", json_object_get(body, "Context"), shown);
    if (text && strlen(text) > SUBSCRIPTION_CONTEXT_MAX)
        return wrong_format("Context", shown, "Give 256 bytes at most.");
    *context = mem_strdup(text);
    return NULL;
}

static const struct redfish_property new_destination[] = {
    {"Destination", REDFISH_TEXT},
    {"Protocol", REDFISH_TEXT},
    {"Context", REDFISH_TEXT_OR_NULL},
    {"SubscriptionType", REDFISH_TEXT_OR_NULL},
    {"EventFormatType", REDFISH_TEXT_OR_NULL},
    {"RegistryPrefixes", REDFISH_LIST},
    {"ResourceTypes", REDFISH_LIST},
    {"EventTypes", REDFISH_LIST},
    {"HttpHeaders", REDFISH_LIST},
    {"DeliveryRetryPolicy", REDFISH_TEXT_OR_NULL},
    {"VerifyCertificate", REDFISH_FLAG},
    {"Name", REDFISH_IGNORED},
    {NULL, REDFISH_IGNORED},
};

/* What must have one value. */
static json_t *fixed_problem(const struct redfish_call *call, const json_t *body)
{
    static const char *const fixed[][2] = {
        {"Protocol", "Redfish"}, {"SubscriptionType", "RedfishEvent"}, {"EventFormatType", "Event"}};
    char shown[64];
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        const char *text = redfish_text(body, fixed[i][0]);
        redfish_show("", json_object_get(body, fixed[i][0]), shown);
        if (text && strcmp(text, fixed[i][1]) != 0)
            return redfish_not_in_list(call, fixed[i][0], shown);
    }
    return redfish_text(body, "Protocol") ? NULL : redfish_missing(call, "Protocol");
}

static json_t *read_destination(const struct redfish_call *call, json_t *body, struct redfish_subscription *s)
{
    const char *url = redfish_text(body, "Destination");
    json_t *problem = url ? destination_problem(call, url) : redfish_missing(call, "Destination");
    problem = problem ? problem : fixed_problem(call, body);
    *s = (struct redfish_subscription){.destination = mem_strdup(url),
                                       .verify = redfish_flag(body, "VerifyCertificate") != 0,
                                       .retry = REDFISH_RETRY_SUSPEND};
    problem = problem ? problem : read_context(body, &s->context);
    problem = problem ? problem : read_policy_of(call, body, &s->retry);
    problem = problem ? problem : read_list(call, body, "RegistryPrefixes", prefixes, &s->prefixes);
    problem = problem ? problem : read_list(call, body, "ResourceTypes", types, &s->types);
    problem = problem ? problem : read_list(call, body, "EventTypes", kinds, &s->kinds);
    return problem ? problem : read_fields(body, s->fields);
}

void redfish_destinations_post(struct redfish_call *call, json_t *body)
{
    struct redfish_subscription wanted, *s = NULL;
    char path[REDFISH_PATH_MAX], shown[256];
    if (!redfish_check(call, body, new_destination))
        return;
    json_t *problem = read_destination(call, body, &wanted);
    if (!problem && !(s = redfish_subscription_add(call->redfish->subscriptions, &wanted)))
        problem = redfish_message("CreateLimitReachedForResource", NULL, NULL);
    if (problem) {
        redfish_subscription_clear(&wanted);
        redfish_fail(call, 400, problem);
        return;
    }
    text_url_public(s->destination, shown, sizeof shown);
    log_notice("redfish", "events are sent to %s from now on (subscribed by %s)", shown, call->user);
    snprintf(path, sizeof path, REDFISH_STREAMS "/" PUSH_ID, s->number);
    redfish_reply_created(call, path, destination_show(s));
}

/* --- changes --- */

static void destination_take(struct redfish_subscription *s, json_t *body, struct redfish_subscription *new)
{
    if (json_object_get(body, "Context")) {
        mem_free(s->context);
        s->context = new->context;
        new->context = NULL;
    }
    if (json_object_get(body, "HttpHeaders"))
        for (unsigned i = 0; i < SUBSCRIPTION_FIELDS_MAX; i++) {
            mem_free_secret(s->fields[i]);
            s->fields[i] = new->fields[i];
            new->fields[i] = NULL;
        }
    if (redfish_flag(body, "VerifyCertificate") >= 0)
        s->verify = redfish_flag(body, "VerifyCertificate");
    s->retry = new->retry;
}

void redfish_destination_patch(struct redfish_call *call, json_t *body)
{
    struct redfish_subscription *s = destination_find(call);
    if (!s) { /* a stream, which has nothing to be changed */
        http_add_field(call->request, "Allow", "GET, HEAD, DELETE");
        redfish_fail(call, 405, redfish_message("OperationNotAllowed", NULL, NULL));
        return;
    }
    if (!redfish_check(call, body, destination_properties))
        return;
    struct redfish_subscription new = {.retry = s->retry};
    json_t *problem = read_context(body, &new.context);
    problem = problem ? problem : read_policy_of(call, body, &new.retry);
    problem = problem ? problem : read_fields(body, new.fields);
    if (!problem) {
        destination_take(s, body, &new);
        redfish_subscription_changed(s);
    }
    redfish_subscription_clear(&new);
    if (problem)
        redfish_fail(call, 400, problem);
    else
        redfish_reply_changed(call, destination_show(s));
}

void redfish_destination_delete(struct redfish_call *call)
{
    char shown[256];
    struct redfish_subscription *s = destination_find(call);
    if (!s) {
        redfish_event_stream_delete(call);
        return;
    }
    text_url_public(s->destination, shown, sizeof shown);
    log_notice("redfish", "events are not sent to %s any more (removed by %s)", shown, call->user);
    redfish_subscription_remove(s);
    redfish_reply_nothing(call);
}

static const struct redfish_property no_parameters_at_all[] = {{NULL, REDFISH_IGNORED}};

static void destination_act(struct redfish_call *call, json_t *body, void (*act)(struct redfish_subscription *subscription))
{
    struct redfish_subscription *s = destination_find(call);
    if (!s) {
        redfish_not_found(call);
    } else if (redfish_check(call, body, no_parameters_at_all)) {
        act(s);
        redfish_reply_nothing(call);
    }
}

void redfish_destination_resume(struct redfish_call *call, json_t *body)
{
    destination_act(call, body, redfish_subscription_resume);
}

void redfish_destination_suspend(struct redfish_call *call, json_t *body)
{
    destination_act(call, body, redfish_subscription_suspend);
}
