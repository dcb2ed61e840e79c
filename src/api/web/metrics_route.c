/* /metrics. See api/metrics.h; the configuration's key `metrics` says who may have it. */
#include <string.h>

#include "api/metrics.h"
#include "api/site/access.h"
#include "api/web/handlers.h"
#include "base/text.h"

static void metrics_reply(const struct web_parts *parts, struct http_request *request)
{
    char *text = metrics_text(parts->site->slots, http_server_connections(parts->http));
    http_add_field(request, "Cache-Control", "no-store");
    http_reply(request, 200, METRICS_TYPE, text, strlen(text));
    mem_free(text);
}

static void on_metrics_access(void *arg, struct http_request *request, const struct api_caller *caller)
{
    if (auth_allows(caller->role, AUTH_LOGIN))
        metrics_reply(arg, request);
    else
        api_reply_error(request, 403, "The role %s may not do that.", auth_role_name(caller->role));
}

static void metrics_refuse_method(struct http_request *request)
{
    http_add_field(request, "Allow", "GET, HEAD");
    api_reply_error(request, 405, "That is not done with this method.");
}

static const struct access_door metrics_door = {true, on_metrics_access, access_refuse_page};

void metrics_handle(const struct web_parts *parts, struct http_request *request)
{
    enum config_metrics who = parts->site->config.web.metrics;
    if (who == METRICS_NO)
        api_reply_error(request, 404, "Metrics are off (set metrics).");
    else if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0)
        metrics_refuse_method(request);
    else if (who == METRICS_LOCAL && access_is_local(parts->site, request))
        metrics_reply(parts, request);
    else
        access_check(parts->site, request, &metrics_door, (void *)(uintptr_t)parts);
}
