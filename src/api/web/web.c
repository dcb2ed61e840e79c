#include "api/web/web.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/site/access.h"
#include "api/web/internal.h"
#include "base/log.h"
#include "base/text.h"

#define WHO          "web"
#define CERTIFICATES "slot-certificates.json" /* beside the accounts */
#define OWN_CERTIFICATES "slot-client-certificates.json"
#define SESSIONS "sessions.json" /* in the runtime folder: they last as long as a boot */
#define SUBSCRIPTIONS "event-subscriptions.json" /* likewise */

bool web_is_wanted(const struct config *config, int activation_fds)
{
    return activation_fds > 0 || *config->web.listen || *config->web.listen_plain;
}

/* --- its parts --- */

static bool set_origins(struct web *web, const struct config_web *config, char error[CONFIG_ERROR_MAX])
{
    char *text = mem_strdup(config->origins), *rest;
    const char *origins[SITE_ORIGINS_MAX + 1] = {NULL};
    unsigned count = 0;
    for (char *word = strtok_r(text, " ,\t", &rest); word; word = strtok_r(NULL, " ,\t", &rest)) {
        if (count == SITE_ORIGINS_MAX || !strstr(word, "://")) {
            snprintf(error, CONFIG_ERROR_MAX, "web: origins: expected up to %d like https://console.example.org",
                     SITE_ORIGINS_MAX);
            mem_free(text);
            return false;
        }
        origins[count++] = word;
    }
    mem_free(web->origins_text);
    web->origins_text = text;
    memcpy(web->site.origins, origins, sizeof origins);
    return true;
}

static void load_pages(struct web *web, const struct config_web *config)
{
    if (web->parts.pages)
        pages_free(web->parts.pages);
    web->parts.pages = pages_new(*config->directory ? config->directory : PAGEDIR);
}

static void on_web_user_changed(struct users_watch *watch, const char *name)
{
    struct web *web = container_of(watch, struct web, users_watch);
    media_user_changed(web->parts.media, name);
    if (web->parts.closing) /* all other parts have ended */
        return;
    events_user_changed(web->parts.events, name);
    redfish_user_changed(web->parts.redfish, name);
    if (web->parts.uploads)
        uploads_user_changed(web->parts.uploads, name);
}

static bool has_session(void *arg, const char *name, const char *peer)
{
    struct web *web = arg;
    return sessions_any_from(web->site.sessions, name, peer);
}

void web_groups(const struct config_web *config, struct system_groups *groups)
{
    bool pam = config->accounts & ACCOUNTS_PAM;
    snprintf(groups->of[AUTH_ADMINISTRATOR], SYSTEM_GROUPS_MAX, "%s", pam ? config->administrator_groups : "");
    snprintf(groups->of[AUTH_OPERATOR], SYSTEM_GROUPS_MAX, "%s", pam ? config->operator_groups : "");
    snprintf(groups->of[AUTH_READ_ONLY], SYSTEM_GROUPS_MAX, "%s", pam ? config->read_only_groups : "");
}

static char *web_sessions_path(const struct config *config)
{
    size_t size = strlen(config->runtime_dir) + strlen(SESSIONS) + 2;
    char *path = mem_alloc(size);
    snprintf(path, size, "%s/%s", config->runtime_dir, SESSIONS);
    return path;
}

static bool open_accounts(struct web *web, const struct config_web *config, char error[CONFIG_ERROR_MAX])
{
    char *path = web_users_path(config);
    access_name_cookie(&web->site, path);
    struct system_groups groups;
    struct users_options users = {.path = config->accounts & ACCOUNTS_FILE ? path : NULL,
                                  .groups = config->accounts & ACCOUNTS_PAM ? &groups : NULL,
                                  .password_min = (unsigned)config->password_min_length};
    web_groups(config, &groups);
    struct auth_options auth = AUTH_OPTIONS_DEFAULT;
    auth.has_session = has_session;
    auth.has_session_arg = web;
    char *kept = web_sessions_path(&web->site.config);
    struct sessions_options sessions = {
        .idle_ms = config->session_idle_ms, .age_ms = config->session_age_ms, .path = kept};
    web->site.users = users_new(web->site.loop, &users, error);
    if (web->site.users) {
        web->site.auth = auth_new(web->site.loop, web->site.users, &auth);
        web->site.sessions = sessions_new(web->site.loop, web->site.users, &sessions);
        web->users_watch.changed = on_web_user_changed;
        users_watch(web->site.users, &web->users_watch);
        if (!users.groups && users_count(web->site.users) == 0)
            log_warning(WHO, "nobody can log in: %s has no account (add one: nbd-proxy passwd NAME)", path);
    }
    mem_free(kept);
    mem_free(path);
    return web->site.users;
}

static bool web_is_inserted(void *arg, const char *name)
{
    struct web *web = arg;
    return slots_use_upload(web->site.slots, name);
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
    web->store = store_new(web->site.loop, &options, error);
    web->parts.store = web->store;
    if (web->store)
        web->parts.uploads = uploads_new(web->store, web_is_inserted, web);
    return web->store;
}

static bool open_tls(struct web *web, const struct config_web *config, int activation_fds, char error[CONFIG_ERROR_MAX])
{
    if (web->tls || (!*config->listen && activation_fds == 0))
        return true;
    web->tls = web_tls_new(config, error);
    web_certificate_tell(web);
    return web->tls;
}

static struct http_server *server_new(struct web *web)
{
    struct http_server_options options = {
        .who = WHO,
        .handler = router_handle,
        .arg = &web->parts,
        .refusal = router_refusal,
        .max_connections = (unsigned)web->site.config.web.connections,
    };
    return http_server_new(web->site.loop, &options);
}

static bool web_make_room(void *arg)
{
    struct web *web = arg;
    return web->http && http_server_make_room(web->http);
}

static void on_media_gone(void *arg);

static void web_make_parts(struct web *web)
{
    const struct config_web *config = &web->site.config.web;
    web->site.certificates = certificate_store_new(web->site.loop, web_beside_users(config, CERTIFICATES), NULL);
    web->site.own_certificates = certificate_store_new(web->site.loop, web_beside_users(config, OWN_CERTIFICATES),
                                                       &web->site.config.state_secrets);
    web->parts.site = &web->site;
    web->parts.media = media_new(&web->site, on_media_gone, web);
    web->parts.events = events_new(&web->site);
    web->parts.redfish = redfish_new(&web->site, web_beside_users(config, SUBSCRIPTIONS));
    load_pages(web, config);
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
    web->site.loop = loop;
    uv_timer_init(loop, &web->certificate_look);
    web->certificate_look.data = web;
    secret_token(web->site.instance);
    web->site.slots = slots;
    web->site.host = host;
    config_copy(&web->site.config, config);
    address_prefixes_parse(&web->site.proxies, config->web.trusted_proxies);
    tcp_limits_init(&web->limits, (unsigned)config->web.connections, (unsigned)config->web.connections_each);
    web->limits.proxies = &web->site.proxies;
    web->limits.make_room = web_make_room;
    web->limits.make_room_arg = web;
    web->parts.http = web->http = server_new(web);
    web_make_parts(web);
    if (set_origins(web, &config->web, error) && open_accounts(web, &config->web, error) &&
        open_store(web, &config->web, error) && open_tls(web, &config->web, activation_fds, error) &&
        web_listeners_adopt(web, activation_fds, error) &&
        web_listeners_open(web, &config->web, &web->listeners, &listeners, error)) {
        web->listeners = listeners;
        web_certificate_watch(web);
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
    if (a->accounts != b->accounts || strcmp(a->administrator_groups, b->administrator_groups) != 0 ||
        strcmp(a->operator_groups, b->operator_groups) != 0 || strcmp(a->read_only_groups, b->read_only_groups) != 0)
        return "accounts and the groups of its roles";
    if (strcmp(a->upload_directory, b->upload_directory) != 0 || a->upload_size != b->upload_size ||
        a->upload_free != b->upload_free)
        return "upload-directory, -size and -free";
    if (a->password_min_length != b->password_min_length)
        return "password-min-length";
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

/* Gives the old context with its files read again, or a new one to take its place. */
static bool reload_tls(struct web *web, const struct config_web *config, struct tls_context **tls,
                       char error[CONFIG_ERROR_MAX])
{
    *tls = web->tls;
    if (web->tls && same_tls(&web->site.config.web, config))
        return web_tls_reload(web->tls, config, error);
    if (!web->tls && !*config->listen)
        return true;
    *tls = web_tls_new(config, error);
    return *tls;
}

int web_reload(struct web *web, const struct config *config, char error[CONFIG_ERROR_MAX])
{
    struct web_listeners listeners;
    struct tls_context *tls, *old = web->tls;
    const char *fixed = fixed_key(&web->site.config.web, &config->web);
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
        set_origins(web, &web->site.config.web, ignored);
        web->tls = old;
        if (tls != old)
            tls_context_free(tls);
        return -1;
    }
    if (tls != old)
        tls_context_free(old);
    web->listeners = listeners;
    web->limits.max_each = (unsigned)config->web.connections_each;
    address_prefixes_parse(&web->site.proxies, config->web.trusted_proxies);
    load_pages(web, &config->web);
    users_reload(web->site.users);
    config_free(&web->site.config);
    config_copy(&web->site.config, config);
    web_certificate_tell(web);
    web_certificate_watch(web);
    return 0;
}

/* --- the end --- */

static void on_web_handles_closed(struct closing *handles)
{
    struct web *web = container_of(handles, struct web, handles);
    void (*closed)(void *arg) = web->closed;
    void *closed_arg = web->closed_arg;
    redfish_free(web->parts.redfish);
    media_free(web->parts.media);
    tls_context_free(web->tls);
    pages_free(web->parts.pages);
    mem_free(web->origins_text);
    config_free(&web->site.config);
    mem_free(web);
    closed(closed_arg);
}

static void on_certificates_written(void *arg)
{
    struct web *web = arg;
    closing_begin(&web->handles, web->site.loop, on_web_handles_closed);
    closing_add(&web->handles, (uv_handle_t *)&web->certificate_look);
    closing_end(&web->handles);
}

static void on_own_certificates_written(void *arg)
{
    struct web *web = arg;
    certificate_store_close(web->site.certificates, on_certificates_written, web);
}

static void on_calls_over(void *arg)
{
    struct web *web = arg;
    certificate_store_close(web->site.own_certificates, on_own_certificates_written, web);
}

static void on_users_closed(void *arg)
{
    struct web *web = arg;
    redfish_settle(web->parts.redfish, on_calls_over, web);
}

static void on_auth_closed(void *arg)
{
    struct web *web = arg;
    users_unwatch(&web->users_watch);
    users_close(web->site.users, on_users_closed, web);
}

static void on_sessions_closed(void *arg)
{
    struct web *web = arg;
    auth_close(web->site.auth, on_auth_closed, web);
}

static void on_store_closed(void *arg)
{
    struct web *web = arg;
    if (web->site.users)
        sessions_close(web->site.sessions, on_sessions_closed, web);
    else
        on_users_closed(web);
}

static void close_store(struct web *web)
{
    if (web->parts.uploads)
        uploads_free(web->parts.uploads);
    if (web->store)
        store_close(web->store, on_store_closed, web);
    else
        on_store_closed(web);
}

/* A browser's connection belongs to its slot and may outlive the server: what connections need is closed once the last
 * one is gone. */
static void on_media_gone(void *arg)
{
    struct web *web = arg;
    if (web->parts.closing && !web->http && !media_is_connected(web->parts.media))
        close_store(web);
}

static void on_http_closed(void *arg)
{
    struct web *web = arg;
    web->http = NULL;
    on_media_gone(web);
}

void web_close(struct web *web, void (*closed)(void *arg), void *arg)
{
    web->parts.closing = true;
    web->closed = closed;
    web->closed_arg = arg;
    web_listeners_close(&web->listeners);
    events_close(web->parts.events);
    redfish_stop(web->parts.redfish);
    http_server_close(web->http, on_http_closed, web);
}
