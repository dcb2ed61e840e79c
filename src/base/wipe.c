#include "base/wipe.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

void *wipe_realloc(void *old, size_t size)
{
    size_t had = old ? malloc_usable_size(old) : 0;
    if (had == 0 || had > WIPE_MAX)
        return realloc(old, size);
    void *memory = malloc(size);
    if (!memory)
        return NULL;
    memcpy(memory, old, had < size ? had : size);
    wipe_free(old);
    return memory;
}

void wipe_free(void *memory)
{
    size_t size = memory ? malloc_usable_size(memory) : 0;
    if (size > 0 && size <= WIPE_MAX)
        explicit_bzero(memory, size);
    free(memory);
}
