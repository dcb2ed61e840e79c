#include "slot/state.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"

#define STATE_VERSION 1

void slot_media_clear(struct slot_media *media)
{
    mem_free_secret(media->url); /* its query may be a signature */
    mem_free(media->user);
    mem_free(media->by);
    mem_free_secret(media->password);
    mem_free_secret(media->bearer_token);
    mem_free(media->ca_file);
    mem_free(media->ca_pem);
    mem_free_secret(media->client_pem);
    mem_free(media->kernel_args);
    mem_free(media->menu_timeout);
    mem_free(media->validator);
    mem_free_secret(media->profile);
    seed_wish_clear(&media->seed);
    memset(media, 0, sizeof *media);
}

/* --- to JSON --- */

static bool url_is_public(const char *url)
{
    size_t size = strlen(url) + 16;
    char *shown = mem_alloc(size);
    text_url_public(url, shown, size);
    bool same = strcmp(shown, url) == 0;
    mem_free(shown);
    return same;
}

static bool has_secrets(const struct slot_media *media)
{
    return !url_is_public(media->url) || media->password || media->bearer_token || media->client_pem ||
           seed_wish_has_secrets(&media->seed) || (media->seed.image_files && !url_is_public(media->seed.image_files));
}

static void put_text(json_t *object, const char *name, const char *text)
{
    if (text)
        json_object_set_new(object, name, json_stringn_nocheck(text, strlen(text)));
}

static json_t *media_to_json(const struct slot_media *media, bool secrets)
{
    json_t *o = json_object();
    put_text(o, "slot", media->slot);
    json_object_set_new(o, "device", json_integer(media->device));
    const char *lost = media->tied                           ? media->tied
                       : has_secrets(media) && !secrets ? "its URL, credentials or files are secret (see state-secrets)"
                                                         : NULL;
    if (lost) {
        put_text(o, "lost", lost);
        return o;
    }
    put_text(o, "url", media->url);
    put_text(o, "user", media->user);
    put_text(o, "by", media->by);
    put_text(o, "password", media->password);
    put_text(o, "bearer_token", media->bearer_token);
    put_text(o, "ca_file", media->ca_file);
    put_text(o, "ca_pem", media->ca_pem);
    put_text(o, "client_pem", media->client_pem);
    put_text(o, "kernel_args", media->kernel_args);
    put_text(o, "menu_timeout", media->menu_timeout);
    put_text(o, "validator", media->validator);
    seed_wish_put(&media->seed, o);
    json_object_set_new(o, "config", json_boolean(media->config));
    if (media->profile && (secrets || url_is_public(media->profile)))
        put_text(o, "profile", media->profile); /* without it the medium goes on all the same */
    json_object_set_new(o, "verify", json_integer(media->verify));
    json_object_set_new(o, "writable", json_integer(media->writable));
    json_object_set_new(o, "size", json_integer((json_int_t)media->size));
    put_text(o, "until", slot_until_name(media->until));
    json_object_set_new(o, "host_was_on", json_boolean(media->host_was_on));
    json_object_set_new(o, "stay_ms", json_integer((json_int_t)media->stay_ms));
    json_object_set_new(o, "eject_at", json_integer((json_int_t)media->eject_at));
    return o;
}

/* --- from JSON --- */

static char *get_text(const json_t *object, const char *name)
{
    return mem_strdup(json_string_value(json_object_get(object, name)));
}

static enum slot_until get_until(const json_t *object)
{
    const char *name = json_string_value(json_object_get(object, "until"));
    enum slot_until until;
    return name && slot_until_parse(name, &until) ? until : SLOT_UNTIL_EJECTED;
}

static bool media_from_json(const json_t *o, struct slot_media *media)
{
    const char *slot = json_string_value(json_object_get(o, "slot"));
    const char *lost = json_string_value(json_object_get(o, "lost"));
    if (!slot || strlen(slot) >= sizeof media->slot)
        return false;
    if (lost)
        log_warning(slot, "the medium that was in can't be gone on with: %s", lost);
    if (!json_is_string(json_object_get(o, "url")))
        return false;
    snprintf(media->slot, sizeof media->slot, "%s", slot);
    media->nfs_ids = true;
    media->url = get_text(o, "url");
    media->user = get_text(o, "user");
    media->by = get_text(o, "by");
    media->password = get_text(o, "password");
    media->bearer_token = get_text(o, "bearer_token");
    media->ca_file = get_text(o, "ca_file");
    media->ca_pem = get_text(o, "ca_pem");
    media->client_pem = get_text(o, "client_pem");
    media->kernel_args = get_text(o, "kernel_args");
    media->menu_timeout = get_text(o, "menu_timeout");
    media->validator = get_text(o, "validator");
    media->profile = get_text(o, "profile");
    media->seed = seed_wish_get(o);
    media->config = json_is_true(json_object_get(o, "config"));
    media->verify = (int)json_integer_value(json_object_get(o, "verify"));
    media->writable = (int)json_integer_value(json_object_get(o, "writable"));
    media->size = (uint64_t)json_integer_value(json_object_get(o, "size"));
    media->until = get_until(o);
    media->host_was_on = json_is_true(json_object_get(o, "host_was_on"));
    media->stay_ms = (uint64_t)json_integer_value(json_object_get(o, "stay_ms"));
    media->eject_at = (uint64_t)json_integer_value(json_object_get(o, "eject_at"));
    media->device = (unsigned)json_integer_value(json_object_get(o, "device"));
    return true;
}

void state_take(struct state *state, const json_t *root)
{
    const json_t *list = json_object_get(root, "slots"), *entry;
    size_t i;
    if (json_integer_value(json_object_get(root, "version")) != STATE_VERSION)
        return;
    state->found = mem_alloc(CONFIG_SLOTS_MAX * sizeof *state->found);
    json_array_foreach (list, i, entry)
        if (state->found_count < CONFIG_SLOTS_MAX && media_from_json(entry, &state->found[state->found_count]))
            state->found_count++;
}

void state_load(struct state *state, uv_loop_t *loop, const char *runtime_dir, bool secrets)
{
    json_error_t error;
    size_t size = strlen(runtime_dir) + sizeof "/state.json";
    memset(state, 0, sizeof *state);
    state->secrets = secrets;
    char *path = mem_alloc(size);
    snprintf(path, size, "%s/state.json", runtime_dir);
    save_init(&state->save, loop, path, "the media would be lost at a restart");
    if (access(path, F_OK) != 0)
        return;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        log_warning("nbd-proxy", "%s: %s: what was inserted is not known any more", path, error.text);
    else
        state_take(state, root);
    json_decref(root);
}

struct slot_media *state_find(struct state *state, const char *slot)
{
    for (unsigned i = 0; i < state->found_count; i++)
        if (strcmp(state->found[i].slot, slot) == 0)
            return &state->found[i];
    return NULL;
}

/* --- writing --- */

void state_save(struct state *state, const struct slot_media *const *media, unsigned count)
{
    json_t *root = json_object(), *list = json_array();
    for (unsigned i = 0; i < count; i++)
        json_array_append_new(list, media_to_json(media[i], state->secrets));
    json_object_set_new(root, "version", json_integer(STATE_VERSION));
    json_object_set_new(root, "slots", list);
    char *text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    save_text(&state->save, mem_strdup(text ? text : "{}"));
    if (text)
        memset(text, 0, strlen(text));
    free(text);
}

void state_flush(struct state *state, void (*idle)(void *arg), void *arg)
{
    save_flush(&state->save, idle, arg);
}

void state_free(struct state *state)
{
    for (unsigned i = 0; i < state->found_count; i++)
        slot_media_clear(&state->found[i]);
    mem_free(state->found);
    save_free(&state->save);
}
