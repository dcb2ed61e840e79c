/*
 * Boot profiles of a slot's media (block/profile.h). When an image has opened, the profile that an insert gave, or
 * the one that is kept of the image, or one that lies beside it on its server, is looked for and followed; when the
 * medium goes, what the host read of it is kept. Nothing waits for any of this, and its failures are only logged.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "profile/profiles.h"
#include "slot/slot_internal.h"

#define PROFILE_BESIDE ".boot-profile" /* behind the image's URL */
#define PROFILE_LEAST  (1u << 20)      /* bytes: to know less than that gains nothing */
#define PROFILE_GREW   5 / 4           /* times what was known: then the new one is kept */

/* A profile that is looked for. It ends by itself; the slot waits for that before it goes. */
struct slot_profile_search {
    struct slot *slot;
    bool given_up; /* the medium goes */
    struct profile_load load;
    char *url; /* where it is read from; NULL: from nowhere yet */
    struct source *reader;
    struct io io;
};

static bool slot_profile_is_word(const char *text)
{
    return strcmp(text, "no") == 0 || strcmp(text, "own") == 0 || strcmp(text, "auto") == 0;
}

bool slot_profile_may_be(const char *profile)
{
    enum location_kind kind = location_kind(profile);
    return slot_profile_is_word(profile) || (kind != LOCATION_PATH && kind != LOCATION_UPLOAD &&
                                             kind != LOCATION_UNKNOWN && !location_has_user(profile));
}

/* --- which --- */

static enum config_profile profile_mode(const struct slot *slot)
{
    const char *given = slot->media.profile;
    if (!given || !slot_profile_is_word(given))
        return slot->config.http.profile;
    return strcmp(given, "no") == 0 ? PROFILE_NO : strcmp(given, "own") == 0 ? PROFILE_OWN : PROFILE_AUTO;
}

/* Where the insert said that it is; NULL: nowhere. */
static const char *profile_given(const struct slot *slot)
{
    const char *given = slot->media.profile;
    return given && !slot_profile_is_word(given) ? given : NULL;
}

/* A URL with a query may be signed for the image alone. For mem_free(); NULL: nothing can lie beside. */
static char *profile_beside(const struct slot *slot)
{
    const char *url = slot->media.url;
    if (!url || strpbrk(url, "?#") || pipeline_is_upload(url))
        return NULL;
    size_t size = strlen(url) + sizeof PROFILE_BESIDE;
    char *beside = mem_alloc(size);
    snprintf(beside, size, "%s" PROFILE_BESIDE, url);
    return beside;
}

static void profile_image_of(const struct slot *slot, struct profile_image *image)
{
    snprintf(image->name, sizeof image->name, "%s", slot->image_name);
    snprintf(image->validator, sizeof image->validator, "%s", slot->source->validator);
}

/* --- found, or not --- */

static void search_end(struct slot_profile_search *search)
{
    struct slot *slot = search->slot;
    if (slot->profile_search == search)
        slot->profile_search = NULL;
    slot->profile_searches--;
    mem_free(search->url);
    mem_free(search);
    slot_step(slot);
}

static void search_follow(struct slot_profile_search *search, const struct profile *profile)
{
    struct slot *slot = search->slot;
    char size[TEXT_SIZE_MAX];
    text_human_size(profile_bytes(profile), size);
    if (search->given_up)
        return;
    if (pipeline_follow(slot->source, profile))
        log_info(slot->config.name, "boot profile: a boot from the image is known to read %s", size);
    else
        log_warning(slot->config.name, "boot profile: it is of an image of another size, and not used");
}

/* --- read from elsewhere --- */

static void on_search_reader_closed(struct source *source)
{
    struct slot_profile_search *search = source->owner;
    source_free(source);
    search_end(search);
}

static void on_search_read(struct io *io)
{
    struct slot_profile_search *search = container_of(io, struct slot_profile_search, io);
    const char *error = "it could not be read";
    if (io->status == 0) {
        char *text = mem_alloc(io->length);
        slices_copy_out(&io->data, 0, text, io->length);
        bool good = profile_from_json(text, io->length, &search->load.profile, NULL, &error);
        mem_free(text);
        error = good ? NULL : error;
    }
    if (!error)
        search_follow(search, &search->load.profile);
    else if (!search->given_up)
        log_warning(search->slot->config.name, "boot profile: %s", error);
    slices_clear(&io->data);
    source_close(search->reader);
}

static void on_search_reader_opened(struct source *reader, int status)
{
    struct slot_profile_search *search = reader->owner;
    const char *who = search->slot->config.name;
    if (search->given_up)
        return; /* it is being closed */
    if (status != 0 || reader->size > PROFILE_JSON_MAX) {
        log_info(who, "boot profile: %s", status == 0 ? "what is there is too large for one" : reader->error);
        source_close(reader);
        return;
    }
    io_init(&search->io, IO_READ, 0, (uint32_t)reader->size, on_search_read);
    source_submit(reader, &search->io);
}

static void on_search_reader_died(struct source *reader, int status)
{
    (void)reader;
    (void)status; /* the read fails */
}

/* The image's login goes to the image's server only: with what lies beside it. */
static void search_read(struct slot_profile_search *search, bool beside)
{
    struct slot *slot = search->slot;
    struct slot_insert_options own = slot_media_options(&slot->media);
    struct slot_insert_options none = {.nfs_ids = own.nfs_ids, .verify = own.verify, .writable = 0};
    struct pipeline_refusal refusal;
    search->reader =
        slot_url_problem(search->url, &refusal)
            ? NULL
            : pipeline_reader_new(&slot->shared->context, &slot->config, search->url, beside ? &own : &none, &refusal);
    if (!search->reader) {
        log_warning(slot->config.name, "boot profile: %s", refusal.error);
        search_end(search);
        return;
    }
    search->reader->owner = search;
    search->reader->opened = on_search_reader_opened;
    search->reader->died = on_search_reader_died;
    search->reader->closed = on_search_reader_closed;
    source_open(search->reader);
}

/* --- kept here --- */

static void on_search_loaded(struct profile_load *load)
{
    struct slot_profile_search *search = container_of(load, struct slot_profile_search, load);
    if (load->found)
        search_follow(search, &load->profile);
    if (!load->found && !search->given_up && profile_mode(search->slot) == PROFILE_AUTO)
        search->url = profile_beside(search->slot);
    if (search->url)
        search_read(search, true);
    else
        search_end(search);
}

void slot_profile_begin(struct slot *slot)
{
    if (profile_mode(slot) == PROFILE_NO || !pipeline_recorded(slot->source) ||
        slot->profile_searches >= SLOT_PROFILE_SEARCHES_MAX)
        return;
    struct slot_profile_search *search = mem_alloc(sizeof *search);
    search->slot = slot;
    slot->profile_search = search;
    slot->profile_searches++;
    search->url = mem_strdup(profile_given(slot));
    if (search->url) {
        search_read(search, false);
        return;
    }
    search->load.size = pipeline_recorded(slot->source)->size; /* the image's own: the medium may be padded, or changed */
    search->load.done = on_search_loaded;
    profile_image_of(slot, &search->load.image);
    profiles_load(slot->shared->profiles, &search->load);
}

/* --- the medium goes --- */

/* What was recorded, or what was known before if that is more; NULL: neither is of use. */
static const struct profile *profile_worth(struct slot *slot)
{
    bool fits;
    const struct profile *recorded = pipeline_recorded(slot->source), *known = pipeline_followed(slot->source, &fits);
    if (known && fits && (!recorded || profile_bytes(recorded) < profile_bytes(known)))
        return known;
    return recorded && profile_is_useful(recorded) ? recorded : NULL;
}

char *slot_profile_text(struct slot *slot)
{
    const struct profile *profile = slot->source && slot->opened ? profile_worth(slot) : NULL;
    struct profile_image image;
    if (!profile)
        return NULL;
    profile_image_of(slot, &image);
    return profile_to_json(profile, &image);
}

/* Whether the host read other things, or more, than was known. */
static bool profile_is_news(struct slot *slot, const struct profile *recorded)
{
    bool fits;
    const struct profile *known = pipeline_followed(slot->source, &fits);
    return !known || !fits || profile_bytes(recorded) > profile_bytes(known) * PROFILE_GREW;
}

void slot_profile_end(struct slot *slot)
{
    struct slot_profile_search *search = slot->profile_search;
    const struct profile *recorded = slot->opened ? pipeline_recorded(slot->source) : NULL;
    slot->profile_search = NULL;
    if (search) {
        search->given_up = true;
        if (search->reader)
            source_close(search->reader);
    }
    if (!recorded || profile_mode(slot) == PROFILE_NO || !profile_is_useful(recorded) ||
        profile_bytes(recorded) < PROFILE_LEAST || !profile_is_news(slot, recorded))
        return;
    struct profile_image image;
    profile_image_of(slot, &image);
    profiles_keep(slot->shared->profiles, recorded, &image);
}
