/*
 * The daemon on a D-Bus bus: the connection, and the services that use it. In a build
 * without D-Bus there can be none, and dbus_new() says so.
 */
#ifndef API_BMCWEB_DBUS_H
#define API_BMCWEB_DBUS_H

#include <stdbool.h>
#include <uv.h>

#include "config/config.h"
#include "slot/slots.h"

struct dbus;

bool dbus_is_wanted(const struct config *config);
/* Where bmcweb's sockets are; "" without D-Bus. */
void dbus_proxy_folder(const struct config *config, char *path, size_t size);
/* Who connects to bmcweb's sockets that we may not open: gives a connection to that of Slot_N, or a negative errno, and
 * blocks. Once, before the loop runs. */
void dbus_connect_by(int (*connect)(unsigned slot));
/* A bus that is not there is no failure: it is waited for. NULL with what is wrong otherwise. */
struct dbus *dbus_new(uv_loop_t *loop, const struct config *config, struct slots *slots, char error[CONFIG_ERROR_MAX]);
/* Two steps: what can fail, and, when the slots have taken the configuration, the rest. `dbus`
 * is NULL when there is none. */
int dbus_prepare(struct dbus *dbus, const struct config *config, char error[CONFIG_ERROR_MAX]);
void dbus_reload(struct dbus *dbus, const struct config *config);
/* The slots must be closing. What is owed to callers is sent, if the bus takes it at once. */
void dbus_close(struct dbus *dbus, void (*closed)(void *arg), void *arg);

#endif
