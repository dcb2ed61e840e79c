/* How a boot from a slot's medium went, and what it read: JSON for programs and pages. */
#ifndef API_REPORT_H
#define API_REPORT_H

#include <jansson.h>

#include "slot/slot.h"

/* Of the medium that is in, or of the last one; NULL: nothing was read from one. */
json_t *report_json(struct slot *slot);

#endif
