/* What is said of an answer that has no use, and of a transfer that failed. See net/fetch.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/fetch_http_internal.h"

static const char *status_words(long status)
{
    switch (status) {
    case 401:
        return "401 Unauthorized (check user and password)";
    case 403:
        return "403 Forbidden (check the credentials and the server's permissions)";
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

void http_judge_status(struct fetch *fetch, long status)
{
    char number[32];
    const char *words = status_words(status);
    snprintf(number, sizeof number, "%ld", status);
    enum fetch_verdict verdict = FETCH_REFUSED;
    if (status == 408 || status == 425 || status == 429 || status >= 500)
        verdict = FETCH_TRANSIENT;
    else if (status >= 300 && !fetch->probe)
        verdict = FETCH_MOVED;
    fetch_judge(fetch, verdict, "the server answered %s", words ? words : number);
    fetch->reason = status_reason(status);
}

static const char *code_hint(CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return " (check the host's name)";
    case CURLE_COULDNT_CONNECT:
        return " (check host and port)";
    case CURLE_PEER_FAILED_VERIFICATION:
        return " (set ca-file to the server's CA, or mend the certificate)";
    case CURLE_SSL_CACERT_BADFILE:
        return " (check ca-file)";
    case CURLE_SSL_CERTPROBLEM:
        return " (check client-certificate and client-key)";
    case CURLE_TOO_MANY_REDIRECTS:
        return " (check the URL, or raise redirects)";
    default:
        return "";
    }
}

/* Did it end before there was a TCP connection? */
static bool is_unconnected(const struct fetch *fetch)
{
    curl_off_t connected = 0;
    return curl_easy_getinfo(http_easy(fetch), CURLINFO_CONNECT_TIME_T, &connected) == CURLE_OK && connected == 0;
}

static int connect_reason(const struct fetch *fetch)
{
    long error = 0;
    curl_easy_getinfo(http_easy(fetch), CURLINFO_OS_ERRNO, &error);
    return error == ECONNREFUSED ? -ECONNREFUSED : -EHOSTUNREACH;
}

static int code_reason(const struct fetch *fetch, CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return -EHOSTUNREACH;
    case CURLE_COULDNT_CONNECT:
        return connect_reason(fetch);
    case CURLE_OPERATION_TIMEDOUT:
        return is_unconnected(fetch) ? -EHOSTUNREACH : 0;
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

void http_judge_code(struct fetch *fetch, CURLcode code)
{
    enum fetch_verdict verdict = FETCH_TRANSIENT;
    const char *refusal = fetch_guard_refusal(&http_of(fetch)->guard, code);
    if (refusal) {
        fetch_judge(fetch, FETCH_REFUSED, "%s", refusal);
        fetch->reason = -EPERM;
        return;
    }
    if (code == CURLE_TOO_MANY_REDIRECTS || code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT ||
        code == CURLE_SSL_CACERT_BADFILE || code == CURLE_SSL_CERTPROBLEM || code == CURLE_PEER_FAILED_VERIFICATION)
        verdict = FETCH_REFUSED;
    drop_times(http_of(fetch)->curl_error);
    const char *text = *http_of(fetch)->curl_error ? http_of(fetch)->curl_error : curl_easy_strerror(code);
    bool nameless = code == CURLE_PEER_FAILED_VERIFICATION && fetch_guard_nameless(http_easy(fetch));
    fetch_judge(fetch, verdict, "%.400s%s", text,
          nameless ? " (the certificate has no subjectAltName; a common name does not count)" : code_hint(code));
    fetch->reason = code_reason(fetch, code);
}

void http_judge_silence(struct fetch *fetch)
{
    static const char *const words[] = {
        [HTTP_CONNECTING] = "no connection within connect-timeout, TLS included (check host and port, and that the server is well)",
        [HTTP_WAITING] = "the server took the request, but did not answer within stall-timeout",
        [HTTP_READING] = "the server stopped in the middle of its answer for as long as stall-timeout",
    };
    fetch_judge(fetch, FETCH_TRANSIENT, "%s", words[http_of(fetch)->phase]);
}
