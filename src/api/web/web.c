#include "api/web/web.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/web/internal.h"
#include "base/log.h"
#include "base/text.h"

#define WHO "web"

bool web_is_wanted(const struct config *config, int activation_fds)
{
    return activation_fds > 0 || *config->web.listen || *config->web.listen_plain;
}

/* --- its parts --- */

static bool set_origins(struct web *web, const struct config_web *config, char error[CONFIG_ERROR_MAX])
{
    char *text = mem_strdup(config->origins), *rest;
    const char *origins[WEB_ORIGINS_MAX + 1] = {NULL};
    unsigned count = 0;
    for (char *word = strtok_r(text, " ,\t", &rest); word; word = strtok_r(NULL, " ,\t", &rest)) {
        if (count == WEB_ORIGINS_MAX || !strstr(word, "://")) {
            snprintf(error, CONFIG_ERROR_MAX, "web: origins: expected up to %d like https://console.example.org", WEB_ORIGINS_MAX);
            mem_free(text);
            return false;
        }
        origins[count++] = word;
    }
    mem_free(web->origins_text);
    web->origins_text = text;
    memcpy(web->origins, origins, sizeof origins);
    return true;
}

static void load_pages(struct web *web, const struct config_web *config)
{
    if (web->pages)
        pages_free(web->pages);
    web->pages = pages_new(*config->directory ? config->directory : PAGEDIR);
}

static void on_web_user_changed(struct users_watch *watch, const char *name)
{
    struct web *web = container_of(watch, struct web, users_watch);
    media_user_changed(web, name);
    if (web->closing) /* the others have ended */
        return;
    events_user_changed(web->events, name);
    redfish_user_changed(web, name);
    if (web->uploads)
        uploads_user_changed(web->uploads, name);
}

static bool has_session(void *arg, const char *name, const char *peer)
{
    struct web *web = arg;
    return sessions_any_from(web->sessions, name, peer);
}

static bool open_accounts(struct web *web, const struct config_web *config, char error[CONFIG_ERROR_MAX])
{
    char *path = web_users_path(config);
    struct users_options users = {.path = path};
    struct auth_options auth = AUTH_OPTIONS_DEFAULT;
    auth.has_session = has_session;
    auth.has_session_arg = web;
    struct sessions_options sessions = {.idle_ms = config->session_idle_ms, .age_ms = config->session_age_ms};
    web->users = users_new(web->loop, &users, error);
    if (web->users) {
        web->auth = auth_new(web->loop, web->users, &auth);
        web->sessions = sessions_new(web->loop, web->users, &sessions);
        web->users_watch.changed = on_web_user_changed;
        users_watch(web->users, &web->users_watch);
        if (users_get_table(web->users)->count == 0)
            log_warning(WHO, "nobody can log in: %s has no account (add one: nbd-proxy passwd NAME)", path);
    }
    mem_free(path);
    return web->users;
}

static bool is_inserted(void *arg, const char *name)
{
    struct web *web = arg;
    return slots_use_upload(web->slots, name);
}

static bool open_store(struct web *web, const struct config_web *config, char error[CONFIG_ERROR_MAX])
{
    if (!*config->upload_directory)
        return true;
    struct store_options options = {
        .directory = config->upload_directory,
        .max_bytes = config->upload_size,
        .keep_free = config->upload_free,
    };
    web->store = store_new(web->loop, &options, error);
    if (web->store)
        web->uploads = uploads_new(web->store, is_inserted, web);
    return web->store;
}

static bool open_tls(struct web *web, const struct config_web *config, int activation_fds, char error[CONFIG_ERROR_MAX])
{
    if (web->tls || (!*config->listen && activation_fds == 0))
        return true;
    web->tls = web_tls_new(config, error);
    return web->tls;
}

static struct http_server *server_new(struct web *web)
{
    struct http_server_options options = {
        .who = WHO,
        .handler = router_handle,
        .arg = web,
        .refusal = router_refusal,
        .max_connections = (unsigned)web->config.web.connections,
    };
    return http_server_new(web->loop, &options);
}

static bool web_make_room(void *arg)
{
    struct web *web = arg;
    return web->http && http_server_make_room(web->http);
}

static void ignore(void *arg)
{
    (void)arg;
}

struct web *web_new(uv_loop_t *loop, const struct config *config, struct slots *slots, struct host *host,
                    int activation_fds, char error[CONFIG_ERROR_MAX])
{
    struct web *web = mem_alloc(sizeof *web);
    struct web_listeners listeners;
    web->loop = loop;
    web->slots = slots;
    web->host = host;
    list_init(&web->media);
    config_copy(&web->config, config);
    address_prefixes_parse(&web->proxies, config->web.trusted_proxies);
    tcp_limits_init(&web->limits, (unsigned)config->web.connections, (unsigned)config->web.connections_each);
    web->limits.proxies = &web->proxies;
    web->limits.make_room = web_make_room;
    web->limits.make_room_arg = web;
    web->http = server_new(web);
    web->events = events_new(web);
    web->redfish = redfish_new();
    redfish_start(web);
    load_pages(web, &config->web);
    if (set_origins(web, &config->web, error) && open_accounts(web, &config->web, error) &&
        open_store(web, &config->web, error) && open_tls(web, &config->web, activation_fds, error) &&
        web_listeners_adopt(web, activation_fds, error) &&
        web_listeners_open(web, &config->web, &web->listeners, &listeners, error)) {
        web->listeners = listeners;
        return web;
    }
    web_close(web, ignore, NULL);
    return NULL;
}

/* --- reload --- */

static const char *fixed_key(const struct config_web *a, const struct config_web *b)
{
    if (strcmp(a->users_file, b->users_file) != 0)
        return "users-file";
    if (strcmp(a->upload_directory, b->upload_directory) != 0 || a->upload_size != b->upload_size ||
        a->upload_free != b->upload_free)
        return "upload-directory, -size and -free";
    if (a->session_idle_ms != b->session_idle_ms || a->session_age_ms != b->session_age_ms)
        return "session-idle and -age";
    if (a->connections != b->connections)
        return "web-connections";
    return NULL;
}

static bool same_tls(const struct config_web *a, const struct config_web *b)
{
    return strcmp(a->certificate, b->certificate) == 0 && strcmp(a->certificate_key, b->certificate_key) == 0 &&
           strcmp(a->client_ca, b->client_ca) == 0 && a->client_certificates == b->client_certificates;
}

/* A context that is new, or read anew, takes the old one's place. */
static bool reload_tls(struct web *web, const struct config_web *config, struct tls_context **tls,
                       char error[CONFIG_ERROR_MAX])
{
    *tls = web->tls;
    if (web->tls && same_tls(&web->config.web, config))
        return tls_context_reload(web->tls, error, CONFIG_ERROR_MAX);
    if (!web->tls && !*config->listen)
        return true;
    *tls = web_tls_new(config, error);
    return *tls;
}

int web_reload(struct web *web, const struct config *config, char error[CONFIG_ERROR_MAX])
{
    struct web_listeners listeners;
    struct tls_context *tls, *old = web->tls;
    const char *fixed = fixed_key(&web->config.web, &config->web);
    if (fixed) {
        snprintf(error, CONFIG_ERROR_MAX, "web: %s can't change while the daemon runs (restart it)", fixed);
        return -1;
    }
    if (!reload_tls(web, &config->web, &tls, error))
        return -1;
    web->tls = tls;
    if (!set_origins(web, &config->web, error) ||
        !web_listeners_open(web, &config->web, &web->listeners, &listeners, error)) {
        char ignored[CONFIG_ERROR_MAX];
        set_origins(web, &web->config.web, ignored);
        web->tls = old;
        if (tls != old)
            tls_context_free(tls);
        return -1;
    }
    if (tls != old)
        tls_context_free(old);
    web->listeners = listeners;
    web->limits.max_each = (unsigned)config->web.connections_each;
    address_prefixes_parse(&web->proxies, config->web.trusted_proxies);
    load_pages(web, &config->web);
    users_reload(web->users);
    config_free(&web->config);
    config_copy(&web->config, config);
    return 0;
}

/* --- the end --- */

static void on_redfish_closed(void *arg)
{
    struct web *web = arg;
    void (*closed)(void *arg) = web->closed;
    void *closed_arg = web->closed_arg;
    tls_context_free(web->tls);
    pages_free(web->pages);
    mem_free(web->origins_text);
    config_free(&web->config);
    mem_free(web);
    closed(closed_arg);
}

static void on_users_closed(void *arg)
{
    struct web *web = arg;
    redfish_close(web, on_redfish_closed, web);
}

static void on_auth_closed(void *arg)
{
    struct web *web = arg;
    users_unwatch(&web->users_watch);
    users_close(web->users, on_users_closed, web);
}

static void on_sessions_closed(void *arg)
{
    struct web *web = arg;
    auth_close(web->auth, on_auth_closed, web);
}

static void on_store_closed(void *arg)
{
    struct web *web = arg;
    if (web->users)
        sessions_close(web->sessions, on_sessions_closed, web);
    else
        on_users_closed(web);
}

static void close_store(struct web *web)
{
    if (web->uploads)
        uploads_free(web->uploads);
    if (web->store)
        store_close(web->store, on_store_closed, web);
    else
        on_store_closed(web);
}

void web_media_gone(struct web *web)
{
    if (web->closing && !web->http && list_empty(&web->media))
        close_store(web);
}

static void on_http_closed(void *arg)
{
    struct web *web = arg;
    web->http = NULL;
    web_media_gone(web);
}

void web_close(struct web *web, void (*closed)(void *arg), void *arg)
{
    web->closing = true;
    web->closed = closed;
    web->closed_arg = arg;
    web_listeners_close(&web->listeners);
    events_close(web->events);
    redfish_stop(web);
    http_server_close(web->http, on_http_closed, web);
}
