/* The client: what the image is, and its probes and ranges. See remote/http/internal.h. */
#include "remote/http/http.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "remote/http/internal.h"

static struct http_image *http_image_of(struct remote_client *client)
{
    return container_of(client, struct http_image, client);
}

static struct http_fetch *http_fetch_of(struct remote_request *request)
{
    return container_of(request, struct http_fetch, request);
}

/* --- what an image is --- */

/* A strong ETag names the bytes; a weak one, or a time of a second's
 * resolution, does not, and such images share no blocks with other slots. */
static void http_identify(struct remote_image *image, const struct http_resource *found)
{
    image->size = found->size;
    *image->version = *image->identity = '\0';
    if (*found->etag || *found->modified)
        snprintf(image->version, sizeof image->version, "%s\n%s", found->etag, found->modified);
    if (*found->etag != '"')
        return;
    int n =
        snprintf(image->identity, sizeof image->identity, "%s %" PRIu64 " %s", found->etag, found->size, found->url);
    if (n < 0 || (size_t)n >= sizeof image->identity)
        *image->identity = '\0';
}

static void http_adopt(struct remote_request *probe)
{
    struct http_image *image = http_image_of(probe->client);
    unsigned version = image->resource.version + 1;
    image->resource = http_fetch_of(probe)->found;
    image->resource.version = version;
    if (version == 1 && !*image->resource.etag && !*image->resource.modified)
        log_warning(image->who, "the image's server tells neither a version nor a time: a change of the image shows only "
                                "if its size changes");
}

/* --- the end of a request --- */

/* The ETags of parts differ: perhaps their times don't. Then it is as if the time had been configured. False: there is
 * none, or it was looked at already. */
static bool http_compare_by_time(struct http_fetch *http)
{
    struct http_image *image = http->image;
    if (image->by_time || !*http->found.modified)
        return false;
    image->by_time = true;
    *http->found.etag = '\0';
    http_identify(&http->request.found, &http->found);
    return http_farm_start(&http->farm, image, &http->found, image->connections);
}

static void on_compared(struct http_farm *farm)
{
    struct http_fetch *http = container_of(farm, struct http_fetch, farm);
    bool by_time = http->image->by_time;
    if (farm->differs && http_compare_by_time(http))
        return;
    if (farm->differs)
        remote_judge(&http->request, REMOTE_REFUSED,
                     "the server tells another %s for other parts of the image, as a farm of servers or a cache may do (give the "
                     "URL of one server, or a local copy)",
                     by_time ? "Last-Modified" : "ETag");
    else if (by_time && !http->image->by_time_wished)
        log_warning(http->image->who, "the image's server tells another ETag for other parts of it, as a farm of servers or a "
                                      "cache may do: its Last-Modified is what tells versions apart");
    remote_request_end(&http->request);
}

static bool is_first_probe(const struct http_fetch *http)
{
    return http->probe && !http->beside && http->image->resource.version == 0;
}

/* The first probe of a source is over only when it is known that the ranges can be read as well. */
static bool http_compare(struct http_fetch *http)
{
    struct http_image *image = http->image;
    http->farm.done = on_compared;
    return is_first_probe(http) && http->request.verdict == REMOTE_OK &&
           http_farm_start(&http->farm, image, &http->found, image->connections);
}

void http_fetch_over(struct http_fetch *http)
{
    if (http->probe && http->request.verdict == REMOTE_OK)
        http_identify(&http->request.found, &http->found);
    if (http_compare(http))
        return;
    http_farm_cancel(&http->farm);
    remote_request_end(&http->request);
}

/* --- requests --- */

struct http_fetch *http_fetch_new(struct http_image *image)
{
    struct http_fetch *http = mem_alloc(sizeof *http);
    http->image = image;
    http->request.client = &image->client;
    slices_init(&http->request.data);
    http_way_init(http);
    return http;
}

static void http_fetch_describe(struct http_fetch *http, const struct http_resource *expect, uint64_t offset,
                                uint32_t length)
{
    remote_request_begin(&http->request, length);
    http->probe = !expect;
    http->expect = expect;
    http->offset = offset;
    http->length = length;
    http->filled = 0;
    http->beside = false;
}

static void http_fetch_start(struct http_fetch *http, const struct http_resource *expect, uint64_t offset, uint32_t length)
{
    http_fetch_describe(http, expect, offset, length);
    http_way_start(http);
}

static void on_fetch_later(uv_timer_t *timer)
{
    struct http_fetch *http = container_of(timer, struct http_fetch, watch);
    http->later = false;
    http_way_start(http);
}

void http_fetch_range(struct http_fetch *http, const struct http_resource *resource, uint64_t offset, uint32_t length)
{
    http_fetch_start(http, resource, offset, length);
}

void http_fetch_beside(struct http_fetch *http, uint64_t offset, uint32_t length, uint64_t delay_ms)
{
    http_fetch_describe(http, NULL, offset, length);
    http->beside = http->later = true;
    uv_timer_start(&http->watch, on_fetch_later, delay_ms, 0);
}

static struct remote_request *http_request_new(struct remote_client *client)
{
    return &http_fetch_new(http_image_of(client))->request;
}

static void http_probe(struct remote_request *request)
{
    struct http_fetch *http = http_fetch_of(request);
    memset(&http->found, 0, sizeof http->found);
    http_fetch_start(http, NULL, 0, HTTP_PROBE_BYTES);
    if (is_first_probe(http) && http->image->version != HTTP_USE_2) /* by HTTP/2 it would wait for the same connection */
        http_farm_prepare(&http->farm, http->image, http->image->connections);
}

static void http_range(struct remote_request *request, uint64_t offset, uint32_t length)
{
    struct http_fetch *http = http_fetch_of(request);
    http_fetch_start(http, &http->image->resource, offset, length);
}

static void http_cancel(struct remote_request *request)
{
    struct http_fetch *http = http_fetch_of(request);
    http_way_cancel(http);
    http_farm_cancel(&http->farm);
    slices_clear(&request->data);
}

static uint64_t http_received(const struct remote_request *request)
{
    return request->received;
}

static void on_fetch_watch_closed(uv_handle_t *handle)
{
    mem_free(container_of((uv_timer_t *)handle, struct http_fetch, watch));
}

void http_fetch_free(struct http_fetch *http)
{
    if (!http)
        return;
    http_cancel(&http->request);
    curl_easy_cleanup(http->transfer.easy);
    curl_slist_free_all(http->headers);
    uv_close((uv_handle_t *)&http->watch, on_fetch_watch_closed);
}

static void http_request_free(struct remote_request *request)
{
    http_fetch_free(http_fetch_of(request));
}

/* --- life --- */

static void http_free(struct remote_client *client)
{
    struct http_image *image = http_image_of(client);
    http_route_forget(image);
    trust_clear(&image->trust);
    origin_clear(&image->key_origin);
    origin_clear(&image->login_origin);
    mem_free(image->client_cert);
    mem_free(image->client_key);
    mem_free_secret(image->client_pem);
    mem_free_secret(image->user);
    mem_free_secret(image->password);
    mem_free_secret(image->bearer_token);
    mem_free_secret(image->proxy); /* may carry a password */
    mem_free(client->url);
    mem_free(image);
}

static const struct remote_client_ops http_ops = {
    .request_new = http_request_new,
    .probe = http_probe,
    .range = http_range,
    .cancel = http_cancel,
    .received = http_received,
    .request_free = http_request_free,
    .adopt = http_adopt,
    .free = http_free,
};

/* A login or certificate without an origin of its own is for the server where the requests begin. */
static void set_origin(struct origin *origin, const char *text, const char *url)
{
    if (text && *text)
        origin_read(origin, text);
    else
        origin_read_server(origin, url);
}

/* Which secrets are sent, and to whom. */
static void set_logins(struct http_image *image, const struct http_options *options)
{
    image->client_pem = mem_strdup_nonempty(options->client_pem);
    image->client_cert = image->client_pem ? NULL : mem_strdup_nonempty(options->client_cert);
    image->client_key = image->client_pem ? NULL : mem_strdup_nonempty(options->client_key);
    image->user = mem_strdup_nonempty(options->user);
    image->password = mem_strdup_nonempty(options->password);
    image->bearer_token = mem_strdup_nonempty(options->bearer_token);
    image->scheme = options->scheme;
    set_origin(&image->key_origin, image->client_pem ? NULL : options->key_origin, options->url);
    set_origin(&image->login_origin, options->login_origin, options->url);
}

struct source *http_source_new(struct curl_loop *curl, const char *who, const struct http_options *options)
{
    struct http_image *image = mem_alloc(sizeof *image);
    image->client = (struct remote_client){.ops = &http_ops, .loop = curl_loop_uv(curl), .url = mem_strdup(options->url)};
    image->who = who;
    image->curl = curl;
    image->version = options->version;
    image->allow_plain = options->allow_plain;
    image->verify = options->verify;
    image->by_time = image->by_time_wished = options->by_time;
    image->redirects = options->redirects;
    image->connections = options->connections;
    trust_init(&image->trust, options->ca_file, options->ca_pem);
    set_logins(image, options);
    image->proxy = mem_strdup_nonempty(options->proxy);
    image->local = options->local;
    image->connect_timeout_ms = options->connect_timeout_ms;
    image->stall_timeout_ms = options->stall_timeout_ms;
    return remote_source_new(&image->client, who, options->connections, options->io_timeout_ms);
}
