/* HTTP's part of net/fetch.h: the request, and what its answer must be. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/text.h"
#include "net/ciphers.h"
#include "net/content_range.h"
#include "net/fetch_internal.h"

/* CURLOPT_BUFFERSIZE, by what is asked for: libcurl makes the buffer anew for each
 * transfer, so it should come from the heap; TLS hands on a record (16 KiB) at a time. */
#define PLAIN_BUFFER (60L << 10)
#define TLS_BUFFER (32L << 10)
#define SMALL_BUFFER (8L << 10)
#define SMALL_RANGE (6u << 10)

struct http_fetch {
    struct fetch *fetch;
    struct curl_transfer transfer;
    struct fetch_guard guard;
    struct curl_slist *headers;
    long buffer; /* of libcurl, for a large range */
    uint32_t discarded;
    bool checked;
    const struct fetch_resource *set_for; /* what the handle is set up for, and which version of it */
    unsigned set_version;
    char curl_error[CURL_ERROR_SIZE];
};

static struct http_fetch *http_of(const struct fetch *fetch)
{
    return fetch->state;
}

static CURL *easy_of(const struct fetch *fetch)
{
    return http_of(fetch)->transfer.easy;
}

/* --- the answer's headers --- */

/* The last answer's header; NULL if it is missing or there are several. */
static const char *answer_header(struct fetch *fetch, const char *name)
{
    struct curl_header *header;
    if (curl_easy_header(easy_of(fetch), name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK || header->amount != 1)
        return NULL;
    return header->value;
}

static long answer_status(struct fetch *fetch)
{
    long status = 0;
    curl_easy_getinfo(easy_of(fetch), CURLINFO_RESPONSE_CODE, &status);
    return status;
}

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

static void judge_status(struct fetch *fetch, long status)
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

/* Is the answer of the resource that was probed? Both validators must be what they were. */
static bool validators_match(struct fetch *fetch)
{
    char etag[FETCH_VALIDATOR_MAX], modified[FETCH_VALIDATOR_MAX];
    fetch_set_validator(etag, answer_header(fetch, "ETag"));
    fetch_set_validator(modified, answer_header(fetch, "Last-Modified"));
    const struct fetch_resource *expect = fetch->expect;
    if (*expect->etag)
        return strcmp(etag, expect->etag) == 0;
    return strcmp(modified, expect->modified) == 0;
}

static void judge_whole(struct fetch *fetch)
{
    const char *length = answer_header(fetch, "Content-Length");
    if (!fetch->probe && !validators_match(fetch)) {
        fetch_judge(fetch, FETCH_REFUSED, "the image changed on the server (eject and insert it again)");
    } else if (!fetch->probe) {
        fetch_judge(fetch, FETCH_REFUSED, "the server sent the whole image instead of a range");
    } else if (length && strcmp(length, "0") == 0) {
        fetch_judge(fetch, FETCH_REFUSED, "the image is empty");
    } else {
        fetch_judge(fetch, FETCH_REFUSED,
                    "the server does not support range requests (use a server that does, or a local copy of the image)");
        fetch->reason = -ESPIPE;
    }
}

static void judge_range(struct fetch *fetch, const struct content_range *range)
{
    const struct fetch_resource *expect = fetch->expect;
    if (range->first != fetch->offset || range->last != fetch->offset + fetch->length - 1)
        fetch_judge(fetch, FETCH_REFUSED, "the server sent another range than was asked for (bytes %" PRIu64 "-%" PRIu64 " instead of %" PRIu64 "-%" PRIu64 ")",
              range->first, range->last, fetch->offset, fetch->offset + fetch->length - 1);
    else if (!range->total_known)
        fetch_judge(fetch, FETCH_REFUSED, "the server does not tell the size of the image");
    else if (expect && range->total != expect->size)
        fetch_judge(fetch, FETCH_REFUSED, "the image changed on the server: its size was %" PRIu64 " and is %" PRIu64 " (eject and insert it again)",
              expect->size, range->total);
    else if (expect && !validators_match(fetch))
        fetch_judge(fetch, FETCH_REFUSED, "the image changed on the server (eject and insert it again)");
    else
        fetch->found.size = range->total;
}

static void judge_partial(struct fetch *fetch)
{
    struct content_range range;
    const char *encoding = answer_header(fetch, "Content-Encoding");
    const char *header = answer_header(fetch, "Content-Range");
    if (encoding && strcmp(encoding, "identity") != 0)
        fetch_judge(fetch, FETCH_REFUSED, "the server encodes the image (Content-Encoding: %s); switch that off for this file", encoding);
    else if (!header || !content_range_parse(header, &range))
        fetch_judge(fetch, FETCH_REFUSED, "the server's Content-Range header is missing or invalid");
    else
        judge_range(fetch, &range);
}

/* Once for each answer, at its first byte or its end. */
static void check_answer(struct fetch *fetch)
{
    long status = answer_status(fetch);
    http_of(fetch)->checked = true;
    fetch->verdict = FETCH_OK;
    if (status == 206)
        judge_partial(fetch);
    else if (status == 200)
        judge_whole(fetch);
    else if (status == 416)
        fetch_judge(fetch, FETCH_REFUSED, fetch->probe ? "the image is empty" : "the image changed on the server (eject and insert it again)");
    else if (status == 412)
        fetch_judge(fetch, FETCH_REFUSED, "the image changed on the server (eject and insert it again)");
    else
        judge_status(fetch, status);
}

/* --- libcurl's callbacks: they only take note --- */

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct fetch *fetch = arg;
    size_t length = size * count;
    if (!http_of(fetch)->checked)
        check_answer(fetch);
    fetch->received += length;
    if (fetch->verdict != FETCH_OK) {
        http_of(fetch)->discarded += (uint32_t)length;
        return http_of(fetch)->discarded <= FETCH_DISCARD_MAX ? length : 0;
    }
    if (length > fetch->length - fetch->filled) {
        fetch_judge(fetch, FETCH_REFUSED, "the server sent more bytes than were asked for");
        return 0;
    }
    slices_copy_in(&fetch->data, fetch->filled, data, length);
    fetch->filled += (uint32_t)length;
    return length;
}

/* --- the end of a transfer --- */

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
    return curl_easy_getinfo(easy_of(fetch), CURLINFO_CONNECT_TIME_T, &connected) == CURLE_OK && connected == 0;
}

static int connect_reason(const struct fetch *fetch)
{
    long error = 0;
    curl_easy_getinfo(easy_of(fetch), CURLINFO_OS_ERRNO, &error);
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

static void judge_code(struct fetch *fetch, CURLcode code)
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
    bool nameless = code == CURLE_PEER_FAILED_VERIFICATION && fetch_guard_nameless(easy_of(fetch));
    fetch_judge(fetch, verdict, "%.400s%s", text,
          nameless ? " (the certificate has no subjectAltName; a common name does not count)" : code_hint(code));
    fetch->reason = code_reason(fetch, code);
}

static void learn(struct fetch *fetch)
{
    const char *url = NULL;
    long auth = 0;
    fetch_set_validator(fetch->found.etag, answer_header(fetch, "ETag"));
    fetch_set_validator(fetch->found.modified, answer_header(fetch, "Last-Modified"));
    curl_easy_getinfo(easy_of(fetch), CURLINFO_EFFECTIVE_URL, &url);
    curl_easy_getinfo(easy_of(fetch), CURLINFO_HTTPAUTH_AVAIL, &auth);
    fetch->found.auth = (unsigned long)auth;
    if (!url || strlen(url) >= FETCH_URL_MAX)
        fetch_judge(fetch, FETCH_REFUSED, "the server redirected to a URL that is too long");
    else
        snprintf(fetch->found.url, sizeof fetch->found.url, "%s", url);
}

static void measure(struct fetch *fetch)
{
    curl_off_t sent = 0, first = 0;
    curl_easy_getinfo(easy_of(fetch), CURLINFO_PRETRANSFER_TIME_T, &sent);
    curl_easy_getinfo(easy_of(fetch), CURLINFO_STARTTRANSFER_TIME_T, &first);
    fetch->first_byte_us = first > sent && fetch->received > 0 ? (uint64_t)(first - sent) : 0;
}

static void on_done(struct curl_transfer *transfer, CURLcode code)
{
    struct fetch *fetch = container_of(transfer, struct http_fetch, transfer)->fetch;
    measure(fetch);
    if (code == CURLE_OK && !http_of(fetch)->checked)
        check_answer(fetch); /* an answer with no body */
    if (code != CURLE_OK && !(http_of(fetch)->checked && fetch->verdict != FETCH_OK))
        judge_code(fetch, code);
    else if (fetch->verdict == FETCH_OK && fetch->filled != fetch->length)
        fetch_judge(fetch, FETCH_TRANSIENT, "the server sent %" PRIu32 " of %" PRIu32 " bytes", fetch->filled, fetch->length);
    if (fetch->verdict == FETCH_OK && fetch->probe)
        learn(fetch);
    if (fetch->verdict != FETCH_OK)
        slices_clear(&fetch->data);
    fetch_finish(fetch);
}

/* --- starting --- */

static void set_fixed_options(struct fetch *fetch)
{
    const struct fetch_setup *setup = fetch->setup;
    CURL *easy = easy_of(fetch);
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
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, fetch);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, versions[setup->http]);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, setup->http == FETCH_HTTP_2 ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, setup->allow_plain ? "http,https" : "https");
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)setup->redirects);
    curl_easy_setopt(easy, CURLOPT_UNRESTRICTED_AUTH, 0L);
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_PROXY, setup->proxy ? setup->proxy : ""); /* "": none from the environment */
    curl_easy_setopt(easy, CURLOPT_NOPROXY, ""); /* nor exceptions */
    if (!setup->proxy)
        fetch_guard_addresses(&http_of(fetch)->guard, easy);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)setup->connect_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)((setup->stall_timeout_ms + 999) / 1000));
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_TLS13_CIPHERS, ciphers_tls13()); /* a wish: not every build of curl knows it */
    curl_easy_setopt(easy, CURLOPT_SSL_CIPHER_LIST, ciphers_tls12_client());
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, setup->verify ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, setup->verify ? 2L : 0L);
    if (setup->verify)
        fetch_guard_names(easy);
    trust_apply(&setup->trust, easy);
    if (setup->client_cert)
        curl_easy_setopt(easy, CURLOPT_SSLCERT, setup->client_cert);
    if (setup->client_key)
        curl_easy_setopt(easy, CURLOPT_SSLKEY, setup->client_key);
}

/* `wanted`: the schemes that the server asked for, 0 before that is known. With
 * several allowed libcurl would ask first, each time: a round trip a range. */
static void set_credentials(struct fetch *fetch, bool send, unsigned long wanted)
{
    const struct fetch_setup *setup = fetch->setup;
    CURL *easy = easy_of(fetch);
    unsigned long auth = setup->auth == FETCH_AUTH_BASIC    ? CURLAUTH_BASIC
                         : setup->auth == FETCH_AUTH_DIGEST ? CURLAUTH_DIGEST
                                                            : CURLAUTH_BASIC | CURLAUTH_DIGEST;
    if (setup->auth == FETCH_AUTH_ANY && wanted)
        auth = wanted & CURLAUTH_DIGEST ? CURLAUTH_DIGEST : CURLAUTH_BASIC;
    if (setup->bearer_token)
        auth = CURLAUTH_BEARER;
    curl_easy_setopt(easy, CURLOPT_HTTPAUTH, auth);
    curl_easy_setopt(easy, CURLOPT_USERNAME, send ? setup->user : NULL);
    curl_easy_setopt(easy, CURLOPT_PASSWORD, send ? setup->password : NULL);
    curl_easy_setopt(easy, CURLOPT_XOAUTH2_BEARER, send ? setup->bearer_token : NULL);
}

static void set_url(struct fetch *fetch, const char *url)
{
    bool tls = strncmp(url, "https:", 6) == 0;
    http_of(fetch)->buffer = tls ? TLS_BUFFER : PLAIN_BUFFER;
    curl_easy_setopt(easy_of(fetch), CURLOPT_URL, url);
    curl_easy_setopt(easy_of(fetch), CURLOPT_REDIR_PROTOCOLS_STR,
                     tls || !fetch->setup->allow_plain ? "https" : "http,https");
}

static bool strong(const char *etag)
{
    return *etag == '"';
}

/* If-Range needs a strong validator (RFC 9110, 13.1.5). */
static void set_headers(struct fetch *fetch)
{
    char line[FETCH_VALIDATOR_MAX + 16];
    const struct fetch_resource *expect = fetch->expect;
    curl_slist_free_all(http_of(fetch)->headers);
    http_of(fetch)->headers = curl_slist_append(NULL, "Accept-Encoding: identity");
    if (expect && (strong(expect->etag) || *expect->modified)) {
        snprintf(line, sizeof line, "If-Range: %s", strong(expect->etag) ? expect->etag : expect->modified);
        http_of(fetch)->headers = curl_slist_append(http_of(fetch)->headers, line);
    }
    curl_easy_setopt(easy_of(fetch), CURLOPT_HTTPHEADER, http_of(fetch)->headers);
}

static void http_init(struct fetch *fetch)
{
    struct http_fetch *http = mem_alloc(sizeof *http);
    http->fetch = fetch;
    http->guard = (struct fetch_guard){.local = fetch->setup->local, .curl = fetch->curl};
    http->transfer.easy = curl_easy_init();
    http->transfer.done = on_done;
    if (!http->transfer.easy)
        mem_exhausted();
    fetch->state = http;
    set_fixed_options(fetch);
}

static void set_up(struct fetch *fetch, const char *url, bool trusted)
{
    const struct fetch_setup *setup = fetch->setup;
    set_url(fetch, url);
    set_credentials(fetch, trusted, fetch->probe ? 0 : fetch->expect->auth);
    set_headers(fetch);
    curl_easy_setopt(easy_of(fetch), CURLOPT_FOLLOWLOCATION, fetch->probe && setup->redirects > 0 ? 1L : 0L);
}

static void http_start(struct fetch *fetch, const char *url, bool trusted)
{
    struct http_fetch *http = http_of(fetch);
    char range[64];
    if (fetch->probe || http->set_for != fetch->expect || http->set_version != fetch->expect->version) {
        set_up(fetch, url, trusted);
        http->set_for = fetch->expect; /* else all is set already */
        http->set_version = fetch->expect ? fetch->expect->version : 0;
    }
    snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, fetch->offset, fetch->offset + fetch->length - 1);
    curl_easy_setopt(http->transfer.easy, CURLOPT_RANGE, range);
    curl_easy_setopt(http->transfer.easy, CURLOPT_BUFFERSIZE, fetch->length <= SMALL_RANGE ? SMALL_BUFFER : http->buffer);
    http->discarded = 0;
    http->checked = false;
    *http->curl_error = *http->guard.refusal = '\0';
    if (curl_loop_start(fetch->curl, &http->transfer) != 0)
        mem_exhausted(); /* the only reason that is left */
}

static void http_cancel(struct fetch *fetch)
{
    curl_loop_cancel(&http_of(fetch)->transfer);
}

static void http_free(struct fetch *fetch)
{
    struct http_fetch *http = http_of(fetch);
    curl_easy_cleanup(http->transfer.easy);
    curl_slist_free_all(http->headers);
    mem_free(http);
}

static const char *const schemes[] = {"https", "http", NULL};

const struct fetch_protocol fetch_http = {schemes, UINT32_MAX, http_init, http_start, http_cancel, http_free};
