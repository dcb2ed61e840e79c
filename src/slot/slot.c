#include "slot/slot.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "slot/slot_internal.h"

const char *slot_state_name(enum slot_state state)
{
    static const char *const names[] = {"empty", "opening", "attaching", "ready", "detaching", "closing"};
    return names[state];
}

/* --- answers --- */

static void on_request(struct defer *defer)
{
    struct slot_request *request = container_of(defer, struct slot_request, defer);
    request->done(request->arg, request->status, request->error);
    mem_free(request);
}

static struct slot_request *request_new(slot_done *done, void *arg)
{
    struct slot_request *request = mem_alloc(sizeof *request);
    list_init(&request->link);
    defer_setup(&request->defer, on_request);
    request->done = done;
    request->arg = arg;
    return request;
}

static void request_answer(struct slot *slot, struct slot_request *request, int status, const char *error)
{
    request->status = status;
    snprintf(request->error, sizeof request->error, "%s", error);
    defer_schedule(slot->set->loop, &request->defer);
}

/* --- the state machine --- */

static void slot_step(struct slot *slot);

/* The one place where the state changes. */
static void slot_move(struct slot *slot, enum slot_state state)
{
    log_debug(slot->config.name, "%s -> %s", slot_state_name(slot->state), slot_state_name(state));
    slot->state = state;
}

static void slot_fail(struct slot *slot, int status, const char *error)
{
    snprintf(slot->error, sizeof slot->error, "%s", error);
    slot->failure = status;
    slot->wanted = false;
}

static void on_opened(struct source *source, int status)
{
    struct slot *slot = source->owner;
    if (status != 0 && slot->wanted) {
        const char *why = pipeline_error(source);
        slot_fail(slot, status, *why ? why : strerror(-status));
    }
    if (slot->wanted)
        slot_move(slot, SLOT_ATTACHING);
    slot_step(slot);
}

static void on_died(struct source *source, int status)
{
    struct slot *slot = source->owner;
    if (!slot->wanted)
        return;
    const char *why = pipeline_error(source);
    slot_fail(slot, status, *why ? why : strerror(-status));
    log_error(slot->config.name, "the source is gone: %s", slot->error);
    slot_step(slot);
}

static void slot_emptied(struct slot *slot);

static void slot_drop_source(struct slot *slot)
{
    source_free(slot->source);
    slot->source = NULL;
    slot_move(slot, SLOT_EMPTY);
    slot_emptied(slot);
}

static void on_source_closed(struct source *source)
{
    struct slot *slot = source->owner;
    slot->source_closed = true;
    if (slot->state == SLOT_CLOSING)
        slot_drop_source(slot);
}

static void on_detached(void *arg)
{
    struct slot *slot = arg;
    uv_timer_stop(&slot->detach_timer);
    slot_move(slot, SLOT_CLOSING);
    if (slot->source_closed)
        slot_drop_source(slot);
    else
        source_close(slot->source);
}

/* Reads that still wait (for a server that is down, say) are given up: closing
 * the source ends them, and that lets the server detach. */
static void on_detach_timer(uv_timer_t *timer)
{
    struct slot *slot = timer->data;
    source_close(slot->source);
}

static void slot_attach(struct slot *slot)
{
    char size[TEXT_SIZE_MAX];
    nbd_server_attach(slot->server, slot->source);
    slot->writable = !slot->source->read_only;
    slot->ready_at = uv_now(slot->set->loop);
    slot_move(slot, SLOT_READY);
    text_human_size(slot->source->size, size);
    log_notice(slot->config.name, "inserted %s, %s, %s", slot->url_public, size, slot->writable ? "writable" : "read-only");
    if (slot->inserting)
        request_answer(slot, slot->inserting, 0, "");
    slot->inserting = NULL;
}

/* One step right while a medium is wanted, else one step left. */
static void slot_step(struct slot *slot)
{
    switch (slot->state) {
    case SLOT_OPENING:
        if (!slot->wanted) {
            slot_move(slot, SLOT_CLOSING);
            source_close(slot->source);
        }
        return;
    case SLOT_ATTACHING:
        if (slot->wanted) {
            slot_attach(slot);
        } else {
            slot_move(slot, SLOT_CLOSING);
            source_close(slot->source);
        }
        return;
    case SLOT_READY:
        if (!slot->wanted) {
            slot_move(slot, SLOT_DETACHING);
            uv_timer_start(&slot->detach_timer, on_detach_timer, SLOT_DETACH_MS, 0);
            nbd_server_detach(slot->server, on_detached, slot);
        }
        return;
    case SLOT_EMPTY:
    case SLOT_DETACHING: /* on_detached() goes on */
    case SLOT_CLOSING:   /* on_source_closed() goes on */
        return;
    }
}

static void apply_next_config(struct slot *slot)
{
    if (!slot->next_config)
        return;
    config_slot_clear(&slot->config);
    slot->config = *slot->next_config;
    mem_free(slot->next_config);
    slot->next_config = NULL;
    if (!slot->leaving)
        slot_insert_configured(slot);
}

static void on_slot_closed(struct closing *closing)
{
    struct slot *slot = container_of(closing, struct slot, closing);
    struct slots *set = slot->set;
    config_slot_clear(&slot->config);
    mem_free(slot->socket);
    mem_free(slot);
    slots_slot_gone(set);
}

static void on_server_closed(void *arg)
{
    struct slot *slot = arg;
    closing_begin(&slot->closing, slot->set->loop, on_slot_closed);
    closing_add(&slot->closing, (uv_handle_t *)&slot->detach_timer);
    closing_end(&slot->closing);
}

static void slot_finish_leaving(struct slot *slot)
{
    if (slot->listener)
        listener_close(slot->listener);
    slot->listener = NULL;
    nbd_server_close(slot->server, on_server_closed, slot);
}

/* Everything is paid back: answer whoever waits. */
static void slot_emptied(struct slot *slot)
{
    if (slot->failure)
        log_warning(slot->config.name, "%s: %s", slot->inserting ? "not inserted" : "ejected", slot->error);
    else
        log_notice(slot->config.name, "ejected %s", slot->url_public);
    if (slot->inserting)
        request_answer(slot, slot->inserting, slot->failure ? slot->failure : -ECANCELED,
                       slot->failure ? slot->error : "the insert was given up: the slot was ejected");
    slot->inserting = NULL;
    for (struct link *l = list_pop(&slot->ejecting); l; l = list_pop(&slot->ejecting))
        request_answer(slot, container_of(l, struct slot_request, link), 0, "");
    slot->ejecting_count = 0;
    mem_free_secret(slot->url); /* its query may be a signature */
    mem_free(slot->url_public);
    slot->url = slot->url_public = NULL;
    slot->ready_at = 0;
    apply_next_config(slot);
    if (slot->leaving)
        slot_finish_leaving(slot);
}

/* --- commands --- */

static const char *insert_problem(const struct slot *slot, const char *url, int *status)
{
    *status = -EBUSY;
    if (slot->leaving || slot->set->closing)
        return "the slot is being removed";
    if (slot->state != SLOT_EMPTY)
        return "the slot already has a medium (eject it first)";
    *status = -EINVAL;
    if (*url == '\0')
        return "the image's URL is empty";
    return strlen(url) >= SLOT_URL_MAX ? "the image's URL is too long" : NULL;
}

void slot_insert(struct slot *slot, const char *url, const struct slot_insert_options *options, slot_done *done, void *arg)
{
    struct slot_request *request = request_new(done, arg);
    int status;
    const char *problem = insert_problem(slot, url, &status);
    if (problem) {
        request_answer(slot, request, status, problem);
        return;
    }
    char error[SLOT_ERROR_MAX] = "";
    struct source *source = pipeline_new(&slot->set->context, &slot->config, url, options, error);
    if (!source) {
        snprintf(slot->error, sizeof slot->error, "%s", error);
        request_answer(slot, request, -EINVAL, error);
        return;
    }
    *slot->error = '\0';
    slot->failure = 0;
    slot->wanted = true;
    slot->url = mem_strdup(url);
    slot->url_public = mem_alloc(SLOT_URL_MAX);
    text_url_public(url, slot->url_public, SLOT_URL_MAX);
    slot->inserting = request;
    slot->source = source;
    slot->source_closed = false;
    source->owner = slot;
    source->opened = on_opened;
    source->died = on_died;
    source->closed = on_source_closed;
    pipeline_set_trace(source, slot->trace);
    slot_move(slot, SLOT_OPENING);
    source_open(source);
}

void slot_eject(struct slot *slot, slot_done *done, void *arg)
{
    struct slot_request *request = request_new(done, arg);
    if (slot->state == SLOT_EMPTY) {
        request_answer(slot, request, 0, "");
        return;
    }
    if (slot->ejecting_count == SLOT_REQUESTS_MAX) {
        request_answer(slot, request, -EBUSY, "the slot is being ejected already");
        return;
    }
    slot->ejecting_count++;
    list_append(&slot->ejecting, &request->link);
    slot->wanted = false;
    slot_step(slot);
}

void slot_get_status(struct slot *slot, struct slot_status *status)
{
    *status = (struct slot_status){
        .name = slot->config.name,
        .index = slot->index,
        .media = slot->config.media,
        .state = slot->state,
        .socket = slot->socket,
        .image = slot->url_public ? slot->url_public : "",
        .error = slot->error,
    };
    nbd_server_get_stats(slot->server, &status->server);
    if (slot->url)
        text_url_name(slot->url, status->image_name, sizeof status->image_name);
    if (!slot->source)
        return;
    pipeline_stats(slot->source, &status->stats, &status->cached);
    if (slot->state == SLOT_READY) {
        status->size = slot->source->size;
        status->writable = slot->writable;
        status->inserted_ms = uv_now(slot->set->loop) - slot->ready_at;
        if (!*slot->error)
            status->error = pipeline_error(slot->source);
    }
}

void slot_set_trace(struct slot *slot, bool on)
{
    slot->trace = on;
    if (slot->source)
        pipeline_set_trace(slot->source, on);
}

bool slot_get_trace(const struct slot *slot)
{
    return slot->trace;
}

/* --- life --- */

char *slot_socket_path(const struct config_slot *config, const char *runtime_dir)
{
    if (config->socket && *config->socket)
        return mem_strdup(config->socket);
    size_t size = strlen(runtime_dir) + sizeof config->name + 8;
    char *path = mem_alloc(size);
    snprintf(path, size, "%s/%s.sock", runtime_dir, config->name);
    return path;
}

static void on_client(struct listener *listener, struct stream *stream)
{
    struct slot *slot = listener_owner(listener);
    nbd_server_add_client(slot->server, stream);
}

struct listener *slot_listen(struct slot *slot, const struct config_slot *config, const char *path,
                             char error[CONFIG_ERROR_MAX])
{
    struct listener_options options = {
        .path = path,
        .mode = (unsigned)config->socket_mode,
        .group = config->socket_group,
        .backlog = 128,
    };
    int status;
    char why[CONFIG_ERROR_MAX - 64];
    struct listener *listener = listener_new(slot->set->loop, &options, on_client, slot, &status, why, sizeof why);
    if (!listener)
        snprintf(error, CONFIG_ERROR_MAX, "%s: %s", config->name, why);
    return listener;
}

struct slot *slot_new(struct slots *set, const struct config_slot *config, char error[CONFIG_ERROR_MAX])
{
    struct slot *slot = mem_alloc(sizeof *slot);
    slot->set = set;
    list_init(&slot->ejecting);
    config_slot_copy(&slot->config, config);
    slot->socket = slot_socket_path(config, set->runtime_dir);
    slot->listener = slot_listen(slot, config, slot->socket, error);
    if (!slot->listener) {
        config_slot_clear(&slot->config);
        mem_free(slot->socket);
        mem_free(slot);
        return NULL;
    }
    struct nbd_server_options options = {
        .who = slot->config.name,
        .export_name = slot->config.name,
        .description = config->media == MEDIA_CD ? "CD/DVD drive" : "USB stick",
        .max_connections = (unsigned)config->max_connections,
        .idle_timeout_ms = config->idle_timeout_ms,
        .budget = &set->budget,
    };
    slot->server = nbd_server_new(set->loop, &options);
    uv_timer_init(set->loop, &slot->detach_timer);
    slot->detach_timer.data = slot;
    set->alive++;
    return slot;
}

static void ignore_done(void *arg, int status, const char *error)
{
    (void)arg;
    (void)status;
    (void)error;
}

void slot_leave(struct slot *slot)
{
    slot->leaving = true;
    if (slot->state == SLOT_EMPTY)
        slot_finish_leaving(slot);
    else
        slot_eject(slot, ignore_done, NULL);
}

void slot_reconfigure(struct slot *slot, const struct config_slot *config)
{
    if (!slot->next_config)
        slot->next_config = mem_alloc(sizeof *slot->next_config);
    else
        config_slot_clear(slot->next_config);
    config_slot_copy(slot->next_config, config);
    if (slot->state == SLOT_EMPTY)
        apply_next_config(slot);
    else
        slot_eject(slot, ignore_done, NULL);
}

static void on_configured(void *arg, int status, const char *error)
{
    if (status != 0)
        log_error(arg, "the configured image was not inserted: %s", error);
}

void slot_insert_configured(struct slot *slot)
{
    struct slot_insert_options options = {.verify = -1, .writable = -1};
    if (slot->config.image && *slot->config.image)
        slot_insert(slot, slot->config.image, &options, on_configured, slot->config.name);
}
