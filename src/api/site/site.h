/*
 * What stands behind the web server's requests, whatever is asked for: the page's API and Redfish work with
 * this, and not with the server. web.c owns it, and makes its parts; it outlives every request.
 */
#ifndef API_SITE_SITE_H
#define API_SITE_SITE_H

#include <uv.h>

#include "api/site/certificate_store.h"
#include "auth/auth.h"
#include "auth/sessions.h"
#include "auth/users.h"
#include "config/config.h"
#include "host/host.h"
#include "net/address.h"
#include "slot/slots.h"

#define SITE_BODY_MAX    (64u << 10) /* of a request in JSON */
#define SITE_LOGIN_MAX   (4u << 10)  /* of a request from somebody who has not logged in yet */
#define SITE_PEER_MAX    SESSION_PEER_MAX
#define SITE_ORIGINS_MAX 16
#define SITE_COOKIE_MAX  32
#define SITE_INSTANCE_MAX SECRET_TEXT

struct site_certificate { /* that our own HTTPS shows */
    char sha256[96];      /* "AB:CD:..."; "": there is none */
    time_t expires;
    bool own;             /* signed by this host */
};

struct site {
    uv_loop_t *loop;
    struct config config; /* a copy, in place of which a reload puts another */
    struct slots *slots;
    struct host *host;
    struct users *users;
    struct auth *auth;
    struct sessions *sessions;
    struct site_certificate certificate;
    char instance[SITE_INSTANCE_MAX]; /* of the process: another one after each start */
    char cookie[SITE_COOKIE_MAX]; /* the name of our page's: one of this daemon's own (web.c) */
    struct certificate_store *certificates;     /* that slots trust */
    struct certificate_store *own_certificates; /* that they show */
    const char *origins[SITE_ORIGINS_MAX + 1]; /* pages of these may send changes, too; NULL at the end */
    struct address_prefixes proxies;           /* whose word on who asks is taken */
};

#endif
