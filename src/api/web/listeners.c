/* The web server's sockets. See api/web/internal.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/web/internal.h"
#include "base/log.h"
#include "base/text.h"

#define WHO     "web"
#define BACKLOG 64

/* --- who may come --- */

bool web_has_account(const struct site *site)
{
    for (unsigned i = 0; i < users_count(site->users); i++)
        if (users_at(site->users, i)->enabled)
            return true;
    return users_groups(site->users); /* the system's accounts come and go, and are looked at by and by */
}

/* --- connections --- */

static const struct web_listener *listener_of(const struct web *web, const struct tcp_listener *listener)
{
    for (unsigned i = 0; i < web->listeners.count; i++)
        if (web->listeners.at[i].listener == listener)
            return &web->listeners.at[i];
    return NULL;
}

static unsigned web_listeners_share_of(const void *claim)
{
    return tcp_claim_share(claim);
}

static void on_web_listeners_accept(struct tcp_listener *listener, struct stream *stream, const char *peer,
                                    struct tcp_claim *claim)
{
    struct web *web = tcp_listener_owner(listener);
    const struct web_listener *from = listener_of(web, listener);
    struct http_client client = {.peer = peer, .place = claim, .share = web_listeners_share_of};
    client.anywhere = from && !tcp_listener_is_local(listener);
    if (from && from->tls) {
        stream = tls_stream_new(web->tls, stream);
        client.tls = true;
        client.subject = tls_stream_subject;
        client.common_name = tls_stream_common_name;
    }
    http_server_add_client(web->http, stream, &client);
}

/* --- sockets --- */

static bool web_listeners_refuse(struct web_listener *one, char error[CONFIG_ERROR_MAX], const char *why)
{
    snprintf(error, CONFIG_ERROR_MAX, "web: %.200s: %s", tcp_listener_address(one->listener), why);
    tcp_listener_close(one->listener);
    return false;
}

/* Refuses an address on which others could read along, or that nobody could log in at. */
static bool check_listener(const struct web *web, struct web_listener *one, char error[CONFIG_ERROR_MAX])
{
    bool local = tcp_listener_is_local(one->listener);
    if (!local && !one->tls)
        return web_listeners_refuse(one, error,
                                    "plain HTTP is served on loopback addresses and unix: only (use listen for HTTPS)");
    bool handed_over = !*one->address; /* it is there at the boot, before anybody could add an account: router.c answers 503 */
    if (!local && handed_over && !web_has_account(&web->site))
        log_warning(WHO, "%s: every request is answered 503 until there is an account (add one: nbd-proxy passwd NAME)",
                    tcp_listener_address(one->listener));
    else if (!local && !web_has_account(&web->site))
        return web_listeners_refuse(one, error,
                                    "nobody could log in, so only loopback addresses may be listened on "
                                    "(add an account: nbd-proxy passwd NAME)");
    log_notice(WHO, "listening on %s (%s)", tcp_listener_address(one->listener), one->tls ? "https" : "http");
    return true;
}

static bool open_one(struct web *web, struct web_listener *one, struct tcp_listener_options *options,
                     char error[CONFIG_ERROR_MAX])
{
    int status;
    options->backlog = BACKLOG;
    options->limits = &web->limits;
    options->mode = 0660;
    one->listener =
        tcp_listener_new(web->site.loop, options, on_web_listeners_accept, web, &status, error, CONFIG_ERROR_MAX);
    return one->listener && check_listener(web, one, error);
}

static struct web_listener *web_listeners_find(struct web_listeners *listeners, const char *address, bool tls)
{
    for (unsigned i = 0; i < listeners->count; i++)
        if (strcmp(listeners->at[i].address, address) == 0 && listeners->at[i].tls == tls)
            return &listeners->at[i];
    return NULL;
}

static bool open_address(struct web *web, const char *address, bool tls, struct web_listeners *have,
                         struct web_listeners *now, char error[CONFIG_ERROR_MAX])
{
    struct web_listener *old = web_listeners_find(have, address, tls);
    if (now->count == WEB_LISTENERS_MAX || strlen(address) >= sizeof now->at->address) {
        snprintf(error, CONFIG_ERROR_MAX, "web: %.60s: an address is too long, or there are more than %d", address,
                 WEB_LISTENERS_MAX);
        return false;
    }
    struct web_listener *one = &now->at[now->count];
    if (old) {
        *one = *old;
    } else {
        struct tcp_listener_options options = {.address = address};
        one->tls = tls;
        snprintf(one->address, sizeof one->address, "%s", address);
        if (!open_one(web, one, &options, error))
            return false;
    }
    now->count++;
    return true;
}

static bool open_list(struct web *web, const char *list, bool tls, struct web_listeners *have,
                      struct web_listeners *now, char error[CONFIG_ERROR_MAX])
{
    char *copy = mem_strdup(list), *rest;
    bool good = true;
    for (char *word = strtok_r(copy, " ,\t", &rest); word && good; word = strtok_r(NULL, " ,\t", &rest))
        good = open_address(web, word, tls, have, now, error);
    mem_free(copy);
    return good;
}

static bool web_listeners_is_in(const struct web_listeners *listeners, const struct tcp_listener *listener)
{
    for (unsigned i = 0; i < listeners->count; i++)
        if (listeners->at[i].listener == listener)
            return true;
    return false;
}

static void close_but(struct web_listeners *listeners, const struct web_listeners *keep)
{
    for (unsigned i = 0; i < listeners->count; i++)
        if (!web_listeners_is_in(keep, listeners->at[i].listener))
            tcp_listener_close(listeners->at[i].listener);
}

bool web_listeners_open(struct web *web, const struct config_web *config, struct web_listeners *have,
                        struct web_listeners *now, char error[CONFIG_ERROR_MAX])
{
    now->count = 0;
    for (unsigned i = 0; i < have->count; i++) /* those of systemd stay */
        if (!*have->at[i].address)
            now->at[now->count++] = have->at[i];
    if (open_list(web, config->listen, true, have, now, error) &&
        open_list(web, config->listen_plain, false, have, now, error)) {
        close_but(have, now);
        return true;
    }
    close_but(now, have);
    return false;
}

/* A UNIX socket is for a proxy in front, which speaks TLS itself. */
static bool adopt_one(struct web *web, int fd, char error[CONFIG_ERROR_MAX])
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    struct web_listener *one = &web->listeners.at[web->listeners.count];
    struct tcp_listener_options options = {.fd = fd};
    *one = (struct web_listener){.tls = true};
    if (getsockname(fd, (struct sockaddr *)&address, &length) == 0 && address.ss_family == AF_UNIX)
        one->tls = false;
    if (!open_one(web, one, &options, error))
        return false;
    web->listeners.count++;
    return true;
}

bool web_listeners_adopt(struct web *web, int fds, char error[CONFIG_ERROR_MAX])
{
    for (int i = 0; i < fds; i++) {
        if (web->listeners.count == WEB_LISTENERS_MAX) {
            snprintf(error, CONFIG_ERROR_MAX, "web: systemd handed over more than %d sockets", WEB_LISTENERS_MAX);
            return false;
        }
        if (!adopt_one(web, ACTIVATION_FIRST_FD + i, error))
            return false;
    }
    return true;
}

void web_listeners_close(struct web_listeners *listeners)
{
    static const struct web_listeners none;
    close_but(listeners, &none);
    listeners->count = 0;
}
