/*
 * The D-Bus service that bmcweb drives (VirtualMedia with the daemon behind it, built
 * with its option for that), as other virtual-media daemons of OpenBMC have it:
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
 * no larger READ is sent. When the WebSocket ends it closes the socket and calls Unmount: as it
 * does after a Mount that was refused, which must not eject what is in. So the Unmount that
 * follows a refused Mount of the same caller is refused.
 *
 * Mount and Unmount answer `true` once they are begun; how they ended is the signal Completion
 * (0 or an errno), exactly one for each that was answered so.
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
/* After bmcweb_prepare() and the slots' own reload: objects come and go. */
void bmcweb_reload(struct bmcweb *bmcweb, const struct config *config);
/* The slots must be closing: what was begun is answered by their end. Then `closed`. */
void bmcweb_close(struct bmcweb *bmcweb, void (*closed)(void *arg), void *arg);

#endif
