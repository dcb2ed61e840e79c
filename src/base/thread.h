/*
 * A thread of its own, for a call that may keep it for as long as it likes: the pool of base/work.h would have one
 * thread fewer meanwhile. Nobody waits for the thread's end, so whoever of the thread and the others comes last
 * frees what they share.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <stddef.h>

/* `stack`: bytes; 0: what the system gives. 0, or a negative errno. */
int thread_detached(void *(*run)(void *arg), void *arg, size_t stack);

#endif
