#include "base/wipe.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static void *wipe_checked(void *memory)
{
    if (!memory)
        mem_exhausted();
    return memory;
}

void *wipe_malloc(size_t size)
{
    return wipe_checked(malloc(size));
}

void *wipe_calloc(size_t count, size_t size)
{
    return wipe_checked(calloc(count, size));
}

char *wipe_strdup(const char *text)
{
    return wipe_checked(strdup(text));
}

static void *wipe_move(void *old, size_t had, size_t size)
{
    void *memory = wipe_malloc(size);
    memcpy(memory, old, had < size ? had : size);
    wipe_free(old);
    return memory;
}

void *wipe_realloc(void *old, size_t size)
{
    size_t had = old ? malloc_usable_size(old) : 0;
    if (old && size == 0) {
        wipe_free(old);
        return NULL;
    }
    if (had == 0 || had > WIPE_MAX)
        return wipe_checked(realloc(old, size));
    return wipe_move(old, had, size);
}

void wipe_free(void *memory)
{
    size_t size = memory ? malloc_usable_size(memory) : 0;
    if (size > 0 && size <= WIPE_MAX)
        explicit_bzero(memory, size);
    free(memory);
}
