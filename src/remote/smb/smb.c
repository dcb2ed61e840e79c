#include "remote/smb/smb.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "net/dial.h"
#include "remote/smb/connection.h"
#include "remote/smb/url.h"

struct smb_client {
    struct remote_client client;
    const char *who;
    const char *wrong; /* what is wrong with the options; NULL: nothing */
    struct smb_url url;
    char *server;
    struct smb_user user;
    char *password;
    bool must_seal;
    enum address_local local;
    uint64_t connect_timeout_ms, stall_timeout_ms;
    bool newest;           /* the server wants SMB3 */
    struct smb *smb;       /* the ranges' connection; NULL: it broke, or there was none */
    struct smb *candidate; /* inside the `done` of a probe: what the probe opened */
    struct link ranges;    /* those under way */
    struct defer closed;
};

struct smb_request {
    struct remote_request request;

    /* A range. */
    struct link link; /* in the client's ranges */
    struct smb_read read;
    struct defer broken; /* ends a range that has no connection, because it broke or can't be had */
    enum remote_verdict verdict;

    /* A probe, with a connection of its own. */
    struct resolve *resolve;
    struct dial *dial;           /* tries which of the server's several addresses answers */
    struct resolve_result found; /* the addresses that are tried */
    unsigned next;
    bool newest;
    struct smb *smb;
};

static struct smb_client *client_of(const struct remote_request *request)
{
    return container_of(request->client, struct smb_client, client);
}

static struct smb_request *smb_request_of(struct remote_request *request)
{
    return container_of(request, struct smb_request, request);
}

static void smb_finish(struct smb_request *smb, enum remote_verdict verdict, int reason, const char *error)
{
    remote_judge(&smb->request, verdict, "%s", error);
    smb->request.reason = reason;
    remote_request_end(&smb->request);
}

/* --- the connection of the ranges --- */

static void break_request(struct smb_request *smb, enum remote_verdict verdict)
{
    smb->verdict = verdict;
    defer_schedule(smb->request.client->loop, &smb->broken);
}

static void on_broken(struct defer *defer)
{
    struct smb_request *smb = container_of(defer, struct smb_request, broken);
    const char *wrong = client_of(&smb->request)->wrong;
    if (wrong)
        smb_finish(smb, REMOTE_REFUSED, -EINVAL, wrong);
    else
        smb_finish(smb, smb->verdict, 0, "the connection to the server broke");
}

/* Each range that was under way there must be asked for again elsewhere. */
static void client_disconnect(struct smb_client *client, enum remote_verdict verdict)
{
    smb_close(client->smb);
    client->smb = NULL;
    for (struct link *l = list_pop(&client->ranges); l; l = list_pop(&client->ranges))
        break_request(container_of(l, struct smb_request, link), verdict);
}

static void on_lost(void *owner, bool transient, int reason, const char *error)
{
    struct smb_client *client = owner;
    (void)transient;
    (void)reason;
    log_info(client->who, "smb: %s", error);
    client_disconnect(client, REMOTE_MOVED);
}

/* --- a probe --- */

static void probe_next(struct smb_request *smb);

static void on_smb_opened(void *owner, const struct smb_file *file, uint64_t round_trip_us)
{
    struct smb_request *smb = owner;
    struct smb_client *client = client_of(&smb->request);
    struct remote_image *found = &smb->request.found;
    client->candidate = smb->smb;
    client->newest = smb->newest;
    smb->smb = NULL;
    found->size = file->size;
    snprintf(found->version, sizeof found->version, "%" PRIx64 ".%" PRIx64 ".%" PRIx64, file->written, file->changed,
             file->index);
    *found->identity = '\0';
    smb->request.first_byte_us = round_trip_us;
    if (file->size > 0)
        smb_finish(smb, REMOTE_OK, 0, "");
    else
        smb_finish(smb, REMOTE_REFUSED, -EINVAL, "the image is empty");
    smb_close(client->candidate); /* the probe was not adopted */
    client->candidate = NULL;
}

static void on_failed(void *owner, bool transient, int reason, const char *error)
{
    struct smb_request *smb = owner;
    char text[SMB_ERROR_MAX];
    snprintf(text, sizeof text, "%s", error);
    bool again = !smb->newest && smb_newest_may_do(smb->smb);
    smb_close(smb->smb);
    smb->smb = NULL;
    if (again) {
        smb->newest = true;
        smb->next--;
    }
    bool unreachable = reason == -EHOSTUNREACH || reason == -ECONNREFUSED;
    if (again || (unreachable && smb->next < smb->found.count))
        probe_next(smb);
    else
        smb_finish(smb, transient ? REMOTE_TRANSIENT : REMOTE_REFUSED, reason, text);
}

/* Connects to the next of the name's addresses. */
static void probe_next(struct smb_request *smb)
{
    static const struct smb_events events = {on_smb_opened, on_failed};
    struct smb_client *client = client_of(&smb->request);
    struct sockaddr_storage address = smb->found.addresses[smb->next++];
    /* The port is at the same place in both. */
    ((struct sockaddr_in *)&address)->sin_port = htons(client->url.port);
    struct smb_options options = {
        .address = (const struct sockaddr *)&address,
        .server = client->server,
        .share = client->url.share,
        .path = client->url.path,
        .user = client->user.name,
        .domain = client->user.domain,
        .password = client->password,
        .must_seal = client->must_seal,
        .newest = smb->newest,
        .connect_timeout_ms = client->connect_timeout_ms,
        .stall_timeout_ms = client->stall_timeout_ms,
    };
    smb->smb = smb_open(client->client.loop, &options, &events, smb);
}

/* libsmb2 makes its own connection, to the address that won. */
static void on_smb_raced(void *owner, const struct dial_result *result)
{
    struct smb_request *smb = owner;
    smb->dial = NULL;
    if (!result->address) {
        smb_finish(smb, REMOTE_TRANSIENT, result->fd, result->error);
        return;
    }
    close(result->fd);
    smb->found.addresses[0] = *result->address;
    smb->found.count = 1;
    probe_next(smb);
}

static void on_smb_resolved(void *owner, const struct resolve_result *result)
{
    struct smb_request *smb = owner;
    const struct smb_client *client = client_of(&smb->request);
    smb->resolve = NULL;
    if (result->status != 0) {
        smb_finish(smb, result->status == -EPERM ? REMOTE_REFUSED : REMOTE_TRANSIENT, result->status, result->error);
        return;
    }
    smb->found = *result;
    smb->next = 0;
    smb->newest = client->newest;
    if (result->count > 1)
        smb->dial =
            dial_race_new(client->client.loop, result, client->url.port, client->connect_timeout_ms, on_smb_raced, smb);
    else
        probe_next(smb);
}

static void smb_probe(struct remote_request *request)
{
    struct smb_request *smb = smb_request_of(request);
    struct smb_client *client = client_of(request);
    remote_request_begin(request, 0);
    if (client->wrong)
        break_request(smb, REMOTE_REFUSED);
    else
        smb->resolve = resolve_start(client->client.loop, client->url.host, client->local, on_smb_resolved, smb);
}

/* The probe's connection becomes the ranges'. A range that still uses the old one is tried again. */
static void smb_adopt(struct remote_request *request)
{
    static const struct smb_events events = {.failed = on_lost};
    struct smb_client *client = client_of(request);
    client_disconnect(client, REMOTE_TRANSIENT);
    client->smb = client->candidate;
    client->candidate = NULL;
    smb_set_owner(client->smb, &events, client);
}

/* --- a range --- */

static void on_smb_read(struct smb_read *read)
{
    struct smb_request *smb = read->owner;
    struct remote_request *request = &smb->request;
    list_remove(&smb->link);
    request->received = read->received;
    request->first_byte_us = read->round_trip_us;
    slices_take(&request->data, &read->data);
    if (read->status == 0)
        smb_finish(smb, REMOTE_OK, 0, "");
    else
        smb_finish(smb, read->status == -EIO ? REMOTE_TRANSIENT : REMOTE_REFUSED, 0, read->error);
}

static void smb_range(struct remote_request *request, uint64_t offset, uint32_t length)
{
    struct smb_request *smb = smb_request_of(request);
    struct smb_client *client = client_of(request);
    remote_request_begin(request, 0); /* the data come with the read's end */
    smb->read.received = 0;
    if (!client->smb) {
        break_request(smb, REMOTE_MOVED);
        return;
    }
    list_append(&client->ranges, &smb->link);
    smb_read_start(client->smb, &smb->read, offset, length);
}

/* --- requests --- */

static struct remote_request *smb_request_new(struct remote_client *client)
{
    struct smb_request *smb = mem_alloc(sizeof *smb);
    smb->request.client = client;
    slices_init(&smb->request.data);
    slices_init(&smb->read.data);
    smb->read.owner = smb;
    smb->read.done = on_smb_read;
    list_init(&smb->link);
    defer_setup(&smb->broken, on_broken);
    return &smb->request;
}

static void smb_cancel(struct remote_request *request)
{
    struct smb_request *smb = smb_request_of(request);
    defer_cancel(&smb->broken);
    resolve_cancel(smb->resolve);
    dial_cancel(smb->dial);
    smb->resolve = NULL;
    smb->dial = NULL;
    smb_close(smb->smb);
    smb->smb = NULL;
    smb_read_cancel(&smb->read);
    list_remove(&smb->link);
}

static uint64_t smb_received(const struct remote_request *request)
{
    return container_of(request, const struct smb_request, request)->read.received;
}

static void smb_request_free(struct remote_request *request)
{
    struct smb_request *smb = smb_request_of(request);
    slices_clear(&request->data);
    slices_clear(&smb->read.data);
    mem_free(smb);
}

/* --- the client --- */

static void on_smb_client_closed(struct defer *defer)
{
    struct smb_client *client = container_of(defer, struct smb_client, closed);
    client->client.closed(&client->client);
}

static void smb_client_close(struct remote_client *base)
{
    struct smb_client *client = container_of(base, struct smb_client, client);
    smb_close(client->smb);
    client->smb = NULL;
    defer_schedule(base->loop, &client->closed);
}

static void smb_client_free(struct remote_client *base)
{
    struct smb_client *client = container_of(base, struct smb_client, client);
    smb_url_clear(&client->url);
    smb_user_clear(&client->user);
    mem_free(client->server);
    mem_free_secret(client->password);
    mem_free(base->url);
    mem_free(client);
}

struct source *smb_source_new(uv_loop_t *loop, const char *who, const struct smb_source_options *options)
{
    static const struct remote_client_ops ops = {
        .request_new = smb_request_new,
        .probe = smb_probe,
        .range = smb_range,
        .cancel = smb_cancel,
        .received = smb_received,
        .request_free = smb_request_free,
        .adopt = smb_adopt,
        .close = smb_client_close,
        .free = smb_client_free,
    };
    struct smb_client *client = mem_alloc(sizeof *client);
    client->client = (struct remote_client){.ops = &ops, .loop = loop, .url = mem_strdup(options->url)};
    client->who = who;
    client->wrong = smb_url_parse(options->url, &client->url);
    if (!client->wrong && options->must_seal && (!options->user || !*options->user))
        client->wrong = "encryption needs a user (give user and password, see smb-encryption)";
    client->server = smb_url_server(client->url.host ? client->url.host : "");
    smb_user_parse(options->user, &client->user);
    client->password = mem_strdup(options->password);
    client->must_seal = options->must_seal;
    client->local = options->local;
    client->connect_timeout_ms = options->connect_timeout_ms;
    client->stall_timeout_ms = options->stall_timeout_ms;
    list_init(&client->ranges);
    defer_setup(&client->closed, on_smb_client_closed);
    return remote_source_new(&client->client, who, options->requests, options->io_timeout_ms);
}
