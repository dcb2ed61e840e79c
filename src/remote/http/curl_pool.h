/*
 * libcurl's multi interface on the loop (curl_multi_socket_action): a pool of connections. A transfer may take any
 * connection that another one of its pool has left open, and none of another pool's: to get rid of the connections
 * of a pool is to get rid of the pool.
 *
 * `done` comes from the loop, outside of all of libcurl's callbacks, so it may start, cancel and free transfers,
 * and free the pool. Nothing here may be called from inside a libcurl callback (libcurl forbids it):
 * such a callback only takes note.
 */
#ifndef REMOTE_HTTP_CURL_POOL_H
#define REMOTE_HTTP_CURL_POOL_H

#include <curl/curl.h>
#include <uv.h>

#define CURL_KEPT_CONNECTIONS 64 /* idle ones of a pool */

struct curl_pool;

struct curl_transfer {
    CURL *easy; /* the owner's; CURLOPT_PRIVATE is used here */
    void (*done)(struct curl_transfer *transfer, CURLcode code);
    struct curl_pool *pool; /* set while it runs */
};

struct curl_pool *curl_pool_new(uv_loop_t *loop);
/* 0, or a negative errno: then `done` does not come. */
int curl_pool_start(struct curl_pool *pool, struct curl_transfer *transfer);
/* Takes the transfer off; `done` does not come. A connection of HTTP/1.1 that it was on is closed. */
void curl_pool_cancel(struct curl_transfer *transfer);
/* No transfer may run. Closes its connections; NULL is allowed. */
void curl_pool_free(struct curl_pool *pool);

#endif
