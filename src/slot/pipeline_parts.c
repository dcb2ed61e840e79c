/* The parts of a pipeline that is made, and what they tell: see slot/pipeline.h. */
#include <string.h>

#include "block/exchange.h"
#include "block/inject.h"
#include "block/overlay.h"
#include "block/pad.h"
#include "block/trace.h"
#include "slot/pipeline.h"
#include "source/file.h"

void pipeline_set_trace(struct source *source, bool on)
{
    trace_source_set(source, on);
}

static bool is_stage(const struct source *source, const char *name)
{
    return strcmp(source->ops->name, name) == 0;
}

static struct source *pipeline_overlay_of(struct source *source)
{
    struct source *stage = pad_source_lower(trace_source_lower(source));
    return is_stage(stage, "overlay") ? stage : NULL;
}

struct source *pipeline_medium(struct source *source)
{
    return pad_source_lower(trace_source_lower(source));
}

/* The image as it may have been changed. */
static struct source *changed_of(struct source *source)
{
    struct source *overlay = pipeline_overlay_of(source);
    return overlay ? overlay_source_lower(overlay) : pad_source_lower(trace_source_lower(source));
}

/* The part that has the counters: the cache, or a source that needs no cache. */
struct source *pipeline_image_of(struct source *source)
{
    struct source *changed = changed_of(source);
    return is_stage(changed, "inject") ? inject_source_lower(changed) : changed;
}

bool pipeline_injected(struct source *source, struct boot_injected *told)
{
    const struct source *changed = is_stage(source, "inject") ? source : changed_of(source);
    if (!is_stage(changed, "inject"))
        return false;
    boot_inject_told(inject_source_planner(changed), told);
    return true;
}

struct source *pipeline_browser(struct source *source)
{
    const struct source *image = pipeline_image_of(source);
    struct source *lower = is_stage(image, "cache") ? cache_source_lower(image) : NULL;
    return lower && is_stage(lower, "browser") ? lower : NULL;
}

static struct source *pipeline_cache_of(struct source *source)
{
    struct source *image = pipeline_image_of(source);
    return is_stage(image, "cache") ? image : NULL;
}

const struct profile *pipeline_recorded(struct source *source)
{
    const struct source *cache = pipeline_cache_of(source);
    return cache ? cache_source_recorded(cache) : NULL;
}

const struct profile *pipeline_followed(struct source *source, bool *fits)
{
    const struct source *cache = pipeline_cache_of(source);
    *fits = false;
    return cache ? cache_source_followed(cache, fits) : NULL;
}

const struct boot_report *pipeline_report(struct source *source)
{
    const struct source *cache = pipeline_cache_of(source);
    return cache ? cache_source_report(cache) : NULL;
}

uint64_t pipeline_in_vain(struct source *source)
{
    const struct source *cache = pipeline_cache_of(source);
    return cache ? cache_source_in_vain(cache) : 0;
}

bool pipeline_follow(struct source *source, const struct profile *profile)
{
    struct source *cache = pipeline_cache_of(source);
    return cache && cache_source_follow(cache, profile);
}

const struct heat *pipeline_heat(struct source *source)
{
    return trace_source_heat(source);
}

void pipeline_count(struct source *source, struct slot_counters *counters)
{
    const struct source *image = pipeline_image_of(source);
    struct source *overlay = pipeline_overlay_of(source);
    struct overlay_usage usage = {0};
    const char *in = overlay && is_stage(overlay_source_store(overlay), "memory") ? "memory" : "file";
    if (overlay)
        overlay_source_used(overlay, &usage);
    *counters = (struct slot_counters){
        .source = image->stats,
        .cached = is_stage(image, "cache") ? cache_source_cached(image) : 0,
        .overlay_used = usage.used,
        .overlay_bound = usage.bound,
        .overlay_in = overlay ? in : "",
    };
}

void pipeline_resumed(struct source *source, const struct config_slot *config)
{
    struct source *overlay = pipeline_overlay_of(source);
    if (overlay && config->overlay == OVERLAY_FILE && !config->overlay_keep)
        file_source_remove_at_close(overlay_source_store(overlay), true);
}

const char *pipeline_tied(struct source *source, const struct config_slot *config)
{
    if (pipeline_browser(source))
        return "it is a file in a browser";
    return pipeline_overlay_of(source) && config->overlay != OVERLAY_FILE ? "what was written to it is in memory only"
                                                                          : NULL;
}

/* The part whose reader can be exchanged; NULL: there is none. */
static struct source *pipeline_exchange_of(struct source *source)
{
    struct source *image = pipeline_image_of(source), *lower = is_stage(image, "cache") ? cache_source_lower(image) : image;
    return is_stage(lower, "exchange") ? lower : NULL;
}

struct source *pipeline_reader(struct source *source)
{
    struct source *image = pipeline_image_of(source), *exchange = pipeline_exchange_of(source);
    if (exchange)
        return exchange_source_lower(exchange);
    return is_stage(image, "cache") ? cache_source_lower(image) : image;
}

bool pipeline_exchange(struct source *source, struct source *reader)
{
    struct source *exchange = pipeline_exchange_of(source);
    bool exchanged = exchange && exchange_source_set(exchange, reader);
    if (exchanged)
        *pipeline_image_of(source)->error = '\0'; /* the error was of the reader before */
    return exchanged;
}

bool pipeline_failing(struct source *source)
{
    const struct source *browser = pipeline_browser(source);
    return pipeline_reader(source)->failing || (browser && browser_source_is_missed(browser));
}

/* The part of the pipeline whose error tells most. */
static const struct source *teller(struct source *source)
{
    const struct source *overlay = pipeline_overlay_of(source), *image = pipeline_image_of(source), *changed = changed_of(source);
    if (pipeline_failing(source))
        return pipeline_reader(source);
    if (changed->state != SOURCE_OPEN && *changed->error) /* what is to be changed can't be */
        return changed;
    return overlay && *overlay->error ? overlay : *image->error ? image : source;
}

const char *pipeline_error(struct source *source)
{
    return teller(source)->error;
}

void pipeline_forget_error(struct source *source)
{
    struct source *parts[] = {pipeline_overlay_of(source), pipeline_image_of(source), pipeline_reader(source), source};
    if (pipeline_failing(source))
        return;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i])
            *parts[i]->error = '\0';
}

time_t pipeline_error_at(struct source *source)
{
    return teller(source)->error_at;
}
