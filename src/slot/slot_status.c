/* What a slot says of itself. */
#include <string.h>

#include "slot/slot_internal.h"

static const char *slot_warning(const struct slot *slot)
{
    struct boot_injected injected;
    if (slot->doubt == MEDIUM_GOOD && slot->opened && slot->source && pipeline_injected(slot->source, &injected))
        return injected.warnings;
    return medium_doubt_words(slot->doubt);
}

uint64_t slot_medium_id(const struct slot *slot)
{
    return slot->ready_at * CONFIG_SLOTS_MAX + slot->index + 1;
}

void slot_get_status(struct slot *slot, struct slot_status *status)
{
    *status = (struct slot_status){
        .name = slot->config.name,
        .index = slot->index,
        .media = slot->config.media,
        .state = slot->state,
        .socket = slot->socket,
        .device = slot->attached ? slot->device.medium.device : "",
        .cdrom = slot->bound && slot->device.attach == ATTACH_USB && slot->device.medium.cdrom,
        .attach = slot->device.attach,
        .image = slot->url_public ? slot->url_public : "",
        .url = slot->media.url ? slot->media.url : "",
        .by = slot->source && slot->media.by ? slot->media.by : "",
        .user = slot->media.user ? slot->media.user : "",
        .kernel_args = slot->media.kernel_args ? slot->media.kernel_args : "",
        .menu_timeout = slot->media.menu_timeout ? slot->media.menu_timeout : "",
        .seed = &slot->media.seed,
        .config = slot->media.config || seed_wish_is_medium(&slot->media.seed),
        .verify = slot->source && slot->media.verify >= 0 ? slot->media.verify > 0 : slot->config.http.verify,
        .stay_ms = slot->media.stay_ms,
        .until = slot->media.until,
        .host_may_eject = slot->device.attach == ATTACH_USB,
        .renewals = slot->renewals,
        .warning = slot_warning(slot),
        .is_page = slot->doubt == MEDIUM_IS_PAGE,
        .error = slot->error,
        .error_at = slot->error_at,
        .reads = &slot->reads,
    };
    nbd_server_get_stats(slot->server, &status->server);
    nbd_server_oldest_read(slot->server, &status->oldest);
    slot_retry_show(slot, status);
    if (!slot->source)
        return;
    const struct source *browser = pipeline_browser(slot->source);
    memcpy(status->image_name, slot->image_name, sizeof status->image_name);
    status->via = browser ? SLOT_VIA_BROWSER : SLOT_VIA_URL;
    status->waiting = browser && browser_source_is_waiting(browser);
    pipeline_count(slot->source, &status->counters);
    status->counters.overlay_kept = slot->config.overlay_keep && strcmp(status->counters.overlay_in, "file") == 0;
    if (slot->state == SLOT_READY) {
        status->size = slot->source->size;
        status->writable = slot->writable;
        status->medium = slot_medium_id(slot);
        status->inserted_ms = uv_now(slot->shared->loop) - slot->ready_at;
        status->mean_rate = status->inserted_ms ? slot->reads.bytes * 1000 / status->inserted_ms : 0;
        status->failing = pipeline_failing(slot->source);
        if (!*slot->error) {
            status->error = pipeline_error(slot->source);
            status->error_at = pipeline_error_at(slot->source);
        }
    }
}

void slot_set_trace(struct slot *slot, bool on)
{
    slot->trace = on;
    if (slot->source)
        pipeline_set_trace(slot->source, on);
}

const struct heat *slot_heat(struct slot *slot)
{
    return slot->opened && slot->source ? pipeline_heat(slot->source) : NULL;
}
