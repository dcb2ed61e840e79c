#include "remote/http/curl_pool.h"

#include <assert.h>
#include <errno.h>

#include "base/list.h"
#include "base/text.h"

struct curl_pool {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer;
    unsigned transfers;
    bool acting, freed; /* freed while acting: the pool ends when that is over */
};

/* A socket that libcurl wants watched. */
struct socket_watch {
    uv_poll_t poll;
    curl_socket_t fd;
    struct curl_pool *pool;
};

static void finish_transfers(struct curl_pool *pool)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(pool->multi, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        struct curl_transfer *transfer = NULL;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
        curl_pool_cancel(transfer);
        transfer->done(transfer, code);
    }
}

static void on_fetch_curl_pool_timer_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

static void pool_end(struct curl_pool *pool)
{
    curl_multi_cleanup(pool->multi); /* stops its watches through on_curl_socket */
    uv_close((uv_handle_t *)&pool->timer, on_fetch_curl_pool_timer_closed);
}

static void act(struct curl_pool *pool, curl_socket_t fd, int events)
{
    int running;
    pool->acting = true;
    curl_multi_socket_action(pool->multi, fd, events, &running);
    finish_transfers(pool);
    pool->acting = false;
    if (pool->freed)
        pool_end(pool);
}

static void on_fetch_curl_pool_timer(uv_timer_t *timer)
{
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct curl_pool *pool = arg;
    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&pool->timer);
    else
        uv_timer_start(&pool->timer, on_fetch_curl_pool_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

static void on_fetch_curl_pool_poll(uv_poll_t *poll, int status, int events)
{
    struct socket_watch *watch = poll->data;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    act(watch->pool, watch->fd, flags);
}

static void on_fetch_curl_pool_watch_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

static void fetch_curl_pool_watch_end(struct socket_watch *watch)
{
    if (!watch)
        return;
    uv_poll_stop(&watch->poll); /* before libcurl closes the fd */
    uv_close((uv_handle_t *)&watch->poll, on_fetch_curl_pool_watch_closed);
}

static struct socket_watch *watch_begin(struct curl_pool *pool, curl_socket_t fd)
{
    struct socket_watch *watch = mem_alloc(sizeof *watch);
    if (uv_poll_init_socket(pool->loop, &watch->poll, fd) != 0) {
        mem_free(watch);
        return NULL;
    }
    watch->poll.data = watch;
    watch->fd = fd;
    watch->pool = pool;
    curl_multi_assign(pool->multi, fd, watch);
    return watch;
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct curl_pool *pool = arg;
    struct socket_watch *watch = socket_arg;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        fetch_curl_pool_watch_end(watch);
        curl_multi_assign(pool->multi, fd, NULL);
        return 0;
    }
    if (!watch && !(watch = watch_begin(pool, fd)))
        return -1;
    int events = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= UV_READABLE;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= UV_WRITABLE;
    if (events)
        uv_poll_start(&watch->poll, events, on_fetch_curl_pool_poll);
    else
        uv_poll_stop(&watch->poll);
    return 0;
}

/* --- life --- */

struct curl_pool *curl_pool_new(uv_loop_t *loop)
{
    struct curl_pool *pool = mem_alloc(sizeof *pool);
    pool->loop = loop;
    pool->multi = curl_multi_init();
    if (!pool->multi)
        mem_exhausted();
    uv_timer_init(loop, &pool->timer);
    pool->timer.data = pool;
    curl_multi_setopt(pool->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(pool->multi, CURLMOPT_SOCKETDATA, pool);
    curl_multi_setopt(pool->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(pool->multi, CURLMOPT_TIMERDATA, pool);
    curl_multi_setopt(pool->multi, CURLMOPT_MAXCONNECTS, (long)CURL_KEPT_CONNECTIONS);
    return pool;
}

int curl_pool_start(struct curl_pool *pool, struct curl_transfer *transfer)
{
    curl_easy_setopt(transfer->easy, CURLOPT_PRIVATE, transfer);
    if (curl_multi_add_handle(pool->multi, transfer->easy) != CURLM_OK)
        return -EIO;
    transfer->pool = pool;
    pool->transfers++;
    return 0;
}

void curl_pool_cancel(struct curl_transfer *transfer)
{
    if (!transfer->pool)
        return;
    curl_multi_remove_handle(transfer->pool->multi, transfer->easy);
    transfer->pool->transfers--;
    transfer->pool = NULL;
}

void curl_pool_free(struct curl_pool *pool)
{
    if (!pool)
        return;
    assert(pool->transfers == 0);
    pool->freed = true;
    if (!pool->acting)
        pool_end(pool);
}
