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
/* Sets who connects to bmcweb's sockets when we may not: `connect` gives a connection to the socket of Slot_N, or a
 * negative errno, and blocks. Call this once, before the loop runs. */
void dbus_connect_by(int (*connect)(unsigned slot));
/* A bus that is not there is no failure: it is waited for. NULL with what is wrong otherwise. */
struct dbus *dbus_new(uv_loop_t *loop, const struct config *config, struct slots *slots, char error[CONFIG_ERROR_MAX]);
/* A reload has two steps: what can fail, and the rest once the slots have taken the
 * configuration. `dbus` is NULL when there is no connection. */
int dbus_prepare(struct dbus *dbus, const struct config *config, char error[CONFIG_ERROR_MAX]);
void dbus_reload(struct dbus *dbus, const struct config *config);
/* The slots must be closing. Answers that callers still wait for are sent, if the bus takes them at once. */
void dbus_close(struct dbus *dbus, void (*closed)(void *arg), void *arg);

#endif
