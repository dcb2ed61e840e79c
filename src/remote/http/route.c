#include "remote/http/route.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "remote/http/internal.h"
#include "remote/place.h"

#define PROXY_PORT 1080 /* libcurl's, where the proxy's URL has none */

/* --- where it leads --- */

static bool read_part(CURLU *url, CURLUPart part, unsigned flags, char **text)
{
    return curl_url_get(url, part, text, flags) == CURLUE_OK;
}

static uint16_t port_of(CURLU *url, bool is_proxy)
{
    char *scheme = NULL, *text = NULL;
    bool https = read_part(url, CURLUPART_SCHEME, 0, &scheme) && strcmp(scheme, "https") == 0;
    bool given = read_part(url, CURLUPART_PORT, 0, &text);
    long port = given ? strtol(text, NULL, 10) : https ? 443 : is_proxy ? PROXY_PORT : 80;
    curl_free(scheme);
    curl_free(text);
    return (uint16_t)port;
}

/* Host and port of a URL, or of a proxy, which libcurl takes without a scheme too. */
static bool read_place(struct http_route *route, const char *text, bool is_proxy)
{
    CURLU *url = curl_url();
    bool good = curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME | (is_proxy ? CURLU_GUESS_SCHEME : 0)) == CURLUE_OK;
    if (good) {
        route->host = place_host(url);
        route->port = port_of(url, is_proxy);
    }
    curl_url_cleanup(url);
    return good && route->host && route->port > 0;
}

/* "https://host:port/path" without its path. */
static char *origin_of(const char *url)
{
    const char *host = strstr(url, "://");
    size_t length = host ? (size_t)(host - url) + 3 + strcspn(host + 3, "/?#") : strlen(url);
    char *origin = mem_alloc(length + 1);
    memcpy(origin, url, length);
    return origin;
}

/* --- ends --- */

static void on_idle_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

static void route_free(struct http_route *route)
{
    dial_cancel(route->dial);
    if (route->fd >= 0)
        close(route->fd);
    curl_pool_free(route->pool);
    curl_slist_free_all(route->pin);
    mem_free(route->host);
    mem_free_secret(route->origin); /* a URL may have a password */
    route->idle.data = route;
    uv_close((uv_handle_t *)&route->idle, on_idle_closed);
}

static void on_fetch_route_idle(uv_timer_t *timer)
{
    http_route_leave_all(timer->data);
}

/* Called after each change of the route's users. */
static void route_settle(struct http_route *route)
{
    bool used = !list_empty(&route->users);
    if (!used && route->left)
        route_free(route);
    else if (!used)
        uv_timer_start(&route->idle, on_fetch_route_idle, HTTP_ROUTE_IDLE_MS, 0);
    else
        uv_timer_stop(&route->idle);
}

void http_route_leave_all(struct http_route *route)
{
    if (route->left)
        return;
    route->left = true;
    route->image->route = NULL;
    route_settle(route);
}

void http_route_forget(struct http_image *image)
{
    if (image->route)
        http_route_leave_all(image->route);
}

/* --- the dial --- */

/* libcurl is told the address that won, under the name that it will ask for. */
static struct curl_slist *pin_new(const struct http_route *route, const struct sockaddr_storage *address)
{
    struct sockaddr_storage number;
    char text[ADDRESS_TEXT_MAX], line[RESOLVE_HOST_MAX + ADDRESS_TEXT_MAX + 16];
    if (address_parse(route->host, &number) || !isalnum((unsigned char)*route->host) || strchr(route->host, ':'))
        return NULL; /* a number, or what means something else to libcurl */
    address_text((const struct sockaddr *)address, text);
    snprintf(line, sizeof line, "%s:%u:%s", route->host, route->port, text);
    return curl_slist_append(NULL, line);
}

static void on_fetch_route_dialled(void *arg, const struct dial_result *result)
{
    struct http_route *route = arg;
    struct http_route_user self = {.route = route}; /* keeps the route while users come and go */
    struct link waiting;
    list_init(&waiting);
    list_move_all(&waiting, &route->users);
    list_init(&self.link);
    list_append(&route->users, &self.link);
    route->dial = NULL;
    route->fd = result->fd >= 0 ? result->fd : -1;
    route->status = result->fd >= 0 ? 0 : result->fd;
    snprintf(route->error, sizeof route->error, "%s%s", route->image->proxy ? "the proxy: " : "", result->error);
    if (result->address) {
        address_text((const struct sockaddr *)result->address, route->address);
        route->pin = pin_new(route, result->address);
    } else {
        http_route_leave_all(route);
    }
    for (struct link *l = list_pop(&waiting); l; l = list_pop(&waiting)) {
        struct http_route_user *user = container_of(l, struct http_route_user, link);
        list_append(&route->users, l);
        user->ready(user);
    }
    http_route_leave(&self);
}

static struct http_route *route_new(struct http_image *image, const char *url)
{
    uv_loop_t *loop = curl_loop_uv(image->curl);
    struct http_route *route = mem_alloc(sizeof *route);
    route->image = image;
    route->fd = -1;
    list_init(&route->users);
    route->origin = origin_of(url);
    uv_timer_init(loop, &route->idle);
    route->idle.data = route;
    if (!read_place(route, image->proxy ? image->proxy : url, image->proxy)) {
        route_free(route);
        return NULL;
    }
    route->pool = curl_pool_new(loop);
    route->dial = dial_new(loop, route->host, route->port, image->proxy ? ADDRESS_LOCAL_ALL : image->local,
                           image->connect_timeout_ms, on_fetch_route_dialled, route);
    return route;
}

/* --- users --- */

bool http_route_enter(struct http_route_user *user, struct http_image *image, const char *url)
{
    char *origin = origin_of(url);
    assert(!user->route);
    if (image->route && strcmp(image->route->origin, origin) != 0)
        http_route_forget(image);
    mem_free_secret(origin);
    if (!image->route)
        image->route = route_new(image, url);
    user->route = image->route;
    if (!user->route)
        return false;
    list_init(&user->link);
    list_append(&user->route->users, &user->link);
    route_settle(user->route);
    return !user->route->dial;
}

void http_route_leave(struct http_route_user *user)
{
    struct http_route *route = user->route;
    if (!route)
        return;
    user->route = NULL;
    list_remove(&user->link);
    route_settle(route);
}

int http_route_take(struct http_route *route)
{
    int fd = route->fd;
    route->fd = -1;
    return fd;
}
