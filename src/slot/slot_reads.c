/* What a slot knows of its host's reads, and what all its media read in all. See slot/host_reads.h. */
#include <errno.h>
#include <string.h>

#include "slot/slot_internal.h"

/* Why a read failed; a status that says it all needs no words. */
static const char *why_read(struct slot *slot, int status)
{
    return slot->source && status == -EIO ? pipeline_error(slot->source) : "";
}

void slot_read_done(void *arg, const struct io *io, uint64_t waited_us)
{
    struct slot *slot = arg;
    struct host_read read = {.offset = io->offset, .length = io->length, .waited_us = waited_us, .status = io->status, .why = ""};
    if (io->status != 0) {
        read.away = slot->source && pipeline_failing(slot->source);
        read.why = why_read(slot, io->status);
    }
    host_reads_answer(&slot->reads, &read, uv_now(slot->shared->loop), slot->config.name);
}

static void slot_reads_sum(struct source_stats *all, const struct source_stats *more)
{
    all->requests += more->requests;
    all->bytes += more->bytes;
    all->errors += more->errors;
    all->retries += more->retries;
    all->hits += more->hits;
    all->misses += more->misses;
    all->prefetched += more->prefetched;
    all->wasted += more->wasted;
    latency_merge(&all->ranges, &more->ranges);
}

void slot_reads_end(struct slot *slot)
{
    slot_get_totals(slot, &slot->past);
    slot->past.source.wasted += pipeline_in_vain(slot->source) - pipeline_image_of(slot->source)->stats.wasted;
    slot->prefetch_used = 0;
    host_reads_begin(&slot->reads);
}

/* Where two slots share an image, what one has read ahead is unread for the other too: so this counts no less than it did
 * before. */
static uint64_t prefetch_used(struct slot *slot, const struct source_stats *source)
{
    uint64_t vain = pipeline_in_vain(slot->source), used = source->prefetched > vain ? source->prefetched - vain : 0;
    if (used > slot->prefetch_used)
        slot->prefetch_used = used;
    return slot->prefetch_used;
}

void slot_get_totals(struct slot *slot, struct slot_totals *totals)
{
    struct slot_counters counters;
    *totals = slot->past;
    if (!slot->source)
        return;
    pipeline_count(slot->source, &counters);
    slot_reads_sum(&totals->source, &counters.source);
    totals->prefetch_used += prefetch_used(slot, &counters.source);
}

bool slot_host_waits(const struct slot_status *status)
{
    return status->oldest.waited_us > HOST_READS_WAITS_MS * 1000ull;
}

void slot_dismiss(struct slot *slot)
{
    host_reads_dismiss(&slot->reads);
    if (slot->state == SLOT_EMPTY || slot->state == SLOT_READY)
        *slot->error = '\0';
    if (slot->state == SLOT_READY)
        pipeline_forget_error(slot->source);
}
