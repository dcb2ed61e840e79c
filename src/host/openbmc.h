/*
 * OpenBMC's own way to the host: properties on D-Bus (phosphor-dbus-interfaces), as
 * bmcweb uses them. The state is that of xyz.openbmc_project.State.Host, a reset is
 * its RequestedHostTransition (ForceOff: RequestedPowerTransition of State.Chassis),
 * and the boot source is in xyz.openbmc_project.Settings: Control.Boot.Source, .Mode
 * and .Type, and Object.Enable of .../boot and .../boot/one_time. What an image of
 * OpenBMC leaves out is not offered.
 *
 * A request is a row of property calls, one after the other; the first that fails
 * ends it. The property that enables a boot override is written last.
 */
#ifndef HOST_OPENBMC_H
#define HOST_OPENBMC_H

#include "host/backend.h"

#define OPENBMC_CALLS_MAX   8    /* of one request */
#define OPENBMC_BUS_WAIT_MS 1000 /* how long a request waits for the bus; then it ends with -EAGAIN */

/* NULL: such a bus can't be meant; `error` says why. */
struct host_backend *openbmc_new(uv_loop_t *loop, const char *bus, uint64_t timeout_ms, char error[HOST_ERROR_MAX]);

#endif
