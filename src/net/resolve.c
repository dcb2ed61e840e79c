#include "net/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/text.h"
#include "base/thread.h"

/* What the thread and the loop share. The one that comes last frees it. */
struct lookup {
    pthread_mutex_t lock;
    char host[RESOLVE_HOST_MAX];
    uv_async_t *answered;  /* NULL: nobody waits */
    bool over;             /* status and all are valid */
    int status;            /* getaddrinfo()'s */
    struct addrinfo *all;
};

struct resolve {
    struct lookup *lookup; /* NULL: the lookup could not be started */
    uv_async_t answered;
    enum address_local local;
    struct resolve_result result;
    void (*done)(void *owner, const struct resolve_result *result);
    void *owner;
};

static atomic_uint threads;

static void resolve_fail(struct resolve *resolve, int status, const char *text)
{
    resolve->result.status = status;
    snprintf(resolve->result.error, sizeof resolve->result.error, "%s", text);
}

static bool is_internet(const struct addrinfo *info)
{
    return (info->ai_family == AF_INET || info->ai_family == AF_INET6) &&
           info->ai_addrlen <= sizeof(struct sockaddr_storage);
}

/* Takes the addresses that the policy allows; if it allows none, what it says against the first one. */
static void resolve_judge(struct resolve *resolve, const struct addrinfo *all, const struct address_list *own)
{
    struct resolve_result *result = &resolve->result;
    char refusal[ADDRESS_REFUSAL_MAX], first[ADDRESS_REFUSAL_MAX] = "";
    for (const struct addrinfo *i = all; i && result->count < RESOLVE_ADDRESSES_MAX; i = i->ai_next) {
        if (!is_internet(i))
            continue;
        if (address_admitted(i->ai_addr, own, resolve->local, refusal))
            memcpy(&result->addresses[result->count++], i->ai_addr, i->ai_addrlen);
        else if (!*first)
            snprintf(first, sizeof first, "%s", refusal);
    }
    if (result->count == 0)
        resolve_fail(resolve, *first ? -EPERM : -EHOSTUNREACH, *first ? first : "the host has no internet address");
}

static void judge_all(struct resolve *resolve, const struct addrinfo *all)
{
    struct address_list own = {0};
    int status = resolve->local == ADDRESS_LOCAL_ALL ? 0 : address_list_read(&own);
    if (status == 0)
        resolve_judge(resolve, all, &own);
    else
        resolve_fail(resolve, -EAGAIN, "this machine's own addresses can't be read now");
    address_list_clear(&own);
}

/* --- the lookup --- */

static void lookup_free(struct lookup *lookup)
{
    pthread_mutex_destroy(&lookup->lock);
    if (lookup->all)
        freeaddrinfo(lookup->all);
    mem_free(lookup);
}

static void *lookup_run(void *arg)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    struct lookup *lookup = arg;
    struct addrinfo *all = NULL;
    int status = getaddrinfo(lookup->host, NULL, &hints, &all);
    pthread_mutex_lock(&lookup->lock);
    lookup->status = status;
    lookup->all = status == 0 ? all : NULL;
    lookup->over = true;
    bool last = !lookup->answered;
    if (!last)
        uv_async_send(lookup->answered);
    pthread_mutex_unlock(&lookup->lock);
    if (last)
        lookup_free(lookup);
    threads--;
    return NULL;
}

/* Nobody waits for the answer any more. */
static void lookup_leave(struct lookup *lookup)
{
    pthread_mutex_lock(&lookup->lock);
    lookup->answered = NULL;
    bool last = lookup->over;
    pthread_mutex_unlock(&lookup->lock);
    if (last)
        lookup_free(lookup);
}

/* All signals are blocked in the thread: they are for the loop. */
static int lookup_start_thread(struct lookup *lookup)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = thread_detached(lookup_run, lookup, 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

static struct lookup *lookup_start(const char *host, uv_async_t *answered)
{
    struct lookup *lookup = mem_alloc(sizeof *lookup);
    pthread_mutex_init(&lookup->lock, NULL);
    snprintf(lookup->host, sizeof lookup->host, "%s", host);
    lookup->answered = answered;
    if (threads++ < RESOLVE_THREADS_MAX && lookup_start_thread(lookup) == 0)
        return lookup;
    threads--;
    lookup_free(lookup);
    return NULL;
}

/* --- the answer --- */

static void on_resolve_closed(uv_handle_t *handle)
{
    mem_free(container_of((uv_async_t *)handle, struct resolve, answered));
}

static void resolve_end(struct resolve *resolve)
{
    if (resolve->lookup)
        lookup_leave(resolve->lookup);
    resolve->lookup = NULL;
    uv_close((uv_handle_t *)&resolve->answered, on_resolve_closed);
}

static void on_answered(uv_async_t *async)
{
    struct resolve *resolve = container_of(async, struct resolve, answered);
    char text[RESOLVE_ERROR_MAX];
    if (resolve->lookup && resolve->lookup->status == 0) {
        judge_all(resolve, resolve->lookup->all);
    } else if (resolve->lookup) {
        snprintf(text, sizeof text, "could not resolve host: %s (check the host's name)", resolve->lookup->host);
        resolve_fail(resolve, -EHOSTUNREACH, text);
    }
    resolve_end(resolve);
    resolve->done(resolve->owner, &resolve->result);
}

struct resolve *resolve_start(uv_loop_t *loop, const char *host, enum address_local local,
                              void (*done)(void *owner, const struct resolve_result *result), void *owner)
{
    struct resolve *resolve = mem_alloc(sizeof *resolve);
    resolve->local = local;
    resolve->done = done;
    resolve->owner = owner;
    if (uv_async_init(loop, &resolve->answered, on_answered) != 0)
        mem_exhausted();
    bool fits = strlen(host) < RESOLVE_HOST_MAX;
    resolve->lookup = fits ? lookup_start(host, &resolve->answered) : NULL;
    if (!fits)
        resolve_fail(resolve, -EHOSTUNREACH, "this is no host's name (check the host's name)");
    else if (!resolve->lookup)
        resolve_fail(resolve, -EAGAIN, "there is no thread to ask the name server by now (try again)");
    if (!resolve->lookup)
        uv_async_send(&resolve->answered);
    return resolve;
}

void resolve_cancel(struct resolve *resolve)
{
    if (resolve)
        resolve_end(resolve);
}
