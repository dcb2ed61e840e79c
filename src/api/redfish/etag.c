#include "api/redfish/etag.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

void redfish_etag(const json_t *resource, char etag[REDFISH_ETAG_SIZE])
{
    char *text = json_dumps(resource, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text)
        mem_exhausted();
    snprintf(etag, REDFISH_ETAG_SIZE, "\"%016" PRIx64 "\"", text_hash(TEXT_HASH_START, text, strlen(text)));
    free(text);
}

bool redfish_etag_listed(const char *list, const char *etag)
{
    size_t bare = strlen(etag) - 2;
    for (const char *p = list; *p;) {
        p += strspn(p, " \t,");
        if (p[0] == 'W' && p[1] == '/')
            p += 2;
        size_t length = strcspn(p, " \t,");
        if (length == 1 && *p == '*')
            return true;
        bool quoted = length >= 2 && p[0] == '"' && p[length - 1] == '"';
        const char *tag = quoted ? p + 1 : p;
        if (length - (quoted ? 2 : 0) == bare && memcmp(tag, etag + 1, bare) == 0)
            return true;
        p += length;
    }
    return false;
}
