/* The slots' state as text: a table for people, JSON for programs. */
#ifndef API_STATUS_H
#define API_STATUS_H

#include <jansson.h>

#include "slot/slots.h"

/* Lines with their ends; the caller frees with mem_free(). */
char *status_table(struct slots *slots);
/* What is in each slot, in one line without an end. */
char *status_line(struct slots *slots);
/* One slot's counters, a "name: value" a line. */
char *status_stats(struct slot *slot);
char *status_cache(struct slots *slots);
/* New references. */
json_t *status_json(struct slots *slots);
json_t *status_slot_json(struct slot *slot);
json_t *status_cache_json(struct slots *slots);

#endif
