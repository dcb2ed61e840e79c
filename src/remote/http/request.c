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

/* The trust outlives the handle's transfers. */
static void set_trust(CURL *easy, const struct trust *trust)
{
    if (trust->file) { /* in place of the system's file and folder of authorities */
        curl_easy_setopt(easy, CURLOPT_CAINFO, trust->file);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    if (trust->text) {
        struct curl_blob blob = {trust->text, strlen(trust->text), CURL_BLOB_NOCOPY};
        curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob);
    }
}

void http_set_fixed(struct http_fetch *http)
{
    const struct http_image *image = http->image;
    CURL *easy = http->transfer.easy;
    static const long versions[] = {
        [HTTP_USE_ANY] = CURL_HTTP_VERSION_1_1,
        [HTTP_USE_1_1] = CURL_HTTP_VERSION_1_1,
        [HTTP_USE_2] = CURL_HTTP_VERSION_2TLS,
    };
    curl_easy_setopt(easy, CURLOPT_SHARE, curl_loop_share(http->image->curl));
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* or giving up would wait, and the loop with it, for a name server */
#endif
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, http->curl_error);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, versions[image->version]);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, image->version == HTTP_USE_2 ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, image->allow_plain ? "http,https" : "https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L); /* http_follow() does that */
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "nbd-proxy/" PACKAGE_VERSION);
    curl_easy_setopt(easy, CURLOPT_UNRESTRICTED_AUTH, 0L);
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_PROXY, image->proxy ? image->proxy : ""); /* "": none from the environment */
    curl_easy_setopt(easy, CURLOPT_NOPROXY, ""); /* nor exceptions */
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L); /* the proxy's answer is not taken for the server's */
    http_guard_addresses(&http->guard, easy);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, HTTP_ROUTE_IDLE_MS / 1000L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_TLS13_CIPHERS, ciphers_tls13()); /* a wish: not every build of curl knows it */
    curl_easy_setopt(easy, CURLOPT_SSL_CIPHER_LIST, ciphers_tls12_client());
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, image->verify ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, image->verify ? 2L : 0L);
    if (image->verify)
        http_guard_names(easy);
    set_trust(easy, &image->trust);
}

static enum http_login login_of(const struct http_image *image, bool send)
{
    if (!image->user && !image->bearer_token)
        return HTTP_LOGIN_NONE;
    if (!send)
        return HTTP_LOGIN_ELSEWHERE;
    return image->bearer_token ? HTTP_LOGIN_TOKEN : HTTP_LOGIN_PASSWORD;
}

/* The text, which has a certificate and its key, outlives the handle's transfers. NULL: there is none. */
static void set_client_text(CURL *easy, const char *text)
{
    struct curl_blob blob = {(void *)(uintptr_t)text, text ? strlen(text) : 0, CURL_BLOB_NOCOPY};
    curl_easy_setopt(easy, CURLOPT_SSLCERT_BLOB, text ? &blob : NULL);
    curl_easy_setopt(easy, CURLOPT_SSLKEY_BLOB, text ? &blob : NULL);
}

/* `wanted`: the schemes that the server asked for, 0 before that is known. With
 * several allowed libcurl would ask first, each time: a round trip a range. */
static void set_credentials(struct http_fetch *http, const char *url, unsigned long wanted)
{
    const struct http_image *image = http->image;
    CURL *easy = http->transfer.easy;
    bool send = origin_covers(&image->login_origin, url), show = origin_covers(&image->key_origin, url);
    unsigned long auth = image->scheme == HTTP_SCHEME_BASIC    ? CURLAUTH_BASIC
                         : image->scheme == HTTP_SCHEME_DIGEST ? CURLAUTH_DIGEST
                                                            : CURLAUTH_BASIC | CURLAUTH_DIGEST;
    if (image->scheme == HTTP_SCHEME_ANY && wanted)
        auth = wanted & CURLAUTH_DIGEST ? CURLAUTH_DIGEST : CURLAUTH_BASIC;
    if (image->bearer_token)
        auth = CURLAUTH_BEARER;
    http->login = login_of(image, send);
    curl_easy_setopt(easy, CURLOPT_HTTPAUTH, auth);
    curl_easy_setopt(easy, CURLOPT_USERNAME, send ? image->user : NULL);
    curl_easy_setopt(easy, CURLOPT_PASSWORD, send ? image->password : NULL);
    curl_easy_setopt(easy, CURLOPT_XOAUTH2_BEARER, send ? image->bearer_token : NULL);
    curl_easy_setopt(easy, CURLOPT_SSLCERT, show ? image->client_cert : NULL);
    curl_easy_setopt(easy, CURLOPT_SSLKEY, show ? image->client_key : NULL);
    set_client_text(easy, show ? image->client_pem : NULL);
}

static void set_url(struct http_fetch *http, const char *url)
{
    http->buffer = strncmp(url, "https:", 6) == 0 ? TLS_BUFFER : PLAIN_BUFFER;
    curl_easy_setopt(http->transfer.easy, CURLOPT_URL, url);
}

/* If-Range needs a strong validator (RFC 9110, 13.1.5). */
static void set_headers(struct http_fetch *http)
{
    char line[HTTP_VALIDATOR_MAX + 16];
    const struct http_resource *expect = http->expect;
    curl_slist_free_all(http->headers);
    http->headers = curl_slist_append(NULL, "Accept-Encoding: identity");
    if (expect && (http_etag_is_strong(expect->etag) || *expect->modified)) {
        snprintf(line, sizeof line, "If-Range: %s", http_etag_is_strong(expect->etag) ? expect->etag : expect->modified);
        http->headers = curl_slist_append(http->headers, line);
    }
    curl_easy_setopt(http->transfer.easy, CURLOPT_HTTPHEADER, http->headers);
}

/* What stays from range to range of one version of a resource. */
static void set_up(struct http_fetch *http)
{
    const char *url = http->probe ? http->url : http->expect->url;
    if (!http->probe && http->set_for == http->expect && http->set_version == http->expect->version)
        return;
    set_url(http, url);
    set_credentials(http, url, http->probe ? 0 : http->expect->auth);
    set_headers(http);
    http->set_for = http->expect;
    http->set_version = http->expect ? http->expect->version : 0;
}

void http_set_request(struct http_fetch *http)
{
    CURL *easy = http->transfer.easy;
    bool alone = http->alone && http->image->version != HTTP_USE_2;
    char range[64];
    set_up(http);
    snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, http->offset + http->filled,
             http->offset + http->length - 1);
    curl_easy_setopt(easy, CURLOPT_RANGE, range);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, http->length - http->filled <= SMALL_RANGE ? SMALL_BUFFER : http->buffer);
    curl_easy_setopt(easy, CURLOPT_RESOLVE, http->user.route->pin);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, http->guard.fd >= 0 || alone ? 1L : 0L);
}
