/* Redfish sessions, and what is said to who can't log in. See api/redfish/internal.h. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "api/redfish/internal.h"

json_t *redfish_session_service(struct redfish_call *call)
{
    json_t *service = redfish_resource(TYPE_SESSION_SERVICE, call->path, "SessionService", "Session Service");
    json_object_set_new(service, "ServiceEnabled", json_true());
    json_object_set_new(service, "SessionTimeout",
                        json_integer((json_int_t)(call->site->config.web.session_idle_ms / 1000)));
    json_object_set_new(service, "Sessions", redfish_link(REDFISH_SESSIONS));
    return service;
}

/* --- reading --- */

static bool redfish_sessions_may_see(const struct redfish_call *call, const struct session *session)
{
    return strcmp(session->user, call->user) == 0 || auth_allows(call->role, AUTH_CONFIGURE_MANAGER);
}

static json_t *redfish_sessions_show(const struct session *session)
{
    char path[REDFISH_PATH_MAX];
    snprintf(path, sizeof path, REDFISH_SESSIONS "/%s", session->id);
    json_t *json = redfish_resource(TYPE_SESSION, path, session->id, "User Session");
    json_object_set_new(json, "UserName", json_string(session->user));
    json_object_set_new(json, "Password", json_null());
    json_object_set_new(json, "Token", json_null());
    json_object_set_new(json, "SessionType", json_string(session->kind == SESSION_REDFISH ? "Redfish" : "WebUI"));
    json_object_set_new(json, "Roles", json_pack("[s]", auth_role_name(session->role)));
    json_object_set_new(json, "ClientOriginIPAddress", api_text(session->peer));
    json_object_set_new(json, "CreatedTime", redfish_time(session->created));
    return json;
}

json_t *redfish_sessions(struct redfish_call *call)
{
    struct sessions *sessions = call->site->sessions;
    json_t *collection = redfish_collection(call, "Session Collection");
    for (struct session *s = sessions_next(sessions, NULL); s; s = sessions_next(sessions, s))
        if (redfish_sessions_may_see(call, s))
            redfish_add_member(collection, REDFISH_SESSIONS, s->id);
    return collection;
}

json_t *redfish_session(struct redfish_call *call)
{
    const struct session *session = sessions_by_id(call->site->sessions, call->id);
    return session && redfish_sessions_may_see(call, session) ? redfish_sessions_show(session) : NULL;
}

/* --- the end of one --- */

void redfish_session_delete(struct redfish_call *call)
{
    struct session *session = sessions_by_id(call->site->sessions, call->id);
    bool own = session && strcmp(session->user, call->user) == 0;
    if (!session || !redfish_sessions_may_see(call, session)) {
        redfish_not_found(call);
        return;
    }
    if (strcmp(session->id, call->session) == 0 && http_field(call->request, "X-XSRF-TOKEN"))
        access_set_redfish_cookies(call->site, call->request, "");
    session_end(session, own ? NULL : call->user);
    redfish_reply_nothing(call);
}

/* --- login --- */

static void unauthorized(struct redfish_call *call, const char *words)
{
    /* Not for a page's requests: the browser's own dialog would ask for a password, and keep it. */
    if (call->request && !http_field(call->request, "X-Requested-With"))
        http_add_field(call->request, "WWW-Authenticate", "Basic realm=\"nbd-proxy\"");
    redfish_fail(call, 401, redfish_resolve(redfish_message("NoValidSession", NULL, NULL), words));
}

void redfish_login_failed(struct redfish_call *call, int status, uint64_t retry_ms, const char *words)
{
    char seconds[24];
    snprintf(seconds, sizeof seconds, "%llu", (unsigned long long)(retry_ms > 0 ? (retry_ms + 999) / 1000 : 1));
    if (status == -EACCES) {
        unauthorized(call, words);
    } else if (status == -EPERM) {
        redfish_fail(call, 403, redfish_message("PageOfAnotherSite", NULL, NULL));
    } else if (status == -EAGAIN) {
        redfish_fail_later(call, 429, retry_ms, redfish_message("TooManyWrongPasswords", NULL, seconds, NULL));
    } else {
        redfish_fail_later(call, 503, retry_ms > 0 ? retry_ms : 1000,
                           redfish_message("ServiceTemporarilyUnavailable", NULL, seconds, NULL));
    }
}

static void redfish_sessions_open_session(struct redfish_call *call)
{
    struct session *session;
    char token[SECRET_TEXT], path[REDFISH_PATH_MAX];
    int status = sessions_open(call->site->sessions, SESSION_REDFISH, call->check.user, call->peer, &session, token);
    if (status == -EBUSY) {
        redfish_fail_later(call, 503, 30000, redfish_message("SessionLimitExceeded", NULL, NULL));
    } else if (status != 0) {
        redfish_login_failed(call, -EACCES, 0, "Wrong user or password.");
    } else {
        snprintf(path, sizeof path, REDFISH_SESSIONS "/%s", session->id);
        http_add_field(call->request, "X-Auth-Token", token);
        if (http_field(call->request, "X-Requested-With")) /* OpenBMC's page, which lets the browser keep the session */
            access_set_redfish_cookies(call->site, call->request, token);
        redfish_reply_created(call, path, redfish_sessions_show(session));
    }
    OPENSSL_cleanse(token, sizeof token);
}

static void on_redfish_sessions_verified(struct auth_check *check)
{
    struct redfish_call *call = container_of(check, struct redfish_call, check);
    if (!call->request)
        redfish_call_free(call);
    else if (check->status == 0)
        redfish_sessions_open_session(call);
    else
        redfish_login_failed(call, check->status, check->retry_ms, "Wrong user or password.");
}

static void cancel(struct redfish_call *call)
{
    auth_cancel(&call->check);
}

static const struct redfish_property login_properties[] = {
    {"UserName", REDFISH_TEXT},   {"Password", REDFISH_TEXT}, {"SessionType", REDFISH_IGNORED},
    {"Context", REDFISH_IGNORED}, {"Token", REDFISH_IGNORED}, {NULL, REDFISH_IGNORED},
};

void redfish_sessions_post(struct redfish_call *call, json_t *body)
{
    const char *user = json_string_value(json_object_get(body, "UserName"));
    const char *password = json_string_value(json_object_get(body, "Password"));
    if (!access_origin_allowed(call->site, call->request)) {
        redfish_login_failed(call, -EPERM, 0, NULL);
    } else if (!redfish_check(call, body, login_properties)) {
        return;
    } else if (!user || !password) {
        const char *missing = user ? "Password" : "UserName";
        redfish_fail(call, 400, redfish_message("PropertyMissing", missing, missing, NULL));
    } else {
        call->check = (struct auth_check){.name = user,
                                          .password = password,
                                          .peer = call->peer,
                                          .method = "redfish session",
                                          .done = on_redfish_sessions_verified};
        redfish_wait(call, cancel);
        auth_verify(call->site->auth, &call->check);
    }
}
