#include "api/bmcweb/bmcweb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/bmcweb/internal.h"
#include "base/log.h"
#include "base/text.h"

/* --- the folder --- */

void bmcweb_folder(const struct config *config, char *path, size_t size)
{
    if (*config->dbus.proxy_directory)
        snprintf(path, size, "%s", config->dbus.proxy_directory);
    else
        snprintf(path, size, "%s/proxy", config->runtime_dir);
}

/* A folder that somebody else has made keeps its mode: it may serve others too. */
static bool make_directory(const char *path, bool ours, mode_t mode)
{
    struct stat st;
    ours = mkdir(path, 0700) == 0 || ours;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fstat(fd, &st) == 0 && (!ours || (st.st_mode & 0777) == mode || fchmod(fd, mode) == 0);
    int status = errno;
    if (fd >= 0)
        close(fd);
    errno = status;
    return good;
}

int bmcweb_prepare(const struct config *config, char error[CONFIG_ERROR_MAX])
{
    char path[100];
    bmcweb_folder(config, path, sizeof path);
    if (make_directory(path, !*config->dbus.proxy_directory, (mode_t)config->dbus.proxy_mode))
        return 0;
    snprintf(error, CONFIG_ERROR_MAX, "dbus: proxy-directory %s: %s", path, strerror(errno));
    return -1;
}

/* --- which objects --- */

static void set_device(struct bmcweb_facts *facts, const struct config_slot *config, struct slot *slot)
{
    struct slot_status s;
    slot_get_status(slot, &s);
    if (s.attach == ATTACH_SOCKET)
        return;
    if (*config->device)
        text_url_name(config->device, facts->device, sizeof facts->device);
    else
        snprintf(facts->device, sizeof facts->device, "nbd%u", s.index);
}

static void bmcweb_set_facts(struct bmcweb *bmcweb, struct bmcweb_facts *facts, const struct config *config,
                             enum bmcweb_kind kind, unsigned index)
{
    char directory[100];
    bool after = kind == BMCWEB_LEGACY && config->dbus.legacy_numbers == LEGACY_NUMBERS_AFTER;
    memset(facts, 0, sizeof *facts); /* they are compared as bytes */
    facts->kind = kind;
    facts->number = after ? config->slot_count + index : index;
    facts->timeout_s = (int)(config->dbus.mount_timeout_ms / 1000);
    snprintf(facts->slot, sizeof facts->slot, "%s", config->slots[index].name);
    set_device(facts, &config->slots[index], slots_get(bmcweb->slots, index));
    if (kind != BMCWEB_PROXY)
        return;
    bmcweb_folder(config, directory, sizeof directory);
    snprintf(facts->endpoint, sizeof facts->endpoint, "/nbd/%u", index);
    snprintf(facts->socket, sizeof facts->socket, "%s/Slot_%u.sock", directory, index);
}

/* Takes the object with those facts out of the old ones; NULL: none has them. */
static struct bmcweb_object *take_same(struct bmcweb_object **old, unsigned count, const struct bmcweb_facts *facts)
{
    for (unsigned i = 0; i < count; i++) {
        struct bmcweb_object *object = old[i];
        if (!object || memcmp(&object->facts, facts, sizeof *facts) != 0)
            continue;
        old[i] = NULL;
        return object;
    }
    return NULL;
}

static void remove_object(struct bmcweb_object *object)
{
    sd_bus *connection = bus_connection(object->bmcweb->bus);
    if (connection && object->registered[0])
        sd_bus_emit_object_removed(connection, object->path);
    bmcweb_object_unregister(object);
    bmcweb_object_free(object);
}

static void add_object(struct bmcweb_object *object)
{
    sd_bus *connection = bus_connection(object->bmcweb->bus);
    if (!connection || object->registered[0])
        return;
    bmcweb_object_register(object, connection);
    sd_bus_emit_object_added(connection, object->path);
}

void bmcweb_reload(struct bmcweb *bmcweb, const struct config *config)
{
    struct bmcweb_object *old[BMCWEB_KINDS * CONFIG_SLOTS_MAX];
    unsigned old_count = bmcweb->count;
    struct bmcweb_facts facts[BMCWEB_KINDS * CONFIG_SLOTS_MAX];
    memcpy(old, bmcweb->objects, sizeof old);
    bmcweb->local_files = *config->file_directory;
    bmcweb->count = 0;
    for (unsigned kind = 0; kind < BMCWEB_KINDS; kind++)
        for (unsigned i = 0; i < config->slot_count; i++, bmcweb->count++) {
            bmcweb_set_facts(bmcweb, &facts[bmcweb->count], config, kind, i);
            bmcweb->objects[bmcweb->count] = take_same(old, old_count, &facts[bmcweb->count]);
        }
    for (unsigned i = 0; i < old_count; i++) /* before the new ones are registered, which may have the same path */
        if (old[i])
            remove_object(old[i]);
    for (unsigned i = 0; i < bmcweb->count; i++) {
        if (!bmcweb->objects[i])
            bmcweb->objects[i] = bmcweb_object_new(bmcweb, &facts[i]);
        add_object(bmcweb->objects[i]);
    }
}

/* --- the bus --- */

static void bmcweb_refresh(struct bmcweb *bmcweb)
{
    for (unsigned i = 0; i < bmcweb->count; i++)
        bmcweb_object_refresh(bmcweb->objects[i]);
}

/* GetManagedObjects shows all of them. */
static int on_root_call(sd_bus_message *call, void *arg, sd_bus_error *error)
{
    (void)call;
    (void)error;
    bmcweb_refresh(arg);
    return 0;
}

static void on_bmcweb_up(struct bus_user *user, sd_bus *connection)
{
    struct bmcweb *bmcweb = container_of(user, struct bmcweb, user);
    if (sd_bus_add_object(connection, &bmcweb->root, BMCWEB_ROOT, on_root_call, bmcweb) < 0 ||
        sd_bus_add_object_manager(connection, &bmcweb->manager, BMCWEB_ROOT) < 0)
        log_error("dbus", "the objects can't be made");
    bmcweb_refresh(bmcweb);
    for (unsigned i = 0; i < bmcweb->count; i++)
        bmcweb_object_register(bmcweb->objects[i], connection);
}

static void unregister(struct bmcweb *bmcweb)
{
    for (unsigned i = 0; i < bmcweb->count; i++)
        bmcweb_object_unregister(bmcweb->objects[i]);
    bmcweb->manager = sd_bus_slot_unref(bmcweb->manager);
    bmcweb->root = sd_bus_slot_unref(bmcweb->root);
}

static void on_bmcweb_down(struct bus_user *user)
{
    struct bmcweb *bmcweb = container_of(user, struct bmcweb, user);
    bmcweb_ops_down(bmcweb);
    unregister(bmcweb);
}

static void on_bmcweb_tick(uv_timer_t *timer)
{
    struct bmcweb *bmcweb = timer->data;
    bmcweb_ops_tick(bmcweb);
    bmcweb_turned_tick(bmcweb);
    bmcweb_refresh(bmcweb);
}

/* --- life --- */

struct bmcweb *bmcweb_new(uv_loop_t *loop, struct bus *bus, const struct config *config, struct slots *slots)
{
    struct bmcweb *bmcweb = mem_alloc(sizeof *bmcweb);
    bmcweb->loop = loop;
    bmcweb->bus = bus;
    bmcweb->slots = slots;
    bmcweb->user.up = on_bmcweb_up;
    bmcweb->user.down = on_bmcweb_down;
    list_init(&bmcweb->ops);
    list_init(&bmcweb->turned);
    uv_timer_init(loop, &bmcweb->tick);
    bmcweb->tick.data = bmcweb;
    uv_timer_start(&bmcweb->tick, on_bmcweb_tick, BMCWEB_TICK_MS, BMCWEB_TICK_MS);
    uv_unref((uv_handle_t *)&bmcweb->tick);
    bmcweb_reload(bmcweb, config);
    bus_add_user(bus, &bmcweb->user);
    return bmcweb;
}

void bmcweb_op_gone(struct bmcweb *bmcweb)
{
    if (!bmcweb->handles_closed || !list_empty(&bmcweb->ops) || !list_empty(&bmcweb->turned))
        return;
    void (*closed)(void *arg) = bmcweb->closed;
    void *arg = bmcweb->closed_arg;
    mem_free(bmcweb);
    closed(arg);
}

static void on_bmcweb_handles_closed(struct closing *closing)
{
    struct bmcweb *bmcweb = container_of(closing, struct bmcweb, handles);
    bmcweb->handles_closed = true;
    bmcweb_op_gone(bmcweb);
}

void bmcweb_close(struct bmcweb *bmcweb, void (*closed)(void *arg), void *arg)
{
    bmcweb->closed = closed;
    bmcweb->closed_arg = arg;
    bmcweb_ops_stop(bmcweb);
    bmcweb_turned_stop(bmcweb);
    unregister(bmcweb);
    bus_remove_user(bmcweb->bus, &bmcweb->user);
    for (unsigned i = 0; i < bmcweb->count; i++)
        bmcweb_object_free(bmcweb->objects[i]);
    bmcweb->count = 0;
    closing_begin(&bmcweb->handles, bmcweb->loop, on_bmcweb_handles_closed);
    closing_add(&bmcweb->handles, (uv_handle_t *)&bmcweb->tick);
    closing_end(&bmcweb->handles);
}
