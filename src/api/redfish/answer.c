/* Redfish answers: headers, bodies, errors. See api/redfish/answer.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/redfish/answer.h"
#include "base/text.h"

#define JSON_TYPE "application/json;charset=utf-8"

/* --- sending --- */

#define VERSION_FIELD "OData-Version", "4.0"

static void answer_add_fields(struct http_request *request)
{
    http_add_field(request, VERSION_FIELD);
    http_add_field(request, "Cache-Control", "no-cache");
}

struct http_request *redfish_release_stream(struct redfish_call *call)
{
    struct http_request *request = call->request;
    if (request)
        http_add_field(request, VERSION_FIELD);
    redfish_call_free(call);
    return request;
}

struct http_request *redfish_release(struct redfish_call *call)
{
    if (call->request)
        http_add_field(call->request, "Cache-Control", "no-cache");
    return redfish_release_stream(call);
}

static void answer_send_text(struct http_request *request, unsigned status, json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    if (!text)
        mem_exhausted();
    http_reply(request, status, JSON_TYPE, text, strlen(text));
    free(text);
}

void redfish_send_json(struct http_request *request, unsigned status, json_t *body)
{
    answer_add_fields(request);
    answer_send_text(request, status, body);
}

/* Nobody waits for the answer to a task's call: the task keeps it. */
static bool is_kept(struct redfish_call *call, unsigned status, json_t *body)
{
    struct redfish_task *task = call->task;
    if (!task)
        return false;
    redfish_task_end(task, status, body);
    redfish_call_free(call);
    return true;
}

static void send_json(struct redfish_call *call, unsigned status, json_t *body)
{
    if (is_kept(call, status, body))
        return;
    struct http_request *request = redfish_release(call);
    if (request)
        answer_send_text(request, status, body);
    else
        json_decref(body);
}

void redfish_reply_json(struct redfish_call *call, unsigned status, json_t *body)
{
    send_json(call, status, body);
}

void redfish_reply_text(struct redfish_call *call, const char *type, const char *text)
{
    struct http_request *request = redfish_release(call);
    if (request)
        http_reply(request, 200, type, text, strlen(text));
}

void redfish_reply_nothing(struct redfish_call *call)
{
    if (is_kept(call, 204, NULL))
        return;
    struct http_request *request = redfish_release(call);
    if (request)
        http_reply(request, 204, NULL, NULL, 0);
}

void redfish_reply_created(struct redfish_call *call, const char *location, json_t *body)
{
    if (call->request)
        http_add_field(call->request, "Location", location);
    send_json(call, 201, body);
}

/* --- resources --- */

static void add_described_by(struct redfish_call *call)
{
    char link[128];
    snprintf(link, sizeof link, "<" REDFISH_SCHEMAS "/%s>; rel=describedby", redfish_type_namespace(call->route->type));
    http_add_field(call->request, "Link", link);
}

static json_t *with_query(struct redfish_call *call, json_t *resource)
{
    redfish_query_page(&call->query, resource);
    if (call->query.expand)
        redfish_expand(call, resource);
    if (!*call->query.select)
        return resource;
    json_t *selected = redfish_query_select(call->query.select, resource);
    json_decref(resource);
    return selected;
}

void redfish_reply_resource(struct redfish_call *call, json_t *resource)
{
    char etag[REDFISH_ETAG_SIZE];
    bool expanded = call->query.expand; /* the tag says nothing of what is expanded */
    const char *list = expanded ? NULL : http_field(call->request, "If-None-Match");
    redfish_tag(call, resource, etag);
    if (!expanded)
        http_add_field(call->request, "ETag", etag);
    add_described_by(call);
    if (list && redfish_etag_listed(list, etag)) {
        struct http_request *request = redfish_release(call);
        json_decref(resource);
        http_reply(request, 304, NULL, NULL, 0);
        return;
    }
    send_json(call, 200, with_query(call, resource));
}

/* Adds the call's notes to those that the resource itself has. */
static void add_notes(const struct redfish_call *call, json_t *resource)
{
    json_t *own = json_object_get(resource, "@Message.ExtendedInfo");
    if (call->notes && own)
        json_array_extend(own, call->notes);
    else if (call->notes)
        json_object_set(resource, "@Message.ExtendedInfo", call->notes);
}

void redfish_reply_changed(struct redfish_call *call, json_t *resource)
{
    char etag[REDFISH_ETAG_SIZE];
    if (resource) {
        redfish_tag(call, resource, etag);
        if (call->request)
            http_add_field(call->request, "ETag", etag);
        add_notes(call, resource);
    }
    if (resource)
        send_json(call, 200, resource);
    else
        redfish_reply_nothing(call);
}

/* --- errors --- */

static json_t *error_of(json_t *messages)
{
    json_t *list = json_is_array(messages) ? messages : json_pack("[o]", messages);
    json_t *first = json_array_get(list, 0);
    bool one = json_array_size(list) == 1;
    json_t *error = json_pack("{s:{s:s, s:O, s:O}}", "error", "code",
                              one ? json_string_value(json_object_get(first, "MessageId")) : "Base.1.18.GeneralError",
                              "message", json_object_get(first, "Message"), "@Message.ExtendedInfo", list);
    json_decref(list);
    return error;
}

void redfish_fail(struct redfish_call *call, unsigned status, json_t *messages)
{
    send_json(call, status, error_of(messages));
}

char *redfish_refusal(unsigned status, const char *reason, const char *target, const char **fields)
{
    char words[128];
    (void)target;
    snprintf(words, sizeof words, "%u %s", status, reason);
    json_t *message = status == 413   ? redfish_message("PayloadTooLarge", NULL, NULL)
                      : status == 501 ? redfish_message("OperationNotAllowed", NULL, NULL)
                                      : redfish_message("HttpRefused", NULL, words, NULL);
    json_t *error = error_of(message);
    char *text = json_dumps(error, JSON_COMPACT), *copy = mem_strdup(text);
    json_decref(error);
    free(text);
    *fields = "Content-Type: " JSON_TYPE "\r\nOData-Version: 4.0\r\nCache-Control: no-cache\r\n";
    return copy;
}

void redfish_fail_later(struct redfish_call *call, unsigned status, uint64_t retry_ms, json_t *messages)
{
    char seconds[24];
    if (call->request) {
        snprintf(seconds, sizeof seconds, "%llu", (unsigned long long)((retry_ms + 999) / 1000));
        http_add_field(call->request, "Retry-After", seconds);
    }
    redfish_fail(call, status, messages);
}

void redfish_not_found(struct redfish_call *call)
{
    const char *type =
        call->route->type == TYPE_NONE ? redfish_type_name(TYPE_VIRTUAL_MEDIA) : redfish_type_name(call->route->type);
    redfish_fail(call, 404, redfish_message("ResourceNotFound", NULL, type, *call->part ? call->part : call->id, NULL));
}
