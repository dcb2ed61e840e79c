/*
 * The web server's certificate: the configuration's, or one that the host signs for itself. That one is made anew, with the
 * key that it has, when it is not right any more: it ends, the clock was set, the host has another name or a further
 * address. This is looked at each minute, and at a reload. See api/web/internal.h.
 */
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/web/internal.h"
#include "auth/passwd.h"
#include "base/log.h"
#include "base/text.h"

#define WHO      "web"
#define LOOK_MS  60000
#define AGAIN_MS 3600000 /* after one that could not be made */

char *web_users_path(const struct config_web *config)
{
    return mem_strdup(*config->users_file ? config->users_file : PASSWD_FILE);
}

char *web_beside_users(const struct config_web *config, const char *name)
{
    char *users = web_users_path(config), *folder = dirname(users);
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = mem_alloc(size);
    snprintf(path, size, "%s/%s", folder, name);
    mem_free(users);
    return path;
}

/* --- one of our own --- */

struct own_files {
    char *certificate, *key;
};

static struct own_files own_files(const struct config_web *config)
{
    return (struct own_files){web_beside_users(config, "certificate.pem"), web_beside_users(config, "key.pem")};
}

static void own_files_free(const struct own_files *files)
{
    mem_free(files->certificate);
    mem_free(files->key);
}

static bool make_own(const struct config_web *config, const char *why, char error[CONFIG_ERROR_MAX])
{
    struct own_files files = own_files(config);
    bool made = tls_make_self_signed(NULL, files.certificate, files.key, error, CONFIG_ERROR_MAX);
    if (made)
        log_notice(WHO, "made %s, signed by itself (%s): browsers will warn of it (see certificate)", files.certificate, why);
    own_files_free(&files);
    return made;
}

static bool own_is_there(const struct config_web *config)
{
    struct own_files files = own_files(config);
    bool there = access(files.certificate, F_OK) == 0 && access(files.key, F_OK) == 0;
    own_files_free(&files);
    return there;
}

/* --- the context --- */

static struct tls_context *web_certificate_context_new(const struct config_web *config, char error[CONFIG_ERROR_MAX])
{
    struct own_files own = own_files(config);
    bool given = *config->certificate;
    struct tls_options options = {
        .certificate = given ? config->certificate : own.certificate,
        .key = !given ? own.key : *config->certificate_key ? config->certificate_key : config->certificate,
        .client_ca = *config->client_ca ? config->client_ca : NULL,
        .client_required = config->client_certificates == CLIENT_CERTIFICATES_REQUIRED,
    };
    struct tls_context *context = tls_context_new(&options, error, CONFIG_ERROR_MAX);
    own_files_free(&own);
    return context;
}

/* Makes our own certificate anew if it is due. False: it can't be, and stays what it is. */
static bool web_certificate_renew(struct tls_context *context, const struct config_web *config, char error[CONFIG_ERROR_MAX])
{
    char why[TLS_DUE_MAX];
    if (*config->certificate)
        return true;
    tls_self_signed_due(context, why);
    return !*why || (make_own(config, why, error) && tls_context_reload(context, error, CONFIG_ERROR_MAX));
}

/* Whether it is our own files that can't be used. */
static bool is_blamed(const struct config_web *config, const char *error)
{
    struct own_files own = own_files(config);
    bool blamed = strncmp(error, own.certificate, strlen(own.certificate)) == 0 ||
                  strncmp(error, own.key, strlen(own.key)) == 0;
    own_files_free(&own);
    return blamed;
}

struct tls_context *web_tls_new(const struct config_web *config, char error[CONFIG_ERROR_MAX])
{
    char ignored[CONFIG_ERROR_MAX];
    if (!*config->certificate && !own_is_there(config) && !make_own(config, "there was none", error))
        return NULL;
    struct tls_context *context = web_certificate_context_new(config, error);
    if (!context && !*config->certificate && is_blamed(config, error) && make_own(config, "that one can't be used", ignored))
        context = web_certificate_context_new(config, error);
    if (context)
        web_certificate_renew(context, config, ignored);
    return context;
}

bool web_tls_reload(struct tls_context *context, const struct config_web *config, char error[CONFIG_ERROR_MAX])
{
    char ignored[CONFIG_ERROR_MAX];
    if (!tls_context_reload(context, error, CONFIG_ERROR_MAX))
        return false;
    web_certificate_renew(context, config, ignored);
    return true;
}

/* --- its life --- */

void web_certificate_tell(struct web *web)
{
    struct site_certificate *told = &web->site.certificate;
    char before[sizeof told->sha256];
    memcpy(before, told->sha256, sizeof before);
    memset(told, 0, sizeof *told);
    if (!web->tls)
        return;
    tls_context_fingerprint(web->tls, told->sha256);
    told->expires = tls_context_expires(web->tls);
    told->own = !*web->site.config.web.certificate;
    if (strcmp(told->sha256, before) != 0)
        log_notice(WHO, "the certificate's SHA-256 fingerprint is %s", told->sha256);
}

static void on_web_certificate_look(uv_timer_t *timer)
{
    struct web *web = timer->data;
    char why[TLS_DUE_MAX] = "", error[CONFIG_ERROR_MAX];
    if (!web->tls || *web->site.config.web.certificate)
        return;
    bool renewed = web_certificate_renew(web->tls, &web->site.config.web, error);
    if (renewed)
        tls_self_signed_due(web->tls, why);
    if (!renewed || *why)
        log_error(WHO, "the certificate can't be made as it should be: %s", renewed ? why : error);
    if (!renewed) /* there may be room for it later */
        uv_timer_start(timer, on_web_certificate_look, AGAIN_MS, LOOK_MS);
    else if (*why) /* it would be another one each minute */
        uv_timer_stop(timer);
    web_certificate_tell(web);
}

void web_certificate_watch(struct web *web)
{
    uv_timer_start(&web->certificate_look, on_web_certificate_look, LOOK_MS, LOOK_MS);
}
