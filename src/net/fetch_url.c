/* Which URLs may be fetched, and when two have one origin. See net/fetch.h. */
#include <stdio.h>
#include <string.h>

#include "net/fetch.h"

static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text <= 0x20 || *text == 0x7f || *text == '\\')
            return true;
    return false;
}

static bool url_part_equals(CURLU *url, CURLUPart part, const char *want, unsigned flags)
{
    char *have = NULL;
    bool equal = curl_url_get(url, part, &have, flags) == CURLUE_OK && strcmp(have, want) == 0;
    curl_free(have);
    return equal;
}

/* libcurl forgives "https:///host" and "https:/host"; two readers of such a URL
 * could see two hosts. NULL: it is such a one, or has no scheme. */
static const char *authority_of(const char *text)
{
    const char *colon = strchr(text, ':');
    return colon && strncmp(colon, "://", 3) == 0 && colon[3] && colon[3] != '/' ? colon + 3 : NULL;
}

/* Also an empty one, which libcurl does not tell. */
static bool has_user(const char *authority)
{
    return memchr(authority, '@', strcspn(authority, "/?#"));
}

/* Letters may look like others, and libcurl would need a locale for them; what is decoded can be
 * anything. In brackets a percent sign begins a zone. */
static bool has_coded_host(const char *authority)
{
    for (size_t length = strcspn(authority, "/?#"); length > 0; length--) {
        unsigned char c = (unsigned char)authority[length - 1];
        if (c >= 0x80 || (c == '%' && *authority != '['))
            return true;
    }
    return false;
}

static const char *check_parsed(CURLU *url, bool allow_plain)
{
    bool plain = url_part_equals(url, CURLUPART_SCHEME, "http", 0);
    if (!plain && !url_part_equals(url, CURLUPART_SCHEME, "https", 0))
        return "this kind of URL is not supported (use https://, http:// or a file's path)";
    if (plain && !allow_plain)
        return "http:// is not allowed here (use https://, or set allow-http = yes)";
    return NULL;
}

bool fetch_check_url(const char *text, bool allow_plain, char error[FETCH_ERROR_MAX])
{
    const char *problem = NULL, *authority = authority_of(text);
    CURLU *url = curl_url();
    if (strlen(text) >= FETCH_URL_MAX)
        problem = "the URL is too long";
    else if (has_control(text))
        problem = "the URL has a blank, a backslash or a control character (write it as %XX)";
    else if (authority && has_coded_host(authority))
        problem = "the URL's host has a letter beyond ASCII or a %XX (write it plainly, or in its xn-- form)";
    else if (!authority || curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
        problem = "this is not a valid URL (expected https://HOST/PATH)";
    else if (has_user(authority))
        problem = "the URL must not carry a user or password (give them as user= and password=)";
    else
        problem = check_parsed(url, allow_plain);
    curl_url_cleanup(url);
    if (problem)
        snprintf(error, FETCH_ERROR_MAX, "%s", problem);
    return !problem;
}

bool fetch_same_origin(const char *a, const char *b)
{
    static const CURLUPart parts[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
    CURLU *one = curl_url(), *two = curl_url();
    bool same = curl_url_set(one, CURLUPART_URL, a, 0) == CURLUE_OK && curl_url_set(two, CURLUPART_URL, b, 0) == CURLUE_OK;
    for (int i = 0; same && i < 3; i++) {
        char *part = NULL;
        same = curl_url_get(one, parts[i], &part, CURLU_DEFAULT_PORT) == CURLUE_OK &&
               url_part_equals(two, parts[i], part, CURLU_DEFAULT_PORT);
        curl_free(part);
    }
    curl_url_cleanup(one);
    curl_url_cleanup(two);
    return same;
}
