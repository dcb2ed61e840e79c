#include "api/redfish/query.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define PART_MAX (3 * REDFISH_SELECT_MAX) /* of one option as it is sent */

/* --- reading --- */

static bool parse_count(const char *text, long *count)
{
    char *end;
    errno = 0;
    *count = strtol(text, &end, 10);
    return isdigit((unsigned char)*text) && !*end && errno == 0;
}

static bool is_select(const char *text)
{
    return *text && strlen(text) < REDFISH_SELECT_MAX && strspn(text, " ,") != strlen(text);
}

/* "." expands what is not in Links, "~" what is in Links, "*" both. */
static bool parse_expand(const char *text, unsigned *expand)
{
    *expand = *text == '.'   ? REDFISH_EXPAND_SUBORDINATES
              : *text == '~' ? REDFISH_EXPAND_LINKS
              : *text == '*' ? REDFISH_EXPAND_SUBORDINATES | REDFISH_EXPAND_LINKS
                             : 0;
    return *expand && (!text[1] || strcmp(text + 1, "($levels=1)") == 0);
}

static enum redfish_query_verdict redfish_query_take(const char *name, const char *value, struct redfish_query *query)
{
    bool good = false;
    if (*name != '$')
        return REDFISH_QUERY_OK;
    if (strcmp(name, "$select") == 0) {
        good = is_select(value);
        if (good)
            snprintf(query->select, sizeof query->select, "%s", value);
    } else if (strcmp(name, "$expand") == 0) {
        good = parse_expand(value, &query->expand);
    } else if (strcmp(name, "$top") == 0) {
        good = parse_count(value, &query->top);
    } else if (strcmp(name, "$skip") == 0) {
        good = parse_count(value, &query->skip);
    } else {
        return REDFISH_QUERY_UNSUPPORTED;
    }
    return good ? REDFISH_QUERY_OK : REDFISH_QUERY_WRONG;
}

static enum redfish_query_verdict query_take_part(char *part, struct redfish_query *query, char option[REDFISH_OPTION_MAX])
{
    char *value = strchr(part, '=');
    if (value)
        *value++ = '\0';
    bool good = text_percent_decode(part) && (!value || text_percent_decode(value));
    snprintf(option, REDFISH_OPTION_MAX, "%s", part);
    return good ? redfish_query_take(part, value ? value : "", query) : REDFISH_QUERY_WRONG;
}

enum redfish_query_verdict redfish_query_parse(const char *text, struct redfish_query *query,
                                               char option[REDFISH_OPTION_MAX])
{
    char *part = mem_alloc(PART_MAX);
    enum redfish_query_verdict verdict = REDFISH_QUERY_OK;
    *query = (struct redfish_query){.top = -1, .skip = -1};
    *option = '\0';
    while (*text && verdict == REDFISH_QUERY_OK) {
        size_t length = strcspn(text, "&");
        if (length >= PART_MAX) {
            verdict = REDFISH_QUERY_WRONG;
            break;
        }
        memcpy(part, text, length);
        part[length] = '\0';
        verdict = query_take_part(part, query, option);
        text += length + (text[length] == '&');
    }
    mem_free(part);
    return verdict;
}

/* --- applying --- */

void redfish_query_page(const struct redfish_query *query, json_t *collection)
{
    json_t *members = json_object_get(collection, "Members");
    for (long i = 0; i < query->skip && json_array_size(members) > 0; i++)
        json_array_remove(members, 0);
    while (query->top >= 0 && json_array_size(members) > (size_t)query->top)
        json_array_remove(members, json_array_size(members) - 1);
}

/* Copies the property and its annotations: "Members" and "Members@odata.count". */
static void copy_property(json_t *to, json_t *from, const char *name)
{
    size_t length = strlen(name);
    const char *key;
    json_t *value;
    json_object_foreach(from, key,
                        value) if (strncmp(key, name, length) == 0 && (key[length] == '\0' || key[length] == '@'))
        json_object_set(to, key, value);
}

/* "A/B/C": C of B of A. */
static void copy_path(json_t *to, json_t *from, char *path)
{
    char *slash = strchr(path, '/');
    if (!slash) {
        copy_property(to, from, path);
        return;
    }
    *slash = '\0';
    json_t *inner = json_object_get(from, path), *copy = json_object_get(to, path);
    if (!json_is_object(inner) || copy == inner) /* all of it is there already */
        return;
    if (!copy) {
        copy = json_object();
        json_object_set_new(to, path, copy);
    }
    copy_path(copy, inner, slash + 1);
}

json_t *redfish_query_select(const char *select, json_t *resource)
{
    char paths[REDFISH_SELECT_MAX], *rest;
    json_t *selected = json_object(), *value;
    const char *key;
    json_object_foreach(resource, key, value) if ((*key == '@' && strncmp(key, "@Redfish.", 9) != 0) ||
                                                  strcmp(key, "Members@odata.count") == 0)
        json_object_set(selected, key, value);
    snprintf(paths, sizeof paths, "%s", select);
    for (char *path = strtok_r(paths, ", ", &rest); path; path = strtok_r(NULL, ", ", &rest))
        copy_path(selected, resource, path);
    return selected;
}
