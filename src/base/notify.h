/*
 * What a service manager is told (sd_notify(3)): ready, reloading, stopping, and
 * that the loop still turns when the manager asked for that (WatchdogSec=). Built
 * without libsystemd, or started by hand, it does nothing.
 */
#ifndef BASE_NOTIFY_H
#define BASE_NOTIFY_H

#include <uv.h>

/* Ready to serve; starts the watchdog's timer on the loop if the manager wants one. */
void notify_ready(uv_loop_t *loop);
void notify_reloading(void);
void notify_reloaded(void);
/* Stopping; the timer is closed. */
void notify_stopping(void);

#endif
