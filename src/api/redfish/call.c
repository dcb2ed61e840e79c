/* The life of a call, one request. See api/redfish/call.h. */
#include "api/redfish/call.h"
#include "base/text.h"

void redfish_call_free(struct redfish_call *call)
{
    struct redfish *redfish = call->redfish;
    list_remove(&call->async);
    json_decref(call->notes);
    mem_free(call);
    redfish_call_over(redfish);
}

static void on_redfish_call_gone(struct http_request *request)
{
    struct redfish_call *call = request->owner;
    call->request = NULL;
    if (!call->waiting)
        redfish_call_free(call);
    else if (call->cancel)
        call->cancel(call);
}

void redfish_wait(struct redfish_call *call, void (*cancel)(struct redfish_call *call))
{
    call->waiting = true;
    call->cancel = cancel;
}

struct redfish_call *redfish_call_new(struct redfish *redfish, struct site *site, struct http_request *request,
                                      const struct redfish_routes *routes)
{
    struct redfish_call *call = mem_alloc(sizeof *call);
    redfish_call_began(redfish);
    call->redfish = redfish;
    list_init(&call->async);
    call->site = site;
    call->request = request;
    call->query = (struct redfish_query){.top = -1, .skip = -1};
    call->routes = routes;
    call->route = redfish_route_find(routes, request->path, call);
    access_peer(site, request, call->peer);
    request->owner = call;
    request->on_gone = on_redfish_call_gone;
    return call;
}
