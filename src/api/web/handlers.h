/*
 * What answers the web server's requests, apart from Redfish (api/redfish/redfish.h): router.c looks which handler it
 * is, and these are the handlers. None of them knows the server; web.c makes them, and hands them to the router.
 */
#ifndef API_WEB_HANDLERS_H
#define API_WEB_HANDLERS_H

#include "api/json.h"
#include "api/redfish/redfish.h"
#include "api/site/site.h"
#include "api/web/uploads.h"
#include "store/store.h"

#define MEDIA_NAME_MAX 256 /* of a file in a browser */
/* What is changed in the file, as parameters of the WebSocket's URL, and their bounds. */
#define MEDIA_KERNEL_ARGS  "kernel-args"
#define MEDIA_MENU_TIMEOUT "menu-timeout"
#define MEDIA_MENU_DEFAULT "menu-default"
#define MEDIA_ARGUMENTS_MAX 2001
#define MEDIA_TIMEOUT_MAX   16
#define MEDIA_DEFAULT_MAX   201

/* What requests are handed to. */
struct web_parts {
    struct site *site;
    struct pages *pages;
    struct events *events;
    struct uploads *uploads; /* NULL: there are none */
    struct store *store;     /* theirs; NULL likewise */
    struct media *media;
    struct redfish *redfish;
    const struct http_server *http; /* to count its connections */
    bool closing; /* requests are refused, but by Redfish in its own words */
};

/* A handler of the page's API. `words` are the path's segments; the last is followed by NULL. */
typedef void web_handler(const struct web_parts *parts, struct http_request *request, const struct api_caller *caller,
                         char **words);

/* --- listeners.c --- */
bool web_has_account(const struct site *site); /* one that may log in, as far as is known */

/* --- router.c --- */
void router_handle(struct http_request *request, void *arg); /* http_handler of the server; arg: struct web_parts */
http_refusal router_refusal;

/* --- login.c: /api/session --- */
void login_handle(const struct web_parts *parts, struct http_request *request);

/* --- slot_shown.c: /api/slots, what is in them --- */
web_handler slot_shown_list, slot_shown_heat, slot_shown_report, slot_shown_profile;
json_t *slot_shown_status(struct site *site);
/* NULL: there is none of that name, and the request is answered. */
struct slot *slot_shown_find(struct site *site, struct http_request *request, const char *name);

/* --- slot_routes.c: /api/slots, what changes them --- */
web_handler slot_routes_insert, slot_routes_eject, slot_routes_dismiss, slot_routes_ticket;

/* --- metrics_route.c: /metrics --- */
void metrics_handle(const struct web_parts *parts, struct http_request *request);

/* --- download.c: /api/uploads/NAME and /api/slots/NAME/medium, what is in them --- */
web_handler download_stored, download_medium;

/* --- sticks.c: POST /api/uploads/NAME --- */
web_handler stick_make;

/* --- slot_events.c: /api/events --- */
struct events *events_new(struct site *site);
web_handler events_handle;
/* Ends those of the user's streams that belong to no session. */
void events_user_changed(struct events *events, const char *user);
/* Ends the streams; the events are freed. */
void events_close(struct events *events);

/* --- browser_media.c: WebSockets --- */
/* `gone` is called whenever a slot has let go of a connection, which is freed then. */
struct media *media_new(struct site *site, void (*gone)(void *arg), void *arg);
void media_free(struct media *media);               /* there is no connection any more */
bool media_is_connected(const struct media *media); /* is there a connection that a slot has? */
bool media_is_path(const struct media *media, const struct http_request *request);
void media_handle(struct media *media, struct http_request *request);
/* What browsers serve by that session, as [{"slot", "name"}]. */
json_t *media_of_session(const struct media *media, const struct session *session);
void media_user_changed(struct media *media, const char *user); /* ends that user's connections */
/* A ticket's purpose binds the slot and what the page said of the image. */
void media_purpose(const char *slot, const char *name, const char *claim, char purpose[SESSION_PURPOSE_MAX]);

/* --- pages.c --- */
struct pages *pages_new(const char *directory); /* never NULL; a missing directory is logged */
void pages_free(struct pages *pages);
void pages_handle(const struct pages *pages, struct http_request *request);

#endif
