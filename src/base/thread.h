/*
 * A thread of its own, for a call that may keep it for as long as it likes: in the pool of base/work.h one fewer would
 * be left meanwhile. Nobody waits for the thread's end, so what it shares with others belongs to whoever comes last.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <stddef.h>

/* `stack`: bytes; 0: what the system gives. 0, or a negative errno. */
int thread_detached(void *(*run)(void *arg), void *arg, size_t stack);

#endif
