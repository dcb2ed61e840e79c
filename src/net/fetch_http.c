/* HTTP's part of net/fetch.h: the request, and its way. What its answer must be is in net/fetch_http_answer.c. */
#include <build-config.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/text.h"
#include "net/ciphers.h"
#include "net/fetch_http_internal.h"

/* CURLOPT_BUFFERSIZE, by what is asked for: libcurl makes the buffer anew for each
 * transfer, so it should come from the heap; TLS hands on a record (16 KiB) at a time. */
#define PLAIN_BUFFER (60L << 10)
#define TLS_BUFFER (32L << 10)
#define SMALL_BUFFER (8L << 10)
#define SMALL_RANGE (6u << 10)

#define PROBE_BYTES 512u /* busybox httpd takes a range of one byte for none */
#define PIECES_MAX 64 /* requests for one range of a server that sends less than is asked for */

/* --- libcurl's callbacks: they only take note --- */

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct fetch *fetch = arg;
    size_t length = size * count;
    if (!http_of(fetch)->checked)
        http_check_answer(fetch);
    fetch->received += length;
    if (fetch->verdict != FETCH_OK) {
        http_of(fetch)->discarded += (uint32_t)length;
        return http_of(fetch)->discarded <= FETCH_DISCARD_MAX ? length : 0;
    }
    if (length > http_of(fetch)->due - fetch->filled) {
        fetch_judge(fetch, FETCH_REFUSED, "the server sent more bytes than were asked for");
        return 0;
    }
    slices_copy_in(&fetch->data, fetch->filled, data, length);
    fetch->filled += (uint32_t)length;
    return length;
}

/* --- the end of a transfer --- */

static void http_ask(struct fetch *fetch);

static void measure(struct fetch *fetch)
{
    curl_off_t sent = 0, first = 0;
    curl_easy_getinfo(http_easy(fetch), CURLINFO_PRETRANSFER_TIME_T, &sent);
    curl_easy_getinfo(http_easy(fetch), CURLINFO_STARTTRANSFER_TIME_T, &first);
    fetch->first_byte_us = first > sent && fetch->received > 0 ? (uint64_t)(first - sent) : 0;
}

/* The verdict of the transfer, once it is over. */
static void http_judge(struct fetch *fetch, CURLcode code)
{
    struct http_fetch *http = http_of(fetch);
    if (code == CURLE_OK && !http->checked)
        http_check_answer(fetch); /* an answer with no body */
    if (code != CURLE_OK && !(http->checked && fetch->verdict != FETCH_OK))
        http_judge_code(fetch, code);
    else if (fetch->verdict == FETCH_OK && fetch->filled != http->due)
        fetch_judge(fetch, FETCH_TRANSIENT, "the server sent %" PRIu32 " of %" PRIu32 " bytes", fetch->filled, http->due);
}

/* A probe is sent on: the next origin is sent what was given for it only. */
static bool http_follow(struct fetch *fetch)
{
    struct http_fetch *http = http_of(fetch);
    if (!fetch->probe || !http->checked || !http_is_redirect(http_status(fetch)) || !http_redirect(fetch, http->url))
        return false;
    http->hops++;
    http_ask(fetch);
    return true;
}

/* The server sent the beginning of what it was asked for. */
static bool http_complete(struct fetch *fetch)
{
    struct http_fetch *http = http_of(fetch);
    if (fetch->probe || fetch->verdict != FETCH_OK || fetch->filled == fetch->length)
        return false;
    if (++http->pieces >= PIECES_MAX) {
        fetch_judge(fetch, FETCH_REFUSED, "the server sends too little of what it is asked for");
        return false;
    }
    http_ask(fetch);
    return true;
}

static void http_end(struct fetch *fetch)
{
    if (fetch->verdict == FETCH_OK && fetch->probe) {
        snprintf(fetch->found.url, sizeof fetch->found.url, "%s", http_of(fetch)->url);
        http_learn(fetch);
    }
    fetch_finish(fetch);
}

static void on_done(struct curl_transfer *transfer, CURLcode code)
{
    struct fetch *fetch = container_of(transfer, struct http_fetch, transfer)->fetch;
    measure(fetch);
    http_judge(fetch, code);
    if (!http_follow(fetch) && !http_complete(fetch))
        http_end(fetch);
}

/* --- starting --- */

static void set_fixed_options(struct fetch *fetch)
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
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, fetch);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, versions[setup->http]);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, setup->http == FETCH_HTTP_2 ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, setup->allow_plain ? "http,https" : "https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L); /* that is ours: http_follow() */
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "nbd-proxy/" PACKAGE_VERSION);
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

/* For what is not there yet. */
static void http_ask(struct fetch *fetch)
{
    struct http_fetch *http = http_of(fetch);
    char range[64];
    set_up(fetch);
    snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, fetch->offset + fetch->filled,
             fetch->offset + fetch->length - 1);
    curl_easy_setopt(http->transfer.easy, CURLOPT_RANGE, range);
    curl_easy_setopt(http->transfer.easy, CURLOPT_BUFFERSIZE,
                     fetch->length - fetch->filled <= SMALL_RANGE ? SMALL_BUFFER : http->buffer);
    http->discarded = 0;
    http->due = fetch->length;
    http->checked = false;
    *http->curl_error = *http->guard.refusal = '\0';
    if (curl_loop_start(fetch->curl, &http->transfer) != 0)
        mem_exhausted(); /* the only reason that is left */
}

static void http_start(struct fetch *fetch, const char *url)
{
    struct http_fetch *http = http_of(fetch);
    http->hops = http->pieces = 0;
    if (fetch->probe)
        snprintf(http->url, sizeof http->url, "%s", url);
    http_ask(fetch);
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

const struct fetch_protocol fetch_http = {schemes, UINT32_MAX, PROBE_BYTES, http_init, http_start, http_cancel, http_free};
