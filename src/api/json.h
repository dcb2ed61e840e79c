/*
 * What the handlers of /api share: who asks, and answers in JSON. Errors are
 * {"error": words for people}; see web/api.js. Private to api/.
 */
#ifndef API_JSON_H
#define API_JSON_H

#include <jansson.h>

#include "auth/role.h"
#include "auth/sessions.h"
#include "http/server.h"

/* Who sends the request, as it was found; valid in the call. */
struct api_caller {
    const char *user;
    enum auth_role role;
    const char *peer;        /* its address, without the port */
    struct session *session; /* NULL: it sent its password with the request */
};

/* A JSON string, which is UTF-8; in a text that is not, bytes above 0x7f are shown as \xNN. */
json_t *api_text(const char *text);
/* The member that is a string, or an object, which becomes its JSON: always the same for the same object. NULL: it is not
 * there, or is neither, or is "". The body's. */
const char *api_object_text(json_t *body, const char *name);
/* Overwrites a string that is a secret. */
void api_wipe(json_t *text);
/* Takes over the reference to `body`. */
void api_reply_json(struct http_request *request, unsigned status, json_t *body);
__attribute__((format(printf, 3, 4))) void api_reply_error(struct http_request *request, unsigned status,
                                                            const char *format, ...);
/* 401, with the field that belongs to it. */
void api_reply_unauthorized(struct http_request *request, const char *words);
/* The one JSON object in a body: strict (no duplicate keys, no NUL, nothing behind it). NULL: the body is no such
 * object. */
json_t *api_parse_json(const uint8_t *data, size_t length);
/* The same; answers 400 when it returns NULL. */
json_t *api_parse_body(struct http_request *request, const uint8_t *data, size_t length);

/* What was saved in a file. NULL: there is none, or it can't be read, and the log of `who` says so, with what is `lost`. */
json_t *api_load_saved(const char *who, const char *path, const char *lost);

#endif
