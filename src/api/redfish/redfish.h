/* Redfish (DMTF DSP0266): a door of the web server, /redfish. The resources are described in nbd-proxy-redfish(7). */
#ifndef API_REDFISH_REDFISH_H
#define API_REDFISH_REDFISH_H

#include "api/site/site.h"
#include "http/server.h"

struct redfish;

/* The site must outlive the service. Only the site's loop and slots must exist already. */
struct redfish *redfish_new(struct site *site);
void redfish_handle(struct redfish *redfish, struct http_request *request);
/* The bodies of the refusals that the server sends by itself, in Redfish's form. */
http_refusal redfish_refusal;
/* Ends those of the user's event streams that belong to no session. */
void redfish_user_changed(struct redfish *redfish, const char *user);
/* Ends the calls under way, and refuses new ones; the slots may go then. */
void redfish_stop(struct redfish *redfish);
void redfish_free(struct redfish *redfish); /* no call may be left */

#endif
