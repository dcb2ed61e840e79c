/* Redfish (DMTF DSP0266): a door of the web server, /redfish. The resources are described in nbd-proxy-redfish(7). */
#ifndef API_REDFISH_REDFISH_H
#define API_REDFISH_REDFISH_H

#include "api/site/site.h"
#include "http/server.h"

struct redfish;

/* The site must outlive the service. What is in the site may be made later, but for its loop and slots. */
struct redfish *redfish_new(struct site *site);
void redfish_handle(struct redfish *redfish, struct http_request *request);
/* What the server refuses by itself, in Redfish's form. */
http_refusal redfish_refusal;
/* Ends the user's streams of events that have no session. */
void redfish_user_changed(struct redfish *redfish, const char *user);
/* Ends what is under way, and refuses what is to come; the slots may go. */
void redfish_stop(struct redfish *redfish);
void redfish_free(struct redfish *redfish); /* no call is left */

#endif
