/*
 * The Content-Range header of a 206 (RFC 9110, 14.4): "bytes FIRST-LAST/TOTAL".
 * Pure. Anything else, and any inconsistency, is refused.
 */
#ifndef HTTP_CONTENT_RANGE_H
#define HTTP_CONTENT_RANGE_H

#include <stdbool.h>
#include <stdint.h>

struct content_range {
    uint64_t first, last, total;
    bool total_known; /* false: "*" */
};

bool content_range_parse(const char *text, struct content_range *range);

#endif
