/* /api/slots: insert, eject, dismiss, tickets. See api/web/handlers.h and web/api.js. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/site/access.h"
#include "api/web/handlers.h"
#include "auth/audit.h"
#include "base/text.h"

#define SAMPLES_MAX 64 /* hashes that a page may give of an image */

/* --- a change --- */

/* A request in work: its body is to come, then the slot's answer. */
struct change {
    struct site *site;
    struct http_request *request; /* NULL: the client is gone */
    void (*run)(struct change *change, json_t *body);
    bool running;       /* the slot will answer */
    bool session_ended; /* before the body was here */
    char slot[CONFIG_SLOT_NAME_MAX];
    char user[USER_NAME_MAX + 1];
    char peer[SITE_PEER_MAX];
    enum auth_role role;
    struct session *session; /* valid until the body is here, since we are attached to it */
    struct session_attachment attachment;
};

static void change_free(struct change *change)
{
    session_detach(&change->attachment);
    mem_free(change);
}

static void on_web_slot_routes_gone(struct http_request *request)
{
    struct change *change = request->owner;
    change->request = NULL;
    if (!change->running)
        change_free(change);
}

static void on_web_slot_routes_session_ended(struct session_attachment *attachment, const struct session *session)
{
    struct change *change = container_of(attachment, struct change, attachment);
    (void)session;
    change->session = NULL;
    change->session_ended = true;
}

static void on_web_slot_routes_body(struct http_request *request, const uint8_t *data, size_t length)
{
    struct change *change = request->owner;
    if (change->session_ended || !access_still_allowed(change->site, change->user, change->role)) {
        api_reply_unauthorized(request, "The session has ended.");
        change_free(change);
        return;
    }
    json_t *body = api_parse_body(request, data, length);
    if (!body) { /* answered */
        change_free(change);
        return;
    }
    change->run(change, body);
    json_decref(body);
}

static void change_begin(struct site *site, struct http_request *request, const struct api_caller *caller,
                         const char *slot, void (*run)(struct change *change, json_t *body))
{
    struct slot_status s;
    struct slot *found = slot_shown_find(site, request, slot);
    if (!found)
        return;
    struct change *change = mem_alloc(sizeof *change);
    slot_get_status(found, &s);
    change->site = site;
    change->request = request;
    change->run = run;
    change->role = caller->role;
    change->session = caller->session;
    snprintf(change->slot, sizeof change->slot, "%s", s.name);
    snprintf(change->user, sizeof change->user, "%s", caller->user);
    snprintf(change->peer, sizeof change->peer, "%s", caller->peer);
    list_init(&change->attachment.link);
    change->attachment.ended = on_web_slot_routes_session_ended;
    if (caller->session)
        session_attach(caller->session, &change->attachment);
    request->owner = change;
    request->on_gone = on_web_slot_routes_gone;
    http_receive_all(request, SITE_BODY_MAX, on_web_slot_routes_body);
}

/* Ends a change that was refused before its slot was asked. */
static void change_refuse(struct change *change, unsigned status, const char *words)
{
    api_reply_error(change->request, status, "%s", words);
    change_free(change);
}

static unsigned http_status(int status)
{
    switch (-status) {
    case EBUSY:
    case ECANCELED:
        return 409;
    case EINVAL:
    case ENOENT: /* a file, an upload, or what its server has not got */
    case EPERM:
    case ENOTSUP:
    case EROFS:
    case EPROTONOSUPPORT:
        return 400;
    default:
        return 502; /* the image's server, or what is in between */
    }
}

static json_t *json_changed(const struct change *change)
{
    struct slot *slot = slots_find(change->site->slots, change->slot);
    struct slot_status s = {.warning = ""};
    if (slot)
        slot_get_status(slot, &s);
    return *s.warning ? json_pack("{s:o}", "warning", api_text(s.warning)) : json_object();
}

static void on_web_slot_routes_changed(void *arg, int status, const char *error)
{
    struct change *change = arg;
    if (change->request && status == 0)
        api_reply_json(change->request, 200, json_changed(change));
    else if (change->request)
        api_reply_error(change->request, http_status(status), "%s", error);
    change_free(change);
}

/* --- insert --- */

static int flag(const json_t *body, const char *name)
{
    const json_t *value = json_object_get(body, name);
    return json_is_boolean(value) ? json_is_true(value) : -1;
}

static const char *text_of(const json_t *body, const char *name)
{
    const char *text = json_string_value(json_object_get(body, name));
    return text && *text ? text : NULL;
}

/* Of the page's "menuTimeout", a number. NULL: it is not given. */
static const char *timeout_of(const json_t *body, char text[24])
{
    const json_t *value = json_object_get(body, "menuTimeout");
    snprintf(text, 24, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    return json_is_integer(value) ? text : NULL;
}

static struct seed_wish seed_of(json_t *body)
{
    struct seed_wish wish = {0};
    for (unsigned i = 0; i < SEED_WISH_TEXTS; i++)
        *seed_wish_text(&wish, i) = api_object_text(body, seed_wish_texts[i].page);
    return wish;
}

static const char *web_insert_problem(const struct change *change, const char *url, const struct slot_insert_options *options)
{
    const char *image_files = options->seed.image_files;
    bool local = url && location_kind(url) == LOCATION_PATH;
    if (!url)
        return "Expected \"url\".";
    if (local && !*change->site->config.file_directory)
        return "Files of the BMC can't be inserted from here (set file-directory to allow those below it).";
    if (image_files && *image_files != '{') /* else it is read from a file or a server */
        return "Expected an object as \"imageFiles\".";
    if (options->verify == 0 && !auth_allows(change->role, AUTH_CONFIGURE_MANAGER))
        return "Only an Administrator may insert without checking the server's certificate.";
    return NULL;
}

/* What a body asks for; the texts are the body's. */
struct page_insert {
    const char *url;
    struct slot_insert_options options;
    char timeout[24], config_url[SLOT_CONFIG_URL_MAX];
};

/* A config medium whose files are given needs no URL. */
static void read_insert(const struct change *change, json_t *body, struct page_insert *insert)
{
    insert->url = text_of(body, "url");
    insert->options = (struct slot_insert_options){
        .by = change->user,
        .user = text_of(body, "user"),
        .password = text_of(body, "password"),
        .profile = text_of(body, "profile"),
        .kernel_args = text_of(body, "kernelArgs"),
        .menu_timeout = timeout_of(body, insert->timeout),
        .seed = seed_of(body),
        .nfs_ids = auth_allows(change->role, AUTH_CONFIGURE_MANAGER),
        .verify = flag(body, "verify"),
        .writable = flag(body, "writable"),
    };
    if (insert->url || !insert->options.seed.files)
        return;
    slot_config_url(&insert->options.seed, insert->config_url);
    insert->url = insert->config_url;
}

static void on_web_slot_routes_previewed(void *arg, int status, const char *error, const char *text)
{
    struct change *change = arg;
    if (change->request && status == 0)
        api_reply_json(change->request, 200, json_pack("{s:o}", "changes", api_text(text)));
    else if (change->request)
        api_reply_error(change->request, http_status(status), "%s", error);
    change_free(change);
}

static void web_slot_routes_begin_insert(struct change *change, struct slot *slot, const json_t *body, const struct page_insert *insert)
{
    char shown[256];
    text_url_public(insert->url, shown, sizeof shown);
    auth_audit(AUDIT_INSERT, change->user, change->peer, change->slot, shown);
    if (insert->options.verify == 0)
        auth_audit(AUDIT_UNVERIFIED, change->user, change->peer, change->slot, shown);
    change->running = true;
    if (flag(body, "dryRun") > 0)
        slot_preview(slot, insert->url, &insert->options, on_web_slot_routes_previewed, change);
    else
        (flag(body, "replace") > 0 ? slot_replace : slot_insert)(slot, insert->url, &insert->options,
                                                                 on_web_slot_routes_changed, change);
}

static void web_slot_routes_insert(struct change *change, json_t *body)
{
    struct page_insert insert;
    read_insert(change, body, &insert);
    const char *problem = web_insert_problem(change, insert.url, &insert.options), *profile = insert.options.profile;
    if (!problem && profile && !slot_profile_may_be(profile))
        problem = "\"profile\" is no, own, auto, or the URL of a boot profile on another machine.";
    struct slot *slot = slots_find(change->site->slots, change->slot);
    char *trusted = certificate_store_text(change->site->certificates, change->slot);
    char *own = certificate_store_text(change->site->own_certificates, change->slot);
    insert.options.ca_pem = trusted;
    insert.options.client_pem = own;
    if (problem || !slot)
        change_refuse(change, problem ? 400 : 404, problem ? problem : "There is no such slot.");
    else
        web_slot_routes_begin_insert(change, slot, body, &insert);
    mem_free(trusted);
    mem_free_secret(own);
    api_wipe(json_object_get(body, "password"));
    api_wipe(json_object_get(body, "configFiles"));
    api_wipe(json_object_get(body, "imageFiles"));
}

void slot_routes_insert(const struct web_parts *parts, struct http_request *request, const struct api_caller *caller,
                        char **words)
{
    change_begin(parts->site, request, caller, words[2], web_slot_routes_insert);
}

/* --- eject --- */

static void web_slot_routes_eject(struct change *change, json_t *body)
{
    (void)body;
    struct slot *slot = slots_find(change->site->slots, change->slot);
    if (!slot) {
        change_refuse(change, 404, "There is no such slot.");
        return;
    }
    auth_audit(AUDIT_EJECT, change->user, change->peer, change->slot, NULL);
    change->running = true;
    slot_eject(slot, on_web_slot_routes_changed, change);
}

void slot_routes_eject(const struct web_parts *parts, struct http_request *request, const struct api_caller *caller,
                       char **words)
{
    change_begin(parts->site, request, caller, words[2], web_slot_routes_eject);
}

/* --- dismiss --- */

static void web_slot_routes_dismiss(struct change *change, json_t *body)
{
    (void)body;
    struct slot *slot = slots_find(change->site->slots, change->slot);
    if (!slot) {
        change_refuse(change, 404, "There is no such slot.");
        return;
    }
    auth_audit(AUDIT_DISMISS, change->user, change->peer, change->slot, NULL);
    slot_dismiss(slot);
    api_reply_json(change->request, 200, json_object());
    change_free(change);
}

void slot_routes_dismiss(const struct web_parts *parts, struct http_request *request, const struct api_caller *caller,
                         char **words)
{
    change_begin(parts->site, request, caller, words[2], web_slot_routes_dismiss);
}

/* --- tickets --- */

/* All that the page says of the image, as one digest; false: the page's words are malformed. */
static bool make_claim(const json_t *body, char claim[2 * SECRET_DIGEST + 1])
{
    const json_t *size = json_object_get(body, "size"), *samples = json_object_get(body, "samples");
    unsigned char digest[SECRET_DIGEST];
    if (!json_is_string(json_object_get(body, "name")) || !json_is_integer(size) || json_integer_value(size) <= 0 ||
        !json_is_number(json_object_get(body, "lastModified")) || !json_is_array(samples) ||
        json_array_size(samples) > SAMPLES_MAX)
        return false;
    char *text = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text)
        mem_exhausted();
    secret_digest(text, digest);
    free(text);
    text_hex(digest, sizeof digest, claim);
    return true;
}

/* Percent-encoded. */
static void put_parameter(FILE *url, const char *name, const char *value)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    fprintf(url, "&%s=", name);
    for (; *value; value++)
        fprintf(url, strchr(plain, *value) ? "%c" : "%%%02X", (unsigned char)*value);
}

static char *ticket_url(unsigned index, const char *name, const char *claim, const struct slot_insert_options *changes)
{
    char *text;
    size_t size;
    FILE *url = open_memstream(&text, &size);
    if (!url)
        mem_exhausted();
    fprintf(url, "/nbd/%u?image=%s", index, claim);
    put_parameter(url, "name", name);
    if (changes->kernel_args)
        put_parameter(url, MEDIA_KERNEL_ARGS, changes->kernel_args);
    if (changes->menu_timeout)
        put_parameter(url, MEDIA_MENU_TIMEOUT, changes->menu_timeout);
    if (changes->seed.menu_default)
        put_parameter(url, MEDIA_MENU_DEFAULT, changes->seed.menu_default);
    if (fclose(url) != 0)
        mem_exhausted();
    return text;
}

static void reply_ticket(struct change *change, unsigned index, const char *full_name, const char *claim,
                         const struct slot_insert_options *changes)
{
    char purpose[SESSION_PURPOSE_MAX], ticket[SECRET_TEXT];
    char name[MEDIA_NAME_MAX];
    snprintf(name, sizeof name, "%.*s", MEDIA_NAME_MAX - 1, full_name);
    char *url = ticket_url(index, name, claim, changes);
    media_purpose(change->slot, name, claim, purpose);
    session_ticket(change->session, purpose, ticket);
    api_reply_json(change->request, 200, json_pack("{s:s, s:s}", "url", url, "protocol", ticket));
    free(url);
    change_free(change);
}

/* The page's words without those of the changes: a file that comes back is the same one without them. */
static bool make_claim_of_file(const json_t *body, char claim[2 * SECRET_DIGEST + 1])
{
    json_t *file = json_copy((json_t *)(uintptr_t)body);
    json_object_del(file, "kernelArgs");
    json_object_del(file, "menuTimeout");
    json_object_del(file, "menuDefault");
    bool good = make_claim(file, claim);
    json_decref(file);
    return good;
}

static void give_ticket(struct change *change, json_t *body)
{
    struct slot *slot = slots_find(change->site->slots, change->slot);
    char claim[2 * SECRET_DIGEST + 1], error[SLOT_ERROR_MAX], timeout[24];
    struct slot_status s;
    const struct slot_insert_options changes = {.kernel_args = text_of(body, "kernelArgs"),
                                                .menu_timeout = timeout_of(body, timeout),
                                                .seed = {.menu_default = text_of(body, "menuDefault")},
                                                .verify = -1,
                                                .writable = -1};
    int status;
    if (!change->session) {
        change_refuse(change, 403, "A ticket is given to a session only: log in.");
    } else if (!slot) {
        change_refuse(change, 404, "There is no such slot.");
    } else if (!make_claim_of_file(body, claim)) {
        change_refuse(change, 400, "Expected \"name\", \"size\", \"lastModified\" and \"samples\" of a file that is not empty.");
    } else if ((status = slot_browser_problem(slot, claim, &changes, error)) != 0) {
        change_refuse(change, status == -EINVAL ? 400 : 409, error);
    } else {
        slot_get_status(slot, &s);
        reply_ticket(change, s.index, json_string_value(json_object_get(body, "name")), claim, &changes);
    }
}

void slot_routes_ticket(const struct web_parts *parts, struct http_request *request, const struct api_caller *caller,
                        char **words)
{
    change_begin(parts->site, request, caller, words[2], give_ticket);
}
