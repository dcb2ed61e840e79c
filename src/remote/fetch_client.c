#include "remote/fetch_client.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/text.h"
#include "remote/http/farm.h"

struct fetch_client {
    struct remote_client client;
    const char *who;
    struct curl_loop *curl;
    struct fetch_setup *setup;
    struct fetch_resource resource; /* what was adopted last */
    unsigned connections;
    bool by_time; /* validator = last-modified */
};

/* One easy handle each: libcurl keeps its settings and, for Digest, its nonce. */
struct fetch_request {
    struct remote_request request;
    struct fetch *fetch;
    struct fetch_farm farm; /* of the first probe */
};

static struct fetch_client *client_of(struct remote_client *client)
{
    return container_of(client, struct fetch_client, client);
}

static struct fetch_request *request_of(struct remote_request *request)
{
    return container_of(request, struct fetch_request, request);
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

static void client_adopt(struct remote_request *probe)
{
    struct fetch_client *own = client_of(probe->client);
    unsigned version = own->resource.version + 1;
    own->resource = request_of(probe)->fetch->found;
    own->resource.version = version;
    if (version == 1 && !*own->resource.etag && !*own->resource.modified)
        log_warning(own->who, "the image's server tells neither a version nor a time: a change of the image shows only "
                               "if its size changes");
}

/* --- requests --- */

static void on_compared(struct fetch_farm *farm)
{
    struct fetch_request *own = container_of(farm, struct fetch_request, farm);
    struct remote_request *request = &own->request;
    if (farm->differs) {
        request->verdict = REMOTE_REFUSED;
        request->reason = 0;
        snprintf(request->error, sizeof request->error,
                 "the server tells another %s for other parts of the image, as a farm of servers or a cache may do (%s)",
                 client_of(request->client)->by_time ? "Last-Modified" : "ETag",
                 client_of(request->client)->by_time ? "give the URL of one server, or a local copy"
                                                     : "give the URL of one server, or set validator = last-modified");
    }
    request->done(request);
}

/* The first probe of a source is over only when it is known that the ranges can be read as well. */
static bool request_compare(struct fetch_request *request)
{
    const struct fetch_client *own = client_of(request->request.client);
    struct fetch *fetch = request->fetch;
    request->farm.done = on_compared;
    return fetch->probe && fetch->verdict == FETCH_OK && own->resource.version == 0 &&
           fetch_farm_start(&request->farm, own->curl, own->setup, &fetch->found, own->connections);
}

static void on_fetched(struct fetch *fetch)
{
    static const enum remote_verdict verdicts[] = {[FETCH_OK] = REMOTE_OK,
                                                   [FETCH_TRANSIENT] = REMOTE_TRANSIENT,
                                                   [FETCH_MOVED] = REMOTE_MOVED,
                                                   [FETCH_REFUSED] = REMOTE_REFUSED};
    struct remote_request *request = &((struct fetch_request *)fetch->owner)->request;
    request->verdict = verdicts[fetch->verdict];
    request->reason = fetch->reason;
    request->busy = fetch->busy;
    request->retry_after_ms = fetch->retry_after_ms;
    snprintf(request->error, sizeof request->error, "%s", fetch->error);
    slices_clear(&request->data);
    slices_take(&request->data, &fetch->data);
    request->received = fetch->received;
    request->first_byte_us = fetch->first_byte_us;
    if (fetch->probe && fetch->verdict == FETCH_OK)
        identify(&request->found, &fetch->found);
    if (!request_compare(fetch->owner))
        request->done(request);
}

static struct remote_request *client_request_new(struct remote_client *client)
{
    struct fetch_client *own = client_of(client);
    struct fetch_request *request = mem_alloc(sizeof *request);
    request->request.client = client;
    slices_init(&request->request.data);
    request->fetch = fetch_new(own->curl, own->setup);
    request->fetch->owner = request;
    request->fetch->done = on_fetched;
    return &request->request;
}

static void client_probe(struct remote_request *request)
{
    fetch_probe(request_of(request)->fetch, request->client->url);
}

static void client_range(struct remote_request *request, uint64_t offset, uint32_t length)
{
    const struct fetch_client *own = client_of(request->client);
    fetch_range(request_of(request)->fetch, &own->resource, offset, length);
}

static void client_cancel(struct remote_request *request)
{
    fetch_cancel(request_of(request)->fetch);
    fetch_farm_cancel(&request_of(request)->farm);
}

static uint64_t client_received(const struct remote_request *request)
{
    return container_of(request, const struct fetch_request, request)->fetch->received;
}

static void client_request_free(struct remote_request *request)
{
    fetch_farm_cancel(&request_of(request)->farm);
    fetch_free(request_of(request)->fetch);
    slices_clear(&request->data);
    mem_free(request_of(request));
}

static void client_free(struct remote_client *client)
{
    struct fetch_client *own = client_of(client);
    fetch_setup_free(own->setup);
    mem_free(client->url);
    mem_free(own);
}

struct source *fetch_source_new(struct curl_loop *curl, const char *who, const struct fetch_source_options *options)
{
    static const struct remote_client_ops ops = {
        .request_new = client_request_new,
        .probe = client_probe,
        .range = client_range,
        .cancel = client_cancel,
        .received = client_received,
        .request_free = client_request_free,
        .adopt = client_adopt,
        .free = client_free,
    };
    struct fetch_client *own = mem_alloc(sizeof *own);
    own->client = (struct remote_client){.ops = &ops, .loop = curl_loop_uv(curl), .url = mem_strdup(options->url)};
    own->who = who;
    own->curl = curl;
    own->connections = options->connections;
    own->by_time = options->fetch.by_time;
    own->setup = fetch_setup_new(&options->fetch, options->url);
    return remote_source_new(&own->client, who, options->connections, options->io_timeout_ms);
}
