#include "api/report.h"

#include "api/json.h"
#include "api/trouble.h"

static json_t *report_stalls(const struct boot_report *reads)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < reads->worst_count; i++) {
        const struct boot_stall *stall = &reads->worst[i];
        json_array_append_new(list, json_pack("{s:I, s:I, s:I, s:I}", "offset", (json_int_t)stall->offset, "length",
                                              (json_int_t)stall->length, "waitedMs", (json_int_t)stall->waited_ms,
                                              "atMs", (json_int_t)stall->at_ms));
    }
    return list;
}

static json_t *report_marks_json(const struct boot_report *reads)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < reads->mark_count; i++)
        json_array_append_new(
            list, json_pack("{s:I, s:I}", "bytes", (json_int_t)(1ull << (20 + i)), "ms", (json_int_t)reads->marks[i]));
    return list;
}

static json_t *report_reads(const struct boot_report *reads)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "reads", (json_int_t)reads->reads, "bytes",
                     (json_int_t)reads->bytes, "failures", (json_int_t)reads->failures, "ms",
                     (json_int_t)reads->last_ms, "stalls", (json_int_t)reads->stalls, "stalledMs",
                     (json_int_t)reads->stalled_ms, "longest", report_stalls(reads), "marks", report_marks_json(reads));
}

json_t *report_json(struct slot *slot)
{
    struct slot_report report;
    if (!slot_get_report(slot, &report))
        return NULL;
    const struct source_stats *source = &report.source;
    json_t *fetched = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "bytes", (json_int_t)source->bytes, "inVain",
                                (json_int_t)report.vain, "requests", (json_int_t)source->requests, "retries",
                                (json_int_t)source->retries, "rttUs", (json_int_t)source->rtt_us, "bandwidth",
                                (json_int_t)source->bandwidth);
    const char *profile = !report.profile ? "none" : report.profile_fits ? "followed" : "misfit";
    return json_pack("{s:o, s:b, s:s, s:o, s:o, s:o}", "image", api_text(report.image), "ended", (int)report.ended,
                     "profile", profile, "host", report_reads(&report.reads), "fetched", fetched,
                     "lastFailure", api_failed_json(&report.failed));
}
