/* Which handler answers. See api/web/handlers.h. */
#include <stdio.h>
#include <string.h>

#include "api/site/access.h"
#include "api/web/handlers.h"
#include "base/text.h"

#define PATH_MAX_WORDS 6

struct route {
    const char *method; /* NULL: the handler looks at it itself */
    const char *path;   /* "*": any one segment, handed to the handler */
    unsigned privileges;
    web_handler *handle;
};

static void handle_uploads(const struct web_parts *parts, struct http_request *request, const struct api_caller *caller,
                           char **words)
{
    if (parts->uploads && words[2] && strcmp(request->method, "GET") == 0)
        download_stored(parts, request, caller, words);
    else if (parts->uploads)
        uploads_handle(parts->uploads, request, caller, words[2]);
    else
        api_reply_error(request, 404, "Uploads are off (set upload-directory).");
}

/* Paths that need no login are not here: the page, and /api/session. */
static const struct route routes[] = {
    {"GET", "/api/slots", AUTH_LOGIN, slot_shown_list},
    {"GET", "/api/slots/*/heat", AUTH_LOGIN, slot_shown_heat},
    {"GET", "/api/slots/*/report", AUTH_LOGIN, slot_shown_report},
    {"GET", "/api/slots/*/profile", AUTH_LOGIN, slot_shown_profile},
    {"GET", "/api/slots/*/medium", AUTH_CONFIGURE_COMPONENTS, download_medium},
    {"POST", "/api/slots/*/insert", AUTH_CONFIGURE_COMPONENTS, slot_routes_insert},
    {"POST", "/api/slots/*/eject", AUTH_CONFIGURE_COMPONENTS, slot_routes_eject},
    {"POST", "/api/slots/*/dismiss", AUTH_CONFIGURE_COMPONENTS, slot_routes_dismiss},
    {"POST", "/api/slots/*/ticket", AUTH_CONFIGURE_COMPONENTS, slot_routes_ticket},
    {"GET", "/api/events", AUTH_LOGIN, events_handle},
    {NULL, "/api/uploads", AUTH_LOGIN, handle_uploads},
    {"POST", "/api/uploads/*", AUTH_CONFIGURE_COMPONENTS, stick_make},
    {NULL, "/api/uploads/*", AUTH_LOGIN, handle_uploads},
};
#define ROUTES (sizeof routes / sizeof *routes)

/* "/api/slots/x" as words; the last is followed by NULL. False: there are too many. */
static bool web_router_split(char *path, char *words[PATH_MAX_WORDS + 1])
{
    unsigned count = 0;
    char *rest;
    memset(words, 0, (PATH_MAX_WORDS + 1) * sizeof *words);
    for (char *word = strtok_r(path, "/", &rest); word; word = strtok_r(NULL, "/", &rest)) {
        if (count == PATH_MAX_WORDS)
            return false;
        words[count++] = word;
    }
    return true;
}

static bool web_router_path_matches(const char *pattern, char *const *words)
{
    for (; *pattern; words++) {
        size_t length = strcspn(++pattern, "/");
        bool any = length == 1 && *pattern == '*';
        if (!*words || (!any && (strlen(*words) != length || memcmp(*words, pattern, length) != 0)))
            return false;
        pattern += length;
    }
    return !*words;
}

/* HEAD is GET without the body. */
static bool method_matches(const char *wanted, const char *method)
{
    return !wanted || strcmp(wanted, method) == 0 || (strcmp(wanted, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static void web_router_run(const struct web_parts *parts, struct http_request *request, const struct api_caller *caller,
                           char **words)
{
    const struct route *other = NULL; /* of this path, for other methods */
    for (size_t i = 0; i < ROUTES; i++) {
        const struct route *route = &routes[i];
        if (!web_router_path_matches(route->path, words))
            continue;
        if (!method_matches(route->method, request->method)) {
            other = route;
            continue;
        }
        if (auth_allows(caller->role, route->privileges))
            route->handle(parts, request, caller, words);
        else
            api_reply_error(request, 403, "The role %s may not do that.", auth_role_name(caller->role));
        return;
    }
    if (other)
        http_add_field(request, "Allow", strcmp(other->method, "GET") == 0 ? "GET, HEAD" : other->method);
    api_reply_error(request, other ? 405 : 404, other ? "That is not done with this method." : "There is no such thing here.");
}

static void on_web_router_access(void *arg, struct http_request *request, const struct api_caller *caller)
{
    char path[HTTP_LINE_MAX], *words[PATH_MAX_WORDS + 1];
    size_t length = strlen(request->path);
    if (length >= sizeof path) {
        api_reply_error(request, 404, "There is no such thing here.");
        return;
    }
    memcpy(path, request->path, length + 1);
    if (web_router_split(path, words))
        web_router_run(arg, request, caller, words);
    else
        api_reply_error(request, 404, "There is no such thing here.");
}

static const struct access_door door = {true, on_web_router_access, access_refuse_page};

static bool web_router_is_below(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

char *router_refusal(unsigned status, const char *reason, const char *target, const char **fields)
{
    char path[64];
    snprintf(path, sizeof path, "%.*s", (int)strcspn(target, "?"), target);
    return web_router_is_below(path, "/redfish") ? redfish_refusal(status, reason, target, fields) : NULL;
}

/* Nobody could log in, and strangers could try: nothing is served but why. */
static void refuse_without_account(struct http_request *request)
{
    static const char words[] = "Nobody can log in yet: the daemon has no account (add one there: nbd-proxy passwd NAME)";
    const char *fields;
    char *body = router_refusal(503, words, request->path, &fields);
    http_add_field(request, "Retry-After", "30");
    if (body)
        http_reply(request, 503, "application/json", body, strlen(body));
    else
        api_reply_error(request, 503, "%s.", words);
    mem_free(body);
}

void router_handle(struct http_request *request, void *arg)
{
    struct web_parts *parts = arg;
    if (!access_arrived(parts->site, request))
        return;
    if (request->anywhere && !web_has_account(parts->site))
        refuse_without_account(request);
    else if (parts->closing && !web_router_is_below(request->path, "/redfish"))
        api_reply_error(request, 503, "The daemon is stopping.");
    else if (media_is_path(parts->media, request))
        media_handle(parts->media, request);
    else if (strcmp(request->path, "/api/session") == 0)
        login_handle(parts, request);
    else if (web_router_is_below(request->path, "/api"))
        access_check(parts->site, request, &door, parts);
    else if (strcmp(request->path, "/metrics") == 0)
        metrics_handle(parts, request);
    else if (web_router_is_below(request->path, "/redfish"))
        redfish_handle(parts->redfish, request);
    else
        pages_handle(parts->pages, request);
}
