/* What the platform offers of the host's power and boot source, as lists of JSON: the same words at every door. A mask has a bit
 * for each value of its enum, as struct host_state has them. */
#ifndef API_HOST_WORDS_H
#define API_HOST_WORDS_H

#include <jansson.h>

json_t *api_host_resets(unsigned mask);
json_t *api_host_targets(unsigned mask);
json_t *api_host_enableds(void);
json_t *api_host_modes(unsigned mask);

#endif
