#include "host/openbmc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/closing.h"
#include "base/text.h"
#include "dbus/bus.h"

#define XYZ        "xyz.openbmc_project."
#define STATE      "/xyz/openbmc_project/state/"
#define BOOT       "/xyz/openbmc_project/control/host0/boot"
#define PROPERTIES "org.freedesktop.DBus.Properties"

struct place {
    const char *service, *path, *interface, *property;
    bool flag; /* the property is a boolean, else a string */
};

static const struct place host_state = {XYZ "State.Host", STATE "host0", XYZ "State.Host", "CurrentHostState", false};
static const struct place transition = {XYZ "State.Host", STATE "host0", XYZ "State.Host", "RequestedHostTransition",
                                        false};
static const struct place power_transition = {XYZ "State.Chassis", STATE "chassis0", XYZ "State.Chassis",
                                              "RequestedPowerTransition", false};
static const struct place boot_source = {XYZ "Settings", BOOT, XYZ "Control.Boot.Source", "BootSource", false};
static const struct place boot_mode = {XYZ "Settings", BOOT, XYZ "Control.Boot.Mode", "BootMode", false};
static const struct place boot_type = {XYZ "Settings", BOOT, XYZ "Control.Boot.Type", "BootType", false};
static const struct place boot_enabled = {XYZ "Settings", BOOT, XYZ "Object.Enable", "Enabled", true};
static const struct place boot_once = {XYZ "Settings", BOOT "/one_time", XYZ "Object.Enable", "Enabled", true};

struct openbmc;

struct step {
    const struct place *place;
    const char *text; /* what to write; with neither this nor `write` the property is read */
    bool write, yes;
    bool optional; /* a platform may be without it */
    void (*take)(struct openbmc *o, const char *text, bool yes);
};

struct openbmc {
    struct host_backend backend;
    uv_loop_t *loop;
    struct bus *bus;
    struct bus_user user;
    struct bus_call call;
    uv_timer_t timer; /* runs while there is no bus; also ends a request outside of the call */
    int refusal;      /* the status with which the timer ends the request */
    uint64_t timeout_ms, deadline;
    bool waiting, cancelled;
    struct step steps[OPENBMC_CALLS_MAX];
    unsigned count, at;
    struct host_state state;
    bool has_source, has_mode, enabled;
    struct closing closing;
};

/* --- OpenBMC's words and Redfish's --- */

static const struct {
    const char *name;
    enum host_power power;
} powers[] = {
    {"Running", HOST_POWER_ON},
    {"Quiesced", HOST_POWER_ON},
    {"DiagnosticMode", HOST_POWER_ON},
    {"TransitioningToRunning", HOST_POWER_POWERING_ON},
    {"TransitioningToOff", HOST_POWER_POWERING_OFF},
    {"Standby", HOST_POWER_OFF},
    {"Off", HOST_POWER_OFF},
};

static const struct {
    enum host_reset reset;
    const struct place *place;
    const char *value;
} resets[] = {
    {HOST_RESET_ON, &transition, XYZ "State.Host.Transition.On"},
    {HOST_RESET_FORCE_ON, &transition, XYZ "State.Host.Transition.On"},
    {HOST_RESET_FORCE_OFF, &power_transition, XYZ "State.Chassis.Transition.Off"},
    {HOST_RESET_GRACEFUL_SHUTDOWN, &transition, XYZ "State.Host.Transition.Off"},
    {HOST_RESET_GRACEFUL_RESTART, &transition, XYZ "State.Host.Transition.GracefulWarmReboot"},
    {HOST_RESET_FORCE_RESTART, &transition, XYZ "State.Host.Transition.ForceWarmReboot"},
    {HOST_RESET_POWER_CYCLE, &transition, XYZ "State.Host.Transition.Reboot"},
};

/* A target is a source, or a mode with the source Default. */
static const struct {
    enum host_target target;
    const char *source, *mode;
} targets[] = {
    {HOST_TARGET_NONE, XYZ "Control.Boot.Source.Sources.Default", XYZ "Control.Boot.Mode.Modes.Regular"},
    {HOST_TARGET_PXE, XYZ "Control.Boot.Source.Sources.Network", XYZ "Control.Boot.Mode.Modes.Regular"},
    {HOST_TARGET_HDD, XYZ "Control.Boot.Source.Sources.Disk", XYZ "Control.Boot.Mode.Modes.Regular"},
    {HOST_TARGET_CD, XYZ "Control.Boot.Source.Sources.ExternalMedia", XYZ "Control.Boot.Mode.Modes.Regular"},
    {HOST_TARGET_USB, XYZ "Control.Boot.Source.Sources.RemovableMedia", XYZ "Control.Boot.Mode.Modes.Regular"},
    {HOST_TARGET_DIAGS, XYZ "Control.Boot.Source.Sources.Default", XYZ "Control.Boot.Mode.Modes.Safe"},
    {HOST_TARGET_BIOS_SETUP, XYZ "Control.Boot.Source.Sources.Default", XYZ "Control.Boot.Mode.Modes.Setup"},
};
#define TARGETS (sizeof targets / sizeof *targets)

#define TYPE_LEGACY XYZ "Control.Boot.Type.Types.Legacy"
#define TYPE_EFI    XYZ "Control.Boot.Type.Types.EFI"

/* --- what is read --- */

static void take_host_state(struct openbmc *o, const char *text, bool yes)
{
    const char *name = strrchr(text, '.');
    (void)yes;
    for (size_t i = 0; name && i < sizeof powers / sizeof *powers; i++)
        if (strcmp(powers[i].name, name + 1) == 0)
            o->state.power = powers[i].power;
    for (size_t i = 0; i < sizeof resets / sizeof *resets; i++)
        o->state.resets |= 1u << resets[i].reset;
}

static void take_source(struct openbmc *o, const char *text, bool yes)
{
    (void)yes;
    o->has_source = true;
    for (size_t i = 0; i < TARGETS; i++)
        if (strcmp(targets[i].source, text) == 0) {
            o->state.boot.target = targets[i].target;
            return; /* the first target whose source is Default is None */
        }
}

static void openbmc_take_mode(struct openbmc *o, const char *text, bool yes)
{
    (void)yes;
    o->has_mode = true;
    for (size_t i = 0; i < TARGETS; i++)
        if (strcmp(targets[i].mode, text) == 0 && strcmp(text, targets[0].mode) != 0)
            o->state.boot.target = targets[i].target;
}

static void take_type(struct openbmc *o, const char *text, bool yes)
{
    (void)yes;
    o->state.modes = 1u << HOST_MODE_UEFI | 1u << HOST_MODE_LEGACY;
    o->state.boot.mode = strcmp(text, TYPE_LEGACY) == 0 ? HOST_MODE_LEGACY : HOST_MODE_UEFI;
}

static void take_enabled(struct openbmc *o, const char *text, bool yes)
{
    (void)text;
    if (!o->has_source || !o->has_mode)
        return;
    for (size_t i = 0; i < TARGETS; i++)
        o->state.targets |= 1u << targets[i].target;
    o->enabled = yes;
    o->state.boot.enabled = yes ? HOST_CONTINUOUS : HOST_DISABLED;
}

static void take_once(struct openbmc *o, const char *text, bool yes)
{
    (void)text;
    if (o->enabled && yes)
        o->state.boot.enabled = HOST_ONCE;
}

/* --- the rows of calls --- */

static void add_read(struct openbmc *o, const struct place *place, bool optional,
                     void (*take)(struct openbmc *, const char *, bool))
{
    o->steps[o->count++] = (struct step){.place = place, .optional = optional, .take = take};
}

static void add_text(struct openbmc *o, const struct place *place, const char *text)
{
    o->steps[o->count++] = (struct step){.place = place, .write = true, .text = text};
}

static void add_flag(struct openbmc *o, const struct place *place, bool yes)
{
    o->steps[o->count++] = (struct step){.place = place, .write = true, .yes = yes};
}

static void plan_get(struct openbmc *o)
{
    add_read(o, &host_state, false, take_host_state);
    add_read(o, &boot_source, true, take_source);
    add_read(o, &boot_mode, true, openbmc_take_mode);
    add_read(o, &boot_type, true, take_type);
    add_read(o, &boot_enabled, true, take_enabled);
    add_read(o, &boot_once, true, take_once);
}

static void plan_reset(struct openbmc *o, enum host_reset reset)
{
    for (size_t i = 0; i < sizeof resets / sizeof *resets; i++)
        if (resets[i].reset == reset)
            add_text(o, resets[i].place, resets[i].value);
}

static void plan_boot(struct openbmc *o, const struct host_boot *boot)
{
    size_t i = 0;
    while (i < TARGETS && targets[i].target != boot->target)
        i++;
    if (i == TARGETS)
        return;
    if (boot->mode != HOST_MODE_UNKNOWN)
        add_text(o, &boot_type, boot->mode == HOST_MODE_LEGACY ? TYPE_LEGACY : TYPE_EFI);
    add_text(o, &boot_source, targets[i].source);
    add_text(o, &boot_mode, targets[i].mode);
    if (boot->enabled != HOST_DISABLED)
        add_flag(o, &boot_once, boot->enabled == HOST_ONCE);
    add_flag(o, &boot_enabled, boot->enabled != HOST_DISABLED);
}

/* --- one call after the other --- */

static void go_on(struct openbmc *o);

static void openbmc_finish(struct openbmc *o, int status, const char *error)
{
    o->state.boot_told = true;
    o->backend.done(&o->backend, status, error, &o->state);
}

static void finish_failed(struct openbmc *o, int status, sd_bus_message *reply)
{
    const struct place *place = o->steps[o->at].place;
    const sd_bus_error *why = reply ? sd_bus_message_get_error(reply) : NULL;
    char error[HOST_ERROR_MAX], said[256], limit[TEXT_SIZE_MAX];
    text_escape(why && why->message ? why->message
                : why && why->name  ? why->name
                                    : strerror(-status),
                said, sizeof said);
    text_duration(o->timeout_ms, limit);
    if (status == -ETIMEDOUT)
        snprintf(error, sizeof error, "%s on D-Bus did not answer within %s (host-timeout)", place->service, limit);
    else
        snprintf(error, sizeof error, "%s of %s on D-Bus: %s", place->property, place->path, said);
    bool passing = status == -ETIMEDOUT || status == -ECANCELED || status == -EBUSY;
    openbmc_finish(o, passing ? status : status == -EHOSTUNREACH || status == -ENOTCONN ? -EAGAIN : -EIO, error);
}

/* The step is optional, and the peer has no such property, or there is no peer. */
static bool is_without(const struct step *step, int status)
{
    return step->optional && status != -ETIMEDOUT && status != -ECANCELED && status != -ENOTCONN && status != -EBUSY;
}

static int openbmc_take_answer(struct openbmc *o, const struct step *step, sd_bus_message *reply)
{
    const char *text = "";
    int yes = 0;
    int status =
        step->place->flag ? sd_bus_message_read(reply, "v", "b", &yes) : sd_bus_message_read(reply, "v", "s", &text);
    if (status < 0)
        return -EPROTO;
    step->take(o, text, yes);
    return 0;
}

static void on_openbmc_reply(struct bus_call *call, int status, sd_bus_message *reply)
{
    struct openbmc *o = container_of(call, struct openbmc, call);
    const struct step *step = &o->steps[o->at];
    if (o->cancelled)
        status = -ECANCELED;
    if (status == 0 && !step->write)
        status = openbmc_take_answer(o, step, reply);
    if (status < 0 && !is_without(step, status)) {
        finish_failed(o, status, reply);
        return;
    }
    o->at++;
    go_on(o);
}

static int append_value(sd_bus_message *message, const struct step *step)
{
    if (!step->write)
        return 0;
    return step->place->flag ? sd_bus_message_append(message, "v", "b", (int)step->yes)
                             : sd_bus_message_append(message, "v", "s", step->text);
}

static void go_on(struct openbmc *o)
{
    uint64_t now = uv_now(o->loop);
    if (o->at == o->count) {
        openbmc_finish(o, 0, "");
        return;
    }
    const struct step *step = &o->steps[o->at];
    const struct place *place = step->place;
    sd_bus *connection = bus_connection(o->bus);
    sd_bus_message *message = NULL;
    int status = connection ? sd_bus_message_new_method_call(connection, &message, place->service, place->path,
                                                             PROPERTIES, step->write ? "Set" : "Get")
                            : 0;
    if (message && status >= 0)
        status = sd_bus_message_append(message, "ss", place->interface, place->property);
    if (message && status >= 0)
        status = append_value(message, step);
    /* Without a message the call ends with -ENOTCONN. */
    bus_call_start(o->bus, &o->call, status >= 0 ? message : NULL, o->deadline > now ? o->deadline - now : 1);
    sd_bus_message_unref(message);
}

/* --- the bus --- */

static void on_openbmc_up(struct bus_user *user, sd_bus *connection)
{
    struct openbmc *o = container_of(user, struct openbmc, user);
    (void)connection;
    if (!o->waiting || o->refusal != -EAGAIN)
        return;
    o->waiting = false;
    uv_timer_stop(&o->timer);
    go_on(o);
}

static void on_openbmc_down(struct bus_user *user)
{
    (void)user; /* we have nothing on the bus; the call under way ends by itself */
}

static void on_openbmc_timer(uv_timer_t *timer)
{
    struct openbmc *o = container_of(timer, struct openbmc, timer);
    o->waiting = false;
    if (o->refusal == -ECANCELED)
        openbmc_finish(o, -ECANCELED, "the daemon is stopping");
    else if (o->refusal == -ENOTSUP)
        openbmc_finish(o, -ENOTSUP, "OpenBMC has no such thing");
    else
        openbmc_finish(o, -EAGAIN, "D-Bus can't be reached (see dbus in section [host] of nbd-proxy.conf)");
}

static void openbmc_refuse(struct openbmc *o, int status, uint64_t after_ms)
{
    o->waiting = true;
    o->refusal = status;
    uv_timer_start(&o->timer, on_openbmc_timer, after_ms, 0);
}

/* --- the back-end --- */

static void openbmc_run(struct host_backend *backend, const struct host_request *request)
{
    struct openbmc *o = container_of(backend, struct openbmc, backend);
    memset(&o->state, 0, sizeof o->state);
    o->has_source = o->has_mode = o->enabled = o->cancelled = false;
    o->count = o->at = 0;
    o->deadline = uv_now(o->loop) + o->timeout_ms;
    if (request->verb == HOST_GET)
        plan_get(o);
    else if (request->verb == HOST_RESET)
        plan_reset(o, request->reset);
    else
        plan_boot(o, &request->boot);
    if (o->count == 0)
        openbmc_refuse(o, -ENOTSUP, 0);
    else if (!bus_connection(o->bus))
        openbmc_refuse(o, -EAGAIN, OPENBMC_BUS_WAIT_MS);
    else
        go_on(o);
}

static void openbmc_cancel(struct host_backend *backend)
{
    struct openbmc *o = container_of(backend, struct openbmc, backend);
    o->cancelled = true;
    if (o->waiting)
        openbmc_refuse(o, -ECANCELED, 0);
    else
        bus_call_cancel(&o->call);
}

static void on_openbmc_closed(struct closing *closing)
{
    struct openbmc *o = container_of(closing, struct openbmc, closing);
    struct host_backend backend = o->backend;
    mem_free(o);
    backend.closed(&backend);
}

static void on_openbmc_bus_closed(void *arg)
{
    struct openbmc *o = arg;
    closing_begin(&o->closing, o->loop, on_openbmc_closed);
    closing_add(&o->closing, (uv_handle_t *)&o->timer);
    closing_end(&o->closing);
}

static void openbmc_close(struct host_backend *backend)
{
    struct openbmc *o = container_of(backend, struct openbmc, backend);
    bus_remove_user(o->bus, &o->user);
    bus_close(o->bus, on_openbmc_bus_closed, o);
}

struct host_backend *openbmc_new(uv_loop_t *loop, const char *bus, uint64_t timeout_ms, char error[HOST_ERROR_MAX])
{
    static const struct host_backend_ops ops = {openbmc_run, openbmc_cancel, openbmc_close};
    struct bus_options options = {.bus = bus, .name = ""};
    struct bus *connection = bus_new(loop, &options, error, HOST_ERROR_MAX);
    if (!connection)
        return NULL;
    struct openbmc *o = mem_alloc(sizeof *o);
    o->backend.ops = &ops;
    o->loop = loop;
    o->bus = connection;
    o->timeout_ms = timeout_ms;
    o->user.up = on_openbmc_up;
    o->user.down = on_openbmc_down;
    o->call.done = on_openbmc_reply;
    uv_timer_init(loop, &o->timer);
    bus_add_user(o->bus, &o->user);
    return &o->backend;
}
