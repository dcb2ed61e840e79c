/*
 * The web server: the page, its API (described in web/api.js), uploads, and the
 * WebSockets over which browsers serve their files. It owns the accounts, their
 * sessions, the certificate and the listening sockets.
 */
#ifndef API_WEB_WEB_H
#define API_WEB_WEB_H

#include <uv.h>

#include "auth/system_accounts.h"
#include "config/config.h"
#include "host/host.h"
#include "slot/slots.h"

#define WEB_LISTENERS_MAX 16

struct web;

/* Is a web server wanted: by the configuration, or by sockets that systemd handed over? */
bool web_is_wanted(const struct config *config, int activation_fds);
/* `activation_fds`: how many were handed over, from ACTIVATION_FIRST_FD on (net/tcp_listener.h);
 * they are taken over. The host must outlive it. NULL on failure, with the reason and what to do. */
struct web *web_new(uv_loop_t *loop, const struct config *config, struct slots *slots, struct host *host,
                    int activation_fds, char error[CONFIG_ERROR_MAX]);
/* The groups whose members are served; all empty when the system's accounts are not. */
void web_groups(const struct config_web *config, struct system_groups *groups);
/* All or nothing. Certificate, accounts and page are read again. */
int web_reload(struct web *web, const struct config *config, char error[CONFIG_ERROR_MAX]);
/* The slots must be closing, or their browsers' connections would stay. `closed` comes once all is freed. */
void web_close(struct web *web, void (*closed)(void *arg), void *arg);

#endif
