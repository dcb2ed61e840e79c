/*
 * A trouble that repeats, told in few lines: one when it begins, one when it ends, and while it goes on one
 * every TROUBLE_SAY_MS that says how often it was met since the last. A trouble that comes and goes is told no
 * more often than that: a beginning within TROUBLE_SAY_MS of the last that was told is only counted, and so is
 * its end. An end is told only if its beginning was.
 *
 * One struct for each kind of trouble of each object; all zero at first. `now`: loop time, ms.
 */
#ifndef BASE_TROUBLE_H
#define BASE_TROUBLE_H

#include <stdbool.h>
#include <stdint.h>

#define TROUBLE_SAY_MS 60000

struct trouble {
    bool on, said; /* on: the trouble goes on; said: its beginning was told */
    bool ever;
    uint64_t said_at;
    uint64_t count; /* how often it was met since the last line */
};

/* The trouble is met (again): a warning. */
__attribute__((format(printf, 4, 5))) void trouble_met(struct trouble *trouble, uint64_t now, const char *who,
                                                       const char *format, ...);
/* The trouble is over, or never was there: a notice. */
__attribute__((format(printf, 3, 4))) void trouble_over(struct trouble *trouble, const char *who, const char *format,
                                                        ...);

#endif
