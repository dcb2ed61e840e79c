/*
 * The D-Bus service that bmcweb drives if it was built with its option for a VirtualMedia
 * daemon. The objects are those of OpenBMC's other virtual-media daemons:
 *
 *   /xyz/openbmc_project/VirtualMedia                 org.freedesktop.DBus.ObjectManager
 *   /xyz/openbmc_project/VirtualMedia/Proxy/Slot_N    slot N, for a file in a browser
 *   /xyz/openbmc_project/VirtualMedia/Legacy/Slot_M   a slot, for an image by URL
 *
 * each with the interfaces (below xyz.openbmc_project.VirtualMedia) Process, MountPoint and
 * Proxy or Legacy. Every slot has both. An object shows the media that its own Mount brings
 * in, by whichever door they came, and ejects only those: a slot which has a medium of the
 * other kind is busy. bmcweb tells objects apart by their last segment alone, so Legacy
 * numbers begin behind the last Proxy one unless `legacy-numbers = same`.
 *
 * Proxy: bmcweb listens on the UNIX socket of the property Socket and calls Mount; we connect,
 * and what comes through is the browser's NBD server. bmcweb passes messages up to 128 KiB, so
 * no larger READ is sent. When the WebSocket ends, bmcweb closes the socket and calls Unmount.
 * A Mount for which there is no room is answered `true` all the same, and its browser sent away: see turn_away.c.
 *
 * Proxy.Mount and Unmount answer `true` once they are begun. Legacy.Mount answers when the image is readable or
 * refused, since its answer is all that bmcweb's client gets to know; `true` after BMCWEB_HOLD_MS at the latest. How
 * what was answered `true` ended is the signal Completion (0 or an errno), exactly one for each.
 */
#ifndef API_BMCWEB_H
#define API_BMCWEB_H

#include <uv.h>

#include "config/config.h"
#include "dbus/bus.h"
#include "slot/slots.h"

struct bmcweb;

/* Where the proxies' sockets are. */
void bmcweb_folder(const struct config *config, char *path, size_t size);
/* See dbus_connect_by(). */
void bmcweb_connect_by(int (*connect)(unsigned slot));
/* Makes the folder of the proxies' sockets if it is not there; 0, or -1 with what is wrong. */
int bmcweb_prepare(const struct config *config, char error[CONFIG_ERROR_MAX]);
struct bmcweb *bmcweb_new(uv_loop_t *loop, struct bus *bus, const struct config *config, struct slots *slots);
/* Adds and removes objects as the configuration has them now; comes after bmcweb_prepare() and the slots' own
 * reload. */
void bmcweb_reload(struct bmcweb *bmcweb, const struct config *config);
/* The slots must be closing, since their end answers each Mount and Unmount that was begun. `closed` comes after
 * that. */
void bmcweb_close(struct bmcweb *bmcweb, void (*closed)(void *arg), void *arg);

#endif
