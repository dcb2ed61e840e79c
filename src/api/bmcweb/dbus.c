#include "api/bmcweb/dbus.h"

#include <build-config.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

bool dbus_is_wanted(const struct config *config)
{
    return strcmp(config->dbus.bus, "none") != 0;
}

#ifdef HAVE_DBUS

#include "api/bmcweb/bmcweb.h"
#include "dbus/bus.h"

struct dbus {
    char *bus_name, *name; /* as configured */
    struct bus *bus;
    struct bmcweb *bmcweb;
    void (*closed)(void *arg);
    void *closed_arg;
};

void dbus_proxy_folder(const struct config *config, char *path, size_t size)
{
    *path = '\0';
    if (dbus_is_wanted(config))
        bmcweb_folder(config, path, size);
}

void dbus_connect_by(int (*connect)(unsigned slot))
{
    bmcweb_connect_by(connect);
}

struct dbus *dbus_new(uv_loop_t *loop, const struct config *config, struct slots *slots, char error[CONFIG_ERROR_MAX])
{
    struct bus_options options = {.bus = config->dbus.bus, .name = config->dbus.name};
    char reason[CONFIG_ERROR_MAX - 16];
    if (bmcweb_prepare(config, error) != 0)
        return NULL;
    struct bus *bus = bus_new(loop, &options, reason, sizeof reason);
    if (!bus) {
        snprintf(error, CONFIG_ERROR_MAX, "dbus: %s", reason);
        return NULL;
    }
    struct dbus *dbus = mem_alloc(sizeof *dbus);
    dbus->bus_name = mem_strdup(config->dbus.bus);
    dbus->name = mem_strdup(config->dbus.name);
    dbus->bus = bus;
    dbus->bmcweb = bmcweb_new(loop, bus, config, slots);
    return dbus;
}

int dbus_prepare(struct dbus *dbus, const struct config *config, char error[CONFIG_ERROR_MAX])
{
    bool same = dbus ? strcmp(dbus->bus_name, config->dbus.bus) == 0 && strcmp(dbus->name, config->dbus.name) == 0
                     : !dbus_is_wanted(config);
    if (same)
        return dbus ? bmcweb_prepare(config, error) : 0;
    snprintf(error, CONFIG_ERROR_MAX, "dbus: bus and name can't change while the daemon runs (restart it)");
    return -1;
}

void dbus_reload(struct dbus *dbus, const struct config *config)
{
    if (dbus)
        bmcweb_reload(dbus->bmcweb, config);
}

static void on_bmcweb_dbus_bus_closed(void *arg)
{
    struct dbus *dbus = arg;
    void (*closed)(void *arg) = dbus->closed;
    void *closed_arg = dbus->closed_arg;
    mem_free(dbus->bus_name);
    mem_free(dbus->name);
    mem_free(dbus);
    closed(closed_arg);
}

static void on_bmcweb_closed(void *arg)
{
    struct dbus *dbus = arg;
    bus_close(dbus->bus, on_bmcweb_dbus_bus_closed, dbus);
}

void dbus_close(struct dbus *dbus, void (*closed)(void *arg), void *arg)
{
    dbus->closed = closed;
    dbus->closed_arg = arg;
    bmcweb_close(dbus->bmcweb, on_bmcweb_closed, dbus);
}

#else

void dbus_proxy_folder(const struct config *config, char *path, size_t size)
{
    (void)config, (void)size;
    *path = '\0';
}

void dbus_connect_by(int (*connect)(unsigned slot))
{
    (void)connect;
}

struct dbus *dbus_new(uv_loop_t *loop, const struct config *config, struct slots *slots, char error[CONFIG_ERROR_MAX])
{
    (void)loop, (void)config, (void)slots;
    snprintf(error, CONFIG_ERROR_MAX, "dbus: this nbd-proxy was built without D-Bus (set bus = none)");
    return NULL;
}

int dbus_prepare(struct dbus *dbus, const struct config *config, char error[CONFIG_ERROR_MAX])
{
    if (!dbus_is_wanted(config))
        return 0;
    dbus_new(NULL, config, NULL, error);
    (void)dbus;
    return -1;
}

void dbus_reload(struct dbus *dbus, const struct config *config)
{
    (void)dbus, (void)config;
}

void dbus_close(struct dbus *dbus, void (*closed)(void *arg), void *arg)
{
    (void)dbus; /* there is none */
    closed(arg);
}

#endif
