/* How a slot is made, changed by a reload, and removed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "slot/slot_internal.h"

/* --- its socket --- */

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
    struct listener *listener = listener_new(slot->shared->loop, &options, on_client, slot, &status, why, sizeof why);
    if (!listener)
        snprintf(error, CONFIG_ERROR_MAX, "%s: %s", config->name, why);
    return listener;
}

/* --- made --- */

struct slot *slot_new(struct slot_shared *shared, unsigned index, const struct config_slot *config, char error[CONFIG_ERROR_MAX])
{
    struct slot *slot = mem_alloc(sizeof *slot);
    slot->shared = shared;
    slot->index = index;
    slot_requests_init(&slot->inserting);
    slot_requests_init(&slot->ejecting);
    config_slot_copy(&slot->config, config);
    slot->socket = slot_socket_path(config, shared->runtime_dir);
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
        .budget = &shared->budget,
        .read_done = slot_read_done,
        .arg = slot,
    };
    slot->server = nbd_server_new(shared->loop, &options);
    nbd_server_set_number(slot->server, index);
    uv_timer_init(shared->loop, &slot->tick);
    uv_timer_init(shared->loop, &slot->stay_timer);
    uv_timer_init(shared->loop, &slot->used_timer);
    uv_timer_init(shared->loop, &slot->retry.timer);
    uv_timer_init(shared->loop, &slot->look_timer);
    slot->tick.data = slot->stay_timer.data = slot->used_timer.data = slot->retry.timer.data = slot->look_timer.data = slot;
    slot_device_setup(slot);
    return slot;
}

/* --- changed --- */

static void apply_next_config(struct slot *slot)
{
    config_slot_clear(&slot->config);
    slot->config = *slot->next_config;
    mem_free(slot->next_config);
    slot->next_config = NULL;
    slot_device_setup(slot);
    slot_retry_configured(slot);
    slot_settle(slot);
}

/* The medium that is in, or going in, goes first; the slot's own change comes after that. */
static void slot_empty_first(struct slot *slot)
{
    slot_retry_cancel(slot);
    slot_replace_give_up(slot, "the insert was given up: the slot changes");
    slot_preview_give_up(slot);
    if (slot->state == SLOT_EMPTY)
        slot_step(slot);
    else
        slot_eject(slot, slot_ignore_done, NULL);
}

void slot_reconfigure(struct slot *slot, const struct config_slot *config)
{
    if (!slot->next_config)
        slot->next_config = mem_alloc(sizeof *slot->next_config);
    else
        config_slot_clear(slot->next_config);
    config_slot_copy(slot->next_config, config);
    slot_empty_first(slot);
}

/* --- removed --- */

static void on_slot_closed(struct closing *closing)
{
    struct slot *slot = container_of(closing, struct slot, closing);
    struct slot_shared *shared = slot->shared;
    config_slot_clear(&slot->config);
    if (slot->next_config)
        config_slot_clear(slot->next_config);
    mem_free(slot->next_config);
    mem_free(slot->socket);
    mem_free(slot->report);
    mem_free(slot);
    shared->gone(shared);
}

static void on_server_closed(void *arg)
{
    struct slot *slot = arg;
    closing_begin(&slot->closing, slot->shared->loop, on_slot_closed);
    closing_add(&slot->closing, (uv_handle_t *)&slot->tick);
    closing_add(&slot->closing, (uv_handle_t *)&slot->stay_timer);
    closing_add(&slot->closing, (uv_handle_t *)&slot->used_timer);
    closing_add(&slot->closing, (uv_handle_t *)&slot->retry.timer);
    closing_add(&slot->closing, (uv_handle_t *)&slot->look_timer);
    closing_end(&slot->closing);
}

static void finish_leaving(struct slot *slot)
{
    if (!slot->listener)
        return; /* the server is closing already */
    listener_close(slot->listener);
    slot->listener = NULL;
    nbd_server_close(slot->server, on_server_closed, slot);
}

/* What is ours in the kernel is removed before the slot goes, or its configuration changes. */
void slot_settle(struct slot *slot)
{
    struct slot_device *device = &slot->device;
    if (device->running || slot->source || slot->replacement.source || slot->profile_searches > 0 || slot->preview)
        return;
    bool going = slot->leaving || slot->next_config;
    if (going && device->touched)
        slot_device_start(slot, JOB_REMOVE);
    else if (slot->leaving)
        finish_leaving(slot);
    else if (slot->next_config)
        apply_next_config(slot);
    else if (!device->swept && !device->unsweepable && !slot->retry.device_waits && slot_device_uses_kernel(slot))
        slot_device_start(slot, JOB_PREPARE);
}

void slot_leave(struct slot *slot)
{
    slot->leaving = true;
    slot_empty_first(slot);
}
