/* Redfish (DMTF DSP0266): a door of the web server, /redfish. The resources are described in nbd-proxy-redfish(7). */
#ifndef API_REDFISH_REDFISH_H
#define API_REDFISH_REDFISH_H

#include "api/site/site.h"
#include "http/server.h"

struct redfish;

/* `subscriptions`: the file of those who are sent events; taken over. The site must outlive the service. Only the site's loop and slots must exist already. */
struct redfish *redfish_new(struct site *site, char *subscriptions);
void redfish_handle(struct redfish *redfish, struct http_request *request);
/* The bodies of the refusals that the server sends by itself, in Redfish's form. */
http_refusal redfish_refusal;
/* Ends those of the user's event streams that belong to no session. */
void redfish_user_changed(struct redfish *redfish, const char *user);
/* Refuses new calls; the slots may go then. */
void redfish_stop(struct redfish *redfish);
/* `settled` comes when all is written, and no call is left: those of clients that have gone end with what they wait for, the slots and the
 * host, which must be closed by others. After redfish_stop(). */
void redfish_settle(struct redfish *redfish, void (*settled)(void *arg), void *arg);
void redfish_free(struct redfish *redfish);

#endif
