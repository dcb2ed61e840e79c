/*
 * How long a medium stays: for a time, until the host has ejected it, or until the host is off, for which others
 * must tell how the host is.
 */
#include "base/log.h"
#include "base/text.h"
#include "slot/slot_internal.h"

/* --- a time --- */

static void on_stay(uv_timer_t *timer)
{
    struct slot *slot = timer->data;
    char time[TEXT_SIZE_MAX];
    text_duration(slot->media.stay_ms, time);
    log_notice(slot->config.name, "the medium was to stay for %s: it is ejected", time);
    slot_eject(slot, slot_ignore_done, NULL);
}

static void stay_for(struct slot *slot, uint64_t left_ms)
{
    uv_timer_stop(&slot->stay_timer);
    slot->media.eject_at = slot->media.stay_ms ? uv_now(slot->shared->loop) + left_ms : 0;
    if (slot->media.stay_ms)
        uv_timer_start(&slot->stay_timer, on_stay, left_ms, 0);
}

/* --- until the host has ejected it --- */

static void on_used_timer(uv_timer_t *timer)
{
    struct slot *slot = timer->data;
    if (slot->state == SLOT_READY && !slot->device.running)
        slot_device_start(slot, JOB_LOOK);
}

void slot_stay_looked(struct slot *slot)
{
    if (!slot->device.emptied || !slot->wanted || slot->media.until != SLOT_UNTIL_USED)
        return;
    log_notice(slot->config.name, "the host has ejected the medium, which was to stay until then");
    slot_eject(slot, slot_ignore_done, NULL);
}

static void stay_until(struct slot *slot)
{
    uv_timer_stop(&slot->used_timer);
    if (slot->media.until == SLOT_UNTIL_USED && slot->device.attach == ATTACH_USB)
        uv_timer_start(&slot->used_timer, on_used_timer, SLOT_USED_MS, SLOT_USED_MS);
}

/* --- until the host is off --- */

/* A medium that was put in while the host was off is for its next start. */
void slot_tell_power(struct slot *slot, bool on)
{
    bool matters = slot->state == SLOT_READY && slot->wanted && slot->media.until == SLOT_UNTIL_POWER_OFF;
    if (matters && on && !slot->media.host_was_on) {
        slot->media.host_was_on = true;
        slot_save(slot);
    } else if (matters && !on && slot->media.host_was_on) {
        log_notice(slot->config.name, "the host is off, and the medium was to stay until then: it is ejected");
        slot_eject(slot, slot_ignore_done, NULL);
    }
}

/* --- all of it --- */

/* A medium that was in before a restart has only what is left of its time. */
void slot_stay_begin(struct slot *slot)
{
    uint64_t now = uv_now(slot->shared->loop), stay = slot->media.stay_ms, left = stay;
    const struct slot_media *before = slot_restoring(slot);
    if (before) {
        left = before->eject_at <= now ? 0 : before->eject_at - now;
        slot->media.host_was_on = before->host_was_on;
    }
    stay_for(slot, left < stay ? left : stay);
    stay_until(slot);
}

void slot_stay_end(struct slot *slot)
{
    uv_timer_stop(&slot->stay_timer);
    uv_timer_stop(&slot->used_timer);
}

void slot_set_stay(struct slot *slot, uint64_t stay_ms, enum slot_until until, const char *tied)
{
    if (slot->state == SLOT_EMPTY || !slot->wanted)
        return;
    slot->media.stay_ms = stay_ms;
    slot->media.until = until;
    slot->tied = tied;
    if (slot->state == SLOT_READY) {
        stay_for(slot, stay_ms);
        stay_until(slot);
        slot_save(slot);
    }
}
