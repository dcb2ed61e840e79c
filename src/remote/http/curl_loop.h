/*
 * What all pools of libcurl's connections (remote/http/curl_pool.h) of the process have in common: TLS sessions, and what is
 * known of this machine.
 */
#ifndef REMOTE_HTTP_CURL_LOOP_H
#define REMOTE_HTTP_CURL_LOOP_H

#include <curl/curl.h>
#include <stdbool.h>
#include <uv.h>

#include "net/address.h"

#define CURL_OWN_ADDRESSES_MS 1000 /* how long this machine's addresses are used before they are read again */

struct curl_loop;

struct curl_loop *curl_loop_new(uv_loop_t *loop);
/* TLS sessions are kept between the transfers of this share (CURLOPT_SHARE). */
CURLSH *curl_loop_share(struct curl_loop *curl);
uv_loop_t *curl_loop_uv(struct curl_loop *curl);
/* This machine's addresses, also inside a callback of libcurl; NULL: they can't be read now. */
const struct address_list *curl_loop_own_addresses(struct curl_loop *curl);
/* No handle may have its share any more. Frees itself, then `closed`. */
void curl_loop_close(struct curl_loop *curl, void (*closed)(void *arg), void *arg);

#endif
