/*
 * From a URL to the source that a sink reads: the image's source, the cache on
 * it if it is worth one, and the trace on top. The result is one source, which
 * owns those below it.
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
};

/* NULL if the URL can't be a source; `error` says why. */
struct source *pipeline_new(const struct pipeline_context *context, const struct config_slot *config, const char *url,
                            const struct slot_insert_options *options, char error[SLOT_ERROR_MAX]);
void pipeline_set_trace(struct source *source, bool on);
/* The counters of all stages; and what the cache holds of the image. */
void pipeline_stats(struct source *source, struct source_stats *stats, uint64_t *cached);
/* Nothing written through it is in this process's memory alone. */
bool pipeline_keepable(const struct source *source);
const char *pipeline_error(struct source *source);

#endif
