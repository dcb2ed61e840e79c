#include "source/http.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/text.h"

struct http_client {
    struct remote_client client;
    const char *who;
    struct curl_loop *curl;
    struct fetch_setup *setup;
    struct fetch_resource resource; /* what was adopted last */
    bool trusted;                   /* resource.url has the origin of the client's */
};

/* One easy handle each: libcurl keeps its settings and, for Digest, its nonce. */
struct http_request {
    struct remote_request request;
    struct fetch *fetch;
};

static struct http_client *http_of(struct remote_client *client)
{
    return container_of(client, struct http_client, client);
}

static struct http_request *request_of(struct remote_request *request)
{
    return container_of(request, struct http_request, request);
}

/* --- what an image is --- */

/* A strong ETag names the bytes; a weak one, or a time of a second's
 * resolution, does not, and such images share no blocks with other slots. */
static void identify(struct remote_image *image, const struct fetch_resource *found)
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
    struct http_client *http = http_of(probe->client);
    unsigned version = http->resource.version + 1;
    http->resource = request_of(probe)->fetch->found;
    http->resource.version = version;
    http->trusted = fetch_same_origin(http->client.url, http->resource.url);
    if (version == 1 && !*http->resource.etag && !*http->resource.modified)
        log_warning(http->who, "http: the server gives neither ETag nor Last-Modified: a change of the image "
                               "shows only if its size changes");
}

/* --- requests --- */

static void on_fetched(struct fetch *fetch)
{
    static const enum remote_verdict verdicts[] = {[FETCH_OK] = REMOTE_OK,
                                                   [FETCH_TRANSIENT] = REMOTE_TRANSIENT,
                                                   [FETCH_MOVED] = REMOTE_MOVED,
                                                   [FETCH_REFUSED] = REMOTE_REFUSED};
    struct http_request *http = fetch->owner;
    struct remote_request *request = &http->request;
    request->verdict = verdicts[fetch->verdict];
    request->reason = fetch->reason;
    snprintf(request->error, sizeof request->error, "%s", fetch->error);
    slices_clear(&request->data);
    slices_take(&request->data, &fetch->data);
    request->received = fetch->received;
    request->first_byte_us = fetch->first_byte_us;
    if (fetch->probe && fetch->verdict == FETCH_OK)
        identify(&request->found, &fetch->found);
    request->done(request);
}

static struct remote_request *http_request_new(struct remote_client *client)
{
    struct http_client *http = http_of(client);
    struct http_request *request = mem_alloc(sizeof *request);
    request->request.client = client;
    slices_init(&request->request.data);
    request->fetch = fetch_new(http->curl, http->setup);
    request->fetch->owner = request;
    request->fetch->done = on_fetched;
    return &request->request;
}

static void http_probe(struct remote_request *request)
{
    fetch_probe(request_of(request)->fetch, request->client->url);
}

static void http_range(struct remote_request *request, uint64_t offset, uint32_t length)
{
    const struct http_client *http = http_of(request->client);
    fetch_range(request_of(request)->fetch, &http->resource, http->trusted, offset, length);
}

static void http_cancel(struct remote_request *request)
{
    fetch_cancel(request_of(request)->fetch);
}

static void http_request_free(struct remote_request *request)
{
    fetch_free(request_of(request)->fetch);
    slices_clear(&request->data);
    mem_free(request_of(request));
}

static void http_free(struct remote_client *client)
{
    struct http_client *http = http_of(client);
    fetch_setup_free(http->setup);
    mem_free(client->url);
    mem_free(http);
}

struct source *http_source_new(struct curl_loop *curl, const char *who, const struct http_source_options *options)
{
    static const struct remote_client_ops ops = {
        .name = "http",
        .request_new = http_request_new,
        .probe = http_probe,
        .range = http_range,
        .cancel = http_cancel,
        .request_free = http_request_free,
        .adopt = http_adopt,
        .free = http_free,
    };
    struct http_client *http = mem_alloc(sizeof *http);
    http->client = (struct remote_client){.ops = &ops, .loop = curl_loop_uv(curl), .url = mem_strdup(options->url)};
    http->who = who;
    http->curl = curl;
    http->setup = fetch_setup_new(&options->fetch);
    return remote_source_new(&http->client, who, options->connections, options->io_timeout_ms);
}
