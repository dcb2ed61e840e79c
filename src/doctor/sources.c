/*
 * The images: each is opened by the reader that a slot would make, and read at a few places, all at once, on a loop of our own.
 * See doctor/doctor.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/bytes.h"
#include "base/defer.h"
#include "base/text.h"
#include "base/work.h"
#include "block/io.h"
#include "block/source.h"
#include "doctor/doctor.h"
#include "link/shared.h"
#include "net/resolve.h"
#include "remote/http/curl_loop.h"
#include "remote/image_location.h"
#include "remote/origin.h"
#include "slot/pipeline.h"
#include "slot/slot_credentials.h"

#define PROBE_PIECES 4
#define PROBE_PIECE  (1u << 20) /* bytes that are read at each place */
#define TOPIC_MAX    96
#define POOL_THREADS 8

struct doctor_loop {
    uv_loop_t loop;
    struct findings *findings;
    const struct config *config;
    struct links links;
    struct slot_credentials credentials;
    struct pipeline_context context;
    unsigned left; /* sources that are not closed yet; one more while they are made */
};

struct probe_piece {
    struct source_probe *probe;
    struct io io;
};

struct source_probe {
    struct doctor_loop *all;
    char topic[TOPIC_MAX], *host, proxy[128];
    struct resolve *resolve;
    struct source *source;
    struct probe_piece pieces[PROBE_PIECES];
    unsigned reading;
    uint64_t bytes, begun_ms, reads_ms;
    int status;
};

static void curl_is_closed(void *arg)
{
    struct doctor_loop *all = arg;
    defer_close(&all->loop);
}

static void loop_left(struct doctor_loop *all)
{
    if (--all->left == 0)
        curl_loop_close(all->context.curl, curl_is_closed, all);
}

/* --- one source --- */

static void probe_say(struct source_probe *probe)
{
    const struct source *source = probe->source;
    char size[TEXT_SIZE_MAX], rate[TEXT_SIZE_MAX];
    uint64_t took = uv_now(source->loop) - probe->reads_ms;
    text_human_size(source->size, size);
    text_human_size(probe->bytes * 1000 / (took ? took : 1), rate);
    if (probe->status != 0)
        findings_fail(probe->all->findings, FINDING_BAD, probe->topic, *source->error ? source->error : strerror(-probe->status));
    else if (source->local)
        findings_say(probe->all->findings, FINDING_GOOD, probe->topic, NULL, "it can be read, and has %s", size);
    else
        findings_say(probe->all->findings, *source->validator ? FINDING_GOOD : FINDING_DOUBT, probe->topic,
                     *source->validator ? NULL : "have the server send an ETag or Last-Modified, so that a change is seen",
                     "%s%s%s, ranges are served, %s; open after %" PRIu64 " ms, round trip %.1f ms, %s/s with %u ranges at a time", size,
                     *probe->proxy ? " by the proxy " : "", probe->proxy,
                     *source->validator ? "and it is told when it changes" : "but nothing tells versions of it apart",
                     probe->reads_ms - probe->begun_ms, (double)source->stats.rtt_us / 1000, rate, PROBE_PIECES);
}

/* Once the source is closed, and its server's name known or not. */
static void probe_free_when_done(struct source_probe *probe)
{
    struct doctor_loop *all = probe->all;
    if (probe->source || probe->resolve)
        return;
    mem_free(probe->host);
    mem_free(probe);
    loop_left(all);
}

static void on_probe_closed(struct source *source)
{
    struct source_probe *probe = source->owner;
    probe_say(probe);
    source_free(source);
    probe->source = NULL;
    probe_free_when_done(probe);
}

static void on_probe_died(struct source *source, int status)
{
    struct source_probe *probe = source->owner;
    probe->status = probe->status ? probe->status : status;
    source_close(source);
}

static void on_probe_read(struct io *io)
{
    struct source_probe *probe = container_of(io, struct probe_piece, io)->probe;
    struct source *source = probe->source;
    probe->status = probe->status ? probe->status : io->status;
    probe->bytes += io->status == 0 ? io->length : 0;
    slices_clear(&io->data);
    uv_update_time(source->loop);
    if (--probe->reading == 0)
        source_close(source);
}

/* At the beginning, the end, and between: what a host's boot does too. */
static void probe_read(struct source_probe *probe)
{
    uint64_t size = probe->source->size & ~(uint64_t)4095;
    uint32_t piece = size < PROBE_PIECE ? (uint32_t)size : PROBE_PIECE;
    probe->reading = piece ? PROBE_PIECES : 0;
    for (unsigned i = 0; i < probe->reading; i++) {
        struct io *io = &probe->pieces[i].io;
        probe->pieces[i].probe = probe;
        io_init(io, IO_READ, ((size - piece) / (PROBE_PIECES - 1) * i) & ~(uint64_t)4095, piece, on_probe_read);
        source_submit(probe->source, io);
    }
    if (!piece)
        source_close(probe->source);
}

static void on_probe_opened(struct source *source, int status)
{
    struct source_probe *probe = source->owner;
    uv_update_time(source->loop);
    probe->status = status;
    probe->reads_ms = uv_now(source->loop);
    if (status == 0)
        probe_read(probe);
    else
        source_close(source);
}

/* --- its server's name --- */

static void on_probe_resolved(void *owner, const struct resolve_result *result)
{
    struct source_probe *probe = owner;
    char topic[TOPIC_MAX + 8];
    probe->resolve = NULL;
    snprintf(topic, sizeof topic, "name %.64s", probe->host);
    if (result->status != 0)
        findings_fail(probe->all->findings, FINDING_BAD, topic, result->error);
    else
        findings_say(probe->all->findings, FINDING_GOOD, topic, NULL, "%u address%s, after %" PRIu64 " ms", result->count,
                     result->count == 1 ? "" : "es", uv_now(&probe->all->loop) - probe->begun_ms);
    probe_free_when_done(probe);
}

/* With a proxy that asks for the names it is the proxy's that has to be known here. */
static void probe_name(struct source_probe *probe, const struct config_http *http, const char *url)
{
    struct origin origin;
    bool by_proxy = *http->proxy && (location_kind(url) == LOCATION_HTTP || location_kind(url) == LOCATION_HTTPS);
    if (by_proxy)
        text_url_public(http->proxy, probe->proxy, sizeof probe->proxy);
    if (origin_read_server(&origin, by_proxy ? http->proxy : url) && origin.host) {
        probe->host = mem_strdup(origin.host);
        probe->resolve = resolve_start(&probe->all->loop, probe->host, (enum address_local)http->local, on_probe_resolved, probe);
    }
    origin_clear(&origin);
}

static void probe_new(struct doctor_loop *all, const struct config_slot *slot, const char *url, bool config)
{
    const struct slot_insert_options options = {.verify = -1, .writable = 0, .nfs_ids = true, .config = config};
    struct source_probe *probe = mem_alloc(sizeof *probe);
    struct pipeline_refusal refusal;
    char shown[TOPIC_MAX - 16];
    text_url_public(url, shown, sizeof shown);
    snprintf(probe->topic, sizeof probe->topic, "image %s", shown);
    probe->all = all;
    probe->source = pipeline_reader_new(&all->context, slot, url, &options, &refusal);
    if (!probe->source) {
        findings_fail(all->findings, FINDING_BAD, probe->topic, refusal.error);
        mem_free(probe);
        return;
    }
    probe->begun_ms = uv_now(&all->loop);
    probe->source->owner = probe;
    probe->source->opened = on_probe_opened;
    probe->source->died = on_probe_died;
    probe->source->closed = on_probe_closed;
    probe_name(probe, &slot->http, url);
    all->left++;
    source_open(probe->source);
}

/* --- all of them --- */

static unsigned begin_probes(struct doctor_loop *all, char *const *urls)
{
    const struct config *config = all->config;
    unsigned count = 0;
    for (unsigned i = 0; i < config->slot_count; i++) {
        const struct config_slot *slot = &config->slots[i];
        bool own = *slot->config != '\0';
        if (!*slot->image && !own)
            continue;
        probe_new(all, slot, own ? slot->config : slot->image, own);
        count++;
    }
    for (; *urls; urls++, count++)
        probe_new(all, &config->slots[0], *urls, false);
    return count;
}

void doctor_sources(struct findings *findings, const struct config *config, char *const *urls)
{
    static struct doctor_loop all; /* threads of the pool may look at it until the process ends */
    all = (struct doctor_loop){.findings = findings, .config = config, .left = 1};
    work_begin(&all.loop, POOL_THREADS);
    defer_init(&all.loop);
    links_init(&all.links);
    slot_credentials_read(&all.credentials, config);
    all.context = (struct pipeline_context){.loop = &all.loop,
                                            .curl = curl_loop_new(&all.loop),
                                            .links = &all.links,
                                            .file_directory = config->file_directory,
                                            .upload_directory = config->web.upload_directory,
                                            .credentials = &all.credentials};
    if (begin_probes(&all, urls) == 0)
        findings_say(findings, FINDING_NOTE, "images", NULL, "none is configured; doctor URL looks at one");
    loop_left(&all);
    uv_run(&all.loop, UV_RUN_DEFAULT);
    slot_credentials_clear(&all.credentials);
    uv_loop_close(&all.loop);
}
