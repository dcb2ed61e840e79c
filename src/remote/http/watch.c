/* How long each part of a fetch may take. See remote/http/internal.h. */
#include "remote/http/internal.h"

#define PATIENCE_MIN_MS 1000 /* for a first byte, of a connection that was used before */
#define PATIENCE_MAX_MS 3000 /* the most, unless it is known to be too short */
#define PATIENCE_FIRST_BYTES 4 /* between these bounds: how often the time that it mostly takes */
#define RECONNECT_MS 3000 /* to an address that was connected to before, TLS included */

static uint64_t now_of(const struct http_fetch *http)
{
    return uv_now(http->watch.loop);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* --- the first byte --- */

static uint64_t patience(const struct http_image *image)
{
    uint64_t ms = least(most(PATIENCE_FIRST_BYTES * image->first_byte_ms, PATIENCE_MIN_MS), PATIENCE_MAX_MS);
    return most(ms, image->patience_ms);
}

/* A server that answers late on a fresh connection too was not dead: from now on the patience is twice that time, and
 * less again when the server is quicker. */
static void learn_patience(struct http_fetch *http, uint64_t took_ms)
{
    struct http_image *image = http->image;
    if (http->tries > 0 && took_ms >= patience(image) / 2)
        image->patience_ms = 2 * took_ms;
    else if (took_ms < PATIENCE_MIN_MS)
        image->patience_ms /= 2;
    image->first_byte_ms = image->first_byte_ms ? (7 * image->first_byte_ms + took_ms) / 8 : most(took_ms, 1);
}

/* --- what is due --- */

/* When the connection that the fetch is on, or waits for, is taken for dead. While bytes come by other
 * connections of the route, the link is only busy. UINT64_MAX: never. */
static uint64_t early_due(const struct http_fetch *http)
{
    const struct http_route *route = http->user.route;
    uint64_t from = most(http->since_ms, route->heard_ms);
    if (http->tries > 0 || !route->proven || http->handed)
        return UINT64_MAX;
    if (http->phase == HTTP_CONNECTING)
        return from + RECONNECT_MS;
    return http->phase == HTTP_WAITING && !http->guard.opened ? from + patience(http->image) : UINT64_MAX;
}

static uint64_t last_due(const struct http_fetch *http)
{
    const struct http_image *image = http->image;
    return http->since_ms + (http->phase == HTTP_CONNECTING ? image->connect_timeout_ms : image->stall_timeout_ms);
}

static void on_fetch_watch_watch(uv_timer_t *timer);

static void watch_set(struct http_fetch *http)
{
    uint64_t due = least(early_due(http), last_due(http)), now = now_of(http);
    uv_timer_start(&http->watch, on_fetch_watch_watch, due > now ? due - now : 0, 0);
}

static void on_fetch_watch_watch(uv_timer_t *timer)
{
    struct http_fetch *http = container_of(timer, struct http_fetch, watch);
    uint64_t now = now_of(http);
    if (last_due(http) <= now)
        http_expired(http, false);
    else if (early_due(http) <= now)
        http_expired(http, true);
    else
        watch_set(http); /* bytes came meanwhile */
}

bool http_route_is_silent(const struct http_fetch *http)
{
    uint64_t from = most(http->since_ms, http->user.route->heard_ms);
    return now_of(http) - from >= patience(http->image);
}

/* --- what happens --- */

static void watch_phase(struct http_fetch *http, enum http_phase phase)
{
    http->phase = phase;
    http->since_ms = now_of(http);
    watch_set(http);
}

void http_watch_begin(struct http_fetch *http)
{
    http->handed = http->guard.fd >= 0;
    watch_phase(http, HTTP_CONNECTING);
}

void http_watch_connecting(struct http_fetch *http)
{
    watch_phase(http, HTTP_CONNECTING);
}

void http_watch_sent(struct http_fetch *http)
{
    watch_phase(http, HTTP_WAITING);
}

void http_watch_byte(struct http_fetch *http)
{
    uint64_t now = now_of(http);
    if (http->phase == HTTP_WAITING && !http->heard)
        learn_patience(http, now - http->since_ms);
    http->phase = HTTP_READING;
    http->since_ms = http->user.route->heard_ms = now;
    http->heard = http->user.route->proven = true;
}

void http_watch_end(struct http_fetch *http)
{
    uv_timer_stop(&http->watch);
}
