/* When two URLs have one origin. See net/fetch.h. */
#include <string.h>

#include "net/fetch.h"

static bool url_part_equals(CURLU *url, CURLUPart part, const char *want, unsigned flags)
{
    char *have = NULL;
    bool equal = curl_url_get(url, part, &have, flags) == CURLUE_OK && strcmp(have, want) == 0;
    curl_free(have);
    return equal;
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
