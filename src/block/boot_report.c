#include "block/boot_report.h"

#define MARK_FIRST (1ull << 20)

static void report_stall(struct boot_report *report, const struct boot_stall *stall)
{
    unsigned at = report->worst_count;
    report->stalls++;
    report->stalled_ms += stall->waited_ms;
    while (at > 0 && report->worst[at - 1].waited_ms < stall->waited_ms)
        at--;
    if (at == BOOT_REPORT_WORST)
        return;
    report->worst_count += report->worst_count < BOOT_REPORT_WORST;
    for (unsigned i = report->worst_count - 1; i > at; i--)
        report->worst[i] = report->worst[i - 1];
    report->worst[at] = *stall;
}

static void report_marks(struct boot_report *report)
{
    while (report->mark_count < BOOT_REPORT_MARKS && report->bytes >= MARK_FIRST << report->mark_count)
        report->marks[report->mark_count++] = report->last_ms;
}

void boot_report_answer(struct boot_report *report, uint64_t offset, uint32_t length, int status, uint64_t now_ms,
                        uint64_t waited_ms)
{
    if (!report->began) {
        report->began = true;
        report->began_ms = now_ms - waited_ms;
    }
    report->last_ms = now_ms - report->began_ms;
    report->reads++;
    if (status != 0) {
        report->failures++;
        return;
    }
    report->bytes += length;
    report_marks(report);
    if (waited_ms > BOOT_REPORT_STALL_MS)
        report_stall(report, &(struct boot_stall){offset, length, (uint32_t)waited_ms, report->last_ms - waited_ms});
}
