/*
 * realloc() and free() that overwrite what is given back, for buffers and libraries
 * through which secrets pass: else a password would stay in the heap long after its use.
 */
#ifndef BASE_WIPE_H
#define BASE_WIPE_H

#include <stddef.h>

#define WIPE_MAX (20u << 10) /* larger blocks carry images, and are only freed */

void *wipe_realloc(void *old, size_t size); /* NULL: no memory; `old` is as it was */
void wipe_free(void *memory);

#endif
