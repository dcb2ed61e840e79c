/*
 * WebSockets over which browsers (and other NBD servers) serve their files: who may
 * open one, for which slot, and how it ends. See api/web/handlers.h.
 *
 *   /nbd/N  /nbd/SLOT  /vm/0/N  and / if the configuration says so (root-slot)
 *
 * A browser can't set fields of a WebSocket's request, so it proves itself by the
 * subprotocol that it offers: a ticket (web/api.js), or the CSRF token of a session, the page's or Redfish's, beside
 * its cookie, as webui-vue does. Others send X-Auth-Token or Basic, or have a
 * certificate.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/site/access.h"
#include "api/web/handlers.h"
#include "auth/audit.h"
#include "base/log.h"
#include "base/text.h"
#include "http/websocket.h"

#define PROTOCOL_MAX 128  /* of a subprotocol; longer ones are refused */
#define PING_MS      5000 /* a browser that vanished is missed before the host gives up */
#define DEAD_MS      15000

struct media {
    struct site *site;
    struct link links; /* struct media_link */
    void (*gone)(void *arg);
    void *gone_arg;
};

/* A WebSocket that a slot has; freed when the slot has let it go. */
struct media_link {
    struct link link; /* in media->links */
    struct media *media;
    char slot[CONFIG_SLOT_NAME_MAX], name[MEDIA_NAME_MAX];
    char user[USER_NAME_MAX + 1];
    struct session_attachment session; /* on none when the request came with its password */
};

/* --- the end of one --- */

static void link_revoke(struct media_link *link)
{
    struct slot *slot = slots_find(link->media->site->slots, link->slot);
    if (slot)
        slot_revoke_browser(slot, link);
}

/* A session that is too old takes nothing from a host that reads: the account's right stands, until that changes. */
static void on_web_browser_media_session_ended(struct session_attachment *attachment, const struct session *session)
{
    struct media_link *link = container_of(attachment, struct media_link, session);
    if (session->aged)
        log_notice(link->slot, "the login of %s is too old now; the medium that was inserted with it stays", link->user);
    else
        link_revoke(link);
}

json_t *media_of_session(const struct media *media, const struct session *session)
{
    json_t *all = json_array();
    for (const struct link *l = media->links.next; l != &media->links; l = l->next) {
        const struct media_link *link = container_of((struct link *)(uintptr_t)l, struct media_link, link);
        if (link->session.session == session)
            json_array_append_new(all, json_pack("{s:s, s:o}", "slot", link->slot, "name", api_text(link->name)));
    }
    return all;
}

void media_user_changed(struct media *media, const char *user)
{
    list_for_each (l, &media->links) {
        struct media_link *link = container_of(l, struct media_link, link);
        if (strcmp(link->user, user) == 0)
            link_revoke(link);
    }
}

static void on_link_gone(void *arg)
{
    struct media_link *link = arg;
    struct media *media = link->media;
    session_detach(&link->session);
    list_remove(&link->link);
    mem_free(link);
    media->gone(media->gone_arg);
}

/* webui-vue takes 1000 for a success: only an ordinary eject is one. */
static void web_browser_media_hang_up(struct stream *stream, enum browser_end end, const char *reason, void *arg)
{
    (void)arg;
    static const uint16_t codes[] = {
        [BROWSER_EJECTED] = WEBSOCKET_NORMAL,          [BROWSER_FAILED] = WEBSOCKET_INTERNAL_ERROR,
        [BROWSER_PROTOCOL] = WEBSOCKET_PROTOCOL_ERROR, [BROWSER_REFUSED] = WEBSOCKET_POLICY,
        [BROWSER_STOPPING] = WEBSOCKET_GOING_AWAY,
    };
    static const char *const words[] = {
        [BROWSER_EJECTED] = "ejected",
        [BROWSER_STOPPING] = "the daemon stops",
    };
    const char *standard = words[end] ? words[end] : "";
    websocket_close(stream, codes[end], *reason ? reason : standard);
}

/* A page that is left or loaded anew closes with 1001, and may come back; a script that
 * ends the connection closes with 1000 or without a code. */
static enum browser_leave web_browser_media_left(struct stream *stream)
{
    uint16_t code = websocket_peer_code(stream);
    return code == WEBSOCKET_GOING_AWAY                               ? BROWSER_LEFT
           : code == WEBSOCKET_NORMAL || code == WEBSOCKET_NO_CODE ? BROWSER_STOPPED
                                                                    : BROWSER_CUT;
}

/* --- which slot --- */

/* The one segment behind the prefix; clients of bmcweb may put a slash behind it. */
static bool segment_behind(const char *path, const char *prefix, char name[CONFIG_SLOT_NAME_MAX])
{
    size_t skipped = strlen(prefix);
    if (strncmp(path, prefix, skipped) != 0)
        return false;
    size_t length = strcspn(path + skipped, "/");
    const char *rest = path + skipped + length;
    if (length == 0 || length >= CONFIG_SLOT_NAME_MAX || (*rest && rest[1]))
        return false;
    snprintf(name, CONFIG_SLOT_NAME_MAX, "%.*s", (int)length, path + skipped);
    return true;
}

static bool web_browser_media_slot_name(const struct media *media, const struct http_request *request,
                                        char name[CONFIG_SLOT_NAME_MAX])
{
    const char *root = media->site->config.web.root_slot;
    if (segment_behind(request->path, "/nbd/", name) || segment_behind(request->path, "/vm/0/", name))
        return true;
    if (strcmp(request->path, "/") != 0 || !request->upgrade || !*root)
        return false;
    snprintf(name, CONFIG_SLOT_NAME_MAX, "%s", root);
    return true;
}

static struct slot *web_browser_media_find_slot(const struct media *media, const struct http_request *request)
{
    char name[CONFIG_SLOT_NAME_MAX];
    return web_browser_media_slot_name(media, request, name) ? slots_find(media->site->slots, name) : NULL;
}

bool media_is_path(const struct media *media, const struct http_request *request)
{
    char name[CONFIG_SLOT_NAME_MAX];
    return web_browser_media_slot_name(media, request, name);
}

/* --- who --- */

void media_purpose(const char *slot, const char *name, const char *claim, char purpose[SESSION_PURPOSE_MAX])
{
    char text[1024], hex[17];
    unsigned char digest[SECRET_DIGEST];
    snprintf(text, sizeof text, "%s/%s", claim, name);
    secret_digest(text, digest);
    text_hex(digest, 8, hex);
    snprintf(purpose, SESSION_PURPOSE_MAX, "nbd %s %s", slot, hex);
}

/* The subprotocol that the client offers and that we choose; "" if it offers none. False: the offer can't be
 * accepted. */
static bool offered(const struct http_request *request, char protocol[PROTOCOL_MAX])
{
    const char *field = http_field_nth(request, "Sec-WebSocket-Protocol", 0);
    *protocol = '\0';
    if (!field)
        return true;
    field += strspn(field, " \t");
    size_t length = strcspn(field, " \t,");
    if (length >= PROTOCOL_MAX)
        return false;
    snprintf(protocol, PROTOCOL_MAX, "%.*s", (int)length, field);
    return true;
}

/* Where the parameter's value is; NULL: it is not there. */
static const char *query_find(const char *query, const char *name)
{
    size_t length = strlen(name);
    while (*query && (strncmp(query, name, length) != 0 || query[length] != '=')) {
        query += strcspn(query, "&");
        query += *query == '&';
    }
    return *query ? query + length + 1 : NULL;
}

/* The parameter of the query, decoded. False: it is not there, can't be decoded, or is too long for `out`. */
static bool query_value(const char *query, const char *name, char *out, size_t size)
{
    size_t used = 0;
    query = query_find(query, name);
    if (!query)
        return false;
    for (; *query && *query != '&'; query++) {
        int byte = *query == '%' ? text_percent_byte(query) : (unsigned char)*query;
        if (byte <= 0 || used + 1 >= size)
            return false;
        query += *query == '%' ? 2 : 0;
        out[used++] = (char)byte;
    }
    out[used] = '\0';
    return true;
}

struct media_offer {
    char protocol[PROTOCOL_MAX];
    char name[MEDIA_NAME_MAX];
    char claim[2 * SECRET_DIGEST + 1];
    char kernel_args[MEDIA_ARGUMENTS_MAX], menu_timeout[MEDIA_TIMEOUT_MAX], menu_default[MEDIA_DEFAULT_MAX];
    struct slot_insert_options changes; /* of these; NULL: not given */
};

/* NULL: it is not there. False: it can't be taken. */
static bool read_change(const struct http_request *request, const char *name, char *out, size_t size, const char **value)
{
    bool there = query_find(request->query, name), good = !there || query_value(request->query, name, out, size);
    *value = there && good && *out ? out : NULL;
    return good;
}

/* What is changed in the file's boot configurations. */
static bool read_offered_changes(const struct http_request *request, struct media_offer *offer)
{
    struct slot_insert_options *changes = &offer->changes;
    *changes = (struct slot_insert_options){.verify = -1, .writable = -1};
    return read_change(request, MEDIA_KERNEL_ARGS, offer->kernel_args, sizeof offer->kernel_args, &changes->kernel_args) &&
           read_change(request, MEDIA_MENU_TIMEOUT, offer->menu_timeout, sizeof offer->menu_timeout, &changes->menu_timeout) &&
           read_change(request, MEDIA_MENU_DEFAULT, offer->menu_default, sizeof offer->menu_default, &changes->seed.menu_default);
}

static struct session *by_ticket(struct media *media, const char *slot, const struct media_offer *offer)
{
    char purpose[SESSION_PURPOSE_MAX];
    media_purpose(slot, offer->name, offer->claim, purpose);
    return sessions_redeem(media->site->sessions, offer->protocol, purpose);
}

/* The token is compared with the whole field: nothing else may be offered beside it. */
static struct session *by_csrf(struct media *media, const struct http_request *request)
{
    const char *field = http_field_nth(request, "Sec-WebSocket-Protocol", 0);
    bool alone = field && !http_field_nth(request, "Sec-WebSocket-Protocol", 1);
    return alone ? access_csrf_session(media->site, request, field) : NULL;
}

static void read_offer(const struct http_request *request, struct media_offer *offer)
{
    bool told = query_value(request->query, "image", offer->claim, sizeof offer->claim) &&
                query_value(request->query, "name", offer->name, sizeof offer->name);
    if (!told)
        *offer->name = *offer->claim = '\0';
}

/* --- the connection --- */

static void on_web_browser_media_inserted(void *arg, int status, const char *error)
{
    (void)arg; /* the close tells the peer, and the slot's status tells others */
    (void)status;
    (void)error;
}

static void connect_slot(struct media *media, struct http_request *request, struct slot *slot,
                         const struct media_offer *offer, const struct api_caller *caller, bool ours)
{
    struct websocket_options options = {.ping_ms = PING_MS, .dead_ms = DEAD_MS};
    struct media_link *link = mem_alloc(sizeof *link);
    struct slot_status s;
    slot_get_status(slot, &s);
    link->media = media;
    snprintf(link->slot, sizeof link->slot, "%s", s.name);
    snprintf(link->name, sizeof link->name, "%s", offer->name);
    snprintf(link->user, sizeof link->user, "%s", caller->user);
    list_init(&link->session.link);
    link->session.ended = on_web_browser_media_session_ended;
    auth_audit(AUDIT_INSERT, caller->user, caller->peer, s.name, *offer->name ? offer->name : "a browser's file");
    struct stream *stream = websocket_upgrade(request, *offer->protocol ? offer->protocol : NULL, &options);
    if (!stream) { /* the client is gone */
        mem_free(link);
        return;
    }
    list_append(&media->links, &link->link);
    if (caller->session)
        session_attach(caller->session, &link->session);
    struct browser_connection connection = {
        .stream = stream,
        .go = ours,
        .claim = offer->claim,
        .hang_up = web_browser_media_hang_up,
        .left = web_browser_media_left,
        .gone = on_link_gone,
        .arg = link,
    };
    slot_connect_browser(slot, offer->name, caller->user, &connection, &offer->changes, on_web_browser_media_inserted, NULL);
}

static void web_browser_media_admit(struct media *media, struct http_request *request, const struct media_offer *offer,
                                    const struct api_caller *caller, bool ours)
{
    struct slot *slot = web_browser_media_find_slot(media, request);
    char error[SLOT_ERROR_MAX];
    int status = slot ? slot_browser_problem(slot, offer->claim, &offer->changes, error) : 0;
    if (!auth_allows(caller->role, AUTH_CONFIGURE_COMPONENTS))
        api_reply_error(request, 403, "The role %s may not insert media.", auth_role_name(caller->role));
    else if (!slot)
        api_reply_error(request, 404, "There is no such slot.");
    else if (status != 0)
        api_reply_error(request, status == -EINVAL ? 400 : 409, "%s", error);
    else
        connect_slot(media, request, slot, offer, caller, ours);
}

static void on_web_browser_media_access(void *arg, struct http_request *request, const struct api_caller *caller)
{
    struct media_offer offer = {.name = ""};
    if (offered(request, offer.protocol) && read_offered_changes(request, &offer))
        web_browser_media_admit(arg, request, &offer, caller, false);
}

static void admit_session(struct media *media, struct http_request *request, const struct media_offer *offer,
                          struct session *session, bool ours)
{
    char peer[SITE_PEER_MAX];
    access_peer(media->site, request, peer);
    struct api_caller caller = {.user = session->user, .role = session->role, .peer = peer, .session = session};
    web_browser_media_admit(media, request, offer, &caller, ours);
}

static const struct access_door door = {false, on_web_browser_media_access,
                                        access_refuse_page}; /* a cookie alone proves nothing */

void media_handle(struct media *media, struct http_request *request)
{
    struct media_offer offer = {.name = ""};
    struct slot *slot = web_browser_media_find_slot(media, request);
    struct slot_status s = {.name = ""};
    struct session *session;
    unsigned status = websocket_check(request);
    if (slot)
        slot_get_status(slot, &s);
    if (status == 0 && !access_origin_allowed(media->site, request))
        status = 403;
    if (status == 0 && !(offered(request, offer.protocol) && read_offered_changes(request, &offer)))
        status = 400;
    if (status != 0) {
        char words[ACCESS_WORDS_MAX] = "Here a WebSocket is expected that serves NBD.";
        if (status == 403)
            access_foreign_words(media->site, request, words);
        api_reply_error(request, status, "%s", words);
        return;
    }
    read_offer(request, &offer);
    if ((session = by_ticket(media, s.name, &offer)) != NULL) {
        admit_session(media, request, &offer, session, true);
        return;
    }
    *offer.name = *offer.claim = '\0'; /* name and claim come from the peer itself, not by a ticket */
    if ((session = by_csrf(media, request)) != NULL)
        admit_session(media, request, &offer, session, false);
    else
        access_check(media->site, request, &door, media);
}

/* --- life --- */

struct media *media_new(struct site *site, void (*gone)(void *arg), void *arg)
{
    struct media *media = mem_alloc(sizeof *media);
    media->site = site;
    media->gone = gone;
    media->gone_arg = arg;
    list_init(&media->links);
    return media;
}

bool media_is_connected(const struct media *media)
{
    return !list_empty(&media->links);
}

void media_free(struct media *media)
{
    mem_free(media);
}
