#include "api/metrics.h"

#include <build-config.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/process.h"
#include "base/text.h"

/* --- a text of bounded size: a line that would not fit is left out --- */

struct metrics {
    char *start;
    size_t used, size;
};

__attribute__((format(printf, 2, 3))) static void metrics_add(struct metrics *metrics, const char *format, ...)
{
    size_t room = metrics->size - metrics->used;
    va_list args;
    va_start(args, format);
    int length = vsnprintf(metrics->start + metrics->used, room, format, args);
    va_end(args);
    if (length >= 0 && (size_t)length < room)
        metrics->used += (size_t)length;
    else
        metrics->start[metrics->used] = '\0';
}

static void metrics_head(struct metrics *metrics, const char *name, const char *type, const char *help)
{
    metrics_add(metrics, "# HELP nbd_proxy_%s %s\n# TYPE nbd_proxy_%s %s\n", name, help, name, type);
}

/* --- of slots --- */

struct metrics_slot {
    struct slot_status status;
    struct slot_totals totals;
};

/* A family of metrics that has one value for each slot. */
struct metrics_row {
    const char *name, *type, *help;
    double (*value)(const struct metrics_slot *slot); /* negative: there is none */
};

static double value_inserted(const struct metrics_slot *slot)
{
    return slot->status.state == SLOT_READY;
}

static double value_size(const struct metrics_slot *slot)
{
    return (double)slot->status.size;
}

static double value_away(const struct metrics_slot *slot)
{
    return slot->status.failing;
}

static double value_awaited(const struct metrics_slot *slot)
{
    return *slot->status.awaited != '\0';
}

static double value_oldest(const struct metrics_slot *slot)
{
    return (double)slot->status.oldest.waited_us / 1e6;
}

static double value_waiting(const struct metrics_slot *slot)
{
    return slot->status.server.waiting;
}

static double value_unseen(const struct metrics_slot *slot)
{
    return (double)host_reads_unseen(slot->status.reads);
}

static double value_connections(const struct metrics_slot *slot)
{
    return slot->status.server.connections;
}

static double value_opened(const struct metrics_slot *slot)
{
    return (double)slot->status.server.connections_total;
}

static double value_read_bytes(const struct metrics_slot *slot)
{
    return (double)slot->status.server.read_bytes;
}

static double value_written_bytes(const struct metrics_slot *slot)
{
    return (double)slot->status.server.write_bytes;
}

static double value_bytes(const struct metrics_slot *slot)
{
    return (double)slot->totals.source.bytes;
}

static double value_requests(const struct metrics_slot *slot)
{
    return (double)slot->totals.source.requests;
}

static double value_retries(const struct metrics_slot *slot)
{
    return (double)slot->totals.source.retries;
}

static double value_round_trip(const struct metrics_slot *slot)
{
    uint64_t us = slot->status.counters.source.quiet_rtt_us;
    return us > 0 ? (double)us / 1e6 : -1;
}

static double value_hits(const struct metrics_slot *slot)
{
    return (double)slot->totals.source.hits;
}

static double value_misses(const struct metrics_slot *slot)
{
    return (double)slot->totals.source.misses;
}

static double value_cached(const struct metrics_slot *slot)
{
    return (double)slot->status.counters.cached;
}

static double value_prefetched(const struct metrics_slot *slot)
{
    return (double)slot->totals.source.prefetched;
}

static double value_prefetch_used(const struct metrics_slot *slot)
{
    return (double)slot->totals.prefetch_used;
}

static double value_prefetch_wasted(const struct metrics_slot *slot)
{
    return (double)slot->totals.source.wasted;
}

static double value_overlay(const struct metrics_slot *slot)
{
    return slot->status.counters.overlay_bound > 0 ? (double)slot->status.counters.overlay_used : -1;
}

static double value_overlay_limit(const struct metrics_slot *slot)
{
    return slot->status.counters.overlay_bound > 0 ? (double)slot->status.counters.overlay_bound : -1;
}

static const struct metrics_row metrics_rows[] = {
    {"slot_medium_inserted", "gauge", "Whether a medium is in the slot.", value_inserted},
    {"slot_medium_size_bytes", "gauge", "The size of the medium that is in the slot.", value_size},
    {"slot_insert_awaited", "gauge", "Whether a medium that is to get in by itself could not be put in yet.", value_awaited},
    {"host_oldest_read_seconds", "gauge", "How long the read of the host that waits longest has waited; 0: none waits.",
     value_oldest},
    {"host_waiting_requests", "gauge", "Requests of the host that wait for the medium.", value_waiting},
    {"host_failed_reads_unseen", "gauge", "Failed reads of the medium that is in of which nobody has taken note.", value_unseen},
    {"host_read_bytes_total", "counter", "Bytes that the host has read.", value_read_bytes},
    {"host_written_bytes_total", "counter", "Bytes that the host has written.", value_written_bytes},
    {"host_connections", "gauge", "NBD connections to the slot, the kernel's too.", value_connections},
    {"host_connections_opened_total", "counter", "NBD connections to the slot since it is there.", value_opened},
    {"source_away", "gauge", "Whether the medium's server or browser is away.", value_away},
    {"source_bytes_total", "counter", "Bytes that came from images' servers, browsers and files.", value_bytes},
    {"source_requests_total", "counter", "Requests for them.", value_requests},
    {"source_retries_total", "counter", "Requests that were made again.", value_retries},
    {"source_round_trip_seconds", "gauge", "The round trip to the image's server, without a queue of ours.", value_round_trip},
    {"cache_hits_total", "counter", "Reads that the cache answered without asking the source.", value_hits},
    {"cache_misses_total", "counter", "Reads for which the source was asked.", value_misses},
    {"cache_image_bytes", "gauge", "Bytes of the image that the cache holds.", value_cached},
    {"prefetch_bytes_total", "counter", "Bytes that were read ahead.", value_prefetched},
    {"prefetch_used_bytes_total", "counter", "Bytes of them that the host has read then.", value_prefetch_used},
    {"prefetch_wasted_bytes_total", "counter", "Bytes of them that were given up before the host wanted them.",
     value_prefetch_wasted},
    {"overlay_used_bytes", "gauge", "Bytes of the overlay that have been written.", value_overlay},
    {"overlay_limit_bytes", "gauge", "Bytes that the overlay may take.", value_overlay_limit},
};

static void add_metrics_row(struct metrics *metrics, const struct metrics_row *row, const struct metrics_slot *slots, unsigned count)
{
    metrics_head(metrics, row->name, row->type, row->help);
    for (unsigned i = 0; i < count; i++) {
        double value = row->value(&slots[i]);
        if (value >= 0)
            metrics_add(metrics, "nbd_proxy_%s{slot=\"%s\"} %.17g\n", row->name, slots[i].status.name, value);
    }
}

static void add_requests(struct metrics *metrics, const struct metrics_slot *slots, unsigned count)
{
    metrics_head(metrics, "host_requests_total", "counter", "Requests of the host that were answered, by what became of them.");
    for (unsigned i = 0; i < count; i++) {
        const struct nbd_server_stats *s = &slots[i].status.server;
        const struct {
            const char *what;
            uint64_t count;
        } kinds[] = {{"read", s->reads}, {"write", s->writes}, {"other", s->others}, {"failed", s->errors}};
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            metrics_add(metrics, "nbd_proxy_host_requests_total{slot=\"%s\",result=\"%s\"} %" PRIu64 "\n",
                        slots[i].status.name, kinds[k].what, kinds[k].count);
    }
}

static void add_failures(struct metrics *metrics, const struct metrics_slot *slots, unsigned count)
{
    metrics_head(metrics, "host_read_failures_total", "counter", "Reads of the host that failed, by why.");
    for (unsigned i = 0; i < count; i++)
        for (enum host_read_failure f = 0; f < HOST_READ_FAILURES; f++)
            metrics_add(metrics, "nbd_proxy_host_read_failures_total{slot=\"%s\",reason=\"%s\"} %" PRIu64 "\n",
                        slots[i].status.name, host_read_failure_name(f), slots[i].status.reads->failures[f]);
}

static void add_histogram(struct metrics *metrics, const char *name, const char *slot, const struct latency *latency)
{
    uint64_t below = 0;
    for (unsigned i = 0; i < LATENCY_STEPS; i++) {
        below += latency->at[i];
        metrics_add(metrics, "nbd_proxy_%s_bucket{slot=\"%s\",le=\"%g\"} %" PRIu64 "\n", name, slot,
                    (double)latency_bounds_us[i] / 1e6, below);
    }
    metrics_add(metrics, "nbd_proxy_%s_bucket{slot=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, slot, latency->count);
    metrics_add(metrics, "nbd_proxy_%s_sum{slot=\"%s\"} %.17g\nnbd_proxy_%s_count{slot=\"%s\"} %" PRIu64 "\n", name, slot,
                (double)latency->sum_us / 1e6, name, slot, latency->count);
}

static void add_latencies(struct metrics *metrics, const struct metrics_slot *slots, unsigned count)
{
    metrics_head(metrics, "host_read_duration_seconds", "histogram", "How long reads of the host took, from request to answer.");
    for (unsigned i = 0; i < count; i++)
        add_histogram(metrics, "host_read_duration_seconds", slots[i].status.name, &slots[i].status.reads->latency);
    metrics_head(metrics, "source_range_duration_seconds", "histogram",
                 "How long ranges took that an image's server or browser was asked for.");
    for (unsigned i = 0; i < count; i++)
        add_histogram(metrics, "source_range_duration_seconds", slots[i].status.name, &slots[i].totals.source.ranges);
}

/* --- of all --- */

static void add_single(struct metrics *metrics, const char *name, const char *type, const char *help, double value)
{
    metrics_head(metrics, name, type, help);
    metrics_add(metrics, "nbd_proxy_%s %.17g\n", name, value);
}

static void add_cache(struct metrics *metrics, struct slots *slots)
{
    struct cache_stats cache;
    cache_get_stats(slots_cache(slots), &cache);
    add_single(metrics, "cache_limit_bytes", "gauge", "Bytes that the cache may hold.", (double)cache.limit);
    add_single(metrics, "cache_used_bytes", "gauge", "Bytes that the cache holds, or has asked for.",
              (double)(cache.live + cache.fetching));
    add_single(metrics, "cache_evictions_total", "counter", "Pieces that made room for others.", (double)cache.evictions);
}

/* The names that all programs use for it. */
static void add_process(struct metrics *metrics)
{
    struct process_facts facts;
    process_look(&facts);
    const struct {
        const char *name, *type, *help;
        double value;
    } rows[] = {
        {"cpu_seconds_total", "counter", "Time that the process has computed.", facts.cpu_seconds},
        {"start_time_seconds", "gauge", "When the process began, since 1970.", facts.start_seconds},
        {"resident_memory_bytes", "gauge", "Memory that the process has.", (double)facts.resident},
        {"virtual_memory_bytes", "gauge", "Memory that the process has a claim to.", (double)facts.virtual},
        {"open_fds", "gauge", "Open file descriptors.", facts.descriptors},
        {"max_fds", "gauge", "How many may be open.", (double)facts.descriptors_max},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        metrics_add(metrics, "# HELP process_%s %s\n# TYPE process_%s %s\nprocess_%s %.17g\n", rows[i].name, rows[i].help,
                    rows[i].name, rows[i].type, rows[i].name, rows[i].value);
}

static void add_build(struct metrics *metrics)
{
    metrics_head(metrics, "build_info", "gauge", "The version of the daemon.");
    metrics_add(metrics, "nbd_proxy_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
}

char *metrics_text(struct slots *slots, unsigned connections)
{
    unsigned count = slots_count(slots);
    struct metrics metrics = {.size = METRICS_BASE_MAX + count * METRICS_SLOT_MAX};
    struct metrics_slot *all = mem_alloc(((size_t)count + 1) * sizeof *all);
    metrics.start = mem_alloc(metrics.size);
    for (unsigned i = 0; i < count; i++) {
        slot_get_status(slots_get(slots, i), &all[i].status);
        slot_get_totals(slots_get(slots, i), &all[i].totals);
    }
    add_build(&metrics);
    for (size_t i = 0; i < sizeof metrics_rows / sizeof *metrics_rows; i++)
        add_metrics_row(&metrics, &metrics_rows[i], all, count);
    add_requests(&metrics, all, count);
    add_failures(&metrics, all, count);
    add_latencies(&metrics, all, count);
    add_cache(&metrics, slots);
    add_single(&metrics, "web_connections", "gauge", "Connections to the web server.", connections);
    add_process(&metrics);
    mem_free(all);
    return metrics.start;
}
