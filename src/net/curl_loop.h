/*
 * libcurl's multi interface on the loop (curl_multi_socket_action). One serves
 * the whole process: connections, TLS sessions and names are shared.
 *
 * `done` comes from the loop, outside of all of libcurl's callbacks, so it may
 * start, cancel and free transfers. Nothing here may be called from inside a
 * libcurl callback (libcurl forbids it): such a callback only takes note.
 */
#ifndef NET_CURL_LOOP_H
#define NET_CURL_LOOP_H

#include <curl/curl.h>
#include <stdbool.h>
#include <uv.h>

#include "net/address.h"

#define CURL_OWN_ADDRESSES_MS 1000 /* for how long they are taken for what they were */

struct curl_loop;

struct curl_transfer {
    CURL *easy; /* the owner's; CURLOPT_PRIVATE is used here */
    void (*done)(struct curl_transfer *transfer, CURLcode code);
    struct curl_loop *loop; /* set while it runs */
};

struct curl_loop *curl_loop_new(uv_loop_t *loop);
/* TLS sessions are kept between the transfers of this share (CURLOPT_SHARE). */
CURLSH *curl_loop_share(struct curl_loop *curl);
uv_loop_t *curl_loop_uv(struct curl_loop *curl);
/* This machine's, for a callback of libcurl too; NULL: they can't be read now. */
const struct address_list *curl_loop_own_addresses(struct curl_loop *curl);
/* 0, or a negative errno: then `done` does not come. */
int curl_loop_start(struct curl_loop *curl, struct curl_transfer *transfer);
/* Takes the transfer off; `done` does not come. Its connection is closed. */
void curl_loop_cancel(struct curl_transfer *transfer);
/* No transfer may run. Frees itself, then `closed`. */
void curl_loop_close(struct curl_loop *curl, void (*closed)(void *arg), void *arg);

#endif
