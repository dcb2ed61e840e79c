/*
 * An image in place of the one that is in. A reader of the new image is opened beside the one that the host reads
 * from. If it is the same image (by a new URL or password), the new reader takes the old one's place beneath the
 * host, which does not notice. If it is another image, the medium is ejected and the new one inserted. If it can't be
 * read, all stays as it was.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "slot/slot_internal.h"

static void replacement_answer(struct slot *slot, int status, const char *error)
{
    struct slot_replacement *replacement = &slot->replacement;
    slot_requests_answer(slot, &replacement->requests, status, error);
    slot_media_clear(&replacement->media);
}

static void on_replacement_closed(struct source *source)
{
    struct slot *slot = source->owner;
    source_free(source);
    slot->replacement.source = NULL;
    slot_step(slot);
}

void slot_replace_give_up(struct slot *slot, const char *why)
{
    if (!slot->replacement.source)
        return;
    replacement_answer(slot, -ECANCELED, why);
    source_close(slot->replacement.source);
}

/* --- the same image --- */

/* A validator tells versions of one URL apart, not files: nginx makes it of time and size, and two images that were
 * unpacked in one second and padded to one size have the same. So the URL must be the same too (but for a signature). */
static bool slot_replace_is_same_image(const struct slot *slot, const struct source *source)
{
    const struct source *now = pipeline_reader(slot->source);
    char place[SLOT_URL_MAX];
    text_url_public(slot->replacement.media.url, place, sizeof place);
    return now->size == source->size && strcmp(now->validator, source->validator) == 0 &&
           strcmp(place, slot->url_public) == 0;
}

static bool is_as_writable(const struct slot *slot)
{
    int writable = slot->replacement.media.writable;
    return writable < 0 || (writable > 0) == slot->writable;
}

/* The reader has the image's own bytes, so it would go on with what was changed before. */
static bool has_same_changes(const struct slot *slot)
{
    const struct slot_media *now = &slot->media, *then = &slot->replacement.media;
    return slot_same_text(now->kernel_args, then->kernel_args) &&
           slot_same_text(now->menu_timeout, then->menu_timeout) && seed_wish_equal(&now->seed, &then->seed);
}

static bool replacement_takes_place(struct slot *slot)
{
    return slot->state == SLOT_READY && slot->wanted && slot->media.url && is_as_writable(slot) &&
           has_same_changes(slot) &&
           slot_replace_is_same_image(slot, slot->replacement.source) &&
           pipeline_exchange(slot->source, slot->replacement.source);
}

/* The medium stays for the time that it had, unless the request gave another. */
static void replacement_adopt(struct slot *slot)
{
    struct slot_replacement *replacement = &slot->replacement;
    struct slot_media *media = &replacement->media, before = slot->media;
    uint64_t stay_ms = media->stay_ms;
    enum slot_until until = media->until;
    media->stay_ms = before.stay_ms;
    media->until = before.until;
    media->host_was_on = before.host_was_on;
    media->eject_at = before.eject_at;
    slot->media = *media;
    memset(media, 0, sizeof *media);
    slot_media_clear(&before);
    slot_show_media(slot);
    slot->renewals++;
    if (replacement->stays)
        slot_set_stay(slot, stay_ms, until, replacement->tied);
    else
        slot_save(slot);
}

/* --- opened --- */

static void replacement_exchanged(struct slot *slot)
{
    slot->replacement.source = NULL; /* the pipeline owns it */
    replacement_adopt(slot);
    log_notice(slot->config.name, "goes on reading from %s: it is the same image", slot->url_public);
    replacement_answer(slot, 0, "");
}

static void replacement_inserted(struct slot *slot)
{
    struct slot_replacement *replacement = &slot->replacement;
    source_close(replacement->source);
    slot_insert_next(slot, &replacement->media, replacement->tied, &replacement->requests);
}

static void replacement_fail(struct slot *slot, int status, const char *error)
{
    replacement_answer(slot, status, error);
    source_close(slot->replacement.source);
}

static void on_replacement_opened(struct source *source, int status)
{
    struct slot *slot = source->owner;
    if (slot->replacement.requests.count == 0)
        return; /* given up */
    if (status != 0) {
        replacement_fail(slot, status, *source->error ? source->error : strerror(-status));
    } else if (replacement_takes_place(slot)) {
        replacement_exchanged(slot);
    } else {
        replacement_inserted(slot);
    }
}

static void on_replacement_died(struct source *source, int status)
{
    (void)source;
    (void)status; /* nothing is asked of the source yet */
}

/* --- asked for --- */

static void replacement_open(struct slot *slot, struct source *source, const char *url,
                             const struct slot_insert_options *options, struct slot_request *request)
{
    slot->replacement = (struct slot_replacement){
        .source = source,
        .media = slot_media_of(slot, url, options),
        .stays = options->stay_ms != 0 && !options->keeps_stay,
        .tied = options->tied,
    };
    slot_requests_init(&slot->replacement.requests);
    slot_requests_add(slot, &slot->replacement.requests, request);
    source->owner = slot;
    source->opened = on_replacement_opened;
    source->died = on_replacement_died;
    source->closed = on_replacement_closed;
    source_open(source);
}

/* The same is asked for again, while the first waits for its answer: see slot_insert(). */
static bool is_being_opened(const struct slot *slot, const char *url, const struct slot_insert_options *options)
{
    const struct slot_replacement *replacement = &slot->replacement;
    return replacement->source && replacement->requests.count > 0 &&
           slot_is_asked_for(slot, &replacement->media, url, options);
}

void slot_replace(struct slot *slot, const char *url, const struct slot_insert_options *options, slot_done *done, void *arg)
{
    struct pipeline_refusal refusal;
    if (slot->state != SLOT_READY || !slot->wanted) {
        slot_insert(slot, url, options, done, arg);
        return;
    }
    struct slot_request *request = slot_request_new(done, arg);
    if (is_being_opened(slot, url, options)) {
        slot_requests_add(slot, &slot->replacement.requests, request);
        return;
    }
    if (slot->replacement.source) {
        slot_request_answer(slot, request, -EBUSY, "another image is being opened in its place already (try again)");
        return;
    }
    struct source *source = slot_url_problem(url, &refusal) ? NULL
                            : pipeline_reader_new(&slot->shared->context, &slot->config, url, options, &refusal);
    if (source)
        replacement_open(slot, source, url, options, request);
    else
        slot_request_answer(slot, request, refusal.status, refusal.error);
}
