/*
 * What every Redfish resource is read and answered with: types.c has the schemas in use, messages.c the messages,
 * body.c what a request's body may hold, action_info.c the same as it is told to clients, resource.c what resources are made of, expand.c resources in the
 * place of links, and answer.c the answers. None of these knows a resource. Private to api/redfish.
 */
#ifndef API_REDFISH_ANSWER_H
#define API_REDFISH_ANSWER_H

#include <time.h>

#include "api/redfish/call.h"
#include "api/redfish/etag.h"

/* --- types.c --- */

/* The objects of our own in Oem, as body.c flattens them. */
#define REDFISH_OEM "Oem/NbdProxy"

const char *redfish_type_name(enum redfish_type type);
/* "VirtualMedia.v1_6_0"; of a collection, its name. */
const char *redfish_type_namespace(enum redfish_type type);

/* --- messages.c --- */

#define REDFISH_OWN_MESSAGES "NbdProxy.1.0."

struct redfish_entry {
    const char *registry;    /* as it begins a MessageId */
    const char *description; /* of our own ones: when it is used; else NULL */
    const char *key, *severity;
    const char *text; /* %1 to %3: the arguments */
    const char *resolution;
};
const struct redfish_entry *redfish_entries(size_t *count); /* all there are */

/* A message of the registry Base, ResourceEvent or NbdProxy, its arguments as strings and a NULL behind them.
 * `property` is what the message is about, as "Image" or "Boot/Target"; NULL: no property. */
__attribute__((sentinel)) json_t *redfish_message(const char *key, const char *property, ...);
/* Gives the message another resolution than the registry's. */
json_t *redfish_resolve(json_t *message, const char *resolution);
/* The message, which is taken over, as an entry of Status.Conditions. */
json_t *redfish_condition(json_t *message);
/* Writes the value as JSON, cut to be shown; a secret's value is not shown. */
void redfish_show(const char *property, const json_t *value, char text[64]);

/* --- body.c --- */

enum redfish_kind {
    REDFISH_TEXT,
    REDFISH_FLAG,
    REDFISH_TEXT_OR_NULL,
    REDFISH_FLAG_OR_NULL,
    REDFISH_NUMBER, /* a whole one */
    REDFISH_LIST,   /* or null */
    REDFISH_OBJECT, /* see redfish_flatten() */
    REDFISH_WHOLE_OR_NULL, /* an object whose members are anybody's */
    REDFISH_READ_ONLY,
    REDFISH_IGNORED
};

struct redfish_property {
    const char *name; /* NULL: the end */
    enum redfish_kind kind;
};

/* Does the body have these properties, and of these kinds? What can't be taken is answered (false), or noted in the
 * call when a PATCH has something else to do. */
bool redfish_check(struct redfish_call *call, json_t *body, const struct redfish_property *properties);
/* A new object in which the member `object` is replaced by its own members, under the names "NAME/MEMBER". */
json_t *redfish_flatten(json_t *body, const char *object);
const char *redfish_text(const json_t *body, const char *name); /* NULL: none, or "" */
int redfish_flag(const json_t *body, const char *name);         /* -1: none */
/* Messages about a property, or about an action's parameter if the call is of an action. */
json_t *redfish_not_in_list(const struct redfish_call *call, const char *name, const char *value);
json_t *redfish_conflict(const struct redfish_call *call, const char *name, const char *value, const char *other);
json_t *redfish_missing(const struct redfish_call *call, const char *name);

/* --- action_info.c --- */

/* The values that the parameter of that name may have; NULL: any of its kind. */
typedef json_t *redfish_values(const struct redfish_call *call, const char *name);
/* The ActionInfo of `action`, at the call's path: what `properties` lets its body hold, those of Oem.NbdProxy
 * in Oem. `required`: the name of the parameter that must be there. */
json_t *redfish_action_info(const struct redfish_call *call, const char *action,
                            const struct redfish_property *properties, const char *required, redfish_values *values);
/* Says in `json` which of its members a PATCH may have by `properties`: those behind `folder`, which is "" for the
 * resource itself and "NAME/" for an object in it. */
void redfish_set_writeable(json_t *json, const char *folder, const struct redfish_property *properties);

/* --- resource.c --- */

/* Adds the tag of the resource, and then what may change from GET to GET, which the tag leaves out. */
void redfish_tag(struct redfish_call *call, json_t *resource, char etag[REDFISH_ETAG_SIZE]);
/* A resource's beginning: @odata.id and .type, Id, Name. */
json_t *redfish_resource(enum redfish_type type, const char *path, const char *id, const char *name);
json_t *redfish_collection(const struct redfish_call *call, const char *name);
void redfish_add_member(json_t *collection, const char *folder, const char *id);
json_t *redfish_link(const char *path);
json_t *redfish_time(time_t time);
json_t *redfish_uuid(const char *uuid); /* null for "" */

/* --- expand.c --- */

/* Puts resources in the place of the links to them, as the call's $expand wants it. */
void redfish_expand(const struct redfish_call *call, json_t *resource);

/* --- tasks.c --- */

/* To be called when what the call waits for may take long: its client may be answered that it is a task now, and the
 * request is gone then. */
void redfish_may_take_long(struct redfish_call *call);
/* The task's call is answered so. Takes over the body; NULL: none. */
void redfish_task_end(struct redfish_task *task, unsigned status, json_t *body);

/* --- answer.c --- */

/* The call is freed; the caller answers the request, or takes it over, before it returns (http/server.h).
 * NULL: the client is gone. */
struct http_request *redfish_release(struct redfish_call *call);
/* The same for a stream of events, which says itself that it is not to be kept. */
struct http_request *redfish_release_stream(struct redfish_call *call);
/* Answers a request that belongs to no call any more. Takes over the body. */
void redfish_send_json(struct http_request *request, unsigned status, json_t *body);
/* Somebody waits for the call's answer, or a task keeps it. */
static inline bool redfish_is_heard(const struct redfish_call *call)
{
    return call->request || call->task;
}
/* Each ends the call. Those with JSON take over the reference. */
void redfish_reply_resource(struct redfish_call *call, json_t *resource); /* 200, or as conditions demand */
void redfish_reply_json(struct redfish_call *call, unsigned status, json_t *body);
void redfish_reply_created(struct redfish_call *call, const char *location, json_t *body);
void redfish_reply_text(struct redfish_call *call, const char *type, const char *text);
void redfish_reply_nothing(struct redfish_call *call); /* 204 */
/* A PATCH is done: 200 with the resource and the notes. */
void redfish_reply_changed(struct redfish_call *call, json_t *resource);
/* `messages`: one, or an array of some. */
void redfish_fail(struct redfish_call *call, unsigned status, json_t *messages);
void redfish_fail_later(struct redfish_call *call, unsigned status, uint64_t retry_ms, json_t *messages);
void redfish_not_found(struct redfish_call *call);

#endif
