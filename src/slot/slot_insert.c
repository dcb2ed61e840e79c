/* What goes into a slot, and out of it: the commands. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "slot/slot_internal.h"

/* --- who may --- */

static const char *slot_change_problem(const struct slot *slot)
{
    if (slot->leaving || slot->shared->closing)
        return "the slot is being removed";
    return slot->next_config ? "the slot takes up its new configuration (try again)" : NULL;
}

/* A medium that the slot tries to put in by itself gives way, unless it is as good as in. */
static bool gives_way(const struct slot *slot)
{
    return slot->retry.trying && !(slot->opened && slot->wanted);
}

/* Who came too late is told who was first. */
static void say_taken(const char *what, const char *image, const char *by, char words[SLOT_ERROR_MAX])
{
    snprintf(words, SLOT_ERROR_MAX, "%s%s%.200s%s%.64s (eject it first)", what, *image ? ": " : "", image,
             by && *by ? ", by " : "", by ? by : "");
}

const char *slot_insert_problem(const struct slot *slot, char words[SLOT_ERROR_MAX])
{
    const char *problem = slot_change_problem(slot);
    char image[256] = "";
    snprintf(words, SLOT_ERROR_MAX, "%s", problem ? problem : "");
    if (problem)
        return words;
    if (slot->next) {
        text_url_name(slot->next->media.url, image, sizeof image);
        say_taken("something else goes into the slot already", image, slot->next->media.by, words);
    } else if (slot->state != SLOT_EMPTY && !gives_way(slot)) {
        say_taken("the slot already has a medium", slot->image_name, slot->media.by, words);
    }
    return words;
}

bool slot_speaks(const struct slot *slot, enum location_kind kind)
{
    return pipeline_speaks(&slot->config, kind);
}

/* --- what was asked for --- */

struct slot_media slot_media_of(const struct slot *slot, const char *url, const struct slot_insert_options *options)
{
    return (struct slot_media){
        .url = mem_strdup(url),
        .by = mem_strdup(options->by),
        .user = mem_strdup(options->user),
        .password = mem_strdup(options->password),
        .bearer_token = mem_strdup(options->bearer_token),
        .ca_file = mem_strdup(options->ca_file),
        .ca_pem = mem_strdup(options->ca_pem),
        .client_pem = mem_strdup(options->client_pem),
        .profile = mem_strdup(options->profile),
        .kernel_args = mem_strdup_nonempty(options->kernel_args),
        .menu_timeout = mem_strdup_nonempty(options->menu_timeout),
        .seed = seed_wish_copy(&options->seed),
        .config = options->config,
        .stay_ms = options->stay_ms == SLOT_STAYS ? 0 : options->stay_ms ? options->stay_ms : slot->config.eject_after_ms,
        .until = options->until,
        .nfs_ids = options->nfs_ids,
        .verify = options->verify,
        .writable = options->writable,
    };
}

struct slot_insert_options slot_media_options(const struct slot_media *media)
{
    return (struct slot_insert_options){
        .by = media->by,
        .user = media->user,
        .password = media->password,
        .bearer_token = media->bearer_token,
        .ca_file = media->ca_file,
        .ca_pem = media->ca_pem,
        .client_pem = media->client_pem,
        .profile = media->profile,
        .kernel_args = media->kernel_args,
        .menu_timeout = media->menu_timeout,
        .seed = media->seed,
        .config = media->config,
        .stay_ms = media->stay_ms ? media->stay_ms : SLOT_STAYS,
        .until = media->until,
        .nfs_ids = media->nfs_ids,
        .verify = media->verify,
        .writable = media->writable,
    };
}

/* Whether an insert that says so, 0 or 1, or nothing of it (-1) leads to a medium that is written to. */
static bool is_to_be_written(const struct slot *slot, int writable)
{
    bool overlaid = pipeline_overlay(&slot->config, false) != OVERLAY_NONE;
    return pipeline_option(writable, overlaid || slot->config.writable);
}

/* The doors say what is the default or leave it out: that is the same. */
static bool is_as_asked_for(const struct slot *slot, const struct slot_media *media,
                            const struct slot_insert_options *options)
{
    bool verify = slot->config.http.verify;
    return pipeline_option(media->verify, verify) == pipeline_option(options->verify, verify) &&
           is_to_be_written(slot, media->writable) == is_to_be_written(slot, options->writable);
}

bool slot_is_asked_for(const struct slot *slot, const struct slot_media *media, const char *url,
                       const struct slot_insert_options *options)
{
    return slot_same_text(media->url, url) && slot_same_text(media->user, options->user) &&
           slot_same_text(media->password, options->password) && slot_same_text(media->bearer_token, options->bearer_token) &&
           slot_same_text(media->ca_file, options->ca_file) && slot_same_text(media->ca_pem, options->ca_pem) &&
           slot_same_text(media->client_pem, options->client_pem) &&
           slot_same_text(media->profile, options->profile) &&
           slot_same_text(media->kernel_args, options->kernel_args) &&
           slot_same_text(media->menu_timeout, options->menu_timeout) &&
           seed_wish_equal(&media->seed, &options->seed) && media->config == options->config &&
           is_as_asked_for(slot, media, options);
}

void slot_config_url(const struct seed_wish *wish, char url[SLOT_CONFIG_URL_MAX])
{
    snprintf(url, SLOT_CONFIG_URL_MAX, SLOT_CONFIG_SCHEME "%s", seed_wish_label(wish));
}

/* Sets what the slot says of its medium from now on. */
void slot_show_media(struct slot *slot)
{
    const char *url = slot->media.url;
    if (!slot->url_public)
        slot->url_public = mem_alloc(SLOT_URL_MAX);
    text_url_public(url, slot->url_public, SLOT_URL_MAX);
    char *upload = pipeline_is_upload(url) ? pipeline_upload_name(url) : NULL;
    if (upload)
        snprintf(slot->image_name, sizeof slot->image_name, "%s", upload);
    else
        text_url_name(url, slot->image_name, sizeof slot->image_name);
    mem_free(upload);
}

/* --- insert --- */

static struct source *make_source(struct slot *slot, const char *url, const struct slot_insert_options *options,
                                  struct pipeline_refusal *refusal)
{
    struct pipeline_drive drive = slot_device_drive(slot);
    if (slot_url_problem(url, refusal))
        return NULL;
    return pipeline_new(&slot->shared->context, &slot->config, &drive, url, options, refusal);
}

bool slot_url_problem(const char *url, struct pipeline_refusal *refusal)
{
    if (*url && strlen(url) < SLOT_URL_MAX)
        return false;
    refusal->status = -EINVAL;
    snprintf(refusal->error, SLOT_ERROR_MAX, "the image's URL is %s", *url ? "too long" : "empty");
    return true;
}

void slot_insert_now(struct slot *slot, const char *url, const struct slot_insert_options *options,
                     struct slot_request *request)
{
    struct pipeline_refusal refusal;
    struct source *source = make_source(slot, url, options, &refusal);
    if (!source) {
        slot_refuse(slot, request, refusal.status, refusal.error);
        return;
    }
    slot->media = slot_media_of(slot, url, options);
    slot->tied = options->tied;
    slot_show_media(slot);
    slot_begin_insert(slot, source, request);
}

/* --- what goes in once the slot is empty --- */

void slot_insert_next(struct slot *slot, struct slot_media *media, const char *tied, struct slot_requests *requests)
{
    struct slot_next *next = mem_alloc(sizeof *next);
    next->media = *media;
    memset(media, 0, sizeof *media);
    next->tied = tied;
    slot_requests_init(&next->requests);
    for (struct slot_request *r = slot_requests_pop(requests); r; r = slot_requests_pop(requests))
        slot_requests_add(slot, &next->requests, r);
    slot->next = next;
    slot->wanted = false;
    if (slot->state == SLOT_EMPTY)
        slot_begin_next(slot);
    else
        slot_step(slot);
}

/* Takes the next medium out of the slot, for the caller; NULL: there is none. */
static struct slot_next *slot_take_next(struct slot *slot)
{
    struct slot_next *next = slot->next;
    slot->next = NULL;
    return next;
}

static void slot_next_free(struct slot_next *next)
{
    slot_media_clear(&next->media);
    mem_free(next);
}

static void slot_give_up_next(struct slot *slot, const char *why)
{
    struct slot_next *next = slot_take_next(slot);
    if (!next)
        return;
    slot_requests_answer(slot, &next->requests, -ECANCELED, why);
    slot_next_free(next);
}

void slot_begin_next(struct slot *slot)
{
    const char *problem = slot_change_problem(slot);
    if (problem)
        slot_give_up_next(slot, problem);
    struct slot_next *next = slot_take_next(slot);
    if (!next)
        return;
    struct slot_insert_options options = slot_media_options(&next->media);
    options.tied = next->tied;
    struct slot_request *first = slot_requests_pop(&next->requests);
    slot_insert_now(slot, next->media.url, &options, first);
    for (struct slot_request *r = slot_requests_pop(&next->requests); r; r = slot_requests_pop(&next->requests))
        if (slot->source)
            slot_requests_add(slot, &slot->inserting, r);
        else
            slot_request_answer(slot, r, -EINVAL, slot->error);
    slot_next_free(next);
}

/* --- the same asked for again --- */

/* The callers that wait for exactly this already; NULL: none. A client that lost patience, and asks once more, waits
 * with them. */
static struct slot_requests *slot_find_waiting(struct slot *slot, const char *url,
                                               const struct slot_insert_options *options)
{
    if (slot->next)
        return slot_is_asked_for(slot, &slot->next->media, url, options) ? &slot->next->requests : NULL;
    bool opening = slot->source && slot->wanted && slot->state != SLOT_READY && slot->media.url;
    return opening && slot_is_asked_for(slot, &slot->media, url, options) ? &slot->inserting : NULL;
}

void slot_insert(struct slot *slot, const char *url, const struct slot_insert_options *options, slot_done *done, void *arg)
{
    struct slot_request *request = slot_request_new(done, arg);
    struct slot_requests *waiting = slot_find_waiting(slot, url, options);
    char problem[SLOT_ERROR_MAX] = "";
    if (!waiting)
        slot_insert_problem(slot, problem);
    if (*problem) {
        slot_request_answer(slot, request, -EBUSY, problem);
        return;
    }
    if (waiting) {
        slot_requests_add(slot, waiting, request);
        return;
    }
    slot_retry_cancel(slot);
    if (slot->state == SLOT_EMPTY) {
        slot_insert_now(slot, url, options, request);
    } else {
        struct slot_media media = slot_media_of(slot, url, options);
        struct slot_requests one;
        slot_requests_init(&one);
        slot_requests_add(slot, &one, request);
        slot_insert_next(slot, &media, options->tied, &one);
    }
}

/* --- eject --- */

void slot_eject(struct slot *slot, slot_done *done, void *arg)
{
    static const char why[] = "the insert was given up: the slot was ejected";
    struct slot_request *request = slot_request_new(done, arg);
    slot_retry_cancel(slot);
    slot_give_up_next(slot, why);
    slot_replace_give_up(slot, why);
    if (slot->state == SLOT_EMPTY) {
        slot_request_answer(slot, request, 0, "");
        return;
    }
    slot_requests_add(slot, &slot->ejecting, request);
    slot->wanted = false;
    slot_step(slot);
}

void slot_give_up(struct slot *slot)
{
    if (slot->state == SLOT_READY && slot->wanted)
        slot_replace_give_up(slot, "the insert was given up");
    else if (slot->state != SLOT_EMPTY)
        slot_eject(slot, slot_ignore_done, NULL);
}
