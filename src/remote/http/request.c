/* What a request says, and how libcurl is to send it. */
#include <build-config.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "net/ciphers.h"
#include "remote/http/internal.h"

/* CURLOPT_BUFFERSIZE, by what is asked for: libcurl makes the buffer anew for each
 * transfer, so it should come from the heap; TLS hands on a record (16 KiB) at a time. */
#define PLAIN_BUFFER (60L << 10)
#define TLS_BUFFER (32L << 10)
#define SMALL_BUFFER (8L << 10)
#define SMALL_RANGE (6u << 10)

void http_set_fixed(struct fetch *fetch)
{
    const struct fetch_setup *setup = fetch->setup;
    CURL *easy = http_easy(fetch);
    static const long versions[] = {
        [FETCH_HTTP_AUTO] = CURL_HTTP_VERSION_1_1,
        [FETCH_HTTP_1_1] = CURL_HTTP_VERSION_1_1,
        [FETCH_HTTP_2] = CURL_HTTP_VERSION_2TLS,
    };
    curl_easy_setopt(easy, CURLOPT_SHARE, curl_loop_share(fetch->curl));
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* or giving up would wait, and the loop with it, for a name server */
#endif
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, http_of(fetch)->curl_error);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, versions[setup->http]);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, setup->http == FETCH_HTTP_2 ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, setup->allow_plain ? "http,https" : "https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L); /* that is ours: http_follow() */
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "nbd-proxy/" PACKAGE_VERSION);
    curl_easy_setopt(easy, CURLOPT_UNRESTRICTED_AUTH, 0L);
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_PROXY, setup->proxy ? setup->proxy : ""); /* "": none from the environment */
    curl_easy_setopt(easy, CURLOPT_NOPROXY, ""); /* nor exceptions */
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L); /* a byte of the proxy's is none of the server's */
    fetch_guard_addresses(&http_of(fetch)->guard, easy);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, FETCH_ROUTE_IDLE_MS / 1000L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_TLS13_CIPHERS, ciphers_tls13()); /* a wish: not every build of curl knows it */
    curl_easy_setopt(easy, CURLOPT_SSL_CIPHER_LIST, ciphers_tls12_client());
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, setup->verify ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, setup->verify ? 2L : 0L);
    if (setup->verify)
        fetch_guard_names(easy);
    trust_apply(&setup->trust, easy);
}

static enum http_login login_of(const struct fetch_setup *setup, bool send)
{
    if (!setup->user && !setup->bearer_token)
        return HTTP_LOGIN_NONE;
    if (!send)
        return HTTP_LOGIN_ELSEWHERE;
    return setup->bearer_token ? HTTP_LOGIN_TOKEN : HTTP_LOGIN_PASSWORD;
}

/* `wanted`: the schemes that the server asked for, 0 before that is known. With
 * several allowed libcurl would ask first, each time: a round trip a range. */
static void set_credentials(struct fetch *fetch, const char *url, unsigned long wanted)
{
    const struct fetch_setup *setup = fetch->setup;
    CURL *easy = http_easy(fetch);
    bool send = origin_covers(&setup->login_origin, url), show = origin_covers(&setup->key_origin, url);
    unsigned long auth = setup->auth == FETCH_AUTH_BASIC    ? CURLAUTH_BASIC
                         : setup->auth == FETCH_AUTH_DIGEST ? CURLAUTH_DIGEST
                                                            : CURLAUTH_BASIC | CURLAUTH_DIGEST;
    if (setup->auth == FETCH_AUTH_ANY && wanted)
        auth = wanted & CURLAUTH_DIGEST ? CURLAUTH_DIGEST : CURLAUTH_BASIC;
    if (setup->bearer_token)
        auth = CURLAUTH_BEARER;
    http_of(fetch)->login = login_of(setup, send);
    curl_easy_setopt(easy, CURLOPT_HTTPAUTH, auth);
    curl_easy_setopt(easy, CURLOPT_USERNAME, send ? setup->user : NULL);
    curl_easy_setopt(easy, CURLOPT_PASSWORD, send ? setup->password : NULL);
    curl_easy_setopt(easy, CURLOPT_XOAUTH2_BEARER, send ? setup->bearer_token : NULL);
    curl_easy_setopt(easy, CURLOPT_SSLCERT, show ? setup->client_cert : NULL);
    curl_easy_setopt(easy, CURLOPT_SSLKEY, show ? setup->client_key : NULL);
}

static void set_url(struct fetch *fetch, const char *url)
{
    http_of(fetch)->buffer = strncmp(url, "https:", 6) == 0 ? TLS_BUFFER : PLAIN_BUFFER;
    curl_easy_setopt(http_easy(fetch), CURLOPT_URL, url);
}

/* If-Range needs a strong validator (RFC 9110, 13.1.5). */
static void set_headers(struct fetch *fetch)
{
    char line[FETCH_VALIDATOR_MAX + 16];
    const struct fetch_resource *expect = fetch->expect;
    curl_slist_free_all(http_of(fetch)->headers);
    http_of(fetch)->headers = curl_slist_append(NULL, "Accept-Encoding: identity");
    if (expect && (http_etag_is_strong(expect->etag) || *expect->modified)) {
        snprintf(line, sizeof line, "If-Range: %s", http_etag_is_strong(expect->etag) ? expect->etag : expect->modified);
        http_of(fetch)->headers = curl_slist_append(http_of(fetch)->headers, line);
    }
    curl_easy_setopt(http_easy(fetch), CURLOPT_HTTPHEADER, http_of(fetch)->headers);
}

/* What stays from range to range of one version of a resource. */
static void set_up(struct fetch *fetch)
{
    struct http_fetch *http = http_of(fetch);
    const char *url = fetch->probe ? http->url : fetch->expect->url;
    if (!fetch->probe && http->set_for == fetch->expect && http->set_version == fetch->expect->version)
        return;
    set_url(fetch, url);
    set_credentials(fetch, url, fetch->probe ? 0 : fetch->expect->auth);
    set_headers(fetch);
    http->set_for = fetch->expect;
    http->set_version = fetch->expect ? fetch->expect->version : 0;
}

void http_set_request(struct fetch *fetch)
{
    struct http_fetch *http = http_of(fetch);
    CURL *easy = http->transfer.easy;
    bool alone = fetch->alone && fetch->setup->http != FETCH_HTTP_2;
    char range[64];
    set_up(fetch);
    snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, fetch->offset + fetch->filled,
             fetch->offset + fetch->length - 1);
    curl_easy_setopt(easy, CURLOPT_RANGE, range);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, fetch->length - fetch->filled <= SMALL_RANGE ? SMALL_BUFFER : http->buffer);
    curl_easy_setopt(easy, CURLOPT_RESOLVE, http->user.route->pin);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, http->guard.fd >= 0 || alone ? 1L : 0L);
}
