/* Which handler answers a Redfish request, and who may ask. See api/redfish/internal.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/redfish/internal.h"

/* --- the routes, each with what it takes to read and to change --- */

#define ACTION(name)         REDFISH_MEDIA "/*/Actions/VirtualMedia." name
#define REDFISH_CERTIFICATES REDFISH_MEDIA "/*/Certificates"
/* The schema has this place of ClientCertificates only, and none below Managers. */
#define REDFISH_OWN_CERTIFICATES REDFISH_OWN_MEDIA "/*/ClientCertificates"
#define RESET                REDFISH_SYSTEM "/Actions/ComputerSystem.Reset"

static const struct redfish_route routes[] = {
    {.path = "/redfish", .reading = REDFISH_PUBLIC, .document = redfish_versions},
    {.path = REDFISH_ROOT, .type = TYPE_SERVICE_ROOT, .reading = REDFISH_PUBLIC, .get = redfish_root},
    {.path = REDFISH_ROOT "/odata", .reading = REDFISH_PUBLIC, .document = redfish_odata},
    {.path = REDFISH_ROOT "/$metadata", .reading = REDFISH_PUBLIC, .document = redfish_metadata},
    {.path = REDFISH_SCHEMAS, .type = TYPE_JSON_SCHEMA_FILES, .reading = AUTH_LOGIN, .get = redfish_schemas},
    {.path = REDFISH_SCHEMAS "/*", .type = TYPE_JSON_SCHEMA_FILE, .reading = AUTH_LOGIN, .get = redfish_schema},

    {.path = REDFISH_EVENTS,
     .type = TYPE_EVENT_SERVICE,
     .reading = AUTH_LOGIN,
     .get = redfish_event_service,
     .changing = AUTH_CONFIGURE_MANAGER,
     .patch = redfish_event_service_patch},
    {.path = REDFISH_EVENTS "/Actions/EventService.SubmitTestEvent",
     .changing = AUTH_CONFIGURE_MANAGER,
     .post = redfish_event_test,
     .action = "EventService.SubmitTestEvent"},
    {.path = REDFISH_EVENTS "/SSE", .reading = AUTH_LOGIN, .document = redfish_event_stream_open},
    {.path = REDFISH_STREAMS,
     .type = TYPE_EVENT_DESTINATIONS,
     .reading = AUTH_LOGIN,
     .get = redfish_destinations,
     .changing = AUTH_CONFIGURE_MANAGER,
     .post = redfish_destinations_post},
    {.path = REDFISH_STREAMS "/Members", .changing = AUTH_CONFIGURE_MANAGER, .post = redfish_destinations_post},
    {.path = REDFISH_STREAMS "/*/Actions/EventDestination.ResumeSubscription",
     .type = TYPE_EVENT_DESTINATION,
     .changing = AUTH_CONFIGURE_MANAGER,
     .post = redfish_destination_resume,
     .action = "EventDestination.ResumeSubscription"},
    {.path = REDFISH_STREAMS "/*/Actions/EventDestination.SuspendSubscription",
     .type = TYPE_EVENT_DESTINATION,
     .changing = AUTH_CONFIGURE_MANAGER,
     .post = redfish_destination_suspend,
     .action = "EventDestination.SuspendSubscription"},
    {.path = REDFISH_STREAMS "/*", /* the handlers tell one's own from others' */
     .type = TYPE_EVENT_DESTINATION,
     .reading = AUTH_LOGIN,
     .get = redfish_destination,
     .changing = AUTH_CONFIGURE_SELF,
     .patch = redfish_destination_patch,
     .remove = redfish_destination_delete},
    {.path = REDFISH_REGISTRY, .type = TYPE_REGISTRY_FILES, .reading = AUTH_LOGIN, .get = redfish_registries},
    {.path = REDFISH_REGISTRY "/*", .type = TYPE_REGISTRY_FILE, .reading = AUTH_LOGIN, .get = redfish_registry_file},
    {.path = REDFISH_OWN_REGISTRY, .reading = AUTH_LOGIN, .document = redfish_own_registry},

    {.path = REDFISH_TASK_SERVICE, .type = TYPE_TASK_SERVICE, .reading = AUTH_LOGIN, .get = redfish_task_service},
    {.path = REDFISH_TASKS, .type = TYPE_TASKS, .reading = AUTH_LOGIN, .get = redfish_tasks},
    {.path = REDFISH_TASKS "/*", /* the handlers tell one's own from others' */
     .type = TYPE_TASK,
     .reading = AUTH_LOGIN,
     .get = redfish_task,
     .changing = AUTH_CONFIGURE_COMPONENTS,
     .remove = redfish_task_delete},
    {.path = REDFISH_MONITORS "/*",
     .type = TYPE_TASK,
     .reading = AUTH_LOGIN,
     .document = redfish_task_monitor,
     .changing = AUTH_CONFIGURE_COMPONENTS,
     .remove = redfish_task_monitor_delete},

    {.path = REDFISH_ROOT "/SessionService",
     .type = TYPE_SESSION_SERVICE,
     .reading = AUTH_LOGIN,
     .get = redfish_session_service},
    {.path = REDFISH_SESSIONS,
     .type = TYPE_SESSIONS,
     .reading = AUTH_LOGIN,
     .get = redfish_sessions,
     .changing = REDFISH_PUBLIC,
     .post = redfish_sessions_post},
    {.path = REDFISH_SESSIONS "/Members", .changing = REDFISH_PUBLIC, .post = redfish_sessions_post},
    {.path = REDFISH_SESSIONS "/*", /* the handlers tell one's own from others' */
     .type = TYPE_SESSION,
     .reading = AUTH_LOGIN,
     .get = redfish_session,
     .changing = AUTH_LOGIN,
     .remove = redfish_session_delete},

    {.path = REDFISH_ROOT "/AccountService",
     .type = TYPE_ACCOUNT_SERVICE,
     .reading = AUTH_LOGIN,
     .get = redfish_account_service},
    {.path = REDFISH_ACCOUNTS,
     .type = TYPE_MANAGER_ACCOUNTS,
     .reading = AUTH_LOGIN,
     .get = redfish_accounts,
     .changing = AUTH_CONFIGURE_USERS,
     .post = redfish_accounts_post},
    {.path = REDFISH_ACCOUNTS "/Members", .changing = AUTH_CONFIGURE_USERS, .post = redfish_accounts_post},
    {.path = REDFISH_ACCOUNTS "/*", /* the handlers tell one's own from others' */
     .type = TYPE_MANAGER_ACCOUNT,
     .reading = AUTH_LOGIN,
     .get = redfish_account,
     .changing = AUTH_CONFIGURE_SELF,
     .patch = redfish_account_patch,
     .remove = redfish_account_delete},
    {.path = REDFISH_ROLES, .type = TYPE_ROLES, .reading = AUTH_LOGIN, .get = redfish_roles},
    {.path = REDFISH_ROLES "/*", .type = TYPE_ROLE, .reading = AUTH_LOGIN, .get = redfish_role},

    {.path = REDFISH_ROOT "/Systems", .type = TYPE_COMPUTER_SYSTEMS, .reading = AUTH_LOGIN, .get = redfish_systems},
    {.path = REDFISH_SYSTEM,
     .type = TYPE_COMPUTER_SYSTEM,
     .host = true,
     .reading = AUTH_LOGIN,
     .get = redfish_system,
     .changing = AUTH_CONFIGURE_COMPONENTS,
     .patch = redfish_system_patch},
    {.path = REDFISH_SYSTEM "/ResetActionInfo",
     .type = TYPE_ACTION_INFO,
     .host = true,
     .reading = AUTH_LOGIN,
     .get = redfish_reset_info},
    {.path = RESET,
     .host = true,
     .changing = AUTH_CONFIGURE_COMPONENTS,
     .post = redfish_system_reset,
     .action = "ComputerSystem.Reset"},
    {.path = REDFISH_ROOT "/Managers", .type = TYPE_MANAGERS, .reading = AUTH_LOGIN, .get = redfish_managers},
    {.path = REDFISH_MANAGER, .type = TYPE_MANAGER, .reading = AUTH_LOGIN, .get = redfish_manager},

    {.path = REDFISH_MEDIA, .type = TYPE_VIRTUAL_MEDIAS, .reading = AUTH_LOGIN, .get = redfish_media_list},
    {.path = REDFISH_MEDIA "/*",
     .type = TYPE_VIRTUAL_MEDIA,
     .reading = AUTH_LOGIN,
     .get = redfish_media,
     .volatiles = redfish_media_volatiles,
     .changing = AUTH_CONFIGURE_COMPONENTS,
     .patch = redfish_media_patch},
    {.path = REDFISH_CERTIFICATES, /* trust is the daemon's own matter, not for those who may only insert */
     .type = TYPE_CERTIFICATES,
     .reading = AUTH_LOGIN,
     .get = redfish_certificates,
     .changing = AUTH_CONFIGURE_MANAGER,
     .post = redfish_certificates_post},
    {.path = REDFISH_CERTIFICATES "/Members", .changing = AUTH_CONFIGURE_MANAGER, .post = redfish_certificates_post},
    {.path = REDFISH_CERTIFICATES "/*",
     .type = TYPE_CERTIFICATE,
     .reading = AUTH_LOGIN,
     .get = redfish_certificate,
     .changing = AUTH_CONFIGURE_MANAGER,
     .remove = redfish_certificate_delete},
    {.path = REDFISH_OWN_CERTIFICATES,
     .type = TYPE_CERTIFICATES,
     .reading = AUTH_LOGIN,
     .get = redfish_certificates,
     .changing = AUTH_CONFIGURE_MANAGER,
     .post = redfish_certificates_post},
    {.path = REDFISH_OWN_CERTIFICATES "/Members",
     .changing = AUTH_CONFIGURE_MANAGER,
     .post = redfish_certificates_post},
    {.path = REDFISH_OWN_CERTIFICATES "/*",
     .type = TYPE_CERTIFICATE,
     .reading = AUTH_LOGIN,
     .get = redfish_certificate,
     .changing = AUTH_CONFIGURE_MANAGER,
     .remove = redfish_certificate_delete},
    {.path = REDFISH_MEDIA "/*/InsertMediaActionInfo",
     .type = TYPE_ACTION_INFO,
     .reading = AUTH_LOGIN,
     .get = redfish_insert_info},
    {.path = ACTION("InsertMedia"),
     .changing = AUTH_CONFIGURE_COMPONENTS,
     .post = redfish_media_insert,
     .action = "VirtualMedia.InsertMedia"},
    {.path = ACTION("EjectMedia"),
     .changing = AUTH_CONFIGURE_COMPONENTS,
     .post = redfish_media_eject,
     .action = "VirtualMedia.EjectMedia"},
};
static const struct redfish_routes table = {routes, sizeof routes / sizeof *routes};

static bool redfish_is_reading(const struct http_request *request)
{
    return strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
}

static void add_allow(struct redfish_call *call)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PATCH", "DELETE"};
    char list[64] = "";
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (redfish_route_has(call->route, methods[i]))
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", *list ? ", " : "", methods[i]);
    http_add_field(call->request, "Allow", list);
}

/* --- changes --- */

/* The body took a while to come: whoever asked may have no account or session any more. */
static bool is_still_allowed(const struct redfish_call *call)
{
    const struct user *user = users_find(call->site->users, call->user);
    if (call->route->changing == REDFISH_PUBLIC)
        return true;
    return user && user->enabled && user->role == call->role &&
           (!*call->session || sessions_by_id(call->site->sessions, call->session));
}

static void on_redfish_body(struct http_request *request, const uint8_t *data, size_t length)
{
    struct redfish_call *call = request->owner;
    bool nothing = length == 0 && call->route->action; /* some clients send no "{}" */
    json_t *body = nothing ? json_object() : api_parse_json(data, length);
    redfish_change *change =
        call->route->post && strcmp(request->method, "POST") == 0 ? call->route->post : call->route->patch;
    if (!is_still_allowed(call)) {
        redfish_login_failed(call, -EACCES, 0, "The session has ended, or its account has changed.");
    } else if (!body) {
        redfish_fail(call, 400, redfish_message("MalformedJSON", NULL, NULL));
    } else {
        change(call, body);
    }
    api_wipe(json_object_get(body, "Password"));
    json_decref(body);
}

/* JSON, or the type that curl -d sends when it is told none. */
static bool is_type_known(const struct http_request *request)
{
    static const char *const known[] = {"application/json", "application/x-www-form-urlencoded"};
    const char *type = http_field(request, "Content-Type");
    size_t length = type ? strcspn(type, "; \t") : 0;
    for (size_t i = 0; type && i < sizeof known / sizeof *known; i++)
        if (strlen(known[i]) == length && strncasecmp(type, known[i], length) == 0)
            return true;
    return !type || request->body_length == 0;
}

/* Checks If-Match for a resource that exists. False: it did not match, and the call is answered. */
static bool is_current(struct redfish_call *call)
{
    char etag[REDFISH_ETAG_SIZE];
    const char *list = http_field(call->request, "If-Match");
    json_t *resource = call->route->get && !call->route->post ? call->route->get(call) : NULL;
    bool missing = call->route->get && !call->route->post && !resource;
    bool match = true;
    if (resource && list) {
        redfish_etag(resource, etag);
        match = redfish_etag_listed(list, etag);
    }
    json_decref(resource);
    if (missing)
        redfish_not_found(call);
    else if (!match)
        redfish_fail(call, 412, redfish_message("PreconditionFailed", NULL, NULL));
    return !missing && match;
}

static void begin_change(struct redfish_call *call)
{
    struct http_request *request = call->request;
    if (!is_current(call))
        return;
    if (strcmp(request->method, "DELETE") == 0) {
        call->route->remove(call);
    } else if (!is_type_known(request)) {
        http_add_field(request, "Accept", "application/json");
        redfish_fail(call, 415, redfish_message("HeaderInvalid", NULL, "Content-Type", NULL));
    } else {
        http_receive_all(request, call->route->changing == REDFISH_PUBLIC ? SITE_LOGIN_MAX : SITE_BODY_MAX,
                         on_redfish_body);
    }
}

/* --- reading --- */

static void read_resource(struct redfish_call *call)
{
    json_t *resource = call->route->get(call);
    if (resource)
        redfish_reply_resource(call, resource);
    else
        redfish_not_found(call);
}

/* Answered when false. */
static bool read_query(struct redfish_call *call)
{
    char option[REDFISH_OPTION_MAX];
    bool read = redfish_is_reading(call->request);
    enum redfish_query_verdict verdict = redfish_query_parse(call->request->query, &call->query, option);
    bool paged = call->query.top >= 0 || call->query.skip >= 0;
    json_t *message = NULL;
    if (verdict == REDFISH_QUERY_UNSUPPORTED)
        message = redfish_message("QueryParameterUnsupported", NULL, option, NULL);
    else if (verdict == REDFISH_QUERY_WRONG)
        message = redfish_message("QueryParameterValueError", NULL, option, NULL);
    else if (!read && (paged || *call->query.select || call->query.expand))
        message = redfish_message("QueryNotSupportedOnOperation", NULL, NULL);
    else if (paged && !strstr(redfish_type_name(call->route->type), "Collection"))
        message = redfish_message("QueryNotSupportedOnResource", NULL, NULL);
    if (message)
        redfish_fail(call, verdict == REDFISH_QUERY_UNSUPPORTED ? 501 : 400, message);
    return !message;
}

static void redfish_run(struct redfish_call *call)
{
    if (!redfish_is_reading(call->request))
        begin_change(call);
    else if (add_allow(call), call->route->document)
        call->route->document(call);
    else
        read_resource(call);
}

/* Goes on, once it is known who asks, or nobody needs to be known. */
static void proceed(struct redfish_call *call)
{
    const struct redfish_route *route = call->route;
    const char *version = http_field(call->request, "OData-Version");
    bool read = redfish_is_reading(call->request);
    unsigned privileges = !route ? AUTH_LOGIN : read ? route->reading : route->changing;
    if (version && strcmp(version, "4.0") != 0) {
        redfish_fail(call, 412, redfish_message("HeaderInvalid", NULL, "OData-Version", NULL));
    } else if (!route) {
        redfish_fail(call, 404, redfish_message("InvalidURI", NULL, call->request->path, NULL));
    } else if (!redfish_route_has(route, call->request->method)) {
        add_allow(call);
        redfish_fail(call, 405, redfish_message("OperationNotAllowed", NULL, NULL));
    } else if (privileges != REDFISH_PUBLIC && !auth_allows(call->role, privileges)) {
        redfish_fail(call, 403, redfish_message("InsufficientPrivilege", NULL, NULL));
    } else if (read_query(call)) {
        if (route->host)
            redfish_ask_host(call, redfish_run);
        else
            redfish_run(call);
    }
}

/* --- who asks --- */

static struct redfish_call *redfish_begin(struct redfish *redfish, struct http_request *request)
{
    return redfish_call_new(redfish, redfish->site, request, &table);
}

static void on_redfish_access(void *arg, struct http_request *request, const struct api_caller *caller)
{
    struct redfish_call *call = redfish_begin(arg, request);
    snprintf(call->user, sizeof call->user, "%s", caller->user);
    snprintf(call->session, sizeof call->session, "%s", caller->session ? caller->session->id : "");
    call->role = caller->role;
    proceed(call);
}

static void on_refused(void *arg, struct http_request *request, int status, uint64_t retry_ms, const char *words)
{
    redfish_login_failed(redfish_begin(arg, request), status, retry_ms, words);
}

static const struct access_door door = {false, on_redfish_access, on_refused}; /* Redfish: no cookie authenticates */

static bool is_public(const struct redfish_route *route, const struct http_request *request)
{
    if (!route || !redfish_route_has(route, request->method))
        return false;
    return (redfish_is_reading(request) ? route->reading : route->changing) == REDFISH_PUBLIC;
}

/* What anybody may read may have links to what not everybody may: who expands them, and can log in, does. */
static bool expands_as_somebody(const struct http_request *request)
{
    return redfish_is_reading(request) && strstr(request->query, "expand") &&
           (http_field(request, "Authorization") || http_field(request, "X-Auth-Token"));
}

void redfish_handle(struct redfish *redfish, struct http_request *request)
{
    struct redfish_call place;
    if (redfish->stopped)
        redfish_login_failed(redfish_begin(redfish, request), -EBUSY, 0, NULL);
    else if (is_public(redfish_route_find(&table, request->path, &place), request) && !expands_as_somebody(request))
        proceed(redfish_begin(redfish, request));
    else
        access_check(redfish->site, request, &door, redfish);
}
