/* An object of the service for bmcweb: its interfaces and properties. See internal.h. */
#include <stdio.h>
#include <string.h>

#include "api/bmcweb/internal.h"
#include "api/json.h"
#include "base/log.h"
#include "base/text.h"

#define PROCESS     BMCWEB_PREFIX "Process"
#define MOUNT_POINT BMCWEB_PREFIX "MountPoint"
#define OWN(field)  offsetof(struct bmcweb_object, field)

const char *const bmcweb_interfaces[BMCWEB_KINDS] = {
    [BMCWEB_PROXY] = BMCWEB_PREFIX "Proxy",
    [BMCWEB_LEGACY] = BMCWEB_PREFIX "Legacy",
};

/* Some tools write every property that has a setter; these say no instead of nothing. */
static int on_set(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *value,
                  void *object, sd_bus_error *error)
{
    (void)bus, (void)path, (void)interface, (void)value, (void)object;
    return sd_bus_error_set_errnof(error, EPERM, "Setting %s property is not allowed", property);
}

/* OpenBMC's daemon accepts a value here and does nothing. */
static int on_set_active(sd_bus *bus, const char *path, const char *interface, const char *property,
                         sd_bus_message *value, void *object, sd_bus_error *error)
{
    (void)bus, (void)path, (void)interface, (void)property, (void)object, (void)error;
    return sd_bus_message_skip(value, "b"); /* sd-bus wants it read */
}

static const sd_bus_vtable process_table[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_WRITABLE_PROPERTY("Active", "b", NULL, on_set_active, OWN(view.active), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("ExitCode", "i", NULL, OWN(view.exit_code), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_VTABLE_END,
};

static const sd_bus_vtable mount_point_table[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_PROPERTY("Device", "s", NULL, OWN(device), SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("EndpointId", "s", NULL, OWN(endpoint), SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Socket", "s", NULL, OWN(socket), SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Timeout", "i", NULL, OWN(facts.timeout_s), SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_WRITABLE_PROPERTY("ImageURL", "s", NULL, on_set, OWN(view.image), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("WriteProtected", "b", NULL, OWN(view.write_protected), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_WRITABLE_PROPERTY("RemainingInactivityTimeout", "i", NULL, on_set, OWN(idle_left_s), 0),
    SD_BUS_VTABLE_END,
};

static const sd_bus_vtable proxy_table[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD("Mount", "", "b", bmcweb_mount_proxy, 0),
    SD_BUS_METHOD("Unmount", "", "b", bmcweb_unmount, 0),
    SD_BUS_SIGNAL("Completion", "i", 0),
    SD_BUS_VTABLE_END,
};

/* Mount is for introspection: on_call() comes before, since callers also send "sbh". */
static const sd_bus_vtable legacy_table[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD("Mount", "sbv", "b", bmcweb_mount_legacy, 0),
    SD_BUS_METHOD("Unmount", "", "b", bmcweb_unmount, 0),
    SD_BUS_SIGNAL("Completion", "i", 0),
    SD_BUS_VTABLE_END,
};

/* Sees every call of the object before the tables do, so that the properties they show are fresh. */
static int on_bmcweb_object_call(sd_bus_message *call, void *arg, sd_bus_error *error)
{
    struct bmcweb_object *object = arg;
    bmcweb_object_refresh(object);
    if (object->facts.kind == BMCWEB_LEGACY &&
        sd_bus_message_is_method_call(call, bmcweb_interfaces[BMCWEB_LEGACY], "Mount") > 0)
        return bmcweb_mount_legacy(call, object, error);
    return 0;
}

/* --- what the slot has --- */

static bool bmcweb_object_is_ours(const struct bmcweb_object *object, const struct slot_status *s)
{
    return s->via == (object->facts.kind == BMCWEB_PROXY ? SLOT_VIA_BROWSER : SLOT_VIA_URL);
}

static bool bmcweb_object_look(const struct bmcweb_object *object, struct slot_status *s)
{
    struct slot *slot = slots_find(object->bmcweb->slots, object->facts.slot);
    if (slot)
        slot_get_status(slot, s);
    return slot;
}

enum bmcweb_state bmcweb_object_state(const struct bmcweb_object *object)
{
    struct slot_status s;
    if (!bmcweb_object_look(object, &s))
        return BMCWEB_OTHER;
    if (object->unmount)
        return BMCWEB_DEACTIVATING;
    if (s.state == SLOT_EMPTY)
        return object->mount ? BMCWEB_ACTIVATING : BMCWEB_IDLE;
    if (!bmcweb_object_is_ours(object, &s))
        return BMCWEB_OTHER;
    if (s.state == SLOT_READY)
        return s.waiting ? BMCWEB_WAITING : BMCWEB_ACTIVE;
    return s.state < SLOT_READY ? BMCWEB_ACTIVATING : BMCWEB_DEACTIVATING;
}

/* A bus drops a connection that sends a text that is not UTF-8. */
static char *valid_text(const char *text)
{
    json_t *valid = api_text(text);
    char *copy = mem_strdup(json_string_value(valid));
    json_decref(valid);
    return copy;
}

static struct bmcweb_view view_of(const struct bmcweb_object *object, const struct slot_status *s, bool in)
{
    struct bmcweb_view view = {.write_protected = 1, .exit_code = object->view.exit_code};
    view.active = in && s->state == SLOT_READY;
    if (view.active)
        view.write_protected = !s->writable;
    if (in && !object->was_in)
        view.exit_code = -1;
    else if (!in && object->was_in)
        view.exit_code = *s->error != '\0';
    view.image = valid_text(in && object->facts.kind == BMCWEB_LEGACY ? s->image : "");
    return view;
}

static void tell(struct bmcweb_object *object, const char *interface, char *first, char *second)
{
    char *names[] = {first ? first : second, first ? second : NULL, NULL};
    sd_bus *connection = names[0] ? bus_connection(object->bmcweb->bus) : NULL;
    if (connection && object->registered[0])
        sd_bus_emit_properties_changed_strv(connection, object->path, interface, names);
}

void bmcweb_object_refresh(struct bmcweb_object *object)
{
    static char active[] = "Active", exit_code[] = "ExitCode", image[] = "ImageURL", protected[] = "WriteProtected";
    struct slot_status s = {.error = ""};
    bool in = bmcweb_object_look(object, &s) && s.state != SLOT_EMPTY && bmcweb_object_is_ours(object, &s);
    struct bmcweb_view old = object->view;
    object->view = view_of(object, &s, in);
    object->was_in = in;
    const struct bmcweb_view *new = &object->view;
    tell(object, PROCESS, new->active != old.active ? active : NULL,
         new->exit_code != old.exit_code ? exit_code : NULL);
    tell(object, MOUNT_POINT, strcmp(new->image, old.image) != 0 ? image : NULL,
         new->write_protected != old.write_protected ? protected : NULL);
    mem_free(old.image);
}

/* --- life --- */

struct bmcweb_object *bmcweb_object_new(struct bmcweb *bmcweb, const struct bmcweb_facts *facts)
{
    static const char *const folders[] = {[BMCWEB_PROXY] = "Proxy", [BMCWEB_LEGACY] = "Legacy"};
    struct bmcweb_object *object = mem_alloc(sizeof *object);
    object->bmcweb = bmcweb;
    object->facts = *facts;
    snprintf(object->path, sizeof object->path, BMCWEB_ROOT "/%s/Slot_%u", folders[facts->kind], facts->number);
    object->device = object->facts.device;
    object->endpoint = object->facts.endpoint;
    object->socket = object->facts.socket;
    object->view = (struct bmcweb_view){.write_protected = 1, .exit_code = -1, .image = mem_strdup("")};
    bmcweb_object_refresh(object);
    return object;
}

void bmcweb_object_free(struct bmcweb_object *object)
{
    bmcweb_ops_forget(object);
    bmcweb_turned_forget(object);
    mem_free(object->view.image);
    mem_free(object);
}

void bmcweb_object_register(struct bmcweb_object *object, sd_bus *connection)
{
    static const sd_bus_vtable *const own[] = {[BMCWEB_PROXY] = proxy_table, [BMCWEB_LEGACY] = legacy_table};
    enum bmcweb_kind kind = object->facts.kind;
    sd_bus_slot **slots = object->registered;
    if (sd_bus_add_object(connection, &slots[0], object->path, on_bmcweb_object_call, object) < 0 ||
        sd_bus_add_object_vtable(connection, &slots[1], object->path, PROCESS, process_table, object) < 0 ||
        sd_bus_add_object_vtable(connection, &slots[2], object->path, MOUNT_POINT, mount_point_table, object) < 0 ||
        sd_bus_add_object_vtable(connection, &slots[3], object->path, bmcweb_interfaces[kind], own[kind], object) < 0)
        log_error("dbus", "the object %s can't be made", object->path);
}

void bmcweb_object_unregister(struct bmcweb_object *object)
{
    for (unsigned i = 0; i < sizeof object->registered / sizeof object->registered[0]; i++)
        object->registered[i] = sd_bus_slot_unref(object->registered[i]);
}
