#include "api/json.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "base/wipe.h"

#define JSON_DEPTH_MAX 32

json_t *api_text(const char *text)
{
    json_t *string = json_string(text);
    if (string)
        return string;
    char *escaped = mem_alloc(4 * strlen(text) + 1);
    size_t used = 0;
    for (; *text; text++)
        used += (size_t)sprintf(escaped + used, (unsigned char)*text < 0x80 ? "%c" : "\\x%02x", (unsigned char)*text);
    string = json_string(escaped);
    mem_free(escaped);
    return string;
}

const char *api_object_text(json_t *body, const char *name)
{
    const json_t *value = json_object_get(body, name);
    if (json_is_object(value)) {
        char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);
        json_object_set_new(body, name, json_string(text ? text : ""));
        wipe_free(text);
    }
    const char *text = json_string_value(json_object_get(body, name));
    return text && *text ? text : NULL;
}

void api_wipe(json_t *text)
{
    if (json_is_string(text)) /* jansson gives its own copy in no other way */
        OPENSSL_cleanse((char *)(uintptr_t)json_string_value(text), json_string_length(text));
}

void api_reply_json(struct http_request *request, unsigned status, json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    if (!text)
        mem_exhausted();
    http_add_field(request, "Cache-Control", "no-store");
    http_add_field(request, "X-Content-Type-Options", "nosniff"); /* the body has names of images */
    http_reply(request, status, "application/json", text, strlen(text));
    free(text);
}

void api_reply_error(struct http_request *request, unsigned status, const char *format, ...)
{
    char words[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    api_reply_json(request, status, json_pack("{s:o}", "error", api_text(words)));
}

void api_reply_unauthorized(struct http_request *request, const char *words)
{
    /* A scheme that browsers don't know: they would ask for a password by themselves, and keep it. */
    http_add_field(request, "WWW-Authenticate", "Session realm=\"nbd-proxy\"");
    api_reply_error(request, 401, "%s", words);
}

/* jansson has a limit of its own, which is much higher. */
static bool too_deep(const uint8_t *data, size_t length)
{
    unsigned depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        if (quoted && data[i] == '\\')
            i++;
        else if (data[i] == '"')
            quoted = !quoted;
        else if (!quoted && (data[i] == '{' || data[i] == '[')) {
            if (++depth > JSON_DEPTH_MAX)
                return true;
        } else if (!quoted && (data[i] == '}' || data[i] == ']') && depth > 0)
            depth--;
    }
    return false;
}

json_t *api_parse_json(const uint8_t *data, size_t length)
{
    json_error_t problem;
    json_t *body = too_deep(data, length) ? NULL : json_loadb((const char *)data, length, JSON_REJECT_DUPLICATES, &problem);
    if (json_is_object(body))
        return body;
    json_decref(body);
    return NULL;
}

json_t *api_parse_body(struct http_request *request, const uint8_t *data, size_t length)
{
    json_t *body = api_parse_json(data, length);
    if (!body)
        api_reply_error(request, 400, "the body is not one JSON object");
    return body;
}

json_t *api_load_saved(const char *who, const char *path, const char *lost)
{
    json_error_t problem;
    if (access(path, F_OK) != 0)
        return NULL;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
    if (!root)
        log_error(who, "%s: %s: %s", path, problem.text, lost);
    return root;
}
