/*
 * malloc() and friends for libraries, and for buffers through which secrets pass.
 * What is given back is overwritten: else a password would stay in the heap long after
 * its use. When there is no memory the process ends with a clear message, as with
 * mem_alloc(): most libraries report that as something else, or leave out what they had
 * no memory for, such as a request's Range. All may be called on any thread.
 */
#ifndef BASE_WIPE_H
#define BASE_WIPE_H

#include <stddef.h>

#define WIPE_MAX (66u << 10) /* the largest body of a request; larger blocks carry images, and are only freed */

void *wipe_malloc(size_t size);
void *wipe_calloc(size_t count, size_t size);
void *wipe_realloc(void *old, size_t size); /* of size 0: frees, and returns NULL */
char *wipe_strdup(const char *text);
void wipe_free(void *memory);

#endif
