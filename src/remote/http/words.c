/* What is said of an answer that has no use, and of a transfer that failed. See remote/http/http.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "remote/http/internal.h"

#define RETRY_AFTER_MAX_S 86400

static const char *unauthorized_words(const struct http_fetch *http)
{
    switch (http->login) {
    case HTTP_LOGIN_NONE:
        return "401 Unauthorized (it wants a user and a password, or a token, and there are none: check user and password)";
    case HTTP_LOGIN_ELSEWHERE:
        return "401 Unauthorized (user and password, or the token, are for another server and were not sent there)";
    case HTTP_LOGIN_TOKEN:
        return http->probe ? "401 Unauthorized (the bearer token is wrong, or has expired)"
                            : "401 Unauthorized (the bearer token, which was good, has expired or was taken back)";
    case HTTP_LOGIN_PASSWORD:
        break;
    }
    return http->probe ? "401 Unauthorized (check user and password: they are wrong)"
                        : "401 Unauthorized (check user and password: they were good, and are no more)";
}

/* If the URL carries its own permission, that may have expired. */
static const char *forbidden_words(const struct http_fetch *http)
{
    const char *url = http->probe ? http->url : http->expect->url;
    return strchr(url, '?') ? "403 Forbidden (check the credentials and the server's permissions; or the URL has expired)"
                            : "403 Forbidden (check the credentials and the server's permissions)";
}

static const char *bad_request_words(const struct http_fetch *http)
{
    const char *url = http->probe ? http->url : http->expect->url;
    return strncmp(url, "http:", 5) == 0 ? "400 Bad Request (a port of https answers so to http://: check host and port)" : NULL;
}

static const char *status_words(const struct http_fetch *http, long status)
{
    switch (status) {
    case 400:
        return bad_request_words(http);
    case 401:
        return unauthorized_words(http);
    case 403:
        return forbidden_words(http);
    case 404:
        return "404 Not Found (check the path of the URL)";
    case 407:
        return "407 Proxy Authentication Required (check the proxy's credentials)";
    case 410:
        return "410 Gone (check the path of the URL)";
    case 429:
        return "429 Too Many Requests";
    case 500:
        return "500 Internal Server Error";
    case 502:
        return "502 Bad Gateway";
    case 503:
        return "503 Service Unavailable";
    case 504:
        return "504 Gateway Timeout";
    default:
        return NULL;
    }
}

static int status_reason(long status)
{
    if (status == 401 || status == 403 || status == 407)
        return -EACCES;
    return status == 404 || status == 410 ? -ENOENT : 0;
}

/* For an http:// URL a proxy answers its own troubles as if they were the server's. */
static const char *speaker(const struct http_fetch *http, long status)
{
    if (!http->image->proxy)
        return "the server";
    return status == 407 ? "the proxy" : status >= 502 && status <= 504 ? "the server, or the proxy," : "the server";
}

/* Retry-After, in seconds or as a date (RFC 9110, 10.2.3): libcurl reads both. */
static uint64_t retry_after(const struct http_fetch *http)
{
    curl_off_t seconds = 0;
    if (curl_easy_getinfo(http->transfer.easy, CURLINFO_RETRY_AFTER, &seconds) != CURLE_OK || seconds <= 0)
        return 0;
    return (uint64_t)(seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * 1000;
}

void http_judge_status(struct http_fetch *http, long status)
{
    char number[32];
    const char *words = status_words(http, status);
    snprintf(number, sizeof number, "%ld", status);
    enum remote_verdict verdict = REMOTE_REFUSED;
    if (status == 408 || status == 425 || status == 429 || status >= 500)
        verdict = REMOTE_TRANSIENT;
    else if (status >= 300 && !http->probe)
        verdict = REMOTE_MOVED;
    remote_judge(&http->request, verdict, "%s answered %s", speaker(http, status), words ? words : number);
    http->request.reason = status_reason(status);
    http->request.busy = status == 429 || status == 503;
    if (verdict == REMOTE_TRANSIENT)
        http->request.retry_after_ms = retry_after(http);
}

/* --- transfers --- */

static const char *code_hint(const struct http_fetch *http, CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return " (check the host's name)";
    case CURLE_COULDNT_CONNECT:
        return http->image->proxy ? " (check the proxy)" : " (check host and port)";
    case CURLE_PEER_FAILED_VERIFICATION:
        return http_guard_nameless(http->transfer.easy) ? " (the certificate has no subjectAltName; a common name does not count)"
                                                      : " (set ca-file to the server's CA, or mend the certificate)";
    case CURLE_SSL_CACERT_BADFILE:
        return " (check ca-file)";
    case CURLE_SSL_CERTPROBLEM:
        return " (check client-certificate and client-key)";
    default:
        return "";
    }
}

static int connect_errno(const struct http_fetch *http)
{
    long error = 0;
    curl_easy_getinfo(http->transfer.easy, CURLINFO_OS_ERRNO, &error);
    return (int)error;
}

static int connect_reason(const struct http_fetch *http)
{
    return connect_errno(http) == ECONNREFUSED ? -ECONNREFUSED : -EHOSTUNREACH;
}

/* In the words of net/dial, which makes the first connection: it is the same trouble. */
static void dial_words(const struct http_fetch *http, CURLcode code, char text[CURL_ERROR_SIZE])
{
    const struct http_route *route = http->user.route;
    int error = connect_errno(http);
    if (code == CURLE_COULDNT_CONNECT && route && *route->address && error != 0)
        snprintf(text, CURL_ERROR_SIZE, "could not connect to %s: %s", route->address, strerror(error));
}

static int code_reason(const struct http_fetch *http, CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return -EHOSTUNREACH;
    case CURLE_COULDNT_CONNECT:
        return connect_reason(http);
    case CURLE_PEER_FAILED_VERIFICATION:
        return -EKEYREJECTED;
    default:
        return 0;
    }
}

/* "after 7 ms" goes: the same trouble is told in the same words each time it is met. */
static void drop_times(char *text)
{
    static const char after[] = " after ", *const units[] = {" milliseconds", " ms"};
    while ((text = strstr(text, after)) != NULL) {
        size_t digits = strspn(text + strlen(after), "0123456789"), unit = 0;
        const char *rest = text + strlen(after) + digits;
        for (size_t i = 0; i < sizeof units / sizeof *units && unit == 0; i++)
            unit = digits > 0 && strncmp(rest, units[i], strlen(units[i])) == 0 ? strlen(units[i]) : 0;
        if (unit > 0)
            memmove(text, rest + unit, strlen(rest + unit) + 1);
        else
            text++;
    }
}

/* The status with which the proxy refused CONNECT; 0: it did not. */
static long refused_connect(const struct http_fetch *http)
{
    long status = 0;
    curl_easy_getinfo(http->transfer.easy, CURLINFO_HTTP_CONNECTCODE, &status);
    return status >= 300 ? status : 0;
}

static void judge_connect(struct http_fetch *http, long status)
{
    bool passing = status == 408 || status == 429 || status >= 500;
    const char *hint = status == 407   ? "check the proxy's credentials"
                       : status == 403 ? "it does not allow that server or port"
                       : passing       ? "it does not reach the server"
                                       : "check the proxy, and the server's name and port";
    remote_judge(&http->request, passing ? REMOTE_TRANSIENT : REMOTE_REFUSED, "the proxy answered %ld to CONNECT (%s)", status, hint);
    http->request.reason = status == 407 || status == 403 ? -EACCES : 0;
}

/* Judges troubles of which we know more than libcurl says. */
static bool judge_known(struct http_fetch *http, CURLcode code)
{
    const char *refusal = http_guard_refusal(&http->guard, code);
    char dates[TRUST_WORDS_MAX];
    long connect = refused_connect(http), verified = 0;
    curl_easy_getinfo(http->transfer.easy, CURLINFO_SSL_VERIFYRESULT, &verified);
    if (refusal) {
        remote_judge(&http->request, REMOTE_REFUSED, "%s", refusal);
        http->request.reason = -EPERM;
    } else if (connect && code != CURLE_OK) {
        judge_connect(http, connect);
    } else if (code == CURLE_PEER_FAILED_VERIFICATION && trust_dates(verified, dates)) {
        remote_judge(&http->request, REMOTE_REFUSED, "%s", dates);
        http->request.reason = -EKEYREJECTED;
    } else if (code == CURLE_SSL_CONNECT_ERROR && trust_is_plain(http->curl_error)) {
        remote_judge(&http->request, REMOTE_REFUSED, "the server speaks no TLS there (use http://, or the port of its https)");
    } else if (code == CURLE_UNSUPPORTED_PROTOCOL && strstr(http->curl_error, "HTTP/0.9")) {
        remote_judge(&http->request, REMOTE_REFUSED, "what answers there speaks no HTTP (check host and port, or use https://)");
    } else {
        return false;
    }
    return true;
}

void http_judge_code(struct http_fetch *http, CURLcode code)
{
    if (judge_known(http, code))
        return;
    bool permanent = code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT || code == CURLE_SSL_CACERT_BADFILE ||
                     code == CURLE_SSL_CERTPROBLEM || code == CURLE_PEER_FAILED_VERIFICATION;
    bool proxy = http->image->proxy && (code == CURLE_COULDNT_CONNECT || code == CURLE_PROXY);
    drop_times(http->curl_error);
    dial_words(http, code, http->curl_error);
    const char *text = *http->curl_error ? http->curl_error : curl_easy_strerror(code);
    remote_judge(&http->request, permanent ? REMOTE_REFUSED : REMOTE_TRANSIENT, "%s%.400s%s", proxy ? "the proxy: " : "", text,
                code_hint(http, code));
    http->request.reason = code_reason(http, code);
    http->request.busy = http->request.reason == -ECONNREFUSED;
}

void http_judge_silence(struct http_fetch *http)
{
    static const char *const words[] = {
        [HTTP_CONNECTING] = "the server took the connection, but was not ready within connect-timeout (is this the port of its web server? "
                            "if it is slow, raise that)",
        [HTTP_WAITING] = "the server took the request, but did not answer within stall-timeout (is this the port of its web server? if it is "
                         "slow, raise that)",
        [HTTP_READING] = "the server stopped in the middle of its answer for as long as stall-timeout",
    };
    enum http_phase phase = http->phase;
    bool proxy = http->image->proxy && phase == HTTP_CONNECTING;
    remote_judge(&http->request, REMOTE_TRANSIENT, "%s", proxy ? "no connection by the proxy within connect-timeout" : words[phase]);
}
