/*
 * What is measured, as Prometheus reads it: its text format 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/), and names by its conventions: base units, _total behind
 * counters. A slot's counters grow for as long as the slot is there, whatever is inserted.
 */
#ifndef API_METRICS_H
#define API_METRICS_H

#include "slot/slots.h"

#define METRICS_TYPE      "text/plain; version=0.0.4; charset=utf-8"
#define METRICS_BASE_MAX  (16u << 10) /* bytes of the text, without what is of slots */
#define METRICS_SLOT_MAX  (10u << 10) /* and of each slot */

/* For mem_free(). `connections`: of the web server. All that varies are numbers and the slots' names, so it all fits. */
char *metrics_text(struct slots *slots, unsigned connections);

#endif
