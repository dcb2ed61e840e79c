#include "base/trouble.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"

#define LINE_MAX_BYTES 1024

void trouble_met(struct trouble *trouble, uint64_t now, const char *who, const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    va_list args;
    trouble->on = true;
    if (trouble->ever && now - trouble->said_at < TROUBLE_SAY_MS) {
        trouble->count++;
        return;
    }
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (trouble->count > 0)
        log_warning(who, "%s (and %" PRIu64 " times more in the last %" PRIu64 " s)", line, trouble->count,
                    (now - trouble->said_at) / 1000);
    else
        log_warning(who, "%s", line);
    trouble->ever = trouble->said = true;
    trouble->said_at = now;
    trouble->count = 0;
}

void trouble_over(struct trouble *trouble, const char *who, const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    va_list args;
    if (trouble->on && trouble->said) {
        va_start(args, format);
        vsnprintf(line, sizeof line, format, args);
        va_end(args);
        log_notice(who, "%s", line);
    }
    trouble->on = trouble->said = false;
}
