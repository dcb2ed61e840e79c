/*
 * HTTP's part of remote/fetch.h: the way of a request. It goes by the source's route (remote/http/route.h); when that turns
 * out dead before a byte of the answer came, the route is left and the request goes out once more, on a fresh connection.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/text.h"
#include "remote/http/internal.h"

#define PROBE_BYTES 512u /* busybox httpd takes a range of one byte for none */
#define PIECES_MAX 64 /* requests for one range of a server that sends less than is asked for */

static void http_ask(struct fetch *fetch);

/* --- libcurl's callbacks: they only take note --- */

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    (void)data;
    http_watch_byte(arg);
    return size * count;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct fetch *fetch = arg;
    size_t length = size * count;
    http_watch_byte(fetch);
    if (!http_of(fetch)->checked)
        http_check_answer(fetch);
    fetch->received += length;
    if (fetch->verdict != FETCH_OK) {
        http_of(fetch)->discarded += (uint32_t)length;
        return http_of(fetch)->discarded <= FETCH_DISCARD_MAX ? length : 0;
    }
    if (length > http_of(fetch)->due - fetch->filled) {
        fetch_judge(fetch, FETCH_REFUSED, "the server sent more bytes than were asked for");
        return 0;
    }
    slices_copy_in(&fetch->data, fetch->filled, data, length);
    fetch->filled += (uint32_t)length;
    return length;
}

/* When a request that was sent gets no answer, libcurl would try once more by itself, at the same address. */
static bool on_opening(struct fetch_guard *guard)
{
    struct http_fetch *http = container_of(guard, struct http_fetch, guard);
    http->forgotten = http->phase == HTTP_WAITING && !http->heard && http->tries == 0;
    if (!http->forgotten)
        http_watch_connecting(http->fetch);
    return !http->forgotten;
}

static void on_asking(struct fetch_guard *guard)
{
    http_watch_sent(container_of(guard, struct http_fetch, guard)->fetch);
}

/* --- the end of a transfer --- */

static void measure(struct fetch *fetch)
{
    curl_off_t sent = 0, first = 0;
    curl_easy_getinfo(http_easy(fetch), CURLINFO_PRETRANSFER_TIME_T, &sent);
    curl_easy_getinfo(http_easy(fetch), CURLINFO_STARTTRANSFER_TIME_T, &first);
    fetch->first_byte_us = first > sent && fetch->received > 0 ? (uint64_t)(first - sent) : 0;
}

/* The verdict of the transfer, once it is over. */
static void http_judge(struct fetch *fetch, CURLcode code)
{
    struct http_fetch *http = http_of(fetch);
    if (code == CURLE_OK && !http->checked)
        http_check_answer(fetch); /* an answer with no body */
    if (code != CURLE_OK && !(http->checked && fetch->verdict != FETCH_OK))
        http_judge_code(fetch, code);
    else if (fetch->verdict == FETCH_OK && fetch->filled != http->due)
        fetch_judge(fetch, FETCH_TRANSIENT, "the server sent %" PRIu32 " of %" PRIu32 " bytes", fetch->filled, http->due);
}

/* A probe is sent on: the next origin is sent what was given for it only. */
static bool http_follow(struct fetch *fetch)
{
    struct http_fetch *http = http_of(fetch);
    if (!fetch->probe || !http->checked || !http_is_redirect(http_status(fetch)) || !http_redirect(fetch, http->url))
        return false;
    http->hops++;
    http_ask(fetch);
    return true;
}

/* The server sent the beginning of what it was asked for. */
static bool http_complete(struct fetch *fetch)
{
    struct http_fetch *http = http_of(fetch);
    if (fetch->probe || fetch->verdict != FETCH_OK || fetch->filled == fetch->length)
        return false;
    if (++http->pieces >= PIECES_MAX) {
        fetch_judge(fetch, FETCH_REFUSED, "the server sends too little of what it is asked for");
        return false;
    }
    http_ask(fetch);
    return true;
}

static void http_end(struct fetch *fetch)
{
    if (fetch->verdict == FETCH_OK && fetch->probe) {
        snprintf(fetch->found.url, sizeof fetch->found.url, "%s", http_of(fetch)->url);
        http_learn(fetch);
    }
    fetch_finish(fetch);
}

/* The transfer is over, in whatever way. */
static void http_release(struct http_fetch *http)
{
    curl_pool_cancel(&http->transfer);
    if (http->guard.fd >= 0)
        close(http->guard.fd); /* libcurl has not come to take it */
    http->guard.fd = -1;
    http_watch_end(http->fetch);
    fetch_route_leave(&http->user);
}

/* The connection, and those like it, are of no use: once more, by a new route? */
static bool http_try_again(struct fetch *fetch)
{
    struct http_fetch *http = http_of(fetch);
    fetch_route_leave_all(http->user.route);
    if (http->tries > 0 || http->heard)
        return false;
    http->tries++;
    http_release(http);
    http_ask(fetch);
    return true;
}

static bool is_connection_trouble(CURLcode code)
{
    return code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING || code == CURLE_HTTP2 ||
           code == CURLE_HTTP2_STREAM;
}

static bool http_address_is_gone(const struct http_fetch *http)
{
    return http->user.route->proven && !*http->guard.refusal && http_route_is_silent(http);
}

/* Did the server, or what is between, forget the connection while it was idle? Or the address all of them? */
static bool is_forgotten(const struct http_fetch *http, CURLcode code)
{
    if (code == CURLE_COULDNT_CONNECT)
        return http->forgotten || http_address_is_gone(http);
    return is_connection_trouble(code) && !http->guard.opened && !http->heard;
}

static void on_done(struct curl_transfer *transfer, CURLcode code)
{
    struct http_fetch *http = container_of(transfer, struct http_fetch, transfer);
    struct fetch *fetch = http->fetch;
    if (is_forgotten(http, code) && http_try_again(fetch))
        return;
    measure(fetch);
    http_judge(fetch, code);
    http_release(http);
    if (!http_follow(fetch) && !http_complete(fetch))
        http_end(fetch);
}

void http_expired(struct fetch *fetch, bool early)
{
    struct http_fetch *http = http_of(fetch);
    if ((early || !http->guard.opened) && http_try_again(fetch))
        return;
    fetch_route_leave_all(http->user.route);
    http_judge_silence(fetch);
    http_release(http);
    http_end(fetch);
}

/* --- starting --- */

static void http_send(struct fetch *fetch)
{
    struct http_fetch *http = http_of(fetch);
    http->guard.fd = fetch_route_take(http->user.route);
    http->guard.given = -1;
    http->guard.opened = http->checked = http->heard = http->forgotten = false;
    http->discarded = 0;
    http->due = fetch->length;
    *http->curl_error = *http->guard.refusal = '\0';
    http_set_request(fetch);
    if (curl_pool_start(http->user.route->pool, &http->transfer) != 0)
        mem_exhausted(); /* the only reason that is left */
    http_watch_begin(fetch);
}

static void on_ready(struct fetch_route_user *user)
{
    struct http_fetch *http = container_of(user, struct http_fetch, user);
    struct fetch *fetch = http->fetch;
    const struct fetch_route *route = user->route;
    if (route->status == 0) {
        http_send(fetch);
        return;
    }
    fetch_judge(fetch, route->status == -EPERM ? FETCH_REFUSED : FETCH_TRANSIENT, "%s", route->error);
    fetch->reason = route->status;
    http_release(http);
    http_end(fetch);
}

static void on_no_route(uv_timer_t *timer)
{
    struct fetch *fetch = container_of(timer, struct http_fetch, watch)->fetch;
    fetch_judge(fetch, FETCH_REFUSED, "this is not a valid URL");
    http_end(fetch);
}

/* For what is not there yet. */
static void http_ask(struct fetch *fetch)
{
    struct http_fetch *http = http_of(fetch);
    const char *url = fetch->probe ? http->url : fetch->expect->url;
    if (fetch_route_enter(&http->user, fetch->setup, fetch->curl, url))
        http_send(fetch);
    else if (!http->user.route)
        uv_timer_start(&http->watch, on_no_route, 0, 0);
}

static void http_start(struct fetch *fetch, const char *url)
{
    struct http_fetch *http = http_of(fetch);
    http->hops = http->pieces = http->tries = 0;
    if (fetch->probe) {
        snprintf(http->url, sizeof http->url, "%s", url);
        fetch_route_forget(fetch->setup); /* it asks whether the server is there, so nothing old will do */
    }
    http_ask(fetch);
}

/* --- life --- */

static void http_init(struct fetch *fetch)
{
    struct http_fetch *http = mem_alloc(sizeof *http);
    http->fetch = fetch;
    http->guard = (struct fetch_guard){.local = fetch->setup->proxy ? ADDRESS_LOCAL_ALL : fetch->setup->local,
                                       .curl = fetch->curl, .fd = -1, .opening = on_opening, .asking = on_asking};
    http->user.ready = on_ready;
    http->transfer.easy = curl_easy_init();
    http->transfer.done = on_done;
    if (!http->transfer.easy)
        mem_exhausted();
    uv_timer_init(curl_loop_uv(fetch->curl), &http->watch);
    fetch->state = http;
    http_set_fixed(fetch);
    curl_easy_setopt(http->transfer.easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(http->transfer.easy, CURLOPT_HEADERDATA, fetch);
    curl_easy_setopt(http->transfer.easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(http->transfer.easy, CURLOPT_WRITEDATA, fetch);
}

/* Whoever gives up on a server that is silent does not want to ask the same connections again. */
static void http_cancel(struct fetch *fetch)
{
    struct http_fetch *http = http_of(fetch);
    if (http->transfer.pool && !http->heard && http_route_is_silent(http))
        fetch_route_leave_all(http->user.route);
    http_release(http);
}

static void on_watch_closed(uv_handle_t *handle)
{
    mem_free(container_of((uv_timer_t *)handle, struct http_fetch, watch));
}

static void http_free(struct fetch *fetch)
{
    struct http_fetch *http = http_of(fetch);
    curl_easy_cleanup(http->transfer.easy);
    curl_slist_free_all(http->headers);
    uv_close((uv_handle_t *)&http->watch, on_watch_closed);
}

static const char *const schemes[] = {"https", "http", NULL};

const struct fetch_protocol fetch_http = {schemes, UINT32_MAX, PROBE_BYTES, http_init, http_start, http_cancel, http_free};
