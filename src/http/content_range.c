#include "http/content_range.h"

#include <string.h>
#include <strings.h>

/* Digits up to `end`; moves past it. */
static bool http_content_range_number(const char **text, char end, uint64_t *value)
{
    const char *p = *text;
    uint64_t n = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        unsigned digit = (unsigned)(*p - '0');
        if (n > ((uint64_t)INT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    if (p == *text || *p != end)
        return false;
    *value = n;
    *text = p + (end != '\0');
    return true;
}

bool content_range_parse(const char *text, struct content_range *range)
{
    if (strncasecmp(text, "bytes ", 6) != 0)
        return false;
    text += 6;
    text += strspn(text, " ");
    if (!http_content_range_number(&text, '-', &range->first) || !http_content_range_number(&text, '/', &range->last))
        return false;
    range->total_known = strcmp(text, "*") != 0;
    range->total = 0;
    if (range->total_known && !http_content_range_number(&text, '\0', &range->total))
        return false;
    return range->first <= range->last && (!range->total_known || range->last < range->total);
}
