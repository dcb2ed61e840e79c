#include "api/redfish/duration.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
    char letter;
    bool of_time; /* behind the T */
    uint64_t milliseconds;
} units[] = {{'D', false, 86400000}, {'H', true, 3600000}, {'M', true, 60000}, {'S', true, 1000}};
#define UNITS (sizeof units / sizeof *units)

/* "12" or "12.5", the fraction in thousandths. */
static const char *read_number(const char *p, uint64_t *whole, unsigned *fraction, bool *fractional)
{
    unsigned scale = 100;
    const char *start = p;
    for (*whole = 0; isdigit((unsigned char)*p); p++)
        if ((*whole = *whole * 10 + (uint64_t)(*p - '0')) > REDFISH_DURATION_MAX)
            return NULL;
    *fraction = 0;
    *fractional = *p == '.';
    if (p == start || (*fractional && !isdigit((unsigned char)p[1])))
        return NULL;
    for (p += *fractional; *fractional && isdigit((unsigned char)*p); p++, scale /= 10)
        *fraction += (unsigned)(*p - '0') * scale;
    return p;
}

bool redfish_duration_parse(const char *text, uint64_t *milliseconds)
{
    const char *p = text;
    bool time = false, any = false, fractional = false;
    size_t unit = 0;
    uint64_t whole = 0;
    unsigned fraction = 0;
    *milliseconds = 0;
    if (*p++ != 'P')
        return false;
    while (*p) {
        if (*p == 'T' && !time) {
            time = true;
            any = false; /* something must follow */
            p++;
            continue;
        }
        p = read_number(p, &whole, &fraction, &fractional);
        while (p && unit < UNITS && (units[unit].letter != *p || units[unit].of_time != time))
            unit++;
        if (!p || unit == UNITS || (fractional && *p != 'S'))
            return false;
        *milliseconds += whole * units[unit].milliseconds + fraction;
        if (whole > REDFISH_DURATION_MAX / units[unit].milliseconds || *milliseconds > REDFISH_DURATION_MAX)
            return false;
        any = true;
        unit++;
        p++;
    }
    return any;
}

void redfish_duration_show(uint64_t milliseconds, char text[REDFISH_DURATION_SIZE])
{
    size_t used = (size_t)snprintf(text, REDFISH_DURATION_SIZE, "P");
    bool time = false;
    for (size_t i = 0; i < UNITS; i++) {
        uint64_t whole = milliseconds / units[i].milliseconds;
        milliseconds %= units[i].milliseconds;
        bool last = i == UNITS - 1, fraction = last && milliseconds > 0;
        if (whole == 0 && !fraction && !(last && used == 1))
            continue;
        used += (size_t)snprintf(text + used, REDFISH_DURATION_SIZE - used, "%s%" PRIu64,
                                 units[i].of_time && !time ? "T" : "", whole);
        if (fraction)
            used += (size_t)snprintf(text + used, REDFISH_DURATION_SIZE - used, ".%03" PRIu64, milliseconds);
        used += (size_t)snprintf(text + used, REDFISH_DURATION_SIZE - used, "%c", units[i].letter);
        time = time || units[i].of_time;
    }
}
