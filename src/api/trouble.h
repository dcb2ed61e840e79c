/* What is said to people of how a host's reads go, waits and failures: the same at every door. */
#ifndef API_TROUBLE_H
#define API_TROUBLE_H

#include <jansson.h>

#include "slot/slot.h"

#define TROUBLE_TIME_MAX  32
#define TROUBLE_WORDS_MAX (SLOT_ERROR_MAX + 160)

void api_time(time_t time, char text[TROUBLE_TIME_MAX]); /* "2026-01-31T12:04:05Z" */
/* "waits for data, 7 s", with the cause behind it when it is known; "": the host does not wait. */
void api_waits_words(const struct slot_status *status, char words[TROUBLE_WORDS_MAX]);
/* "3 reads failed, last at ..., offset ...: why"; "": none did of which nobody has taken note. */
void api_failed_words(const struct slot_status *status, char words[TROUBLE_WORDS_MAX]);
/* {"seconds", "offset", "length"} of the read that waits longest; null: the host does not wait. */
json_t *api_waits_json(const struct slot_status *status);
/* {"count", "offset", "length", "waitedMs", "time", "why"}, `count` being all of them; null: none failed. */
json_t *api_failed_json(const struct host_reads_failed *failed);
/* The same with those of which nobody has taken note. */
json_t *api_unseen_json(const struct slot_status *status);
double api_waited_share(const struct slot_status *status); /* of the host's reads from the medium, 0..1 */

#endif
