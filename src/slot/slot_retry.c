/*
 * A medium that is to get in by itself: the configured one, or the one from before a restart. It is tried until it is
 * in, until somebody inserts or ejects, or until it is hopeless, with pauses that grow (SLOT_RETRY_FIRST_MS to
 * SLOT_RETRY_MAX_MS): when a BMC starts, its network may not be there yet.
 *
 * For `restart-grace` the kernel's device of before a restart waits for its medium, and the tries come quickly. After
 * that the device is taken away, and the medium is one that the host sees put in.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/jitter.h"
#include "base/log.h"
#include "base/text.h"
#include "slot/slot_internal.h"

static void retry_try(struct slot *slot);

static void on_retry(uv_timer_t *timer)
{
    retry_try(timer->data);
}

static bool in_grace(const struct slot *slot)
{
    return slot->retry.kind == RETRY_RESTORED && uv_now(slot->shared->loop) < slot->retry.grace_until;
}

const struct slot_media *slot_restoring(const struct slot *slot)
{
    return slot->retry.kind == RETRY_RESTORED ? slot->retry.media : NULL;
}

bool slot_awaits(const struct slot *slot)
{
    return slot->retry.kind != RETRY_NOTHING;
}

bool slot_retry_is_trying(const struct slot *slot)
{
    return slot->retry.kind != RETRY_NOTHING && slot->retry.trying;
}

/* --- its end --- */

static void retry_end(struct slot *slot)
{
    struct slot_retry *retry = &slot->retry;
    uv_timer_stop(&retry->timer);
    retry->kind = RETRY_NOTHING;
    retry->media = NULL;
    retry->tries = 0;
    retry->device_waits = false;
    *retry->error = '\0';
    if (!slot->device.running)
        slot->device.reconnect = false;
}

void slot_retry_cancel(struct slot *slot)
{
    if (slot->retry.kind == RETRY_NOTHING)
        return;
    retry_end(slot);
    if (slot->state == SLOT_EMPTY)
        slot_save(slot); /* no medium is to be put in again any more */
}

/* --- a try --- */

static uint64_t retry_pause(const struct slot *slot)
{
    if (in_grace(slot))
        return SLOT_RESTORE_MS;
    uint64_t pause = (uint64_t)SLOT_RETRY_FIRST_MS << (slot->retry.tries < 10 ? slot->retry.tries : 10);
    return jitter_pause(pause < SLOT_RETRY_MAX_MS ? pause : SLOT_RETRY_MAX_MS);
}

/* Waiting will not help. */
static bool is_final(int status)
{
    return status == -EINVAL || status == -EPROTONOSUPPORT || status == -ESTALE;
}

static const char *retry_what(const struct slot *slot)
{
    return slot->retry.kind == RETRY_RESTORED ? "the medium of before the restart" : "the configured image";
}

/* One line for each reason, however often it is met. */
static void retry_take_note(struct slot *slot, const char *error)
{
    struct slot_retry *retry = &slot->retry;
    if (strcmp(retry->error, error) != 0)
        log_warning(slot->config.name, "%s is not in yet: %s (it is tried again)", retry_what(slot), error);
    snprintf(retry->error, sizeof retry->error, "%s", error);
    retry->error_at = slot->error_at;
}

static void retry_later(struct slot *slot, const char *error)
{
    struct slot_retry *retry = &slot->retry;
    uint64_t pause = retry_pause(slot);
    retry_take_note(slot, error);
    retry->tries++;
    retry->at = uv_now(slot->shared->loop) + pause;
    uv_timer_start(&retry->timer, on_retry, pause, 0);
    if (!in_grace(slot) && retry->device_waits) {
        retry->device_waits = slot->device.reconnect = false;
        slot_step(slot); /* removes the device */
    }
}

static void retry_give_up(struct slot *slot, const char *error)
{
    log_error(slot->config.name, "%s is not put in: %s", retry_what(slot), error);
    retry_end(slot);
    slot_save(slot);
    slot_step(slot);
}

static void on_tried(void *arg, int status, const char *error)
{
    struct slot *slot = arg;
    struct slot_retry *retry = &slot->retry;
    retry->trying = false;
    if (retry->kind == RETRY_NOTHING) { /* somebody decided otherwise meanwhile */
    } else if (status == 0) {
        if (retry->kind == RETRY_RESTORED)
            log_notice(slot->config.name, "goes on with %s", retry_what(slot));
        retry_end(slot);
    } else if (is_final(status)) {
        retry_give_up(slot, error);
    } else {
        retry_later(slot, error);
    }
}

/* "": nothing is to get in. */
static const char *configured_url(const struct slot *slot)
{
    return *slot->config.config ? slot->config.config : slot->config.image;
}

static struct slot_insert_options configured_options(const struct slot *slot)
{
    const struct config_slot *config = &slot->config;
    return (struct slot_insert_options){
        .kernel_args = *config->kernel_args ? config->kernel_args : NULL,
        .menu_timeout = *config->menu_timeout ? config->menu_timeout : NULL,
        .seed = {.kind = config->config_kind,
                 .label = config->config_label,
                 .network_data = config->network_data,
                 .network_kind = config->network_kind,
                 .menu_default = config->menu_default,
                 .image_files = config->image_files},
        .config = *config->config,
        .nfs_ids = true,
        .verify = -1,
        .writable = -1,
    };
}

static void retry_try(struct slot *slot)
{
    struct slot_retry *retry = &slot->retry;
    const struct slot_media *media = slot_restoring(slot);
    struct slot_insert_options options = media ? slot_media_options(media) : configured_options(slot);
    if (slot->state != SLOT_EMPTY || slot->leaving || slot->next_config)
        return;
    if (retry->device_waits)
        slot->device.reconnect = slot_device_uses_kernel(slot);
    retry->trying = true;
    slot_insert_now(slot, media ? media->url : configured_url(slot), &options, slot_request_new(on_tried, slot));
}

/* --- its beginning --- */

void slot_retry_configured(struct slot *slot)
{
    if (!*configured_url(slot))
        return;
    slot->retry.kind = RETRY_CONFIGURED;
    retry_try(slot);
}

static void retry_restored(struct slot *slot, struct slot_media *media)
{
    struct slot_retry *retry = &slot->retry;
    retry->kind = RETRY_RESTORED;
    retry->media = media;
    retry->device_waits = true;
    retry->grace_until = uv_now(slot->shared->loop) + slot->config.restart_grace_ms;
    retry_try(slot);
}

void slot_start(struct slot *slot, struct slot_media *before)
{
    if (before && before->device == slot->device.nbd.index) {
        retry_restored(slot, before);
        return;
    }
    slot_retry_configured(slot);
    slot_step(slot);
}

/* --- what it says --- */

void slot_retry_show(const struct slot *slot, struct slot_status *status)
{
    const struct slot_retry *retry = &slot->retry;
    const struct slot_media *media = slot_restoring(slot);
    if (retry->kind == RETRY_NOTHING || slot->state == SLOT_READY || retry->tries == 0)
        return;
    uint64_t now = uv_now(slot->shared->loop);
    text_url_public(media ? media->url : configured_url(slot), status->awaited, sizeof status->awaited);
    status->awaited_tries = retry->tries;
    status->awaited_ms = !retry->trying && retry->at > now ? retry->at - now : 0;
    if (!*status->error) {
        status->error = retry->error;
        status->error_at = retry->error_at;
    }
}
