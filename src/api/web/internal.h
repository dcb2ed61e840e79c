/*
 * The web server itself: web.c (its life), certificate.c and listeners.c (its sockets). The handlers of requests know
 * nothing of it: see handlers.h.
 */
#ifndef API_WEB_INTERNAL_H
#define API_WEB_INTERNAL_H

#include "api/web/handlers.h"
#include "api/web/web.h"
#include "base/closing.h"
#include "net/tcp_listener.h"
#include "net/tls.h"
#include "store/store.h"

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
    struct site site;
    struct web_parts parts;
    char *origins_text;  /* the site's origins are in it */
    struct store *store; /* NULL: no uploads */
    struct users_watch users_watch;
    struct tls_context *tls; /* NULL: no HTTPS */
    uv_timer_t certificate_look;
    struct closing handles;
    struct tcp_limits limits;
    struct web_listeners listeners;
    struct http_server *http;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* --- certificate.c --- */

/* The certificate of the configuration; one is made when there is none. */
struct tls_context *web_tls_new(const struct config_web *config, char error[CONFIG_ERROR_MAX]);
/* Reads the files again; one of our own is made anew if it is due. On failure all stays. */
bool web_tls_reload(struct tls_context *context, const struct config_web *config, char error[CONFIG_ERROR_MAX]);
void web_certificate_tell(struct web *web);  /* the site's pages, and the log, which one is shown now */
void web_certificate_watch(struct web *web); /* from now on, or again */
char *web_users_path(const struct config_web *config); /* for mem_free() */
char *web_beside_users(const struct config_web *config, const char *name); /* also: a file in the same folder */

/* --- listeners.c --- */

/* Makes `now` of the listeners that the configuration names: those in `have` are taken over, the
 * others are opened. On failure the opened ones are closed, and `have` is as it was. */
bool web_listeners_open(struct web *web, const struct config_web *config, struct web_listeners *have,
                        struct web_listeners *now, char error[CONFIG_ERROR_MAX]);
bool web_listeners_adopt(struct web *web, int fds, char error[CONFIG_ERROR_MAX]); /* those that systemd handed over */
void web_listeners_close(struct web_listeners *listeners);

#endif
