/* Content-Range: what is accepted is consistent. */
#include <stdlib.h>
#include <string.h>

#include "http/content_range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[128];
    struct content_range range;
    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (content_range_parse(text, &range) && (range.first > range.last || (range.total_known && range.last >= range.total)))
        abort();
    return 0;
}
