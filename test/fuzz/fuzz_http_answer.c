/*
 * The head of an HTTP server's answer to a probe or to a range: it is refused in words, or the part lies in the range that was
 * asked for, of an image of that size and version; and where it sends on is no way from https to http. The first byte:
 * bit 0: a probe; 1: the validator is the time; 2: the image had an ETag; 3: a time; 4: http is allowed; 5: an https URL;
 * 6: a proxy. Two bytes: the status. Then lines, "Name: value"; "Location" is where a redirect leads.
 * The linker puts functions here in the place of those that ask libcurl.
 */
#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "http/content_range.h"
#include "remote/http/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
CURLHcode __wrap_curl_easy_header(CURL *easy, const char *name, size_t index, unsigned origin, int request,
                                  struct curl_header **out);
CURLcode __wrap_curl_easy_getinfo(CURL *easy, CURLINFO info, ...);

#define FIELDS_MAX 32
#define SIZE       1000000u
#define OFFSET     4096u
#define LENGTH     65536u

static struct {
    long status;
    struct curl_header fields[FIELDS_MAX];
    size_t count;
} heard;

static void must(bool condition)
{
    if (!condition)
        abort();
}

static struct curl_header *field(const char *name)
{
    struct curl_header *found = NULL;
    size_t amount = 0;
    for (size_t i = 0; i < heard.count; i++)
        if (strcasecmp(heard.fields[i].name, name) == 0) {
            found = &heard.fields[i];
            amount++;
        }
    if (found)
        found->amount = amount;
    return found;
}

CURLHcode __wrap_curl_easy_header(CURL *easy, const char *name, size_t index, unsigned origin, int request,
                                  struct curl_header **out)
{
    (void)easy;
    must(index == 0 && origin == CURLH_HEADER && request == -1);
    *out = field(name);
    return *out ? CURLHE_OK : CURLHE_MISSING;
}

CURLcode __wrap_curl_easy_getinfo(CURL *easy, CURLINFO info, ...)
{
    va_list args;
    (void)easy;
    va_start(args, info);
    void *out = va_arg(args, void *);
    va_end(args);
    if (info == CURLINFO_RESPONSE_CODE)
        *(long *)out = heard.status;
    else if (info == CURLINFO_RETRY_AFTER)
        *(curl_off_t *)out = field("Retry-After") ? strtoll(field("Retry-After")->value, NULL, 10) : 0;
    else if (info == CURLINFO_REDIRECT_URL)
        *(char **)out = field("Location") ? field("Location")->value : NULL;
    else if (info == CURLINFO_HTTPAUTH_AVAIL)
        *(long *)out = 0;
    else
        return CURLE_UNKNOWN_OPTION;
    return CURLE_OK;
}

static void hear(char *text)
{
    char *next = NULL;
    heard.count = 0;
    for (char *line = strtok_r(text, "\n", &next); line && heard.count < FIELDS_MAX; line = strtok_r(NULL, "\n", &next)) {
        char *colon = strchr(line, ':');
        if (!colon)
            continue;
        *colon = '\0';
        heard.fields[heard.count++] = (struct curl_header){.name = line, .value = colon + 1 + strspn(colon + 1, " ")};
    }
}

/* Several, or one that is too long, are as good as none. */
static bool can_be_kept(const struct curl_header *header)
{
    return header && header->amount == 1 && strlen(header->value) < HTTP_VALIDATOR_MAX;
}

static void check_range(const struct http_fetch *http)
{
    struct content_range range;
    must(heard.status == 206 && field("Content-Range") && content_range_parse(field("Content-Range")->value, &range));
    must(range.first == http->offset + http->filled && range.last < http->offset + http->length && range.total_known);
    must(http->due > http->filled && http->due <= http->length);
    if (http->probe)
        return;
    must(range.total == SIZE);
    if (*http->expect->etag)
        must(field("ETag") && strcmp(field("ETag")->value, http->expect->etag) == 0);
    else if (can_be_kept(field("Last-Modified")))
        must(strcmp(field("Last-Modified")->value, http->expect->modified) == 0);
}

static void check_redirect(struct http_fetch *http)
{
    char url[LOCATION_URL_MAX];
    snprintf(url, sizeof url, "%s", http->url);
    bool was_safe = strncmp(url, "https", 5) == 0;
    if (!http_redirect(http, url)) {
        must(http->request.verdict != REMOTE_OK && *http->request.error);
        return;
    }
    bool safe = strncasecmp(url, "https:", 6) == 0;
    must(safe || (strncasecmp(url, "http:", 5) == 0 && http->image->allow_plain && !was_safe));
}

static void judge(struct http_fetch *http)
{
    http_check_answer(http);
    must(http->request.retry_after_ms <= 86400000u && strlen(http->request.error) < REMOTE_ERROR_MAX);
    if (http->request.verdict != REMOTE_OK) {
        must(*http->request.error);
    } else {
        check_range(http);
        http_learn(http);
        must(strlen(http->found.etag) < HTTP_VALIDATOR_MAX && strlen(http->found.modified) < HTTP_VALIDATOR_MAX);
    }
    if (http->probe && http_is_redirect(heard.status))
        check_redirect(http);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_resource expect;
    static struct http_fetch http;
    static char easy;
    struct http_image image = {.redirects = 5};
    if (size < 3)
        return 0;
    const char *url = data[0] & 32 ? "https://server.example/image.iso?key" : "http://server.example/image.iso";
    heard.status = data[1] | (data[2] & 3) << 8;
    image.by_time = data[0] & 2;
    image.allow_plain = data[0] & 16;
    image.proxy = data[0] & 64 ? &easy : NULL;
    expect.size = SIZE;
    strcpy(expect.etag, data[0] & 4 && !image.by_time ? "\"one\"" : "");
    strcpy(expect.modified, data[0] & 8 ? "Sat, 01 Jan 2022 00:00:00 GMT" : "");
    strcpy(expect.url, url);
    http.request.retry_after_ms = http.due = 0;
    *http.request.error = '\0';
    http.image = &image;
    http.transfer.easy = (CURL *)&easy;
    http.offset = OFFSET;
    http.length = LENGTH;
    http.filled = data[2] >> 2;
    http.probe = data[0] & 1;
    http.expect = http.probe ? NULL : &expect;
    strcpy(http.url, url);
    char *text = mem_alloc(size - 2);
    memcpy(text, data + 3, size - 3);
    hear(text);
    judge(&http);
    mem_free(text);
    return 0;
}
