#include "net/curl_loop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/closing.h"
#include "base/text.h"
#include "base/wipe.h"

#define CURL_KEPT_CONNECTIONS 64 /* idle ones, all servers together */

struct curl_loop {
    uv_loop_t *loop;
    CURLM *multi;
    CURLSH *share;
    uv_timer_t timer;
    unsigned transfers;
    struct address_list own; /* of `own_until` - CURL_OWN_ADDRESSES_MS */
    uint64_t own_until;      /* 0: was not read */
    struct closing closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* A socket that libcurl wants watched. */
struct socket_watch {
    uv_poll_t poll;
    curl_socket_t fd;
    struct curl_loop *curl;
};

static void finish_transfers(struct curl_loop *curl)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(curl->multi, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        struct curl_transfer *transfer = NULL;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
        curl_loop_cancel(transfer);
        transfer->done(transfer, code);
    }
}

static void act(struct curl_loop *curl, curl_socket_t fd, int events)
{
    int running;
    curl_multi_socket_action(curl->multi, fd, events, &running);
    finish_transfers(curl);
}

static void on_timer(uv_timer_t *timer)
{
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct curl_loop *curl = arg;
    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&curl->timer);
    else
        uv_timer_start(&curl->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct socket_watch *watch = poll->data;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    act(watch->curl, watch->fd, flags);
}

static void on_watch_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

static void watch_end(struct socket_watch *watch)
{
    if (!watch)
        return;
    uv_poll_stop(&watch->poll); /* before libcurl closes the fd */
    uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
}

static struct socket_watch *watch_begin(struct curl_loop *curl, curl_socket_t fd)
{
    struct socket_watch *watch = mem_alloc(sizeof *watch);
    if (uv_poll_init_socket(curl->loop, &watch->poll, fd) != 0) {
        mem_free(watch);
        return NULL;
    }
    watch->poll.data = watch;
    watch->fd = fd;
    watch->curl = curl;
    curl_multi_assign(curl->multi, fd, watch);
    return watch;
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct curl_loop *curl = arg;
    struct socket_watch *watch = socket_arg;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        watch_end(watch);
        curl_multi_assign(curl->multi, fd, NULL);
        return 0;
    }
    if (!watch && !(watch = watch_begin(curl, fd)))
        return -1;
    int events = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= UV_READABLE;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= UV_WRITABLE;
    if (events)
        uv_poll_start(&watch->poll, events, on_poll);
    else
        uv_poll_stop(&watch->poll);
    return 0;
}

struct curl_loop *curl_loop_new(uv_loop_t *loop)
{
    static bool initialised;
    if (!initialised)
        curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wipe_free, wipe_realloc, strdup, calloc); /* it copies passwords */
    initialised = true;
    struct curl_loop *curl = mem_alloc(sizeof *curl);
    curl->loop = loop;
    curl->multi = curl_multi_init();
    curl->share = curl_share_init();
    if (!curl->multi || !curl->share)
        mem_exhausted();
    uv_timer_init(loop, &curl->timer);
    curl->timer.data = curl;
    curl_share_setopt(curl->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    curl_multi_setopt(curl->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(curl->multi, CURLMOPT_SOCKETDATA, curl);
    curl_multi_setopt(curl->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(curl->multi, CURLMOPT_TIMERDATA, curl);
    curl_multi_setopt(curl->multi, CURLMOPT_MAXCONNECTS, (long)CURL_KEPT_CONNECTIONS);
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

int curl_loop_start(struct curl_loop *curl, struct curl_transfer *transfer)
{
    curl_easy_setopt(transfer->easy, CURLOPT_PRIVATE, transfer);
    if (curl_multi_add_handle(curl->multi, transfer->easy) != CURLM_OK)
        return -EIO;
    transfer->loop = curl;
    curl->transfers++;
    return 0;
}

void curl_loop_cancel(struct curl_transfer *transfer)
{
    if (!transfer->loop)
        return;
    curl_multi_remove_handle(transfer->loop->multi, transfer->easy);
    transfer->loop->transfers--;
    transfer->loop = NULL;
}

static void on_closed(struct closing *closing)
{
    struct curl_loop *curl = container_of(closing, struct curl_loop, closing);
    void (*closed)(void *arg) = curl->closed;
    void *arg = curl->closed_arg;
    mem_free(curl);
    closed(arg);
}

void curl_loop_close(struct curl_loop *curl, void (*closed)(void *arg), void *arg)
{
    assert(curl->transfers == 0);
    curl->closed = closed;
    curl->closed_arg = arg;
    curl_multi_cleanup(curl->multi); /* stops its watches through on_curl_socket */
    curl_share_cleanup(curl->share);
    address_list_clear(&curl->own);
    closing_begin(&curl->closing, curl->loop, on_closed);
    closing_add(&curl->closing, (uv_handle_t *)&curl->timer);
    closing_end(&curl->closing);
}
