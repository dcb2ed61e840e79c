#include "net/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "base/defer.h"
#include "base/text.h"

struct resolve {
    uv_getaddrinfo_t request;
    struct defer failed; /* it could not be started */
    enum address_local local;
    char host[RESOLVE_HOST_MAX];
    struct resolve_result result;
    void (*done)(void *owner, const struct resolve_result *result); /* NULL: cancelled */
    void *owner;
};

static void resolve_fail(struct resolve *resolve, int status, const char *text)
{
    resolve->result.status = status;
    snprintf(resolve->result.error, sizeof resolve->result.error, "%s", text);
}

static void finish(struct resolve *resolve)
{
    if (resolve->done)
        resolve->done(resolve->owner, &resolve->result);
    mem_free(resolve);
}

static bool is_internet(const struct addrinfo *info)
{
    return (info->ai_family == AF_INET || info->ai_family == AF_INET6) &&
           info->ai_addrlen <= sizeof(struct sockaddr_storage);
}

/* The addresses that the policy allows; what it says against the first one, if none is. */
static void judge(struct resolve *resolve, const struct addrinfo *all, const struct address_list *own)
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
        judge(resolve, all, &own);
    else
        resolve_fail(resolve, -EAGAIN, "this machine's own addresses can't be read now");
    address_list_clear(&own);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *all)
{
    struct resolve *resolve = container_of(request, struct resolve, request);
    char text[RESOLVE_ERROR_MAX];
    if (status == 0 && resolve->done) {
        judge_all(resolve, all);
    } else if (status != 0) {
        snprintf(text, sizeof text, "could not resolve host: %s (check the host's name)", resolve->host);
        resolve_fail(resolve, -EHOSTUNREACH, text);
    }
    uv_freeaddrinfo(all);
    finish(resolve);
}

static void on_failed(struct defer *defer)
{
    finish(container_of(defer, struct resolve, failed));
}

struct resolve *resolve_start(uv_loop_t *loop, const char *host, enum address_local local,
                              void (*done)(void *owner, const struct resolve_result *result), void *owner)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    struct resolve *resolve = mem_alloc(sizeof *resolve);
    resolve->local = local;
    resolve->done = done;
    resolve->owner = owner;
    snprintf(resolve->host, sizeof resolve->host, "%s", host);
    defer_setup(&resolve->failed, on_failed);
    if (strlen(host) >= sizeof resolve->host ||
        uv_getaddrinfo(loop, &resolve->request, on_resolved, host, NULL, &hints) != 0) {
        resolve_fail(resolve, -EHOSTUNREACH, "this is no host's name (check the host's name)");
        defer_schedule(loop, &resolve->failed);
    }
    return resolve;
}

void resolve_cancel(struct resolve *resolve)
{
    if (!resolve)
        return;
    resolve->done = NULL;
    uv_cancel((uv_req_t *)&resolve->request); /* EBUSY: it runs, and ends by itself */
}
