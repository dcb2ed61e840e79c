/*
 * From a URL to the source that a sink reads: the image's source, the cache on
 * it if it is worth one, the overlay that takes writes if one is wanted, what makes
 * its size fit a drive, and the trace on top. The result is one source, which owns
 * those below it.
 */
#ifndef SLOT_PIPELINE_H
#define SLOT_PIPELINE_H

#include "block/cache.h"
#include "block/source.h"
#include "config/config.h"
#include "net/curl_loop.h"
#include "slot/slot.h"

struct pipeline_context {
    uv_loop_t *loop;
    struct curl_loop *curl;
    struct cache *cache;
    const char *file_directory; /* "" or NULL: anywhere */
    char boot_id[40];           /* the running kernel's: tells overlays whether the power was lost */
};

struct pipeline_drive {
    uint32_t multiple; /* what the image's size must be: see pad_source_new() */
    uint64_t minimum;
    bool resume; /* the overlay of before a restart goes on, also when it isn't kept at an eject */
};

/* NULL if the URL can't be a source; `error` says why. */
struct source *pipeline_new(const struct pipeline_context *context, const struct config_slot *config,
                            const struct pipeline_drive *drive, const char *url,
                            const struct slot_insert_options *options, char error[SLOT_ERROR_MAX]);
void pipeline_set_trace(struct source *source, bool on);
void pipeline_count(struct source *source, struct slot_counters *counters);
/* It is open and goes on with the medium of before a restart: what was to be thrown
 * away at the eject then still is. */
void pipeline_resumed(struct source *source, const struct config_slot *config);
/* Nothing written through it is in this process's memory alone. */
bool pipeline_keepable(struct source *source, const struct config_slot *config);
const char *pipeline_error(struct source *source);

#endif
