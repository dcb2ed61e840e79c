/*
 * Makes the source that a sink reads from a URL: the image's source, a cache on it if
 * the image is worth one, what gives the kernels on
 * it further arguments, the overlay that takes writes if one is wanted, the padding
 * that makes the size fit a drive, and the trace on top. The result is one source,
 * which owns those below it.
 */
#ifndef SLOT_PIPELINE_H
#define SLOT_PIPELINE_H

#include "block/cache.h"
#include "block/heat.h"
#include "block/source.h"
#include "config/config.h"
#include "image/boot_inject.h"
#include "link/shared.h"
#include "remote/http/curl_loop.h"
#include "remote/image_location.h"
#include "slot/slot.h"
#include "slot/slot_credentials.h"
#include "source/browser.h"

/* The slot's configuration that each function gets outlives the sources that are made by it. */
struct pipeline_context {
    uv_loop_t *loop;
    struct curl_loop *curl;
    struct cache *cache;
    struct links *links; /* to the servers of images */
    const char *file_directory; /* "" or NULL: anywhere */
    const char *upload_directory; /* of "upload:NAME"; "" or NULL: there are no uploads */
    const struct slot_credentials *credentials;
    struct seed_facts machine;  /* as configured; pending: somebody is to tell more */
    /* Says what is known otherwise; NULL: nobody has come yet. */
    void (*machine_tells)(void *arg, struct seed_facts *facts);
    void *machine_arg;
    char boot_id[40];           /* the running kernel's: tells overlays whether the power was lost */
};

struct pipeline_drive {
    uint32_t multiple; /* what the image's size must be: see pad_source_new() */
    uint64_t minimum;
    bool resume; /* the overlay from before a restart is used again, even if it isn't kept at an eject */
};

/* Why an image can't be read. */
struct pipeline_refusal {
    int status; /* -EPROTONOSUPPORT: this build has no such protocol, or it is not allowed; -EPERM: not to who asks;
                 * else -EINVAL */
    char error[SLOT_ERROR_MAX];
};

/* The value that an insert gave; if it gave none (-1), the configured one. */
static inline bool pipeline_option(int given, bool configured)
{
    return given >= 0 ? given > 0 : configured;
}

/* What takes the writes to a medium of the slot, with "auto" decided: `may_write`: it is an image on another machine that
 * somebody wants to write to. */
enum config_overlay pipeline_overlay(const struct config_slot *config, bool may_write);
bool pipeline_has(enum location_kind kind); /* this build can read images by that protocol */
/* Whether images may come by this protocol: it is built in, and allowed. */
bool pipeline_speaks(const struct config_slot *config, enum location_kind kind);
/* NULL if the URL can't be a source; `refusal` says why. */
struct source *pipeline_new(const struct pipeline_context *context, const struct config_slot *config,
                            const struct pipeline_drive *drive, const char *url,
                            const struct slot_insert_options *options, struct pipeline_refusal *refusal);
/* Only the part that reads the image: to see whether the image can be read, and to take the place of another reader.
 * NULL and `refusal` as above. */
struct source *pipeline_reader_new(const struct pipeline_context *context, const struct config_slot *config,
                                   const char *url, const struct slot_insert_options *options,
                                   struct pipeline_refusal *refusal);
/* The same with what is changed in the image. NULL and `refusal` as above. */
struct source *pipeline_preview_new(const struct pipeline_context *context, const struct config_slot *config,
                                    const char *url, const struct slot_insert_options *options,
                                    struct pipeline_refusal *refusal);
/* What was changed in the image, of either; valid while the source is. False: nothing was. */
bool pipeline_injected(struct source *source, struct boot_injected *told);
struct source *pipeline_image_of(struct source *source); /* the image as it is, through the cache if it has one */
struct source *pipeline_medium(struct source *source); /* the image with what was written to it, of its own size */
struct source *pipeline_reader(struct source *source); /* the pipeline's part that reads the image */
/* Makes an open pipeline read from `reader`, which is open and has the same bytes; the pipeline owns it from now on.
 * False: it can't be done (only a reader from another machine can be exchanged), and `reader` stays the caller's. */
bool pipeline_exchange(struct source *source, struct source *reader);
bool pipeline_is_upload(const char *url); /* "upload:NAME", percent-encoded */
char *pipeline_upload_name(const char *url); /* decoded, for mem_free(); NULL: there can't be one */
/* The planner of what the options change in a browser's file, for pipeline_browser_new() or pipeline_planner_drop();
 * *planner is NULL if that is nothing. False: `refusal` says why it can't be. */
bool pipeline_browser_changes(const struct pipeline_context *context, const struct config_slot *config,
                              const struct slot_insert_options *options, struct inject_planner **planner,
                              struct pipeline_refusal *refusal);
void pipeline_planner_drop(struct inject_planner *planner); /* NULL: nothing */
/* A file in a browser. `shown` is its public name, for the overlay's file; takes over `planner`, which may be NULL. */
struct source *pipeline_browser_new(const struct pipeline_context *context, const struct config_slot *config,
                                    const struct pipeline_drive *drive, const char *shown,
                                    const struct browser_connection *connection, struct inject_planner *planner);
struct source *pipeline_browser(struct source *source); /* the part that reads from a browser; NULL: there is none */
/* Boot profiles, see block/cache.h; NULL and false: the pipeline has no cache. */
const struct profile *pipeline_recorded(struct source *source);
const struct profile *pipeline_followed(struct source *source, bool *fits);
/* How the reads went; NULL: the pipeline has no cache. */
const struct boot_report *pipeline_report(struct source *source);
uint64_t pipeline_in_vain(struct source *source); /* see cache_source_in_vain(); 0 without a cache */
bool pipeline_follow(struct source *source, const struct profile *profile);
const struct heat *pipeline_heat(struct source *source);
void pipeline_set_trace(struct source *source, bool on);
void pipeline_count(struct source *source, struct slot_counters *counters);
/* The pipeline is open and goes on with the medium from before a restart: an overlay
 * that was to be thrown away at the eject still will be. */
void pipeline_resumed(struct source *source, const struct config_slot *config);
/* Why another process can't go on with the medium; NULL: it can. */
const char *pipeline_tied(struct source *source, const struct config_slot *config);
const char *pipeline_error(struct source *source);
time_t pipeline_error_at(struct source *source);
void pipeline_forget_error(struct source *source); /* somebody has taken note of it; it stays while the trouble goes on */
bool pipeline_failing(struct source *source); /* the image's server or browser is away now */

#endif
