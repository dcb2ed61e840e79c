#include "profile/profile_json.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define PROFILE_VERSION 1

/* --- to JSON --- */

static json_t *runs_to_json(const struct profile *profile)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < profile->count; i++) {
        const struct profile_run *run = &profile->runs[i];
        json_array_append_new(
            list, json_pack("[I, I, I]", (json_int_t)run->first, (json_int_t)run->count, (json_int_t)run->at_ms));
    }
    return list;
}

/* A name with bytes that are no UTF-8 is left out: it is for people. */
static void profile_put_text(json_t *object, const char *name, const char *text)
{
    json_t *string = json_string(text);
    json_object_set_new(object, name, string ? string : json_string(""));
}

char *profile_to_json(const struct profile *profile, const struct profile_image *image)
{
    json_t *o = json_pack("{s:i}", "profile", PROFILE_VERSION);
    profile_put_text(o, "image", image->name);
    json_object_set_new(o, "size", json_integer((json_int_t)profile->size));
    profile_put_text(o, "validator", image->validator);
    json_object_set_new(o, "cluster", json_integer(profile->cluster));
    json_object_set_new(o, "runs", runs_to_json(profile));
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    if (!text)
        mem_exhausted();
    char *copy = strlen(text) <= PROFILE_JSON_MAX ? mem_strdup(text) : NULL;
    free(text);
    return copy;
}

/* --- from JSON --- */

static bool profile_get_number(const json_t *json, uint64_t most, uint64_t *value)
{
    json_int_t number = json_integer_value(json);
    *value = (uint64_t)number;
    return json_is_integer(json) && number >= 0 && (uint64_t)number <= most;
}

static bool profile_get_run(const json_t *json, struct profile_run *run)
{
    uint64_t first, count, at_ms;
    if (json_array_size(json) != 3 || !profile_get_number(json_array_get(json, 0), UINT32_MAX, &first) ||
        !profile_get_number(json_array_get(json, 1), UINT32_MAX, &count) ||
        !profile_get_number(json_array_get(json, 2), UINT32_MAX, &at_ms))
        return false;
    *run = (struct profile_run){(uint32_t)first, (uint32_t)count, (uint32_t)at_ms};
    return true;
}

static bool profile_get_runs(const json_t *list, struct profile *profile)
{
    json_t *entry;
    size_t i;
    if (!json_is_array(list) || json_array_size(list) > PROFILE_RUNS_MAX)
        return false;
    json_array_foreach(list, i, entry) if (!profile_get_run(entry, &profile->runs[i])) return false;
    profile->count = (uint32_t)json_array_size(list);
    return true;
}

static bool profile_get_all(const json_t *o, struct profile *profile)
{
    uint64_t version, cluster;
    if (!profile_get_number(json_object_get(o, "profile"), PROFILE_VERSION, &version) || version != PROFILE_VERSION ||
        !profile_get_number(json_object_get(o, "size"), INT64_MAX, &profile->size) ||
        !profile_get_number(json_object_get(o, "cluster"), PROFILE_CLUSTER_MAX, &cluster))
        return false;
    profile->cluster = (uint32_t)cluster;
    return profile_get_runs(json_object_get(o, "runs"), profile) && profile_is_valid(profile);
}

static bool profile_get_text(const json_t *o, const char *name, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(o, name));
    return (size_t)snprintf(out, size, "%s", text ? text : "") < size;
}

bool profile_from_json(const char *text, size_t length, struct profile *profile, struct profile_image *image,
                       const char **error)
{
    struct profile_image unused;
    json_error_t problem;
    image = image ? image : &unused;
    *error = "it is longer than a boot profile can be";
    if (length > PROFILE_JSON_MAX)
        return false;
    json_t *o = json_loadb(text, length, JSON_REJECT_DUPLICATES, &problem);
    *error = o ? "it is no boot profile" : "it is no JSON";
    bool good = o && profile_get_all(o, profile) && profile_get_text(o, "image", image->name, sizeof image->name) &&
                profile_get_text(o, "validator", image->validator, sizeof image->validator);
    json_decref(o);
    return good;
}
