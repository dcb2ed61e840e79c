/* What a Redfish request's body may hold. See api/redfish/answer.h. */
#include <stdio.h>
#include <string.h>

#include "api/redfish/answer.h"
#include "base/text.h"

#define NOTES_MAX 16 /* messages on one body */

static const struct redfish_property *body_find(const struct redfish_property *properties, const char *name)
{
    for (; properties->name; properties++)
        if (strcmp(properties->name, name) == 0)
            return properties;
    return NULL;
}

static bool is_of_kind(const json_t *value, enum redfish_kind kind)
{
    switch (kind) {
    case REDFISH_TEXT:
        return json_is_string(value);
    case REDFISH_FLAG:
        return json_is_boolean(value);
    case REDFISH_TEXT_OR_NULL:
        return json_is_string(value) || json_is_null(value);
    case REDFISH_FLAG_OR_NULL:
        return json_is_boolean(value) || json_is_null(value);
    case REDFISH_NUMBER:
        return json_is_integer(value);
    case REDFISH_LIST:
        return json_is_array(value) || json_is_null(value);
    case REDFISH_OBJECT: /* redfish_flatten() has put its members in its place if it is an object */
        return false;
    case REDFISH_WHOLE_OR_NULL:
        return json_is_object(value) || json_is_null(value);
    case REDFISH_READ_ONLY:
    case REDFISH_IGNORED:
        break;
    }
    return true;
}

static json_t *wrong_type(const struct redfish_call *call, const char *name, const json_t *value)
{
    char shown[64];
    const char *action = call->route->action;
    redfish_show(name, value, shown);
    if (action)
        return redfish_message("ActionParameterValueTypeError", name, shown, name, action, NULL);
    return redfish_message("PropertyValueTypeError", name, shown, name, NULL);
}

static json_t *unknown(const struct redfish_call *call, const char *name)
{
    char shown[64];
    json_t *text = json_string(name);
    redfish_show("", text, shown);
    json_decref(text);
    if (call->route->action)
        return redfish_message("ActionParameterUnknown", shown, call->route->action, shown, NULL);
    return redfish_message("PropertyUnknown", shown, shown, NULL);
}

struct findings {
    json_t *messages;
    unsigned usable, wrong;
};

static void redfish_body_look_at(const struct redfish_call *call, const char *name, const json_t *value,
                                 const struct redfish_property *known, struct findings *found)
{
    json_t *message = NULL;
    if (!known) {
        message = unknown(call, name);
    } else if (known->kind == REDFISH_READ_ONLY) {
        message = redfish_message("PropertyNotWritable", name, name, NULL);
    } else if (!is_of_kind(value, known->kind)) {
        message = wrong_type(call, name, value);
        found->wrong++;
    } else if (known->kind != REDFISH_IGNORED) {
        found->usable++;
    }
    if (message && json_array_size(found->messages) < NOTES_MAX)
        json_array_append_new(found->messages, message);
    else
        json_decref(message);
}

/* A PATCH does the part that can be done, if there is any. */
static bool is_partly_done(const struct redfish_call *call, const struct findings *found)
{
    return strcmp(call->request->method, "PATCH") == 0 && found->usable > 0 && found->wrong == 0;
}

bool redfish_check(struct redfish_call *call, json_t *body, const struct redfish_property *properties)
{
    struct findings found = {.messages = json_array()};
    const char *name;
    json_t *value;
    json_object_foreach(body, name, value) if (!strchr(name, '@')) /* annotations are read by nobody */
        redfish_body_look_at(call, name, value, body_find(properties, name), &found);
    if (json_array_size(found.messages) > 0 && !is_partly_done(call, &found)) {
        redfish_fail(call, 400, found.messages);
        return false;
    }
    if (json_array_size(found.messages) > 0)
        call->notes = found.messages;
    else
        json_decref(found.messages);
    if (found.usable > 0 || strcmp(call->request->method, "PATCH") != 0)
        return true;
    redfish_fail(call, 400, redfish_message(json_object_size(body) > 0 ? "NoOperation" : "EmptyJSON", NULL, NULL));
    return false;
}

static void put_members(json_t *flat, const char *name, json_t *object)
{
    const char *member;
    json_t *value;
    json_object_foreach(object, member, value)
    {
        size_t size = strlen(name) + strlen(member) + 2;
        char *path = mem_alloc(size);
        snprintf(path, size, "%s/%s", name, member);
        json_object_set(flat, path, value);
        mem_free(path);
    }
}

json_t *redfish_flatten(json_t *body, const char *object)
{
    json_t *flat = json_object(), *value;
    const char *name;
    json_object_foreach(body, name, value)
    {
        if (strcmp(name, object) == 0 && json_is_object(value))
            put_members(flat, name, value);
        else
            json_object_set(flat, name, value);
    }
    return flat;
}

const char *redfish_text(const json_t *body, const char *name)
{
    const char *text = json_string_value(json_object_get(body, name));
    return text && *text ? text : NULL;
}

int redfish_flag(const json_t *body, const char *name)
{
    const json_t *value = json_object_get(body, name);
    return json_is_boolean(value) ? json_is_true(value) : -1;
}

/* --- a property, or an action's parameter --- */

json_t *redfish_not_in_list(const struct redfish_call *call, const char *name, const char *value)
{
    if (call->route->action)
        return redfish_message("ActionParameterValueNotInList", name, value, name, call->route->action, NULL);
    return redfish_message("PropertyValueNotInList", name, value, name, NULL);
}

json_t *redfish_conflict(const struct redfish_call *call, const char *name, const char *value, const char *other)
{
    if (call->route->action)
        return redfish_message("ActionParameterValueConflict", name, name, value, NULL);
    return redfish_message("PropertyValueConflict", name, name, other, NULL);
}

json_t *redfish_missing(const struct redfish_call *call, const char *name)
{
    if (call->route->action)
        return redfish_message("ActionParameterMissing", name, call->route->action, name, NULL);
    return redfish_message("PropertyMissing", name, name, NULL);
}
