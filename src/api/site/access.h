/* Who asks, and whether he may come in: the same for the page's API, its WebSockets and Redfish. Private to api/. */
#ifndef API_SITE_ACCESS_H
#define API_SITE_ACCESS_H

#include "api/json.h"
#include "api/site/site.h"

#define SITE_CSRF_COOKIE "XSRF-TOKEN" /* webui-vue offers its value as the WebSocket's subprotocol */
/* A Redfish session's, if its login asked for cookies as OpenBMC's page does: never good but beside the session's CSRF
 * token, which is the value of SITE_CSRF_COOKIE and comes in the field X-XSRF-TOKEN or as the subprotocol. Both names
 * are OpenBMC's, and given to its page only: cookies know no ports (RFC 6265, 8.5), so they would take the place of
 * those of a bmcweb on the same host. */
#define SITE_REDFISH_COOKIE "SESSION"

typedef void access_done(void *arg, struct http_request *request, const struct api_caller *caller);
/* Answers one who may not come in: -EACCES (who is it?), -EPERM, -EAGAIN (locked), -EBUSY. */
typedef void access_refusal(void *arg, struct http_request *request, int status, uint64_t retry_ms, const char *words);
struct access_door {
    bool cookies; /* the page's cookie counts, and changes need the CSRF token beside it */
    access_done *done;
    access_refusal *refuse;
};
/* Looks for a client certificate, X-Auth-Token, X-XSRF-TOKEN with the cookie of a Redfish session, the page's cookie,
 * Basic. Requests for a change that come from
 * another site's page are refused. The door's `done` is called with `arg`, inside the call or later, when somebody is
 * known to ask; else the door's `refuse`: both answer, or take the request over (http/server.h). */
void access_check(struct site *site, struct http_request *request, const struct access_door *door, void *arg);
access_refusal access_refuse_page; /* in the words of /api */
/* The answer to a failed auth_verify(): 401, 429 or 503. */
void access_refuse(struct http_request *request, int status, uint64_t retry_ms);
/* Whether the account still exists, is enabled and has that role: for a caller who was let in some time ago. */
bool access_still_allowed(const struct site *site, const char *name, enum auth_role role);
/* Sets the site's `cookie`. Daemons behind one host name, on forwarded ports, have the same cookies sent, so the name is
 * another for each machine and each file of accounts, and stays the same over restarts. */
void access_name_cookie(struct site *site, const char *users);
/* The token of the page's cookie, which is no session yet; false: there is none. */
bool access_cookie(const struct site *site, const struct http_request *request, char token[SECRET_TEXT]);
/* The session of either cookie to which this CSRF token belongs; NULL: there is none. */
struct session *access_csrf_session(const struct site *site, const struct http_request *request, const char *csrf);
/* Gives a Redfish session's cookies to the page that has logged in; token "": takes them away. */
void access_set_redfish_cookies(const struct site *site, struct http_request *request, const char *token);
/* Gives our own page its cookie; token "": takes it away. */
void access_set_page_cookie(const struct site *site, struct http_request *request, const char *token);
bool access_origin_allowed(const struct site *site, const struct http_request *request);
/* What is said to a page that is not allowed: which origin it has, which one would do, and what to do about it. */
#define ACCESS_WORDS_MAX 800
void access_foreign_words(const struct site *site, const struct http_request *request, char words[ACCESS_WORDS_MAX]);
/* Answers 403 to a request for a change that comes from another site's page; false: the request does not. */
bool access_refuse_foreign(const struct site *site, struct http_request *request);
/* From this machine itself, by loopback or a UNIX socket, and not through a proxy as far as the request or the
 * configuration (trusted-proxies) says. */
bool access_is_local(const struct site *site, const struct http_request *request);
/* The address from which is asked: the peer's, without the port, or the one that a proxy of ours names. */
void access_peer(const struct site *site, const struct http_request *request, char peer[SITE_PEER_MAX]);
/* A request has come: its connection counts as one of the address that asks. False: that address has too many
 * connections, and the request is answered. */
bool access_arrived(struct site *site, struct http_request *request);

#endif
