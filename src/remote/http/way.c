/*
 * The way of a request. It goes by the image's route (remote/http/route.h); when that turns out dead before a byte of the
 * answer came, the route is left and the request goes out once more, on a fresh connection.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/text.h"
#include "remote/http/internal.h"

#define PIECES_MAX 64 /* requests for one range of a server that sends less than is asked for */

static void http_ask(struct http_fetch *http);

/* --- libcurl's callbacks: they only take note --- */

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    (void)data;
    http_watch_byte(arg);
    return size * count;
}

static size_t on_fetch_way_body(char *data, size_t size, size_t count, void *arg)
{
    struct http_fetch *http = arg;
    size_t length = size * count;
    http_watch_byte(http);
    if (!http->checked)
        http_check_answer(http);
    http->request.received += length;
    if (http->request.verdict != REMOTE_OK) {
        http->discarded += (uint32_t)length;
        return http->discarded <= HTTP_DISCARD_MAX ? length : 0;
    }
    if (length > http->due - http->filled) {
        remote_judge(&http->request, REMOTE_REFUSED, "the server sent more bytes than were asked for");
        return 0;
    }
    slices_copy_in(&http->request.data, http->filled, data, length);
    http->filled += (uint32_t)length;
    if (http->request.filled)
        http->request.filled(&http->request, http->filled);
    return length;
}

/* When a request that was sent gets no answer, libcurl would try once more by itself, at the same address. */
static bool on_opening(struct http_guard *guard)
{
    struct http_fetch *http = container_of(guard, struct http_fetch, guard);
    http->forgotten = http->phase == HTTP_WAITING && !http->heard && http->tries == 0;
    if (!http->forgotten)
        http_watch_connecting(http);
    return !http->forgotten;
}

static void on_asking(struct http_guard *guard)
{
    http_watch_sent(container_of(guard, struct http_fetch, guard));
}

/* --- the end of a transfer --- */

static void measure(struct http_fetch *http)
{
    curl_off_t sent = 0, first = 0;
    curl_easy_getinfo(http->transfer.easy, CURLINFO_PRETRANSFER_TIME_T, &sent);
    curl_easy_getinfo(http->transfer.easy, CURLINFO_STARTTRANSFER_TIME_T, &first);
    http->request.first_byte_us = first > sent && http->request.received > 0 ? (uint64_t)(first - sent) : 0;
}

/* The verdict of the transfer, once it is over. */
static void http_judge(struct http_fetch *http, CURLcode code)
{
    if (code == CURLE_OK && !http->checked)
        http_check_answer(http); /* an answer with no body */
    if (code != CURLE_OK && !(http->checked && http->request.verdict != REMOTE_OK))
        http_judge_code(http, code);
    else if (http->request.verdict == REMOTE_OK && http->filled != http->due)
        remote_judge(&http->request, REMOTE_TRANSIENT, "the server sent %" PRIu32 " of %" PRIu32 " bytes", http->filled, http->due);
}

/* Follows the redirect of a probe: the next origin is sent only what was given for it. */
static bool http_follow(struct http_fetch *http)
{
    if (!http->probe || http->beside || !http->checked || !http_is_redirect(http_status(http)) || !http_redirect(http, http->url))
        return false;
    http->hops++;
    http_ask(http);
    return true;
}

/* Asks for the rest, when the server sent only the beginning of the range. */
static bool http_complete(struct http_fetch *http)
{
    if (http->probe || http->request.verdict != REMOTE_OK || http->filled == http->length)
        return false;
    if (++http->pieces >= PIECES_MAX) {
        remote_judge(&http->request, REMOTE_REFUSED, "the server sends too little of what it is asked for");
        return false;
    }
    http_ask(http);
    return true;
}

static void http_end(struct http_fetch *http)
{
    if (http->request.verdict == REMOTE_OK && http->probe) {
        snprintf(http->found.url, sizeof http->found.url, "%s", http->url);
        http_learn(http);
    }
    http_fetch_over(http);
}

/* The transfer is over, in whatever way. */
static void http_release(struct http_fetch *http)
{
    curl_pool_cancel(&http->transfer);
    if (http->guard.fd >= 0)
        close(http->guard.fd); /* libcurl has not taken it */
    http->guard.fd = -1;
    http_watch_end(http);
    http_route_leave(&http->user);
}

/* The route's connections are dead: leaves it, and tries once more by a new one. False: that is not to be. */
static bool http_try_again(struct http_fetch *http)
{
    http_route_leave_all(http->user.route);
    if (http->tries > 0 || http->heard)
        return false;
    http->tries++;
    http_release(http);
    http_ask(http);
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

/* Did the server, or something on the way, forget the connection while it was idle? Or is the address gone, with all of
 * its connections? */
static bool fetch_way_is_forgotten(const struct http_fetch *http, CURLcode code)
{
    if (code == CURLE_COULDNT_CONNECT)
        return http->forgotten || http_address_is_gone(http);
    return is_connection_trouble(code) && !http->guard.opened && !http->heard;
}

static void on_fetch_way_done(struct curl_transfer *transfer, CURLcode code)
{
    struct http_fetch *http = container_of(transfer, struct http_fetch, transfer);
    if (fetch_way_is_forgotten(http, code) && http_try_again(http))
        return;
    measure(http);
    http_judge(http, code);
    http_release(http);
    if (!http_follow(http) && !http_complete(http))
        http_end(http);
}

void http_expired(struct http_fetch *http, bool early)
{
    if ((early || !http->guard.opened) && http_try_again(http))
        return;
    http_route_leave_all(http->user.route);
    http_judge_silence(http);
    http_release(http);
    http_end(http);
}

/* --- starting --- */

static void http_send(struct http_fetch *http)
{
    http->guard.fd = http_route_take(http->user.route);
    http->guard.given = -1;
    http->guard.opened = http->checked = http->heard = http->forgotten = false;
    http->discarded = 0;
    http->due = http->length;
    *http->curl_error = *http->guard.refusal = '\0';
    http_set_request(http);
    if (curl_pool_start(http->user.route->pool, &http->transfer) != 0)
        mem_exhausted(); /* the only reason that is left */
    http_watch_begin(http);
}

static void on_fetch_way_ready(struct http_route_user *user)
{
    struct http_fetch *http = container_of(user, struct http_fetch, user);
    const struct http_route *route = user->route;
    if (route->status == 0) {
        http_send(http);
        return;
    }
    remote_judge(&http->request, route->status == -EPERM ? REMOTE_REFUSED : REMOTE_TRANSIENT, "%s", route->error);
    http->request.reason = route->status;
    http_release(http);
    http_end(http);
}

static void on_no_route(uv_timer_t *timer)
{
    struct http_fetch *http = container_of(timer, struct http_fetch, watch);
    remote_judge(&http->request, REMOTE_REFUSED, "this is not a valid URL");
    http_end(http);
}

/* Asks for what is still missing, once there is a route. */
static void http_ask(struct http_fetch *http)
{
    const char *url = http->probe ? http->url : http->expect->url;
    if (http_route_enter(&http->user, http->image, url))
        http_send(http);
    else if (!http->user.route)
        uv_timer_start(&http->watch, on_no_route, 0, 0);
}

void http_way_start(struct http_fetch *http)
{
    http->hops = http->pieces = http->tries = 0;
    if (http->probe) {
        snprintf(http->url, sizeof http->url, "%s", http->image->client.url);
        if (!http->beside)
            http_route_forget(http->image); /* a probe asks whether the server is there, so no old connection will do */
    }
    http_ask(http);
}

void http_way_init(struct http_fetch *http)
{
    struct http_image *image = http->image;
    CURL *easy = curl_easy_init();
    if (!easy)
        mem_exhausted();
    http->guard = (struct http_guard){.local = image->proxy ? ADDRESS_LOCAL_ALL : image->local,
                                      .curl = image->curl, .fd = -1, .opening = on_opening, .asking = on_asking};
    http->user.ready = on_fetch_way_ready;
    http->transfer.easy = easy;
    http->transfer.done = on_fetch_way_done;
    uv_timer_init(curl_loop_uv(image->curl), &http->watch);
    http_set_fixed(http);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, http);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_fetch_way_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, http);
}

/* Whoever gives up on a server that is silent does not want to ask the same connections again. */
void http_way_cancel(struct http_fetch *http)
{
    if (http->transfer.pool && !http->heard && http_route_is_silent(http))
        http_route_leave_all(http->user.route);
    http_release(http);
}
