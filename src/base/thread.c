#include "base/thread.h"

#include <pthread.h>

int thread_detached(void *(*run)(void *arg), void *arg, size_t stack)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int error = pthread_attr_init(&attributes);
    if (error != 0)
        return -error;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (stack > 0)
        pthread_attr_setstacksize(&attributes, stack);
    error = pthread_create(&thread, &attributes, run, arg);
    pthread_attr_destroy(&attributes);
    return -error;
}
