/* How a boot from the medium went: said in the log when the medium goes, and kept until the next one has gone. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "slot/slot_internal.h"

/* False: nothing was read, or nothing that the daemon had to fetch. */
static bool report_take(struct slot *slot, struct slot_report *report)
{
    const struct boot_report *reads = slot->opened ? pipeline_report(slot->source) : NULL;
    struct slot_counters counters;
    if (!reads || !reads->began)
        return false;
    pipeline_count(slot->source, &counters);
    snprintf(report->image, sizeof report->image, "%s", slot->image_name);
    report->reads = *reads;
    report->source = counters.source;
    report->vain = pipeline_in_vain(slot->source);
    report->profile = pipeline_followed(slot->source, &report->profile_fits) != NULL;
    return true;
}

bool slot_get_report(struct slot *slot, struct slot_report *report)
{
    bool now = slot->source && report_take(slot, report);
    report->ended = !now;
    if (!now && slot->report)
        *report = *slot->report;
    return now || slot->report;
}

static void log_report(const struct slot *slot, const struct slot_report *report)
{
    const struct boot_report *reads = &report->reads;
    char read[TEXT_SIZE_MAX], fetched[TEXT_SIZE_MAX], vain[TEXT_SIZE_MAX];
    text_human_size(reads->bytes, read);
    text_human_size(report->source.bytes, fetched);
    text_human_size(report->vain, vain);
    log_notice(slot->config.name,
               "boot report: %" PRIu64 " reads of %s in %.1f s, %" PRIu64
               " waited over %d ms, %.1f s in all, the longest "
               "%.2f s at %" PRIu64 ", %" PRIu64 " failed; %s fetched by %" PRIu64 " requests, %s of it in vain%s",
               reads->reads, read, (double)reads->last_ms / 1000, reads->stalls, BOOT_REPORT_STALL_MS,
               (double)reads->stalled_ms / 1000, reads->worst_count ? reads->worst[0].waited_ms / 1000.0 : 0,
               reads->worst_count ? reads->worst[0].offset : 0, reads->failures, fetched, report->source.requests, vain,
               !report->profile       ? ""
               : report->profile_fits ? "; by its boot profile"
                                      : "; its boot profile did not fit");
}

void slot_report_end(struct slot *slot)
{
    struct slot_report report = {0};
    if (!report_take(slot, &report))
        return;
    report.ended = true;
    log_report(slot, &report);
    if (!slot->report)
        slot->report = mem_alloc(sizeof *slot->report);
    *slot->report = report;
}
