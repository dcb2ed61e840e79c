/*
 * Durations as Redfish writes them (DSP0266, "Duration values": ISO 8601's P[nD][T[nH][nM][n[.n]S]]). Pure.
 */
#ifndef API_REDFISH_DURATION_H
#define API_REDFISH_DURATION_H

#include <stdbool.h>
#include <stdint.h>

#define REDFISH_DURATION_SIZE 48
#define REDFISH_DURATION_MAX  (366ull * 86400000) /* milliseconds; what is longer can't be read */

/* False: the text is no duration, or one too long. Fractions of a millisecond are cut off. */
bool redfish_duration_parse(const char *text, uint64_t *milliseconds);
void redfish_duration_show(uint64_t milliseconds, char text[REDFISH_DURATION_SIZE]);

#endif
