/* Who asks. See api/site/access.h. */
#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "api/site/access.h"
#include "base/text.h"
#include "http/forwarded.h"
#include "http/websocket.h"
#include "net/tcp_listener.h"

#define CREDENTIALS_MAX    1024 /* of Basic, in base64 */
#define FORWARDED_TEXT_MAX 2048 /* of a field that says for whom a proxy asks */

struct access_request {
    struct site *site;
    struct http_request *request; /* NULL: the client is gone */
    const struct access_door *door;
    void *arg; /* the door's */
    struct auth_check check;
    char peer[SITE_PEER_MAX];
};

/* --- from where --- */

static void peer_address(const struct http_request *request, char peer[SITE_PEER_MAX])
{
    const char *text = request->peer, *end = strrchr(text, ':');
    size_t length = end ? (size_t)(end - text) : strlen(text);
    if (*text == '[' && length > 2 && text[length - 1] == ']') {
        text++;
        length -= 2;
    }
    snprintf(peer, SITE_PEER_MAX, "%.*s", (int)length, text);
}

static bool is_proxy(const struct site *site, const char *peer)
{
    struct sockaddr_storage address;
    char plain[SITE_PEER_MAX];
    snprintf(plain, sizeof plain, "%.*s", (int)strcspn(peer, "%"), peer); /* without a zone like "%eth0" */
    return strcmp(peer, "unix") == 0 ||
           (address_parse(plain, &address) && address_prefixes_have(&site->proxies, (const struct sockaddr *)&address));
}

/* All lines of a field as one; NULL: there is none. False: it is too long. */
static bool join_field(const struct http_request *request, const char *name, char text[FORWARDED_TEXT_MAX],
                       const char **joined)
{
    size_t used = 0;
    const char *line;
    *joined = NULL;
    for (unsigned i = 0; (line = http_field_nth(request, name, i)) != NULL && used < FORWARDED_TEXT_MAX; i++) {
        used += (size_t)snprintf(text + used, FORWARDED_TEXT_MAX - used, "%s%s", i > 0 ? "," : "", line);
        *joined = text;
    }
    return used < FORWARDED_TEXT_MAX;
}

/* The client that a proxy names; false: it names none that can be used. */
static bool said_by_proxy(const struct site *site, const struct http_request *request, char client[ADDRESS_TEXT_MAX])
{
    char one[FORWARDED_TEXT_MAX], two[FORWARDED_TEXT_MAX];
    const char *forwarded, *x_forwarded_for;
    return join_field(request, "Forwarded", one, &forwarded) &&
           join_field(request, "X-Forwarded-For", two, &x_forwarded_for) &&
           forwarded_client(forwarded, x_forwarded_for, &site->proxies, client);
}

bool access_is_local(const struct site *site, const struct http_request *request)
{
    static const char *const of_proxies[] = {"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via"};
    struct sockaddr_storage address;
    char peer[SITE_PEER_MAX];
    for (size_t i = 0; i < sizeof of_proxies / sizeof *of_proxies; i++)
        if (http_field_nth(request, of_proxies[i], 0))
            return false;
    peer_address(request, peer);
    return strcmp(peer, "unix") == 0 ||
           (address_parse(peer, &address) && tcp_address_is_loopback(&address) && !is_proxy(site, peer));
}

void access_peer(const struct site *site, const struct http_request *request, char peer[SITE_PEER_MAX])
{
    char client[ADDRESS_TEXT_MAX];
    peer_address(request, peer);
    if (is_proxy(site, peer) && said_by_proxy(site, request, client))
        snprintf(peer, SITE_PEER_MAX, "%s", client);
}

bool access_arrived(struct site *site, struct http_request *request)
{
    char peer[SITE_PEER_MAX], client[ADDRESS_TEXT_MAX];
    peer_address(request, peer);
    if (!is_proxy(site, peer))
        return true;
    http_set_known(request, false); /* behind a proxy each request may be another client's */
    if (!request->place || tcp_claim_move(request->place, said_by_proxy(site, request, client) ? client : NULL))
        return true;
    http_add_field(request, "Retry-After", "1");
    api_reply_error(request, 503, "There are too many connections of %s: try again.", client);
    return false;
}

/* The Host that the browser sent, as a proxy of ours says, or as it came. */
static void host_asked_for(const struct site *site, const struct http_request *request, char host[FORWARDED_HOST_MAX])
{
    char peer[SITE_PEER_MAX], one[FORWARDED_TEXT_MAX], two[FORWARDED_TEXT_MAX];
    const char *forwarded, *x_forwarded_host;
    peer_address(request, peer);
    if (is_proxy(site, peer) && join_field(request, "Forwarded", one, &forwarded) &&
        join_field(request, "X-Forwarded-Host", two, &x_forwarded_host) &&
        forwarded_host(forwarded, x_forwarded_host, host))
        return;
    snprintf(host, FORWARDED_HOST_MAX, "%s", request->host);
}

bool access_origin_allowed(const struct site *site, const struct http_request *request)
{
    const char *origin = http_field(request, "Origin");
    char host[FORWARDED_HOST_MAX];
    if (!origin)
        return true;
    host_asked_for(site, request, host);
    return websocket_origin_allowed(origin, host, request->tls, site->origins) ||
           websocket_origin_allowed(origin, request->host, request->tls, site->origins);
}

void access_foreign_words(const struct site *site, const struct http_request *request, char words[ACCESS_WORDS_MAX])
{
    const char *origin = http_field(request, "Origin");
    char host[FORWARDED_HOST_MAX], shown[FORWARDED_HOST_MAX], asked[FORWARDED_HOST_MAX];
    host_asked_for(site, request, host);
    text_escape(origin ? origin : "", shown, sizeof shown);
    text_escape(host, asked, sizeof asked);
    snprintf(words, ACCESS_WORDS_MAX,
             "The request comes from a page of another site: of %.200s, and it asks for %s://%.200s. If a proxy in front leaves "
             "out the port or changes the name, let it send the Host as it came, or name the page's origin in the key origins "
             "of [web].",
             shown, request->tls ? "https" : "http", asked);
}

static bool is_safe(const struct http_request *request)
{
    return strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
}

/* --- answers --- */

static const char wrong_password[] = "Wrong user or password.";

/* Adds Retry-After, for -EAGAIN and -EBUSY; `seconds` gets the value. */
static void add_retry_after(struct http_request *request, uint64_t retry_ms, char seconds[24])
{
    uint64_t wait = retry_ms > 0 ? (retry_ms + 999) / 1000 : 1;
    snprintf(seconds, 24, "%llu", (unsigned long long)wait);
    http_add_field(request, "Retry-After", seconds);
}

void access_refuse_page(void *arg, struct http_request *request, int status, uint64_t retry_ms, const char *words)
{
    char seconds[24];
    (void)arg;
    if (status == -EACCES) {
        api_reply_unauthorized(request, words);
        return;
    }
    if (status == -EPERM) {
        api_reply_error(request, 403, "%s", words);
        return;
    }
    add_retry_after(request, retry_ms, seconds);
    if (status == -EAGAIN)
        api_reply_error(request, 429, "Too many wrong passwords: try again in %s s.", seconds);
    else
        api_reply_error(request, 503, "Too many logins at a time: try again in %s s.", seconds);
}

void access_refuse(struct http_request *request, int status, uint64_t retry_ms)
{
    access_refuse_page(NULL, request, status, retry_ms, wrong_password);
}

bool access_still_allowed(const struct site *site, const char *name, enum auth_role role)
{
    const struct user *user = users_find(site->users, name);
    return user && user->enabled && user->role == role;
}

static void site_access_refuse(struct access_request *access, int status, const char *words)
{
    access->door->refuse(access->arg, access->request, status, 0, words);
}

/* --- cookies --- */

static bool cookie_token(const struct http_request *request, const char *name, char token[SECRET_TEXT])
{
    const char *p = http_field(request, "Cookie");
    size_t size = strlen(name);
    while (p && *p) {
        p += strspn(p, "; ");
        size_t length = strcspn(p, ";");
        if (length == size + SECRET_TEXT && strncmp(p, name, size) == 0 && p[size] == '=') {
            snprintf(token, SECRET_TEXT, "%.*s", SECRET_TEXT - 1, p + size + 1);
            return true;
        }
        p += length;
    }
    return false;
}

bool access_cookie(const struct site *site, const struct http_request *request, char token[SECRET_TEXT])
{
    return cookie_token(request, site->cookie, token);
}

static struct session *csrf_session(const struct site *site, const struct http_request *request, const char *cookie,
                                    enum session_kind kind, const char *csrf)
{
    char token[SECRET_TEXT];
    if (!cookie_token(request, cookie, token) || !sessions_csrf_matches(site->sessions, token, csrf))
        return NULL;
    return sessions_find(site->sessions, kind, token);
}

struct session *access_csrf_session(const struct site *site, const struct http_request *request, const char *csrf)
{
    struct session *session = csrf_session(site, request, site->cookie, SESSION_BROWSER, csrf);
    return session ? session : csrf_session(site, request, SITE_REDFISH_COOKIE, SESSION_REDFISH, csrf);
}

void access_name_cookie(struct site *site, const char *users)
{
    char machine[64] = "", host[HOST_NAME_MAX + 1] = "", text[sizeof machine + sizeof host + PATH_MAX];
    unsigned char digest[SECRET_DIGEST];
    FILE *file = fopen("/etc/machine-id", "re");
    if (file && !fgets(machine, sizeof machine, file))
        *machine = '\0';
    if (file)
        fclose(file);
    gethostname(host, sizeof host - 1);
    snprintf(text, sizeof text, "nbd-proxy cookie %s %s %s", machine, host, users);
    secret_digest(text, digest);
    snprintf(site->cookie, sizeof site->cookie, "__Host-nbd-proxy-%02x%02x%02x%02x", digest[0], digest[1], digest[2],
             digest[3]);
}

/* Value "": none any more. */
static void set_cookie(struct http_request *request, const char *name, const char *value, bool for_scripts)
{
    char cookie[256];
    snprintf(cookie, sizeof cookie, "%s=%s; Path=/; Secure%s; SameSite=Strict%s", name, value,
             for_scripts ? "" : "; HttpOnly", *value ? "" : "; Max-Age=0");
    http_add_field(request, "Set-Cookie", cookie);
}

void access_set_page_cookie(const struct site *site, struct http_request *request, const char *token)
{
    set_cookie(request, site->cookie, token, false);
}

void access_set_redfish_cookies(const struct site *site, struct http_request *request, const char *token)
{
    char csrf[SECRET_TEXT] = "";
    if (*token)
        sessions_csrf(site->sessions, token, csrf);
    set_cookie(request, SITE_REDFISH_COOKIE, token, false);
    set_cookie(request, SITE_CSRF_COOKIE, csrf, true);
}

/* --- the ways --- */

static void site_access_admit(struct access_request *access, const char *user, enum auth_role role,
                              struct session *session)
{
    struct api_caller caller = {.user = user, .role = role, .peer = access->peer, .session = session};
    http_set_known(access->request, true);
    access->door->done(access->arg, access->request, &caller);
}

/* Cookies and certificates go along by themselves, from whatever page a request comes. */
static bool is_foreign(const struct site *site, const struct http_request *request)
{
    return !is_safe(request) && !access_origin_allowed(site, request);
}

bool access_refuse_foreign(const struct site *site, struct http_request *request)
{
    char words[ACCESS_WORDS_MAX];
    if (!is_foreign(site, request))
        return false;
    access_foreign_words(site, request, words);
    api_reply_error(request, 403, "%s", words);
    return true;
}

static bool by_certificate(struct access_request *access)
{
    const char *name = access->request->common_name;
    const struct user *user = name ? users_find(access->site->users, name) : NULL;
    if (!user || !user->enabled)
        return false;
    site_access_admit(access, user->name, user->role, NULL);
    return true;
}

static bool by_token(struct access_request *access)
{
    const char *token = http_field(access->request, "X-Auth-Token");
    struct session *session = token ? sessions_find(access->site->sessions, SESSION_REDFISH, token) : NULL;
    if (session)
        site_access_admit(access, session->user, session->role, session);
    else if (token)
        site_access_refuse(access, -EACCES, "The session is not known, or has ended.");
    return token;
}

/* No page of another site can set the field, nor read the cookie that its value comes from. */
static bool by_xsrf_token(struct access_request *access)
{
    const char *csrf = http_field(access->request, "X-XSRF-TOKEN");
    struct session *session = csrf ? csrf_session(access->site, access->request, SITE_REDFISH_COOKIE, SESSION_REDFISH, csrf)
                                   : NULL;
    if (session)
        site_access_admit(access, session->user, session->role, session);
    return session;
}

static bool by_cookie(struct access_request *access)
{
    struct sessions *sessions = access->site->sessions;
    const char *csrf = http_field(access->request, "X-CSRF-Token");
    char token[SECRET_TEXT];
    struct session *session =
        access_cookie(access->site, access->request, token) ? sessions_find(sessions, SESSION_BROWSER, token) : NULL;
    if (!session)
        return false;
    if (is_safe(access->request) || (csrf && sessions_csrf_matches(sessions, token, csrf)))
        site_access_admit(access, session->user, session->role, session);
    else
        site_access_refuse(access, -EPERM, "The CSRF token is missing or wrong: load the page again.");
    return true;
}

/* --- Basic (RFC 7617) --- */

static void on_site_access_gone(struct http_request *request)
{
    struct access_request *access = request->owner;
    access->request = NULL;
    auth_cancel(&access->check);
}

static void on_site_access_verified(struct auth_check *check)
{
    struct access_request *access = container_of(check, struct access_request, check);
    struct http_request *request = access->request;
    if (request && check->status == 0)
        site_access_admit(access, check->user, check->role, NULL);
    else if (request)
        access->door->refuse(access->arg, request, check->status, check->retry_ms, wrong_password);
    mem_free(access);
}

/* Decodes the field to "user:password"; false: it is no such text. */
static bool decode_basic(const char *field, char text[CREDENTIALS_MAX])
{
    size_t length = strlen(field);
    if (length == 0 || length % 4 != 0 || length >= CREDENTIALS_MAX)
        return false;
    int got = EVP_DecodeBlock((unsigned char *)text, (const unsigned char *)field, (int)length);
    if (got < 0)
        return false;
    got -= (field[length - 1] == '=') + (field[length - 2] == '=');
    text[got] = '\0';
    return strlen(text) == (size_t)got && strchr(text, ':');
}

static bool by_basic(struct access_request *access)
{
    const char *field = http_field(access->request, "Authorization");
    char text[CREDENTIALS_MAX];
    if (!field || strncasecmp(field, "Basic ", 6) != 0)
        return false;
    if (!decode_basic(field + 6 + strspn(field + 6, " "), text)) {
        site_access_refuse(access, -EACCES, "The Authorization field is not Basic as it should be.");
        return true;
    }
    struct access_request *waiting = mem_alloc(sizeof *waiting);
    char *colon = strchr(text, ':');
    *colon = '\0';
    *waiting = *access;
    waiting->check = (struct auth_check){
        .name = text, .password = colon + 1, .peer = waiting->peer, .method = "basic", .done = on_site_access_verified};
    access->request->owner = waiting;
    access->request->on_gone = on_site_access_gone;
    access->request = NULL; /* `waiting` has the request now */
    auth_verify(access->site->auth, &waiting->check);
    OPENSSL_cleanse(text, sizeof text);
    return true;
}

void access_check(struct site *site, struct http_request *request, const struct access_door *door, void *arg)
{
    struct access_request access = {.site = site, .request = request, .door = door, .arg = arg};
    access_peer(site, request, access.peer);
    if (is_foreign(site, request)) {
        char words[ACCESS_WORDS_MAX];
        access_foreign_words(site, request, words);
        site_access_refuse(&access, -EPERM, words);
        return;
    }
    if (by_token(&access) || by_xsrf_token(&access) || (door->cookies && by_cookie(&access)) || by_basic(&access) || by_certificate(&access))
        return;
    site_access_refuse(&access, -EACCES, "Log in first.");
}
