/* What the doctor found, one thing after the other: shown as it is said, or kept as JSON. Private to doctor. */
#ifndef DOCTOR_FINDINGS_H
#define DOCTOR_FINDINGS_H

#include <jansson.h>
#include <stdbool.h>

/* Good; a note, where nothing is to be done; doubtful; and bad: something that is wanted does not work. */
enum finding { FINDING_GOOD, FINDING_NOTE, FINDING_DOUBT, FINDING_BAD };

struct findings {
    bool json;
    json_t *list; /* of {"topic", "result", "text", "advice"} */
    unsigned doubts, bad;
};

void findings_init(struct findings *findings, bool json);
/* `advice`: what to do; NULL: nothing. */
__attribute__((format(printf, 5, 6))) void findings_say(struct findings *findings, enum finding result, const char *topic,
                                                         const char *advice, const char *format, ...);
/* For an error that is both: "what is wrong (what to do)". */
void findings_fail(struct findings *findings, enum finding result, const char *topic, const char *error);
/* Shows what is left to show, with `report` (taken over): what a bug report asks for. */
void findings_end(struct findings *findings, json_t *report);

#endif
