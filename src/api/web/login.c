/* /api/session: the page's login. See api/web/handlers.h and web/api.js. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "api/site/access.h"
#include "api/web/handlers.h"
#include "base/text.h"

struct login {
    const struct web_parts *parts;
    struct http_request *request; /* NULL: the client is gone */
    char peer[SITE_PEER_MAX];
    struct auth_check check;
};

static void reply_session(const struct web_parts *parts, struct http_request *request, const struct session *session,
                          const char *token)
{
    char csrf[SECRET_TEXT];
    json_t *uploads = parts->uploads ? uploads_of_session(parts->uploads, session) : json_array();
    const struct site_certificate *certificate = &parts->site->certificate;
    sessions_csrf(parts->site->sessions, token, csrf);
    access_set_page_cookie(parts->site, request, token);
    api_reply_json(request, 200,
                   json_pack("{s:s, s:s, s:s, s:I, s:{s:o, s:o}, s:{s:s, s:b, s:I}}", "user", session->user, "role",
                             auth_role_name(session->role), "csrf", csrf, "endsIn",
                             (json_int_t)(session_left_ms(session) / 1000), "serves", "media",
                             media_of_session(parts->media, session), "uploads", uploads, "certificate", "sha256",
                             request->tls ? certificate->sha256 : "", "own", (int)certificate->own, "expires",
                             (json_int_t)certificate->expires));
}

/* --- POST --- */

/* No session may make room for another. */
static void web_login_refuse_more(struct http_request *request)
{
    http_add_field(request, "Retry-After", "30");
    api_reply_error(request, 503,
                    "Too many sessions are in use, of this account or of all: log out or close a page elsewhere, "
                    "and log in again.");
}

/* The browser's session goes on when the same user logs in again, with what it serves. */
static struct session *session_before(const struct login *login, const char *user)
{
    char token[SECRET_TEXT];
    struct site *site = login->parts->site;
    struct session *session =
        access_cookie(site, login->request, token) ? sessions_find(site->sessions, SESSION_BROWSER, token) : NULL;
    OPENSSL_cleanse(token, sizeof token);
    return session && strcmp(session->user, user) == 0 ? session : NULL;
}

static void web_login_open_session(struct login *login, const char *user)
{
    struct session *session = session_before(login, user);
    char token[SECRET_TEXT];
    int status = 0;
    if (session)
        session_renew(session, login->peer, token);
    else
        status = sessions_open(login->parts->site->sessions, SESSION_BROWSER, user, login->peer, &session, token);
    if (status == 0)
        reply_session(login->parts, login->request, session, token);
    else if (status == -EBUSY)
        web_login_refuse_more(login->request);
    else
        access_refuse(login->request, status, 0);
    OPENSSL_cleanse(token, sizeof token);
}

static void on_web_login_gone(struct http_request *request)
{
    struct login *login = request->owner;
    login->request = NULL;
    if (login->check.done)
        auth_cancel(&login->check);
    else
        mem_free(login); /* the body was not complete */
}

static void on_web_login_verified(struct auth_check *check)
{
    struct login *login = container_of(check, struct login, check);
    if (login->request && check->status == 0)
        web_login_open_session(login, check->user);
    else if (login->request)
        access_refuse(login->request, check->status, check->retry_ms);
    mem_free(login);
}

static void on_web_login_body(struct http_request *request, const uint8_t *data, size_t length)
{
    struct login *login = request->owner;
    json_t *body = api_parse_body(request, data, length);
    json_t *user = json_object_get(body, "user"), *password = json_object_get(body, "password");
    bool good = json_is_string(user) && json_is_string(password);
    if (body && !good)
        api_reply_error(request, 400, "Expected \"user\" and \"password\".");
    if (!good) { /* answered: the request is over for us */
        mem_free(login);
    } else {
        login->check = (struct auth_check){.name = json_string_value(user),
                                           .password = json_string_value(password),
                                           .peer = login->peer,
                                           .method = "browser",
                                           .done = on_web_login_verified};
        auth_verify(login->parts->site->auth, &login->check);
    }
    api_wipe(password);
    json_decref(body);
}

static void log_in(const struct web_parts *parts, struct http_request *request)
{
    if (access_refuse_foreign(parts->site, request))
        return;
    struct login *login = mem_alloc(sizeof *login);
    login->parts = parts;
    login->request = request;
    access_peer(parts->site, request, login->peer);
    request->owner = login;
    request->on_gone = on_web_login_gone;
    http_receive_all(request, SITE_LOGIN_MAX, on_web_login_body);
}

/* --- GET and DELETE --- */

static void web_login_show(void *arg, struct http_request *request, const struct api_caller *caller)
{
    const struct web_parts *parts = arg;
    char token[SECRET_TEXT];
    if (caller->session && caller->session->kind == SESSION_BROWSER && access_cookie(parts->site, request, token))
        reply_session(parts, request, caller->session, token);
    else
        api_reply_json(request, 200, json_pack("{s:s, s:s}", "user", caller->user, "role", auth_role_name(caller->role)));
}

static void log_out(void *arg, struct http_request *request, const struct api_caller *caller)
{
    const struct web_parts *parts = arg;
    if (!caller->session) {
        api_reply_error(request, 400, "There is no session: the request came with its password.");
        return;
    }
    session_end(caller->session, NULL);
    access_set_page_cookie(parts->site, request, "");
    api_reply_json(request, 200, json_object());
}

static const struct access_door door_out = {true, log_out, access_refuse_page};
static const struct access_door door_show = {true, web_login_show, access_refuse_page};

void login_handle(const struct web_parts *parts, struct http_request *request)
{
    const char *method = request->method;
    if (strcmp(method, "POST") == 0) {
        log_in(parts, request);
    } else if (strcmp(method, "DELETE") == 0) {
        access_check(parts->site, request, &door_out, (void *)(uintptr_t)parts);
    } else if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) {
        access_check(parts->site, request, &door_show, (void *)(uintptr_t)parts);
    } else {
        http_add_field(request, "Allow", "GET, HEAD, POST, DELETE");
        api_reply_error(request, 405, "That is not done with this method.");
    }
}
