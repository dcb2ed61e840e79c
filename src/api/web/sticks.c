/* POST /api/uploads/NAME: an empty USB stick is made in the BMC's storage. See api/web/handlers.h and web/api.js. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/site/access.h"
#include "api/web/handlers.h"
#include "auth/audit.h"
#include "base/text.h"
#include "store/stick.h"

struct stick_request {
    const struct web_parts *parts;
    struct http_request *request; /* NULL: the client is gone */
    char name[STORE_NAME_MAX + 1], label[STICK_LABEL_MAX + 1];
    char user[USER_NAME_MAX + 1], peer[SITE_PEER_MAX];
    enum auth_role role;
    bool running;
    bool session_ended; /* before the body was here */
    struct session_attachment session;
    struct store_making making;
};

static void stick_free(struct stick_request *r)
{
    session_detach(&r->session);
    mem_free(r);
}

static void on_web_sticks_session_ended(struct session_attachment *attachment, const struct session *session)
{
    (void)session;
    container_of(attachment, struct stick_request, session)->session_ended = true;
}

static void on_web_sticks_gone(struct http_request *request)
{
    struct stick_request *r = request->owner;
    r->request = NULL;
    if (!r->running)
        stick_free(r);
}

static void stick_refuse(struct http_request *request, const char *name, int status)
{
    unsigned code = status == -EEXIST                       ? 409
                    : status == -EINVAL                     ? 400
                    : status == -EFBIG                      ? 413
                    : status == -ENOSPC                     ? 507
                    : status == -EAGAIN || status == -ECANCELED ? 503
                                                            : 500;
    const char *words = status == -EEXIST   ? "there is an image of that name already"
                        : status == -EINVAL ? "a stick has 40 MiB to 1 TiB"
                        : status == -EFBIG  ? "it is larger than the storage (upload-size)"
                        : status == -ENOSPC ? "there is no room for it"
                                            : strerror(-status);
    api_reply_error(request, code, "%s can't be made: %s.", name, words);
}

static void on_stick_made(struct store_making *making)
{
    struct stick_request *r = container_of(making, struct stick_request, making);
    if (making->status == 0)
        auth_audit(AUDIT_UPLOAD, r->user, r->peer, r->name, "an empty stick");
    if (r->request && making->status == 0)
        api_reply_json(r->request, 201, json_pack("{s:s, s:I}", "name", r->name, "size", (json_int_t)making->size));
    else if (r->request)
        stick_refuse(r->request, r->name, making->status);
    stick_free(r);
}

static void stick_begin(struct stick_request *r, const json_t *body)
{
    json_int_t size = json_integer_value(json_object_get(body, "size"));
    const json_t *label = json_object_get(body, "label");
    const char *text = label ? json_string_value(label) : "", *problem = text ? stick_label_problem(text) : "The label must be a text.";
    if (!json_is_integer(json_object_get(body, "size")) || size <= 0)
        problem = "Expected \"size\" in bytes, and \"label\".";
    if (problem) {
        api_reply_error(r->request, 400, "%s", problem);
        stick_free(r);
        return;
    }
    snprintf(r->label, sizeof r->label, "%s", text);
    r->running = true;
    r->making = (struct store_making){
        .name = r->name, .label = r->label, .size = (uint64_t)size - (uint64_t)size % STICK_SECTOR, .done = on_stick_made};
    store_make(r->parts->store, &r->making);
}

static void on_web_sticks_body(struct http_request *request, const uint8_t *data, size_t length)
{
    struct stick_request *r = request->owner;
    if (r->session_ended || !access_still_allowed(r->parts->site, r->user, r->role)) {
        api_reply_unauthorized(request, "The session has ended.");
        stick_free(r);
        return;
    }
    json_t *body = api_parse_body(request, data, length);
    if (body)
        stick_begin(r, body);
    else /* it is answered */
        stick_free(r);
    json_decref(body);
}

void stick_make(const struct web_parts *parts, struct http_request *request, const struct api_caller *caller, char **words)
{
    const char *problem = parts->store ? store_name_problem(words[2]) : "Uploads are off (set upload-directory).";
    if (problem) {
        api_reply_error(request, parts->store ? 400 : 404, "%s", problem);
        return;
    }
    struct stick_request *r = mem_alloc(sizeof *r);
    r->parts = parts;
    r->request = request;
    r->role = caller->role;
    snprintf(r->name, sizeof r->name, "%s", words[2]);
    snprintf(r->user, sizeof r->user, "%s", caller->user);
    snprintf(r->peer, sizeof r->peer, "%s", caller->peer);
    list_init(&r->session.link);
    r->session.ended = on_web_sticks_session_ended;
    if (caller->session)
        session_attach(caller->session, &r->session);
    request->owner = r;
    request->on_gone = on_web_sticks_gone;
    http_receive_all(request, SITE_LOGIN_MAX, on_web_sticks_body);
}
