#include "slot/host_reads.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

const char *host_read_failure_name(enum host_read_failure failure)
{
    static const char *const names[] = {"away", "unreadable", "invalid", "ejected"};
    return names[failure];
}

static enum host_read_failure failure_of(const struct host_read *read)
{
    switch (-read->status) {
    case ECANCELED:
    case ESHUTDOWN:
        return HOST_READ_EJECTED;
    case EINVAL:
    case EPERM:
    case ENOTSUP:
        return HOST_READ_INVALID;
    default:
        return read->away ? HOST_READ_AWAY : HOST_READ_UNREADABLE;
    }
}

void host_reads_begin(struct host_reads *reads)
{
    reads->count = reads->slow = reads->bytes = reads->untold = 0;
    reads->failed = (struct host_reads_failed){0};
}

static void note_failed(struct host_reads_failed *failed, const struct host_read *read)
{
    failed->count++;
    failed->offset = read->offset;
    failed->length = read->length;
    failed->waited_ms = read->waited_us / 1000;
    failed->at = time(NULL);
    snprintf(failed->why, sizeof failed->why, "%s", *read->why ? read->why : strerror(-read->status));
}

/* False: there were too many of late, and the line is only counted. */
static bool may_log(struct host_reads *reads, uint64_t now)
{
    if (reads->lines == 0 || now - reads->lines_since >= HOST_READS_LINES_MS) {
        reads->lines_since = now;
        reads->lines = 0;
    }
    bool may = reads->lines < HOST_READS_LINES;
    reads->lines += may;
    reads->untold += !may;
    return may;
}

static void log_failed(struct host_reads *reads, uint64_t now, const char *who)
{
    const struct host_reads_failed *failed = &reads->failed;
    uint64_t more = reads->untold;
    char others[64] = "";
    if (!may_log(reads, now))
        return;
    if (more > 0)
        snprintf(others, sizeof others, " (and %" PRIu64 " more before)", more);
    reads->untold = 0;
    log_warning(who, "a read of the host failed: %" PRIu32 " bytes at %" PRIu64 ", after %.1f s: %s%s", failed->length,
                failed->offset, (double)failed->waited_ms / 1000, failed->why, others);
}

void host_reads_answer(struct host_reads *reads, const struct host_read *read, uint64_t now, const char *who)
{
    latency_add(&reads->latency, read->waited_us);
    if (read->status == 0) {
        reads->count++;
        reads->bytes += read->length;
        reads->slow += read->waited_us > HOST_READS_SLOW_US;
        return;
    }
    enum host_read_failure failure = failure_of(read);
    reads->failures[failure]++;
    if (failure == HOST_READ_EJECTED)
        return;
    note_failed(&reads->failed, read);
    log_failed(reads, now, who);
}

void host_reads_dismiss(struct host_reads *reads)
{
    reads->failed.seen = reads->failed.count;
}
