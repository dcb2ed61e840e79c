#include "remote/http/curl_loop.h"

#include <stdlib.h>
#include <string.h>

#include "base/defer.h"
#include "base/text.h"
#include "base/wipe.h"

struct curl_loop {
    uv_loop_t *loop;
    CURLSH *share;
    struct address_list own; /* read at `own_until` - CURL_OWN_ADDRESSES_MS */
    uint64_t own_until;      /* 0: `own` was not read yet */
    struct defer closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct curl_loop *curl_loop_new(uv_loop_t *loop)
{
    static bool initialised;
    if (!initialised)
        curl_global_init_mem(CURL_GLOBAL_DEFAULT, wipe_malloc, wipe_free, wipe_realloc, wipe_strdup, wipe_calloc);
    initialised = true;
    struct curl_loop *curl = mem_alloc(sizeof *curl);
    curl->loop = loop;
    curl->share = curl_share_init();
    if (!curl->share)
        mem_exhausted();
    curl_share_setopt(curl->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    return curl;
}

CURLSH *curl_loop_share(struct curl_loop *curl)
{
    return curl->share;
}

uv_loop_t *curl_loop_uv(struct curl_loop *curl)
{
    return curl->loop;
}

const struct address_list *curl_loop_own_addresses(struct curl_loop *curl)
{
    uint64_t now = uv_now(curl->loop);
    if (now >= curl->own_until) {
        curl->own_until = 0;
        if (address_list_read(&curl->own) != 0)
            return NULL;
        curl->own_until = now + CURL_OWN_ADDRESSES_MS;
    }
    return &curl->own;
}

static void on_closing(struct defer *defer)
{
    struct curl_loop *curl = container_of(defer, struct curl_loop, closing);
    void (*closed)(void *arg) = curl->closed;
    void *arg = curl->closed_arg;
    mem_free(curl);
    closed(arg);
}

void curl_loop_close(struct curl_loop *curl, void (*closed)(void *arg), void *arg)
{
    curl->closed = closed;
    curl->closed_arg = arg;
    curl_share_cleanup(curl->share);
    address_list_clear(&curl->own);
    defer_setup(&curl->closing, on_closing);
    defer_schedule(curl->loop, &curl->closing);
}
