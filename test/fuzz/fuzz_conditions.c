/*
 * What a client asks for by Range, If-Match and If-None-Match: a part lies within the content, and an ETag that is found in
 * a list stands there. The first byte: bits 0 to 6: the content's size; 7: weak comparison.
 */
#include <stdlib.h>
#include <string.h>

#include "http/content.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void check_range(const char *text, uint64_t size)
{
    uint64_t first = UINT64_MAX, last = 0;
    if (http_range_parse(text, size, &first, &last) == HTTP_RANGE_PART)
        must(first <= last && last < size);
}

static void check_etag(const char *text, bool weak)
{
    static const char etag[] = "\"0123\"";
    if (http_etag_listed(text, etag, weak))
        must(strstr(text, etag) || strchr(text, '*'));
    if (http_etag_listed(text, etag, false))
        must(http_etag_listed(text, etag, true));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *text = malloc(size);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    check_range(text, data[0] & 0x7f);
    check_range(text, UINT64_MAX);
    check_etag(text, data[0] & 0x80);
    free(text);
    return 0;
}
