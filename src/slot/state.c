#include "slot/state.h"

#include <errno.h>
#include <fcntl.h>
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
    mem_free_secret(media->password);
    mem_free_secret(media->bearer_token);
    mem_free(media->ca_file);
    mem_free(media->identity);
    memset(media, 0, sizeof *media);
}

/* --- to JSON --- */

static bool has_secrets(const struct slot_media *media)
{
    size_t size = strlen(media->url) + 16;
    char *shown = mem_alloc(size);
    text_url_public(media->url, shown, size);
    bool secret = strcmp(shown, media->url) != 0 || media->password || media->bearer_token;
    mem_free(shown);
    return secret;
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
                       : has_secrets(media) && !secrets ? "its URL or credentials are secret (see state-secrets)"
                                                         : NULL;
    if (lost) {
        put_text(o, "lost", lost);
        return o;
    }
    put_text(o, "url", media->url);
    put_text(o, "user", media->user);
    put_text(o, "password", media->password);
    put_text(o, "bearer_token", media->bearer_token);
    put_text(o, "ca_file", media->ca_file);
    put_text(o, "identity", media->identity);
    json_object_set_new(o, "verify", json_integer(media->verify));
    json_object_set_new(o, "writable", json_integer(media->writable));
    json_object_set_new(o, "size", json_integer((json_int_t)media->size));
    return o;
}

/* --- from JSON --- */

static char *get_text(const json_t *object, const char *name)
{
    return mem_strdup(json_string_value(json_object_get(object, name)));
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
    media->url = get_text(o, "url");
    media->user = get_text(o, "user");
    media->password = get_text(o, "password");
    media->bearer_token = get_text(o, "bearer_token");
    media->ca_file = get_text(o, "ca_file");
    media->identity = get_text(o, "identity");
    media->verify = (int)json_integer_value(json_object_get(o, "verify"));
    media->writable = (int)json_integer_value(json_object_get(o, "writable"));
    media->size = (uint64_t)json_integer_value(json_object_get(o, "size"));
    media->device = (unsigned)json_integer_value(json_object_get(o, "device"));
    return true;
}

static void take_entries(struct state *state, const json_t *root)
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
    state->loop = loop;
    state->secrets = secrets;
    state->path = mem_alloc(size);
    snprintf(state->path, size, "%s/state.json", runtime_dir);
    if (access(state->path, F_OK) != 0)
        return;
    json_t *root = json_load_file(state->path, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        log_warning("nbd-proxy", "%s: %s: what was inserted is not known any more", state->path, error.text);
    else
        take_entries(state, root);
    json_decref(root);
}

struct slot_media *state_find(struct state *state, const char *slot)
{
    for (unsigned i = 0; i < state->found_count; i++)
        if (strcmp(state->found[i].slot, slot) == 0)
            return &state->found[i];
    return NULL;
}

/* --- writing, in a thread --- */

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    size_t length = strlen(text);
    ssize_t n = write(fd, text, length);
    int status = n < 0 ? -errno : (size_t)n < length ? -ENOSPC : fsync(fd) != 0 ? -errno : 0;
    close(fd);
    return status;
}

static void write_run(struct work *work)
{
    struct state *state = container_of(work, struct state, work);
    char path[512];
    snprintf(path, sizeof path, "%s.new", state->path);
    state->status = write_file(path, state->text);
    if (state->status == 0 && rename(path, state->path) != 0)
        state->status = -errno;
}

static void write_next(struct state *state);

static void write_done(struct work *work)
{
    struct state *state = container_of(work, struct state, work);
    if (state->status != 0)
        log_error("nbd-proxy", "%s: %s: the media would be lost at a restart", state->path, strerror(-state->status));
    mem_free_secret(state->text);
    state->text = NULL;
    state->writing = false;
    write_next(state);
}

static void write_next(struct state *state)
{
    if (state->writing)
        return;
    if (state->next) {
        state->text = state->next;
        state->next = NULL;
        state->writing = true;
        work_start(state->loop, &state->work, write_run, write_done);
    } else if (state->idle) {
        void (*idle)(void *arg) = state->idle;
        state->idle = NULL;
        idle(state->idle_arg);
    }
}

void state_save(struct state *state, const struct slot_media *const *media, unsigned count)
{
    json_t *root = json_object(), *list = json_array();
    for (unsigned i = 0; i < count; i++)
        json_array_append_new(list, media_to_json(media[i], state->secrets));
    json_object_set_new(root, "version", json_integer(STATE_VERSION));
    json_object_set_new(root, "slots", list);
    char *text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    mem_free_secret(state->next);
    state->next = mem_strdup(text ? text : "{}");
    if (text)
        memset(text, 0, strlen(text));
    free(text);
    write_next(state);
}

void state_flush(struct state *state, void (*idle)(void *arg), void *arg)
{
    state->idle = idle;
    state->idle_arg = arg;
    write_next(state);
}

void state_free(struct state *state)
{
    for (unsigned i = 0; i < state->found_count; i++)
        slot_media_clear(&state->found[i]);
    mem_free(state->found);
    mem_free(state->path);
    mem_free_secret(state->next);
}
