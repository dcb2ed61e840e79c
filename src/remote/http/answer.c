/* What the answer to a range or a probe must be: see remote/fetch.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "http/content_range.h"
#include "remote/http/internal.h"

#define CHANGED "the image changed on the server (eject and insert it again)"

/* The last answer's header; NULL if it is missing or there are several. */
static const char *answer_header(const struct fetch *fetch, const char *name)
{
    struct curl_header *header;
    if (curl_easy_header(http_easy(fetch), name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK || header->amount != 1)
        return NULL;
    return header->value;
}

long http_status(const struct fetch *fetch)
{
    long status = 0;
    curl_easy_getinfo(http_easy(fetch), CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* --- validators --- */

bool http_etag_is_strong(const char *etag)
{
    return *etag == '"';
}

static bool has_header(const struct fetch *fetch, const char *name)
{
    struct curl_header *header;
    return curl_easy_header(http_easy(fetch), name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK;
}

static bool header_is(const struct fetch *fetch, const char *name, const char *expect)
{
    char value[FETCH_VALIDATOR_MAX];
    fetch_set_validator(value, answer_header(fetch, name));
    return strcmp(value, expect) == 0;
}

/* Is the answer of the resource that was probed? Its ETag tells, or the time if it has none. A 206 says by being one that
 * the If-Range of the request held, and need not repeat the time then, but must the ETag (RFC 9110, 15.3.7.1). */
static bool validators_match(const struct fetch *fetch, bool partial)
{
    const struct fetch_resource *expect = fetch->expect;
    if (*expect->etag)
        return header_is(fetch, "ETag", expect->etag);
    return header_is(fetch, "Last-Modified", expect->modified) ||
           (partial && *expect->modified && !has_header(fetch, "Last-Modified"));
}

static void judge_changed(struct fetch *fetch)
{
    fetch_judge(fetch, FETCH_REFUSED, CHANGED);
    fetch->reason = fetch->probe ? 0 : -ESTALE;
}

/* --- the answers that there are --- */

static void judge_whole(struct fetch *fetch)
{
    const char *length = answer_header(fetch, "Content-Length");
    if (!fetch->probe && !validators_match(fetch, false)) {
        judge_changed(fetch);
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

/* A part that begins where it was asked for is of use, however long: the rest is asked for again. */
static void judge_range(struct fetch *fetch, const struct content_range *range)
{
    const struct fetch_resource *expect = fetch->expect;
    uint64_t first = fetch->offset + fetch->filled, last = fetch->offset + fetch->length - 1;
    if (range->first != first || range->last > last)
        fetch_judge(fetch, FETCH_REFUSED,
                    "the server sent another range than was asked for (bytes %" PRIu64 "-%" PRIu64 " instead of %" PRIu64
                    "-%" PRIu64 ")",
                    range->first, range->last, first, last);
    else if (!range->total_known)
        fetch_judge(fetch, FETCH_REFUSED, "the server does not tell the size of the image");
    else if (expect && range->total != expect->size)
        fetch_judge(fetch, FETCH_REFUSED,
                    "the image changed on the server: its size was %" PRIu64 " and is %" PRIu64
                    " (eject and insert it again)",
                    expect->size, range->total);
    else if (expect && !validators_match(fetch, true))
        judge_changed(fetch);
    else
        fetch->found.size = range->total;
    http_of(fetch)->due = (uint32_t)(range->last - fetch->offset + 1);
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

void http_check_answer(struct fetch *fetch)
{
    long status = http_status(fetch);
    http_of(fetch)->checked = true;
    fetch->verdict = FETCH_OK;
    if (status == 206)
        judge_partial(fetch);
    else if (status == 200)
        judge_whole(fetch);
    else if (status == 416 && fetch->probe)
        fetch_judge(fetch, FETCH_REFUSED, "the image is empty");
    else if (status == 416 || status == 412)
        judge_changed(fetch);
    else
        http_judge_status(fetch, status);
}

/* --- what a probe learns --- */

void http_learn(struct fetch *fetch)
{
    struct fetch_resource *found = &fetch->found;
    long auth = 0;
    fetch_set_validator(found->etag, answer_header(fetch, "ETag"));
    fetch_set_validator(found->modified, answer_header(fetch, "Last-Modified"));
    curl_easy_getinfo(http_easy(fetch), CURLINFO_HTTPAUTH_AVAIL, &auth);
    found->auth = (unsigned long)auth;
    if (!fetch->setup->by_time)
        return;
    *found->etag = '\0';
    if (!*found->modified)
        fetch_judge(fetch, FETCH_REFUSED, "the server tells no Last-Modified, which validator = last-modified needs");
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
static const char *redirect_problem(const struct fetch *fetch, const char *from, const char *to)
{
    bool plain = scheme_is(to, "http");
    if (!plain && !scheme_is(to, "https"))
        return "the server redirects to another protocol, which is not followed (give the URL of the image itself)";
    if (plain && scheme_is(from, "https"))
        return "the server redirects from https to http, a protocol without encryption, which is not followed";
    if (plain && !fetch->setup->allow_plain)
        return "the server redirects to http, a protocol that is not allowed here (add http to protocols)";
    return strlen(to) < FETCH_URL_MAX ? NULL : "the server redirected to a URL that is too long";
}

bool http_redirect(struct fetch *fetch, char url[FETCH_URL_MAX])
{
    const char *to = NULL, *problem = "the server redirects, but does not say where to (check the URL)";
    curl_easy_getinfo(http_easy(fetch), CURLINFO_REDIRECT_URL, (char **)&to);
    if (to)
        problem = redirect_problem(fetch, url, to);
    if (!problem && http_of(fetch)->hops >= fetch->setup->redirects)
        problem = "there are more redirects than are followed (check the URL, or raise redirects)";
    if (problem)
        fetch_judge(fetch, FETCH_REFUSED, "%s", problem);
    else
        snprintf(url, FETCH_URL_MAX, "%s", to);
    return !problem;
}
