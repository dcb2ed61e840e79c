/* An image at the other end of the emulated link. See sim.h. */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "remote/remote.h"
#include "sim.h"

#define RECORD 16384 /* of TLS: it is there as a whole */

struct sim_client {
    struct remote_client client;
    struct sim_link *link;
    uint64_t size;
    struct link idle; /* struct pooled, the last used first */
    struct defer closed;
};

struct pooled {
    struct link link;
    struct sim_connection *connection;
};

struct sim_request {
    struct remote_request request;
    struct pooled *pooled; /* while it is under way */
    struct defer ended;
    uint64_t length;
    bool probe;
};

static struct sim_client *sim_client_of(const struct remote_request *request)
{
    return container_of(request->client, struct sim_client, client);
}

static struct sim_request *sim_request_of(struct remote_request *request)
{
    return container_of(request, struct sim_request, request);
}

static struct pooled *pool_take(struct sim_client *client)
{
    struct link *l = list_pop(&client->idle);
    struct pooled *pooled = l ? container_of(l, struct pooled, link) : mem_alloc(sizeof *pooled);
    if (!l) {
        list_init(&pooled->link);
        pooled->connection = sim_connection_new(client->link);
    }
    return pooled;
}

static void pooled_close(struct pooled *pooled)
{
    list_remove(&pooled->link);
    sim_connection_close(pooled->connection);
    mem_free(pooled);
}

static void on_ended(struct defer *defer)
{
    remote_request_end(&container_of(defer, struct sim_request, ended)->request);
}

static void on_arrived(void *arg, uint64_t received)
{
    struct sim_request *sim = arg;
    struct sim_client *client = sim_client_of(&sim->request);
    if (sim->request.received == 0)
        sim->request.first_byte_us = sim_now_us() - sim_connection_asked(sim->pooled->connection);
    sim->request.received = received;
    if (sim->request.filled && received / RECORD * RECORD > 0)
        sim->request.filled(&sim->request, (uint32_t)(received / RECORD * RECORD));
    if (received < sim->length)
        return;
    list_prepend(&client->idle, &sim->pooled->link);
    sim->pooled = NULL;
    remote_judge(&sim->request, REMOTE_OK, "%s", "");
    if (sim->probe)
        sim->request.found = (struct remote_image){.size = client->size, .version = "1"};
    defer_schedule(client->client.loop, &sim->ended);
}

static struct remote_request *sim_request_new(struct remote_client *client)
{
    struct sim_request *sim = mem_alloc(sizeof *sim);
    sim->request.client = client;
    slices_init(&sim->request.data);
    defer_setup(&sim->ended, on_ended);
    return &sim->request;
}

static void sim_ask(struct remote_request *request, uint64_t length, bool probe)
{
    struct sim_request *sim = sim_request_of(request);
    sim->length = length;
    sim->probe = probe;
    remote_request_begin(request, probe ? 0 : (uint32_t)length);
    sim->pooled = pool_take(sim_client_of(request));
    sim_connection_ask(sim->pooled->connection, length, on_arrived, sim);
}

static void sim_probe(struct remote_request *request)
{
    sim_ask(request, 1, true);
}

static void sim_range(struct remote_request *request, uint64_t offset, uint32_t length)
{
    (void)offset;
    sim_ask(request, length, false);
}

static void sim_cancel(struct remote_request *request)
{
    struct sim_request *sim = sim_request_of(request);
    defer_cancel(&sim->ended);
    if (sim->pooled)
        pooled_close(sim->pooled);
    sim->pooled = NULL;
}

static uint64_t sim_received(const struct remote_request *request)
{
    return request->received;
}

static void sim_request_free(struct remote_request *request)
{
    sim_cancel(request);
    slices_clear(&request->data);
    mem_free(sim_request_of(request));
}

static void on_sim_closed(struct defer *defer)
{
    struct sim_client *client = container_of(defer, struct sim_client, closed);
    client->client.closed(&client->client);
}

static void sim_close(struct remote_client *base)
{
    struct sim_client *client = container_of(base, struct sim_client, client);
    list_for_each (l, &client->idle)
        pooled_close(container_of(l, struct pooled, link));
    defer_schedule(base->loop, &client->closed);
}

static void sim_free(struct remote_client *base)
{
    mem_free(base->url);
    mem_free(container_of(base, struct sim_client, client));
}

struct source *sim_source_new(uv_loop_t *loop, struct sim_link *link, struct links *links, uint64_t size, unsigned connections)
{
    static const struct remote_client_ops ops = {sim_request_new, sim_probe,        sim_range, sim_cancel,
                                                 sim_received,    sim_request_free, NULL,      sim_close,
                                                 sim_free};
    struct sim_client *client = mem_alloc(sizeof *client);
    client->client = (struct remote_client){.ops = &ops, .loop = loop, .url = mem_strdup("https://bmc.example/image")};
    client->link = link;
    client->size = size;
    list_init(&client->idle);
    defer_setup(&client->closed, on_sim_closed);
    struct source *source = remote_source_new(&client->client, "sim", connections, 25000);
    remote_source_share(source, links);
    return source;
}
