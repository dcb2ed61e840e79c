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
    report->failed = slot->reads.failed;
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

static void report_failed(const struct host_reads_failed *failed, char *text, size_t size)
{
    *text = '\0';
    if (failed->count > 0)
        snprintf(text, size, " (the last %" PRIu32 " bytes at %" PRIu64 ", after %.1f s: %s)", failed->length,
                 failed->offset, (double)failed->waited_ms / 1000, failed->why);
}

static void log_report(const struct slot *slot, const struct slot_report *report)
{
    const struct boot_report *reads = &report->reads;
    char failed[SOURCE_ERROR_MAX + 128], read[TEXT_SIZE_MAX], fetched[TEXT_SIZE_MAX], vain[TEXT_SIZE_MAX];
    text_human_size(reads->bytes, read);
    text_human_size(report->source.bytes, fetched);
    text_human_size(report->vain, vain);
    report_failed(&report->failed, failed, sizeof failed);
    log_notice(slot->config.name,
               "boot report: %" PRIu64 " reads of %s in %.1f s, %" PRIu64
               " waited over %d ms, %.1f s in all, the longest "
               "%.2f s at %" PRIu64 ", %" PRIu64 " failed%s; %s fetched by %" PRIu64 " requests, %s of it in vain%s",
               reads->reads, read, (double)reads->last_ms / 1000, reads->stalls, BOOT_REPORT_STALL_MS,
               (double)reads->stalled_ms / 1000, reads->worst_count ? reads->worst[0].waited_ms / 1000.0 : 0,
               reads->worst_count ? reads->worst[0].offset : 0, reads->failures, failed, fetched, report->source.requests, vain,
               !report->profile       ? ""
               : report->profile_fits ? "; by its boot profile"
                                      : "; its boot profile did not fit");
}

/* Of a medium that needed no fetching. */
static void log_failed_only(const struct slot *slot)
{
    char last[SOURCE_ERROR_MAX + 128];
    report_failed(&slot->reads.failed, last, sizeof last);
    if (*last)
        log_notice(slot->config.name, "%" PRIu64 " %s of the host failed%s", slot->reads.failed.count,
                   slot->reads.failed.count == 1 ? "read" : "reads", last);
}

void slot_report_end(struct slot *slot)
{
    struct slot_report report = {0};
    if (!report_take(slot, &report)) {
        log_failed_only(slot);
        return;
    }
    report.ended = true;
    log_report(slot, &report);
    if (!slot->report)
        slot->report = mem_alloc(sizeof *slot->report);
    *slot->report = report;
}
