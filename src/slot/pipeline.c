#include "slot/pipeline.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "block/exchange.h"
#include "block/inject.h"
#include "block/memory.h"
#include "block/overlay.h"
#include "block/pad.h"
#include "block/trace.h"
#include "image/boot_inject.h"
#include "seed/medium.h"
#include "slot/pipeline_changes.h"
#include "slot/pipeline_local.h"
#include "slot/pipeline_remote.h"
#include "source/browser.h"
#include "source/file.h"

#define BROWSER_REQUESTS_MAX 64 /* in flight from a browser, where each costs a promise */

static bool is_remote(const char *url)
{
    enum location_kind kind = location_kind(url);
    return kind != LOCATION_PATH && kind != LOCATION_UPLOAD;
}

/* --- the overlay --- */

enum config_overlay pipeline_overlay(const struct config_slot *config, bool may_write)
{
    if (config->overlay != OVERLAY_AUTO)
        return config->overlay;
    return may_write && config->media == MEDIA_DISK ? OVERLAY_MEMORY : OVERLAY_NONE;
}

/* What takes the writes to a medium. */
struct overlay_choice {
    enum config_overlay kind; /* not OVERLAY_AUTO */
    bool keep;                /* at the eject */
};

static struct overlay_choice overlay_choose(const struct config_slot *config, const char *url,
                                            const struct slot_insert_options *options)
{
    bool may_write = is_remote(url) && options->writable > 0;
    return (struct overlay_choice){pipeline_overlay(config, may_write), config->overlay_keep};
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
                                    const struct overlay_choice *choice, const struct pipeline_drive *drive, const char *path)
{
    uint64_t size = overlay_store_size(config->overlay_size);
    if (choice->kind == OVERLAY_MEMORY)
        return memory_source_new(context->loop, config->name, size);
    struct file_source_options file = {
        .path = path,
        .writable = true,
        .create_size = size,
        .remove_at_close = !choice->keep,
        .fresh = !choice->keep && !drive->resume,
    };
    return file_source_new(context->loop, config->name, &file);
}

static struct source *overlay_on(struct source *lower, const struct pipeline_context *context,
                                 const struct config_slot *config, const struct overlay_choice *choice,
                                 const struct pipeline_drive *drive, const char *url)
{
    char *path = overlay_path(config, url);
    struct overlay_options options = {
        .store_name = choice->kind == OVERLAY_MEMORY ? "memory" : path,
        .boot_id = context->boot_id,
        .sync_at_close = choice->kind == OVERLAY_FILE && choice->keep,
    };
    struct source *source = overlay_source_new(lower, overlay_store(context, config, choice, drive, path), &options);
    mem_free(path);
    return source;
}

/* --- what is changed in the image --- */

/* True: nothing can be changed as it is asked for, and `refusal` says why. */
static bool injection_problem(enum config_overlay overlay, const struct slot_insert_options *options,
                              struct pipeline_refusal *refusal)
{
    *refusal = (struct pipeline_refusal){.status = -EINVAL};
    const char *problem = pipeline_changes_problem(options);
    if (!problem)
        problem = seed_wish_problem(&options->seed);
    if (!problem && pipeline_is_changing(options) && options->writable > 0 && overlay == OVERLAY_NONE)
        problem = "an image whose boot configurations are changed is not written to (leave writable out, or set overlay)";
    if (problem)
        snprintf(refusal->error, sizeof refusal->error, "%s", problem);
    return problem;
}

/* The image itself is not opened for writing then. */
static struct slot_insert_options options_below(const struct slot_insert_options *options)
{
    struct slot_insert_options below = *options;
    if (pipeline_is_changing(options))
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
    if (!problem && pipeline_is_changing(options))
        problem = "a config medium boots nothing (kernel-args, menu-timeout, menu-default and image-files are for another slot's image)";
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

/* *planner is NULL if nothing is to be changed. False: `refusal` says why it can't be. Credentials are for the image's
 * server, and go to no other. */
static bool planner_of(const struct pipeline_context *context, const struct config_slot *config,
                       const struct slot_insert_options *options, struct inject_planner **planner,
                       struct pipeline_refusal *refusal)
{
    const struct slot_insert_options plain = {.nfs_ids = options->nfs_ids, .ca_file = options->ca_file, .ca_pem = options->ca_pem,
                                              .verify = options->verify, .writable = 0};
    const struct seed_facts facts = pipeline_facts(context, config, options);
    const char *url = pipeline_changes_url(options);
    struct source *files = url ? read_image(context, config, url, &plain, refusal) : NULL;
    return (files || !url) && pipeline_planner_new(context->loop, options, &facts, files, planner, refusal);
}

void pipeline_planner_drop(struct inject_planner *planner)
{
    if (planner)
        planner->ops->free(planner);
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

static struct source *read_image(const struct pipeline_context *context, const struct config_slot *config, const char *url,
                                 const struct slot_insert_options *options, struct pipeline_refusal *refusal)
{
    *refusal = (struct pipeline_refusal){.status = -EINVAL};
    if (is_remote(url))
        return pipeline_remote_new(context, config, url, options, refusal);
    if (location_kind(url) == LOCATION_UPLOAD)
        return pipeline_upload_new(context, config, url, options, refusal);
    return pipeline_file_new(context, config, url, options, refusal);
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
    const struct overlay_choice choice = overlay_choose(config, url, options);
    bool overlaid = choice.kind != OVERLAY_NONE && options->writable != 0;
    struct slot_insert_options below = options_below(options);
    struct inject_planner *planner;
    if (injection_problem(choice.kind, options, refusal) || !planner_of(context, config, options, &planner, refusal))
        return NULL;
    struct source *source = read_image(context, config, url, &below, refusal);
    if (!source) {
        pipeline_planner_drop(planner);
        return NULL;
    }
    if (is_remote(url))
        source = cached(exchange_source_new(source), context, config);
    if (planner)
        source = inject_source_new(source, planner);
    if (overlaid)
        source = overlay_on(source, context, config, &choice, drive, url);
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
    const struct overlay_choice choice = overlay_choose(config, url, options);
    struct slot_insert_options below = options_below(options);
    struct inject_planner *planner;
    if (injection_problem(choice.kind, options, refusal))
        return NULL;
    if (!pipeline_is_changing(options)) {
        snprintf(refusal->error, sizeof refusal->error,
                 "a dry run shows what is changed in the image, and nothing is to be (give kernel-args, menu-timeout, menu-default or image-files)");
        return NULL;
    }
    if (!planner_of(context, config, options, &planner, refusal))
        return NULL;
    struct source *source = read_image(context, config, url, &below, refusal);
    if (!source)
        pipeline_planner_drop(planner);
    return source ? inject_source_new(source, planner) : NULL;
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

bool pipeline_browser_changes(const struct pipeline_context *context, const struct config_slot *config,
                              const struct slot_insert_options *options, struct inject_planner **planner,
                              struct pipeline_refusal *refusal)
{
    struct slot_insert_options filled = *options;
    char *arguments;
    if (!fill_arguments(context, config, options, &arguments, refusal))
        return false;
    filled.kernel_args = arguments;
    bool good = !injection_problem(pipeline_overlay(config, false), &filled, refusal) &&
                planner_of(context, config, &filled, planner, refusal);
    mem_free(arguments);
    return good;
}

struct source *pipeline_browser_new(const struct pipeline_context *context, const struct config_slot *config,
                                    const struct pipeline_drive *drive, const char *shown,
                                    const struct browser_connection *connection, struct inject_planner *planner)
{
    /* Thrown away at the eject: nothing says for sure that the next file of that name is the same one. */
    const struct overlay_choice choice = {pipeline_overlay(config, false), false};
    struct browser_options browser = {
        .grace_ms = config->reconnect_grace_ms,
        .io_timeout_ms = config->http.io_timeout_ms,
        .stay = config->reconnect_stay,
        .writable = config->media == MEDIA_DISK && choice.kind == OVERLAY_NONE && !planner,
        .request_max = (uint32_t)config->browser_request,
        .requests_max = BROWSER_REQUESTS_MAX,
        .bytes_max = config->browser_window,
    };
    struct source *source = browser_source_new(context->loop, config->name, &browser, connection);
    source = cached(source, context, config);
    if (planner)
        source = inject_source_new(source, planner);
    if (choice.kind != OVERLAY_NONE)
        source = overlay_on(source, context, config, &choice, drive, shown);
    return fit_drive(source, drive);
}
