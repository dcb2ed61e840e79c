#include "slot/pipeline.h"

#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "block/exchange.h"
#include "block/inject.h"
#include "block/memory.h"
#include "block/overlay.h"
#include "block/pad.h"
#include "block/trace.h"
#include "image/boot_edit.h"
#include "image/boot_inject.h"
#include "seed/medium.h"
#include "slot/pipeline_remote.h"
#include "source/browser.h"
#include "source/file.h"

#define UPLOAD_SCHEME "upload:"
#define BROWSER_REQUESTS_MAX 64 /* in flight from a browser, where each costs a promise */

/* --- images on this machine --- */

/* The path of a "file://" URL, decoded; NULL if it names another host. */
static char *file_url_path(const char *url)
{
    if (strncasecmp(url, "file://", 7) != 0)
        return NULL;
    const char *path = url + strlen("file://");
    if (strncasecmp(path, "localhost/", 10) == 0)
        path += 9;
    if (*path != '/')
        return NULL;
    int length;
    char *decoded = curl_easy_unescape(NULL, path, 0, &length);
    char *copy = decoded && strlen(decoded) == (size_t)length ? mem_strdup(decoded) : NULL;
    curl_free(decoded);
    return copy;
}

static struct source *file_reader(const struct pipeline_context *context, const struct config_slot *config,
                                    const char *url, const struct slot_insert_options *options,
                                    struct pipeline_refusal *refusal)
{
    char *path = *url == '/' ? mem_strdup(url) : file_url_path(url);
    if (!path) {
        snprintf(refusal->error, SLOT_ERROR_MAX, "a file URL must be file:///PATH on this machine");
        return NULL;
    }
    struct file_source_options file = {
        .path = path,
        .directory = context->file_directory,
        .writable = config->overlay == OVERLAY_NONE && pipeline_option(options->writable, config->writable),
    };
    struct source *source = file_source_new(context->loop, config->name, &file);
    mem_free(path);
    return source;
}

/* --- uploads --- */

bool pipeline_is_upload(const char *url)
{
    return location_kind(url) == LOCATION_UPLOAD;
}

char *pipeline_upload_name(const char *url)
{
    int length;
    char *decoded = curl_easy_unescape(NULL, url + strlen(UPLOAD_SCHEME), 0, &length);
    bool good = decoded && length > 0 && strlen(decoded) == (size_t)length && *decoded != '.' && !strchr(decoded, '/');
    char *name = good ? mem_strdup(decoded) : NULL;
    curl_free(decoded);
    return name;
}

/* The store hides what is not complete behind names that begin with a dot. */
static struct source *upload_reader(const struct pipeline_context *context, const struct config_slot *config,
                                      const char *url, const struct slot_insert_options *options,
                                      struct pipeline_refusal *refusal)
{
    const char *directory = context->upload_directory;
    char *name = directory && *directory ? pipeline_upload_name(url) : NULL;
    if (!name) {
        snprintf(refusal->error, SLOT_ERROR_MAX,
                 directory && *directory ? "there can't be an upload of that name"
                                         : "uploads are off (set upload-directory)");
        return NULL;
    }
    size_t size = strlen(directory) + strlen(name) + 2;
    char *path = mem_alloc(size);
    snprintf(path, size, "%s/%s", directory, name);
    struct file_source_options file = {
        .path = path,
        .directory = directory,
        .writable = config->overlay == OVERLAY_NONE && pipeline_option(options->writable, config->writable),
    };
    struct source *source = file_source_new(context->loop, config->name, &file);
    mem_free(path);
    mem_free(name);
    return source;
}

/* --- the overlay --- */

/* The slot's configuration with "auto" decided for this medium. */
static struct config_slot decided(const struct config_slot *config, bool may_write)
{
    struct config_slot its = *config;
    if (config->overlay == OVERLAY_AUTO)
        its.overlay = may_write && config->media == MEDIA_DISK ? OVERLAY_MEMORY : OVERLAY_NONE;
    return its;
}

/* One file for each slot and image, so that a kept one is found again. */
static char *overlay_path(const struct config_slot *config, const char *url)
{
    size_t size = strlen(config->overlay_directory) + sizeof config->name + 32;
    char *path = mem_alloc(size), *shown = mem_alloc(SLOT_URL_MAX);
    text_url_public(url, shown, SLOT_URL_MAX);
    snprintf(path, size, "%s/%s-%016" PRIx64 ".overlay", config->overlay_directory, config->name,
             text_hash(TEXT_HASH_START, shown, strlen(shown)));
    mem_free(shown);
    return path;
}

static struct source *overlay_store(const struct pipeline_context *context, const struct config_slot *config,
                                    const struct pipeline_drive *drive, const char *path)
{
    uint64_t size = overlay_store_size(config->overlay_size);
    if (config->overlay == OVERLAY_MEMORY)
        return memory_source_new(context->loop, config->name, size);
    struct file_source_options file = {
        .path = path,
        .writable = true,
        .create_size = size,
        .remove_at_close = !config->overlay_keep,
        .fresh = !config->overlay_keep && !drive->resume,
    };
    return file_source_new(context->loop, config->name, &file);
}

static struct source *overlay_on(struct source *lower, const struct pipeline_context *context,
                                 const struct config_slot *config, const struct pipeline_drive *drive, const char *url)
{
    char *path = overlay_path(config, url);
    struct overlay_options options = {
        .store_name = config->overlay == OVERLAY_MEMORY ? "memory" : path,
        .boot_id = context->boot_id,
        .sync_at_close = config->overlay == OVERLAY_FILE && config->overlay_keep,
    };
    struct source *source = overlay_source_new(lower, overlay_store(context, config, drive, path), &options);
    mem_free(path);
    return source;
}

/* --- what is changed in the image --- */

static struct boot_wish wish_of(const struct slot_insert_options *options)
{
    return (struct boot_wish){options->kernel_args, options->menu_timeout};
}

static bool is_changing(const struct slot_insert_options *options)
{
    return options->kernel_args || options->menu_timeout;
}

/* True: nothing can be changed as it is asked for, and `refusal` says why. */
static bool injection_problem(const struct config_slot *config, const struct slot_insert_options *options,
                              struct pipeline_refusal *refusal)
{
    const struct boot_wish wish = wish_of(options);
    *refusal = (struct pipeline_refusal){.status = -EINVAL};
    const char *problem = boot_wish_problem(&wish);
    if (!problem)
        problem = seed_wish_problem(&options->seed);
    if (!problem && is_changing(options) && options->writable > 0 && config->overlay == OVERLAY_NONE)
        problem = "an image whose boot configurations are changed is not written to (leave writable out, or set overlay)";
    if (problem)
        snprintf(refusal->error, sizeof refusal->error, "%s", problem);
    return problem;
}

static struct source *inject_on(struct source *lower, const struct slot_insert_options *options)
{
    const struct boot_wish wish = wish_of(options);
    return is_changing(options) ? inject_source_new(lower, boot_inject_new(lower->loop, &wish)) : lower;
}

/* The image itself is not opened for writing then. */
static struct slot_insert_options options_below(const struct slot_insert_options *options)
{
    struct slot_insert_options below = *options;
    if (is_changing(options))
        below.writable = 0;
    return below;
}

/* --- config media, and what is known of the machine --- */

static struct seed_facts pipeline_facts(const struct pipeline_context *context, const struct config_slot *config,
                                        const struct slot_insert_options *options)
{
    struct seed_facts facts = {.pending = context->machine.pending && !context->machine_tells};
    if (context->machine_tells)
        context->machine_tells(context->machine_arg, &facts);
    const struct seed_wish configured = {.serial = context->machine.serial, .uuid = context->machine.uuid, .mac = context->machine.mac};
    seed_wish_facts(&configured, &facts);
    seed_wish_facts(&options->seed, &facts);
    snprintf(facts.slot, sizeof facts.slot, "%s", config->name);
    return facts;
}

static bool is_config(const struct slot_insert_options *options)
{
    return options->config || seed_wish_is_medium(&options->seed);
}

/* True: there can be no such config medium, and `refusal` says why. */
static bool config_problem(const char *url, const struct slot_insert_options *options, struct pipeline_refusal *refusal)
{
    const char *problem = seed_wish_problem(&options->seed);
    if (!problem && (options->kernel_args || options->menu_timeout))
        problem = "a config medium boots nothing (kernel-args and menu-timeout are for another slot's image)";
    if (!problem && options->writable > 0)
        problem = "a config medium is not written to (leave writable out)";
    if (!problem && options->seed.files && strncmp(url, SLOT_CONFIG_SCHEME, strlen(SLOT_CONFIG_SCHEME)) != 0)
        problem = "a config medium's files are given, and an image too (give one of them)";
    *refusal = (struct pipeline_refusal){.status = -EINVAL};
    if (problem)
        snprintf(refusal->error, sizeof refusal->error, "%s", problem);
    return problem;
}

static struct source *read_image(const struct pipeline_context *context, const struct config_slot *config, const char *url,
                                 const struct slot_insert_options *options, struct pipeline_refusal *refusal);

static struct source *config_reader(const struct pipeline_context *context, const struct config_slot *config, const char *url,
                                    const struct slot_insert_options *options, struct pipeline_refusal *refusal)
{
    struct seed_facts facts = pipeline_facts(context, config, options);
    struct slot_insert_options reading = *options;
    reading.writable = 0;
    if (config_problem(url, options, refusal))
        return NULL;
    struct source *files = options->seed.files ? NULL : read_image(context, config, url, &reading, refusal);
    if (!files && !options->seed.files)
        return NULL;
    return seed_medium_new(context->loop, config->name, files, &options->seed, &facts);
}

/* The arguments with the network's, and what is known of the machine filled in, for mem_free(). False: `refusal` says why
 * not. */
static bool fill_arguments(const struct pipeline_context *context, const struct config_slot *config,
                           const struct slot_insert_options *options, char **arguments, struct pipeline_refusal *refusal)
{
    struct seed_facts facts = pipeline_facts(context, config, options);
    char error[SEED_ERROR_MAX];
    *arguments = seed_wish_arguments(&options->seed, &facts, options->kernel_args, error);
    refusal->status = facts.pending ? -EAGAIN : -EINVAL;
    snprintf(refusal->error, sizeof refusal->error, "%s", error);
    return *arguments || !*error;
}

/* --- all of it --- */

/* What is read is always recorded, since an insert may want it where the config does not. */
static struct source *cached(struct source *lower, const struct pipeline_context *context,
                             const struct config_slot *config)
{
    struct source *cache = cache_source_new(context->cache, lower, config->http.readahead);
    cache_source_record(cache);
    if (config->http.align)
        cache_source_align(cache);
    return cache;
}

static struct source *fit_drive(struct source *source, const struct pipeline_drive *drive)
{
    return trace_source_new(pad_source_new(source, drive->multiple, drive->minimum));
}

static bool is_remote(const char *url)
{
    enum location_kind kind = location_kind(url);
    return kind != LOCATION_PATH && kind != LOCATION_UPLOAD;
}

static struct source *read_image(const struct pipeline_context *context, const struct config_slot *config, const char *url,
                                 const struct slot_insert_options *options, struct pipeline_refusal *refusal)
{
    const struct config_slot its = decided(config, is_remote(url) && options->writable > 0);
    *refusal = (struct pipeline_refusal){.status = -EINVAL};
    if (is_remote(url))
        return pipeline_remote_new(context, &its, url, options, refusal);
    if (location_kind(url) == LOCATION_UPLOAD)
        return upload_reader(context, &its, url, options, refusal);
    return file_reader(context, &its, url, options, refusal);
}

struct source *pipeline_reader_new(const struct pipeline_context *context, const struct config_slot *config,
                                   const char *url, const struct slot_insert_options *options,
                                   struct pipeline_refusal *refusal)
{
    return (is_config(options) ? config_reader : read_image)(context, config, url, options, refusal);
}

/* `options` have the arguments as they are to be. */
static struct source *pipeline_with_arguments(const struct pipeline_context *context, const struct config_slot *config,
                                              const struct pipeline_drive *drive, const char *url,
                                              const struct slot_insert_options *options, struct pipeline_refusal *refusal)
{
    const struct config_slot its = decided(config, is_remote(url) && options->writable > 0);
    bool overlaid = its.overlay != OVERLAY_NONE && options->writable != 0;
    struct slot_insert_options below = options_below(options);
    if (injection_problem(&its, options, refusal))
        return NULL;
    struct source *source = read_image(context, &its, url, &below, refusal);
    if (!source)
        return NULL;
    if (is_remote(url))
        source = cached(exchange_source_new(source), context, config);
    source = inject_on(source, options);
    if (overlaid)
        source = overlay_on(source, context, &its, drive, url);
    return fit_drive(source, drive);
}

struct source *pipeline_new(const struct pipeline_context *context, const struct config_slot *config,
                            const struct pipeline_drive *drive, const char *url,
                            const struct slot_insert_options *options, struct pipeline_refusal *refusal)
{
    struct slot_insert_options filled = *options;
    char *arguments;
    if (is_config(options)) {
        struct source *medium = config_reader(context, config, url, options, refusal);
        return medium ? fit_drive(medium, drive) : NULL;
    }
    if (!fill_arguments(context, config, options, &arguments, refusal))
        return NULL;
    filled.kernel_args = arguments;
    struct source *source = pipeline_with_arguments(context, config, drive, url, &filled, refusal);
    mem_free(arguments);
    return source;
}

static struct source *preview_with_arguments(const struct pipeline_context *context, const struct config_slot *config,
                                             const char *url, const struct slot_insert_options *options,
                                             struct pipeline_refusal *refusal)
{
    const struct config_slot its = decided(config, is_remote(url) && options->writable > 0);
    struct slot_insert_options below = options_below(options);
    if (injection_problem(&its, options, refusal))
        return NULL;
    if (!is_changing(options)) {
        snprintf(refusal->error, sizeof refusal->error,
                 "a dry run shows what is changed in the image, and nothing is to be (give kernel-args or menu-timeout)");
        return NULL;
    }
    struct source *source = read_image(context, config, url, &below, refusal);
    return source ? inject_on(source, options) : NULL;
}

struct source *pipeline_preview_new(const struct pipeline_context *context, const struct config_slot *config,
                                    const char *url, const struct slot_insert_options *options,
                                    struct pipeline_refusal *refusal)
{
    struct slot_insert_options filled = *options;
    char *arguments;
    if (is_config(options)) {
        *refusal = (struct pipeline_refusal){-EINVAL, "a dry run shows what is changed in an image, and a config medium is made anew"};
        return NULL;
    }
    if (!fill_arguments(context, config, options, &arguments, refusal))
        return NULL;
    filled.kernel_args = arguments;
    struct source *source = preview_with_arguments(context, config, url, &filled, refusal);
    mem_free(arguments);
    return source;
}

/* An overlay on a browser's file is thrown away at the eject: nothing says for sure that
 * the next file of that name is the same one. */
static struct source *scratch_overlay_on(struct source *lower, const struct pipeline_context *context,
                                         const struct config_slot *config, const struct pipeline_drive *drive,
                                         const char *shown)
{
    struct config_slot scratch = *config;
    scratch.overlay_keep = false;
    return overlay_on(lower, context, &scratch, drive, shown);
}

struct source *pipeline_browser_new(const struct pipeline_context *context, const struct config_slot *config,
                                    const struct pipeline_drive *drive, const char *shown,
                                    const struct browser_connection *connection)
{
    const struct config_slot its = decided(config, false);
    struct browser_options browser = {
        .grace_ms = config->reconnect_grace_ms,
        .io_timeout_ms = config->http.io_timeout_ms,
        .stay = config->reconnect_stay,
        .writable = its.media == MEDIA_DISK && its.overlay == OVERLAY_NONE,
        .request_max = (uint32_t)config->browser_request,
        .requests_max = BROWSER_REQUESTS_MAX,
        .bytes_max = config->browser_window,
    };
    struct source *source = browser_source_new(context->loop, config->name, &browser, connection);
    source = cached(source, context, config);
    if (its.overlay != OVERLAY_NONE)
        source = scratch_overlay_on(source, context, &its, drive, shown);
    return fit_drive(source, drive);
}

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

time_t pipeline_error_at(struct source *source)
{
    return teller(source)->error_at;
}
