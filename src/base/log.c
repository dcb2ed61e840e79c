#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

#define LOG_LINE_MAX 2048

static enum log_level log_threshold = LOG_LEVEL_INFO;
static enum log_target log_where = LOG_TO_STDERR;
static bool log_journal;

/* systemd sets JOURNAL_STREAM to "device:inode" of the journal's socket; it is
 * inherited, so stderr must really be that file (systemd.exec(5)). */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    unsigned long long dev, ino;
    if (!stream || sscanf(stream, "%llu:%llu", &dev, &ino) != 2 || fstat(STDERR_FILENO, &st) != 0)
        return false;
    return st.st_dev == dev && st.st_ino == ino;
}

void log_setup(enum log_target target, enum log_level level)
{
    if (target == LOG_TO_SYSLOG)
        openlog("nbd-proxy", LOG_PID, LOG_DAEMON);
    else if (log_where == LOG_TO_SYSLOG)
        closelog();
    log_where = target;
    log_threshold = level;
    log_journal = stderr_is_journal();
}

void log_set_level(enum log_level level)
{
    log_threshold = level;
}

enum log_level log_get_level(void)
{
    return log_threshold;
}

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return "error";
    case LOG_LEVEL_WARNING:
        return "warning";
    case LOG_LEVEL_NOTICE:
        return "notice";
    case LOG_LEVEL_INFO:
        return "info";
    case LOG_LEVEL_DEBUG:
        return "debug";
    }
    return "?";
}

static void log_log_stderr(enum log_level level, const char *who, const char *text)
{
    if (log_journal) {
        fprintf(stderr, "<%d>%s: %s\n", (int)level, who, text);
        return;
    }
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    fprintf(stderr, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %-7s %s: %s\n", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
            tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec / 1000000, level_name(level), who, text);
}

void log_line(enum log_level level, const char *who, const char *format, ...)
{
    if (level > log_threshold)
        return;
    char raw[LOG_LINE_MAX], text[LOG_LINE_MAX + 64], name[128];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    text_escape(raw, text, sizeof text);
    text_escape(who, name, sizeof name);
    if (log_where == LOG_TO_SYSLOG)
        syslog((int)level, "%s: %s", name, text);
    else
        log_log_stderr(level, name, text);
}
