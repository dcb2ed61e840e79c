/* The Redfish service's parts that live as long as it does. See api/redfish/internal.h. */
#include "api/redfish/certificate_store.h"
#include "api/redfish/internal.h"

#define CERTIFICATES "slot-certificates.json" /* beside the accounts */

void redfish_start(struct web *web)
{
    char *path = web_beside_users(&web->config.web, CERTIFICATES);
    web->redfish->certificates = certificate_store_new(web->loop, path);
    web->redfish->events = redfish_events_new(web);
}

void redfish_stop(struct web *web)
{
    redfish_events_close(web->redfish->events);
    redfish_settings_stop(web->redfish);
}

static void on_certificates_closed(void *arg)
{
    struct redfish *redfish = arg;
    void (*closed)(void *arg) = redfish->closed;
    void *closed_arg = redfish->closed_arg;
    redfish_free(redfish);
    closed(closed_arg);
}

void redfish_close(struct web *web, void (*closed)(void *arg), void *arg)
{
    struct redfish *redfish = web->redfish;
    redfish->closed = closed;
    redfish->closed_arg = arg;
    certificate_store_close(redfish->certificates, on_certificates_closed, redfish);
}
