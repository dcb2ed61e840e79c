#include "slot/slot_credentials.h"

#include "base/log.h"
#include "base/text.h"
#include "remote/origin.h"

/* --- the sections --- */

void slot_credentials_read(struct slot_credentials *credentials, const struct config *config)
{
    slot_credentials_clear(credentials);
    credentials->items = mem_alloc((config->credentials_count + 1) * sizeof *credentials->items);
    credentials->count = config->credentials_count;
    for (unsigned i = 0; i < credentials->count; i++)
        config_credentials_copy(&credentials->items[i], &config->credentials[i]);
}

void slot_credentials_clear(struct slot_credentials *credentials)
{
    for (unsigned i = 0; i < credentials->count; i++)
        config_credentials_clear(&credentials->items[i]);
    mem_free(credentials->items);
    *credentials = (struct slot_credentials){.count = 0};
}

static bool has_login(const struct config_login *login)
{
    return *login->user || *login->bearer_token || *login->client_cert || *login->ssh_key;
}

void slot_credentials_check(const struct config *config)
{
    unsigned of_use = 0, of_none = 0;
    for (unsigned i = 0; i < config->slot_count; i++) {
        const struct config_slot *slot = &config->slots[i];
        bool remote = *location_name(location_kind(slot->image));
        of_use += has_login(&slot->http.login) && remote;
        of_none += has_login(&slot->http.login) && !remote;
    }
    if (of_none > 0 && of_use == 0)
        log_warning("config", "user, bearer-token, client-certificate and ssh-key of [http] and of slots are for the server "
                              "of a configured image, and there is none: for others write a section [credentials NAME]");
}

/* --- the choice --- */

/* NULL: no section is for that image. */
static const struct config_credentials *credentials_find_section(const struct slot_credentials *credentials, const char *url)
{
    const struct config_credentials *best = NULL;
    unsigned depth = 0;
    struct origin image;
    origin_read(&image, url);
    for (unsigned i = 0; i < credentials->count; i++) {
        struct origin origin;
        bool covers = origin_read(&origin, credentials->items[i].origin) && origin_holds(&origin, &image);
        if (covers && (!best || origin_depth(&origin) > depth)) {
            best = &credentials->items[i];
            depth = origin_depth(&origin);
        }
        origin_clear(&origin);
    }
    origin_clear(&image);
    return best;
}

/* A text that is no URL, such as a file's path or "", gives an origin that covers nothing. */
static bool is_of_configured_image(const struct config_slot *config, const char *url)
{
    struct origin server;
    origin_read_server(&server, config->image);
    bool is = origin_covers(&server, url);
    origin_clear(&server);
    return is;
}

static void slot_credentials_take(struct slot_login *login, const struct config_login *from, const char *origin)
{
    login->user = from->user;
    login->password = from->password;
    login->bearer_token = from->bearer_token;
    login->client_cert = from->client_cert;
    login->client_key = from->client_key;
    login->ssh_key = from->ssh_key;
    login->login_origin = login->key_origin = origin;
}

static bool is_given(const char *text)
{
    return text && *text;
}

void slot_credentials_choose(const struct slot_credentials *credentials, const struct config_slot *config, const char *url,
                             const struct slot_insert_options *options, struct slot_login *login)
{
    const struct config_credentials *section = credentials_find_section(credentials, url);
    *login = (struct slot_login){.section = section ? section->name : NULL};
    if (section)
        slot_credentials_take(login, &section->login, section->origin);
    else if (is_of_configured_image(config, url))
        slot_credentials_take(login, &config->http.login, NULL);
    if (!is_given(options->user) && !is_given(options->password) && !is_given(options->bearer_token))
        return;
    login->user = options->user;
    login->password = options->password;
    login->bearer_token = options->bearer_token;
    login->login_origin = NULL;
}
