/*
 * The web server's inside, shared by web.c (its life), listeners.c (sockets and
 * TLS), router.c (which handler), authorize.c (who asks), and the handlers: login.c,
 * slot_routes.c, slot_events.c, browser_media.c, pages.c, uploads.c. Private to api/.
 */
#ifndef API_WEB_INTERNAL_H
#define API_WEB_INTERNAL_H

#include "api/json.h"
#include "api/web/uploads.h"
#include "api/web/web.h"
#include "auth/auth.h"
#include "auth/sessions.h"
#include "auth/users.h"
#include "base/list.h"
#include "http/server.h"
#include "net/address.h"
#include "net/tcp_listener.h"
#include "net/tls.h"
#include "store/store.h"

#define WEB_BODY_MAX      (64u << 10) /* of a request in JSON */
#define WEB_LOGIN_MAX     (4u << 10)  /* of one that nobody has vouched for yet */
#define WEB_PEER_MAX      SESSION_PEER_MAX
#define WEB_ORIGINS_MAX   16
#define MEDIA_NAME_MAX    256 /* of a file in a browser */
#define WEB_COOKIE        "__Host-nbd-proxy"
#define WEB_CSRF_COOKIE   "XSRF-TOKEN" /* webui-vue offers its value as the WebSocket's subprotocol */

struct web_listener {
    struct tcp_listener *listener;
    char address[128]; /* as configured; "" for one that systemd handed over */
    bool tls;
};

struct web_listeners {
    struct web_listener at[WEB_LISTENERS_MAX];
    unsigned count;
};

struct web {
    uv_loop_t *loop;
    struct config config; /* a copy */
    const char *origins[WEB_ORIGINS_MAX + 1]; /* into origins_text; NULL at the end */
    char *origins_text;
    struct slots *slots;
    struct host *host;
    struct users *users;
    struct auth *auth;
    struct sessions *sessions;
    struct tls_context *tls; /* NULL: no HTTPS */
    struct address_prefixes proxies; /* whose word on who asks is taken */
    struct tcp_limits limits;
    struct web_listeners listeners;
    struct http_server *http;
    struct pages *pages;
    struct events *events;
    struct store *store; /* NULL: no uploads */
    struct uploads *uploads;
    struct redfish *redfish;
    struct users_watch users_watch;
    struct link media; /* struct media_link */

    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* --- web.c --- */
void web_media_gone(struct web *web); /* the last link was freed */

/* --- listeners.c --- */

/* The certificate of the configuration; one is made when there is none. */
struct tls_context *web_tls_new(const struct config_web *config, char error[CONFIG_ERROR_MAX]);
char *web_users_path(const struct config_web *config); /* for mem_free() */
char *web_beside_users(const struct config_web *config, const char *name); /* the same: a file of the same folder */
/* Opens what the configuration names and `have` has not got; what both have is taken over from it.
 * On failure closes what it opened, and `have` is as it was. */
bool web_listeners_open(struct web *web, const struct config_web *config, struct web_listeners *have,
                        struct web_listeners *now, char error[CONFIG_ERROR_MAX]);
bool web_listeners_adopt(struct web *web, int fds, char error[CONFIG_ERROR_MAX]); /* of systemd */
void web_listeners_close(struct web_listeners *listeners);

/* --- router.c --- */

typedef void web_handler(struct web *web, struct http_request *request, const struct api_caller *caller, char **words);
void router_handle(struct http_request *request, void *arg); /* http_handler of the server; arg: the web */
http_refusal router_refusal;

/* --- authorize.c --- */

typedef void access_done(struct web *web, struct http_request *request, const struct api_caller *caller);
/* Answers one who may not come in: -EACCES (who is it?), -EPERM, -EAGAIN (locked), -EBUSY. */
typedef void access_refusal(struct web *web, struct http_request *request, int status, uint64_t retry_ms,
                            const char *words);
struct access_door {
    bool cookies; /* the page's one counts; changes need the CSRF token too */
    access_done *done;
    access_refusal *refuse;
};
/* Client certificate, X-Auth-Token, the page's cookie, Basic. Requests for a change that come from
 * another site's page are refused. `done` is called, inside the call or later, when somebody is
 * known to ask; else `refuse`: both answer, or take the request over (http/server.h). */
void access_check(struct web *web, struct http_request *request, const struct access_door *door);
access_refusal access_refuse_page; /* in the words of /api */
/* The answer to a failed auth_verify(): 401, 429 or 503. */
void access_refuse(struct http_request *request, int status, uint64_t retry_ms);
/* The account is still there, enabled and of that role: for who asked some time ago. */
bool access_still_allowed(const struct web *web, const char *name, enum auth_role role);
/* The token of the page's cookie, which is no session yet; false: there is none. */
bool access_cookie(const struct http_request *request, char token[SECRET_TEXT]);
bool access_origin_allowed(const struct web *web, const struct http_request *request);
/* Answers 403 to a request for a change that comes from another site's page; false: it does not. */
bool access_refuse_foreign(const struct web *web, struct http_request *request);
/* Who asks: the address of the peer, without the port, or what a proxy of ours says. */
void access_peer(const struct web *web, const struct http_request *request, char peer[WEB_PEER_MAX]);
/* A request has come: its connection counts as one of who asks, who is nobody yet. False: he has too many; it is
 * answered. */
bool access_arrived(struct web *web, struct http_request *request);

/* --- login.c: /api/session --- */
void login_handle(struct web *web, struct http_request *request);

/* --- slot_routes.c: /api/slots --- */
web_handler slot_routes_list, slot_routes_heat, slot_routes_insert, slot_routes_eject, slot_routes_ticket;
json_t *slot_routes_status(struct web *web);

/* --- redfish.c: /redfish --- */
struct redfish *redfish_new(void);
void redfish_free(struct redfish *redfish);
void redfish_start(struct web *web); /* web->redfish; the accounts are there */
void redfish_stop(struct web *web);  /* ends what is under way; the slots may go */
void redfish_close(struct web *web, void (*closed)(void *arg), void *arg); /* frees it */
/* The certificates that an insert into that slot trusts beside the configured ones, for mem_free(); NULL: none. */
char *redfish_trusted(const struct web *web, const char *slot);
void redfish_handle(struct web *web, struct http_request *request);
void redfish_user_changed(struct web *web, const char *user); /* as events_user_changed() */
http_refusal redfish_refusal; /* for what is below /redfish */

/* --- slot_events.c: /api/events --- */
struct events *events_new(struct web *web);
web_handler events_handle;
/* Ends the streams of the user's that have no session. */
void events_user_changed(struct events *events, const char *user);
/* Ends the streams, and frees itself. */
void events_close(struct events *events);

/* --- browser_media.c: WebSockets --- */
bool media_is_path(const struct web *web, const struct http_request *request);
void media_handle(struct web *web, struct http_request *request);
void media_user_changed(struct web *web, const char *user);
/* A ticket's purpose binds the slot and what the page said of the image. */
void media_purpose(const char *slot, const char *name, const char *claim, char purpose[SESSION_PURPOSE_MAX]);

/* --- pages.c --- */
struct pages *pages_new(const char *directory); /* never NULL; a missing directory is logged */
void pages_free(struct pages *pages);
void pages_handle(const struct pages *pages, struct http_request *request);

#endif
