#include "api/trouble.h"

#include <inttypes.h>
#include <stdio.h>

#include "api/json.h"

void api_time(time_t time, char text[TROUBLE_TIME_MAX])
{
    struct tm tm;
    gmtime_r(&time, &tm);
    strftime(text, TROUBLE_TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void api_waits_words(const struct slot_status *status, char words[TROUBLE_WORDS_MAX])
{
    bool cause = status->failing && *status->error;
    *words = '\0';
    if (slot_host_waits(status))
        snprintf(words, TROUBLE_WORDS_MAX, "waits for data, %" PRIu64 " s%s%s", status->oldest.waited_us / 1000000,
                 cause ? ": " : "", cause ? status->error : "");
}

void api_failed_words(const struct slot_status *status, char words[TROUBLE_WORDS_MAX])
{
    const struct host_reads_failed *failed = &status->reads->failed;
    uint64_t count = host_reads_unseen(status->reads);
    char when[TROUBLE_TIME_MAX];
    *words = '\0';
    if (count == 0)
        return;
    api_time(failed->at, when);
    snprintf(words, TROUBLE_WORDS_MAX, "%" PRIu64 " %s failed, last at %s, offset %" PRIu64 ": %s", count,
             count == 1 ? "read" : "reads", when, failed->offset, failed->why);
}

json_t *api_waits_json(const struct slot_status *status)
{
    const struct nbd_server_read *oldest = &status->oldest;
    if (!slot_host_waits(status))
        return json_null();
    return json_pack("{s:I, s:I, s:I}", "seconds", (json_int_t)(oldest->waited_us / 1000000), "offset",
                     (json_int_t)oldest->offset, "length", (json_int_t)oldest->length);
}

static json_t *failed_json(const struct host_reads_failed *failed, uint64_t count)
{
    char when[TROUBLE_TIME_MAX];
    if (count == 0)
        return json_null();
    api_time(failed->at, when);
    return json_pack("{s:I, s:I, s:I, s:I, s:s, s:o}", "count", (json_int_t)count, "offset",
                     (json_int_t)failed->offset, "length", (json_int_t)failed->length, "waitedMs",
                     (json_int_t)failed->waited_ms, "time", when, "why", api_text(failed->why));
}

json_t *api_failed_json(const struct host_reads_failed *failed)
{
    return failed_json(failed, failed->count);
}

json_t *api_unseen_json(const struct slot_status *status)
{
    return failed_json(&status->reads->failed, host_reads_unseen(status->reads));
}

double api_waited_share(const struct slot_status *status)
{
    return status->reads->count ? (double)status->reads->slow / (double)status->reads->count : 0;
}
