/*
 * The overlay's life: the lower source opens, then the store, then the store's index is loaded. Closing cancels what
 * has not been started, lets the rest end, makes the store stable if that was asked for, and closes both sources.
 */
#include "block/overlay.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "block/overlay_internal.h"

static struct overlay *overlay_overlay_of(struct source *source)
{
    return container_of(source, struct overlay, source);
}

void overlay_learn(struct overlay *overlay, const struct source *failed)
{
    overlay->source.stats = overlay->lower->stats;
    if (failed && *failed->error)
        memcpy(overlay->source.error, failed->error, sizeof overlay->source.error);
}

void overlay_store_failed(struct overlay *overlay, int status)
{
    if (status == -ECANCELED || overlay->failure_logged)
        return;
    overlay->failure_logged = true;
    log_error(overlay->source.who, "overlay: %s: can't be written to: %s", overlay->store_name, strerror(-status));
}

/* --- opening --- */

static void overlay_set_facts(struct overlay *overlay)
{
    struct source *source = &overlay->source;
    source_copy_facts(source, overlay->lower);
    if (source->block_preferred < OVERLAY_BLOCK)
        source->block_preferred = OVERLAY_BLOCK;
    source->read_only = false;
    source->can_flush = source->can_trim = source->can_zero = true;
    source->identity[0] = '\0'; /* from now on the bytes are not the image's */
}

void overlay_opened(struct overlay *overlay, int status)
{
    if (overlay->source.state != SOURCE_OPENING)
        return; /* closing reports `opened` */
    if (status == 0)
        overlay_set_facts(overlay);
    source_report_opened(&overlay->source, status);
}

static void store_opened(struct source *store, int status)
{
    struct overlay *overlay = store->owner;
    if (overlay->source.state != SOURCE_OPENING)
        return;
    if (status == 0) {
        overlay_load_start(overlay);
        return;
    }
    source_set_error(&overlay->source, "overlay: %.450s", *store->error ? store->error : strerror(-status));
    overlay_opened(overlay, status);
}

static void overlay_lower_opened(struct source *lower, int status)
{
    struct overlay *overlay = lower->owner;
    overlay_learn(overlay, status ? lower : NULL);
    if (overlay->source.state != SOURCE_OPENING)
        return;
    if (status == 0)
        source_open(overlay->store);
    else
        overlay_opened(overlay, status);
}

static void part_died(struct source *part, int status)
{
    struct overlay *overlay = part->owner;
    struct source *source = &overlay->source;
    overlay_learn(overlay, part);
    if (source->state == SOURCE_OPENING && source->opened_due)
        overlay->early_death = status;
    if (source->state != SOURCE_OPEN || overlay->died)
        return;
    overlay->died = true;
    if (source->died)
        source->died(source, status);
}

/* --- closing --- */

static void overlay_part_closed(struct source *part)
{
    struct overlay *overlay = part->owner;
    overlay->lower_closed |= part == overlay->lower;
    overlay->store_closed |= part == overlay->store;
    if (!overlay->lower_closed || !overlay->store_closed)
        return;
    assert(list_empty(&overlay->requests) && list_empty(&overlay->copies));
    source_report_closed(&overlay->source);
}

static bool must_sync(const struct overlay *overlay)
{
    const struct overlay_sync *sync = &overlay->sync;
    return overlay->sync_at_close && !overlay->synced_at_close && overlay->loaded && !sync->failed &&
           overlay->store->state == SOURCE_OPEN && (sync->dirty || sync->newest > sync->header.synced);
}

void overlay_settle(struct overlay *overlay)
{
    if (overlay->source.state != SOURCE_CLOSING || !list_empty(&overlay->requests) || overlay->load.busy ||
        overlay->sync.busy)
        return;
    if (must_sync(overlay)) {
        overlay->synced_at_close = true;
        overlay_sync_start(overlay);
        return;
    }
    source_close(overlay->store);
}

static void overlay_close(struct source *source)
{
    struct overlay *overlay = overlay_overlay_of(source);
    source_close(overlay->lower);
    overlay_cancel_requests(overlay);
    overlay_settle(overlay);
}

/* --- making and freeing --- */

static void overlay_own(struct overlay *overlay, struct source *part, void (*opened)(struct source *, int))
{
    part->owner = overlay;
    part->opened = opened;
    part->died = part_died;
    part->closed = overlay_part_closed;
}

static void overlay_open(struct source *source)
{
    struct overlay *overlay = overlay_overlay_of(source);
    source_open(overlay->lower);
}

static void overlay_free(struct source *source)
{
    struct overlay *overlay = overlay_overlay_of(source);
    source_free(overlay->lower);
    source_free(overlay->store);
    overlay_map_free(&overlay->map);
    slices_clear(&overlay->load.io.data);
    mem_free(overlay->sync.block);
    mem_free(overlay->store_name);
    mem_free(overlay);
}

struct source *overlay_source_new(struct source *lower, struct source *store, const struct overlay_options *options)
{
    static const struct source_ops ops = {"overlay", overlay_open, overlay_submit, overlay_close, overlay_free, NULL};
    struct overlay *overlay = mem_alloc(sizeof *overlay);
    source_init(&overlay->source, &ops, lower->loop, lower->who);
    overlay->lower = lower;
    overlay->store = store;
    overlay->store_name = mem_strdup(options->store_name);
    if (options->boot_id)
        snprintf(overlay->boot_id, sizeof overlay->boot_id, "%s", options->boot_id);
    overlay->sync_at_close = options->sync_at_close;
    overlay_own(overlay, lower, overlay_lower_opened);
    overlay_own(overlay, store, store_opened);
    overlay_sync_init(overlay);
    slices_init(&overlay->load.io.data);
    list_init(&overlay->requests);
    list_init(&overlay->copies);
    return &overlay->source;
}

/* --- for others --- */

uint64_t overlay_store_size(uint64_t bytes)
{
    uint64_t slots = bytes / OVERLAY_BLOCK + (bytes % OVERLAY_BLOCK != 0);
    slots = slots < 1 ? 1 : slots;
    return overlay_format_size(slots < OVERLAY_SLOTS_MAX ? (uint32_t)slots : OVERLAY_SLOTS_MAX);
}

void overlay_source_used(const struct source *source, struct overlay_usage *usage)
{
    const struct overlay *overlay = container_of(source, const struct overlay, source);
    *usage = (struct overlay_usage){0};
    if (!overlay->loaded)
        return;
    usage->used = (uint64_t)overlay->map.used * OVERLAY_BLOCK;
    usage->bound = (uint64_t)overlay->map.capacity * OVERLAY_BLOCK;
    usage->memory = overlay_map_memory(&overlay->map);
}

struct source *overlay_source_lower(struct source *source)
{
    return overlay_overlay_of(source)->lower;
}

struct source *overlay_source_store(struct source *source)
{
    return overlay_overlay_of(source)->store;
}
