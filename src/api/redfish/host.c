/* What is asked of the platform, and what is said when that fails. See api/redfish/internal.h. */
#include <errno.h>

#include "api/redfish/internal.h"

#define RETRY_MS 5000

static void on_redfish_host_asked(struct host_request *request)
{
    struct redfish_call *call = container_of(request, struct redfish_call, host);
    call->waiting = false;
    if (call->request)
        call->host_asked(call); /* also after a failure: the state says whether the platform answered */
    else
        redfish_call_free(call);
}

void redfish_ask_host(struct redfish_call *call, void (*ready)(struct redfish_call *call))
{
    if (!host_is_configured(call->site->host)) {
        ready(call);
        return;
    }
    call->host_asked = ready;
    call->host = (struct host_request){.verb = HOST_GET, .done = on_redfish_host_asked};
    redfish_wait(call, NULL);
    host_submit(call->site->host, &call->host);
}

void redfish_host_failed(struct redfish_call *call, int status, const char *message, const char *words)
{
    bool cannot = status == -ENOTSUP || status == -ENODEV;
    bool passing = status == -EAGAIN || status == -EBUSY || status == -ETIMEDOUT || status == -ECANCELED;
    const char *own = cannot ? "HostCannot" : passing ? "HostNotNow" : "HostFailed";
    json_t *body = redfish_message(message ? message : own, NULL, words, NULL);
    if (passing)
        redfish_fail_later(call, 503, RETRY_MS, body);
    else
        redfish_fail(call, cannot ? 400 : 500, body);
}
