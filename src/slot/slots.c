#include "slot/slots.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "slot/slot_internal.h"

#define BUDGET_MIN (4ull << 20)
#define BUDGET_MAX (64ull << 20)

struct slots {
    struct slot_shared shared; /* what its slots are given */
    struct link_watch *link_watch;
    struct links links; /* the links to the images' servers */
    char *file_directory, *upload_directory;
    struct slot_credentials credentials;
    struct state state;
    struct slots_watch *watch; /* NULL: nobody */
    struct slot *slots[CONFIG_SLOTS_MAX];
    unsigned count;
    unsigned alive; /* slots not freed yet, those being removed too */
    struct defer closed_defer;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* What clients may have in flight: a part of the cache's size, since replies
 * hold cached blocks until they are sent. */
static uint64_t budget_for(uint64_t cache_size)
{
    uint64_t part = cache_size / 4;
    return part < BUDGET_MIN ? BUDGET_MIN : part > BUDGET_MAX ? BUDGET_MAX : part;
}

/* --- what outlives the process --- */

static const char *tied(const struct slot *slot)
{
    return slot->tied ? slot->tied : pipeline_tied(slot->source, &slot->config);
}

static const struct slot_media *media_of(struct slot *slot)
{
    if (slot->state != SLOT_READY || !slot->wanted || !slot->source)
        return slot_restoring(slot); /* the medium that is still to be put in again, or NULL */
    struct slot_media *media = &slot->media;
    snprintf(media->slot, sizeof media->slot, "%s", slot->config.name);
    media->size = slot->source->size;
    media->device = slot->device.nbd.index;
    media->tied = tied(slot);
    mem_free(media->validator);
    media->validator = mem_strdup(slot->source->validator);
    return media;
}

static void slots_save_state(struct slots *set)
{
    const struct slot_media *media[CONFIG_SLOTS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < set->count; i++) {
        media[count] = media_of(set->slots[i]);
        count += media[count] != NULL;
    }
    state_save(&set->state, media, count);
}

/* --- what a slot tells --- */

static void on_slot_saves(struct slot_shared *shared)
{
    slots_save_state(container_of(shared, struct slots, shared));
}

static void on_slot_tells(struct slot_shared *shared, struct slot *slot, enum slot_change change)
{
    struct slots_watch *watch = container_of(shared, struct slots, shared)->watch;
    if (watch)
        watch->changed(watch, slot, change);
}

static void on_slot_gone(struct slot_shared *shared)
{
    struct slots *set = container_of(shared, struct slots, shared);
    if (--set->alive == 0 && set->shared.closing)
        defer_schedule(set->shared.loop, &set->closed_defer);
}

/* --- made --- */

static struct slot *slots_make(struct slots *set, unsigned index, const struct config_slot *config,
                               char error[CONFIG_ERROR_MAX])
{
    struct slot *slot = slot_new(&set->shared, index, config, error);
    set->alive += slot != NULL;
    return slot;
}

static bool slots_add(struct slots *set, const struct config_slot *config, char error[CONFIG_ERROR_MAX])
{
    struct slot *slot = slots_make(set, set->count, config, error);
    if (!slot)
        return false;
    set->slots[set->count++] = slot;
    return true;
}

static void slots_start(struct slots *set, struct slot *slot)
{
    slot_start(slot, state_find(&set->state, slot->config.name));
}

static void slots_ignore_closed(void *arg)
{
    (void)arg;
}

static void on_link_dead(void *arg, unsigned index)
{
    struct slots *set = arg;
    for (unsigned i = 0; i < set->count; i++) {
        struct slot *slot = set->slots[i];
        if (!slot_device_uses_kernel(slot) || slot->device.nbd.index != index || !slot->source)
            continue;
        slot->device.lost++;
        slot_step(slot);
    }
}

static void watch_links(struct slots *set)
{
    for (unsigned i = 0; i < set->count && !set->link_watch; i++)
        if (slot_device_uses_kernel(set->slots[i]))
            set->link_watch = link_watch_new(set->shared.loop, on_link_dead, set);
}

static void read_boot_id(char *id, size_t size)
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (!file || !fgets(id, (int)size, file))
        *id = '\0';
    if (file)
        fclose(file);
    id[strcspn(id, "\n")] = '\0';
}

static struct seed_facts machine_of(const struct config_host *host)
{
    const struct seed_wish configured = {.serial = host->serial, .uuid = host->uuid, .mac = host->mac};
    struct seed_facts facts = {.pending = false};
    facts.pending = *host->hook != '\0';
    seed_wish_facts(&configured, &facts);
    return facts;
}

/* The folders and credentials that each insert from now on goes by. */
static void use_context(struct slots *set, const struct config *config)
{
    slot_credentials_check(config);
    slot_credentials_read(&set->credentials, config);
    set->shared.context.credentials = &set->credentials;
    set->shared.context.machine = machine_of(&config->host);
    mem_free(set->file_directory);
    mem_free(set->upload_directory);
    profiles_use(set->shared.profiles, config->profile_directory);
    set->shared.context.file_directory = set->file_directory = mem_strdup(config->file_directory);
    set->shared.context.upload_directory = set->upload_directory = mem_strdup(config->web.upload_directory);
}

static void slots_share(struct slots *set, uv_loop_t *loop, const struct config *config, const struct kernel_ops *kernel)
{
    links_init(&set->links);
    set->shared = (struct slot_shared){
        .loop = loop,
        .kernel = kernel,
        .context = {.loop = loop,
                    .curl = curl_loop_new(loop),
                    .links = &set->links,
                    .cache = cache_new(config->cache_size, config->cache_slot_minimum)},
        .runtime_dir = mem_strdup(config->runtime_dir),
        .step_timeout_ms = config->step_timeout_ms,
        .budget.limit = budget_for(config->cache_size),
        .profiles = profiles_new(loop),
        .save = on_slot_saves,
        .tell = on_slot_tells,
        .gone = on_slot_gone,
    };
    list_init(&set->shared.budget.waiting);
}

struct slots *slots_new(uv_loop_t *loop, const struct config *config, const struct kernel_ops *kernel,
                        char error[CONFIG_ERROR_MAX])
{
    struct slots *set = mem_alloc(sizeof *set);
    state_load(&set->state, loop, config->runtime_dir, config->state_secrets);
    slots_share(set, loop, config, kernel);
    use_context(set, config);
    for (unsigned i = 0; i < config->slot_count; i++)
        if (!slots_add(set, &config->slots[i], error)) {
            slots_close(set, slots_ignore_closed, NULL);
            return NULL;
        }
    read_boot_id(set->shared.context.boot_id, sizeof set->shared.context.boot_id);
    watch_links(set);
    for (unsigned i = 0; i < set->count; i++)
        slots_start(set, set->slots[i]);
    return set;
}

unsigned slots_count(const struct slots *set)
{
    return set->count;
}

struct slot *slots_get(struct slots *set, unsigned index)
{
    return index < set->count ? set->slots[index] : NULL;
}

struct slot *slots_find(struct slots *set, const char *name)
{
    uint64_t index;
    if (text_parse_uint(name, &index))
        return index < set->count ? set->slots[index] : NULL;
    for (unsigned i = 0; i < set->count; i++)
        if (strcmp(set->slots[i]->config.name, name) == 0)
            return set->slots[i];
    return NULL;
}

bool slots_use_upload(struct slots *set, const char *name)
{
    bool used = false;
    for (unsigned i = 0; i < set->count && !used; i++) {
        const char *url = set->slots[i]->media.url;
        char *upload = url && pipeline_is_upload(url) ? pipeline_upload_name(url) : NULL;
        used = upload && strcmp(upload, name) == 0;
        mem_free(upload);
    }
    return used;
}

struct cache *slots_cache(struct slots *set)
{
    return set->shared.context.cache;
}

/* --- who looks, and who knows --- */

void slots_set_machine(struct slots *set, void (*tells)(void *arg, struct seed_facts *facts), void *arg)
{
    set->shared.context.machine_tells = tells;
    set->shared.context.machine_arg = arg;
}

void slots_set_watch(struct slots *set, struct slots_watch *watch)
{
    set->watch = watch;
}

/* --- reload --- */

/* What a reload does with one configured slot. */
struct reload_slot {
    const struct config_slot *config;
    struct slot *slot;         /* NULL: new */
    bool changed;
    char *socket;              /* a path that differs from the old one, or NULL */
    struct listener *listener; /* on that path, or NULL */
};

static bool same_socket(const struct slot *slot, const struct config_slot *config, const char *path)
{
    const char *old = slot->config.socket_group, *new = config->socket_group;
    return strcmp(slot->socket, path) == 0 && slot->config.socket_mode == config->socket_mode &&
           strcmp(old ? old : "", new ? new : "") == 0;
}

/* First everything that can fail: the sockets. */
static bool reload_prepare(struct slots *set, struct reload_slot *plan, unsigned index,
                           const struct config_slot *config, char error[CONFIG_ERROR_MAX])
{
    plan->config = config;
    plan->slot = slots_find(set, config->name);
    if (!plan->slot) {
        plan->slot = slots_make(set, index, config, error);
        plan->changed = false;
        plan->socket = NULL;
        plan->listener = NULL;
        return plan->slot;
    }
    bool moves = plan->slot->index != index && slot_device_uses_kernel(plan->slot); /* another device by default */
    const struct config_slot *now = plan->slot->next_config ? plan->slot->next_config : &plan->slot->config;
    plan->changed = moves || !config_slot_equal(now, config);
    if (plan->changed && strcmp(now->usb.gadget, config->usb.gadget) != 0) {
        snprintf(error, CONFIG_ERROR_MAX, "slot %s: usb-gadget can't change while the daemon runs (restart it)", config->name);
        return false;
    }
    char *path = slot_socket_path(config, set->shared.runtime_dir);
    if (!plan->changed || same_socket(plan->slot, config, path)) {
        mem_free(path);
        return true;
    }
    if (strcmp(path, plan->slot->socket) == 0) {
        snprintf(error, CONFIG_ERROR_MAX, "slot %s: mode and group of a socket in use can't change (restart the daemon)",
                 config->name);
        mem_free(path);
        return false;
    }
    plan->socket = path;
    plan->listener = slot_listen(plan->slot, config, path, error);
    return plan->listener;
}

static void reload_undo(struct slots *set, struct reload_slot *plans, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (plans[i].listener)
            listener_close(plans[i].listener);
        mem_free(plans[i].socket);
        bool is_new = plans[i].slot;
        for (unsigned j = 0; j < set->count; j++)
            is_new = is_new && set->slots[j] != plans[i].slot;
        if (is_new)
            slot_leave(plans[i].slot);
    }
}

static void reload_apply_one(struct slots *set, struct reload_slot *plan, bool is_new)
{
    struct slot *slot = plan->slot;
    if (plan->listener) {
        listener_close(slot->listener);
        mem_free(slot->socket);
        slot->listener = plan->listener;
        slot->socket = plan->socket;
    }
    if (is_new)
        slots_start(set, slot);
    else if (plan->changed)
        slot_reconfigure(slot, plan->config);
}

static void reload_apply(struct slots *set, struct reload_slot *plans, unsigned count)
{
    struct slot *old[CONFIG_SLOTS_MAX];
    unsigned old_count = set->count;
    memcpy(old, set->slots, sizeof old);
    set->count = count;
    for (unsigned i = 0; i < count; i++) {
        bool is_new = true;
        for (unsigned j = 0; j < old_count; j++)
            if (old[j] == plans[i].slot) {
                is_new = false;
                old[j] = NULL;
            }
        set->slots[i] = plans[i].slot;
        plans[i].slot->index = i;
        nbd_server_set_number(plans[i].slot->server, i);
        reload_apply_one(set, &plans[i], is_new);
    }
    for (unsigned j = 0; j < old_count; j++)
        if (old[j])
            slot_leave(old[j]);
}

int slots_reload(struct slots *set, const struct config *config, char error[CONFIG_ERROR_MAX])
{
    struct reload_slot plans[CONFIG_SLOTS_MAX] = {0};
    for (unsigned i = 0; i < config->slot_count; i++)
        if (!reload_prepare(set, &plans[i], i, &config->slots[i], error)) {
            reload_undo(set, plans, i + 1);
            return -EINVAL;
        }
    reload_apply(set, plans, config->slot_count);
    use_context(set, config);
    set->shared.budget.limit = budget_for(config->cache_size);
    set->shared.step_timeout_ms = config->step_timeout_ms;
    set->state.secrets = config->state_secrets;
    watch_links(set);
    cache_resize(set->shared.context.cache, config->cache_size, config->cache_slot_minimum);
    return 0;
}

/* --- what outlives the process --- */

bool slots_may_keep(const struct slots *set, char error[CONFIG_ERROR_MAX])
{
    for (unsigned i = 0; i < set->count; i++) {
        const struct slot *slot = set->slots[i];
        const char *why = slot->state == SLOT_READY ? tied(slot) : NULL;
        if (!why)
            continue;
        snprintf(error, CONFIG_ERROR_MAX, "%s: the medium can't be kept: %s (eject it first)", slot->config.name, why);
        return false;
    }
    return true;
}

void slots_keep(struct slots *set, void (*kept)(void *arg), void *arg)
{
    slots_save_state(set);
    state_flush(&set->state, kept, arg);
}

/* --- the end --- */

static void on_curl_closed(void *arg)
{
    struct slots *set = arg;
    void (*closed)(void *arg) = set->closed;
    void *closed_arg = set->closed_arg;
    cache_free(set->shared.context.cache);
    state_free(&set->state);
    mem_free(set->file_directory);
    slot_credentials_clear(&set->credentials);
    mem_free(set->upload_directory);
    mem_free(set->shared.runtime_dir);
    mem_free(set);
    closed(closed_arg);
}

static void on_state_written(void *arg)
{
    struct slots *set = arg;
    curl_loop_close(set->shared.context.curl, on_curl_closed, set);
}

static void on_profiles_kept(void *arg)
{
    struct slots *set = arg;
    state_flush(&set->state, on_state_written, set);
}

static void on_all_gone(struct defer *defer)
{
    struct slots *set = container_of(defer, struct slots, closed_defer);
    link_watch_close(set->link_watch);
    profiles_close(set->shared.profiles, on_profiles_kept, set);
}

void slots_close(struct slots *set, void (*closed)(void *arg), void *arg)
{
    set->shared.closing = true;
    set->closed = closed;
    set->closed_arg = arg;
    defer_setup(&set->closed_defer, on_all_gone);
    if (set->alive == 0)
        defer_schedule(set->shared.loop, &set->closed_defer);
    unsigned count = set->count;
    set->count = 0; /* so the state file is written as one without media */
    slots_save_state(set);
    for (unsigned i = 0; i < count; i++)
        slot_leave(set->slots[i]);
}
