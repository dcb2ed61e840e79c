/* What the answer to a range or a probe must be: see remote/http/http.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "http/content_range.h"
#include "remote/http/internal.h"

#define CHANGED "the image changed on the server (eject and insert it again)"

/* The last answer's header; NULL if it is missing or there are several. */
static const char *answer_header(const struct http_fetch *http, const char *name)
{
    struct curl_header *header;
    if (curl_easy_header(http->transfer.easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK || header->amount != 1)
        return NULL;
    return header->value;
}

long http_status(const struct http_fetch *http)
{
    long status = 0;
    curl_easy_getinfo(http->transfer.easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* --- validators --- */

bool http_etag_is_strong(const char *etag)
{
    return *etag == '"';
}

/* A validator too long to keep can't be compared: it counts as missing. */
static void keep_validator(char to[HTTP_VALIDATOR_MAX], const char *value)
{
    snprintf(to, HTTP_VALIDATOR_MAX, "%s", value && strlen(value) < HTTP_VALIDATOR_MAX ? value : "");
}

static bool has_header(const struct http_fetch *http, const char *name)
{
    struct curl_header *header;
    return curl_easy_header(http->transfer.easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK;
}

static bool header_is(const struct http_fetch *http, const char *name, const char *expect)
{
    char value[HTTP_VALIDATOR_MAX];
    keep_validator(value, answer_header(http, name));
    return strcmp(value, expect) == 0;
}

/* Does the answer come from the resource that was probed? The ETag tells, or the time if the resource has no ETag. A
 * 206 shows that the request's If-Range held: so it need not repeat the time, but must repeat the ETag (RFC 9110,
 * 15.3.7.1). */
static bool validators_match(const struct http_fetch *http, bool partial)
{
    const struct http_resource *expect = http->expect;
    if (*expect->etag)
        return header_is(http, "ETag", expect->etag);
    return header_is(http, "Last-Modified", expect->modified) ||
           (partial && *expect->modified && !has_header(http, "Last-Modified"));
}

static void judge_changed(struct http_fetch *http)
{
    remote_judge(&http->request, REMOTE_REFUSED, CHANGED);
    http->request.reason = http->probe ? 0 : -ESTALE;
}

/* --- the answers that there are --- */

static void judge_whole(struct http_fetch *http)
{
    const char *length = answer_header(http, "Content-Length");
    if (!http->probe && !validators_match(http, false)) {
        judge_changed(http);
    } else if (!http->probe) {
        remote_judge(&http->request, REMOTE_REFUSED, "the server sent the whole image instead of a range");
    } else if (length && strcmp(length, "0") == 0) {
        remote_judge(&http->request, REMOTE_REFUSED, "the image is empty");
    } else {
        remote_judge(&http->request, REMOTE_REFUSED,
                    "the server does not support range requests (use a server that does, or a local copy of the image)");
        http->request.reason = -ESPIPE;
    }
}

/* A part that begins where it was asked for is of use, however long: the rest is asked for again. */
static void judge_range(struct http_fetch *http, const struct content_range *range)
{
    const struct http_resource *expect = http->expect;
    uint64_t first = http->offset + http->filled, last = http->offset + http->length - 1;
    if (range->first != first || range->last > last)
        remote_judge(&http->request, REMOTE_REFUSED,
                    "the server sent another range than was asked for (bytes %" PRIu64 "-%" PRIu64 " instead of %" PRIu64
                    "-%" PRIu64 ")",
                    range->first, range->last, first, last);
    else if (!range->total_known)
        remote_judge(&http->request, REMOTE_REFUSED, "the server does not tell the size of the image");
    else if (expect && range->total != expect->size)
        remote_judge(&http->request, REMOTE_REFUSED,
                    "the image changed on the server: its size was %" PRIu64 " and is %" PRIu64
                    " (eject and insert it again)",
                    expect->size, range->total);
    else if (expect && !validators_match(http, true))
        judge_changed(http);
    else
        http->found.size = range->total;
    http->due = (uint32_t)(range->last - http->offset + 1);
}

static void judge_partial(struct http_fetch *http)
{
    struct content_range range;
    const char *encoding = answer_header(http, "Content-Encoding");
    const char *header = answer_header(http, "Content-Range");
    if (encoding && strcmp(encoding, "identity") != 0)
        remote_judge(&http->request, REMOTE_REFUSED, "the server encodes the image (Content-Encoding: %s); switch that off for this file", encoding);
    else if (!header || !content_range_parse(header, &range))
        remote_judge(&http->request, REMOTE_REFUSED, "the server's Content-Range header is missing or invalid");
    else
        judge_range(http, &range);
}

void http_check_answer(struct http_fetch *http)
{
    long status = http_status(http);
    http->checked = true;
    http->request.verdict = REMOTE_OK;
    if (status == 206)
        judge_partial(http);
    else if (status == 200)
        judge_whole(http);
    else if (status == 416 && http->probe)
        remote_judge(&http->request, REMOTE_REFUSED, "the image is empty");
    else if (status == 416 || status == 412)
        judge_changed(http);
    else
        http_judge_status(http, status);
}

/* --- what a probe learns --- */

void http_learn(struct http_fetch *http)
{
    struct http_resource *found = &http->found;
    long auth = 0;
    keep_validator(found->etag, answer_header(http, "ETag"));
    keep_validator(found->modified, answer_header(http, "Last-Modified"));
    curl_easy_getinfo(http->transfer.easy, CURLINFO_HTTPAUTH_AVAIL, &auth);
    found->auth = (unsigned long)auth;
    if (!http->image->by_time)
        return;
    *found->etag = '\0';
    if (!*found->modified)
        remote_judge(&http->request, REMOTE_REFUSED, "the server tells no Last-Modified, which validator = last-modified needs");
}

bool http_is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool scheme_is(const char *url, const char *scheme)
{
    size_t length = strlen(scheme);
    return strncasecmp(url, scheme, length) == 0 && url[length] == ':';
}

/* NULL: it may be followed. */
static const char *redirect_problem(const struct http_fetch *http, const char *from, const char *to)
{
    bool plain = scheme_is(to, "http");
    if (!plain && !scheme_is(to, "https"))
        return "the server redirects to another protocol, which is not followed (give the URL of the image itself)";
    if (plain && scheme_is(from, "https"))
        return "the server redirects from https to http, a protocol without encryption, which is not followed";
    if (plain && !http->image->allow_plain)
        return "the server redirects to http, a protocol that is not allowed here (add http to protocols)";
    return strlen(to) < LOCATION_URL_MAX ? NULL : "the server redirected to a URL that is too long";
}

bool http_redirect(struct http_fetch *http, char url[LOCATION_URL_MAX])
{
    const char *to = NULL, *problem = "the server redirects, but does not say where to (check the URL)";
    curl_easy_getinfo(http->transfer.easy, CURLINFO_REDIRECT_URL, (char **)&to);
    if (to)
        problem = redirect_problem(http, url, to);
    if (!problem && http->hops >= http->image->redirects)
        problem = "there are more redirects than are followed (check the URL, or raise redirects)";
    if (problem)
        remote_judge(&http->request, REMOTE_REFUSED, "%s", problem);
    else
        snprintf(url, LOCATION_URL_MAX, "%s", to);
    return !problem;
}
