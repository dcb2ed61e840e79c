/*
 * What a service manager is told (sd_notify(3)): ready, reloading, stopping, what
 * its status shows, and that the loop still turns when the manager asked for that
 * (WatchdogSec=). Built without libsystemd, or started by hand, it does nothing.
 */
#ifndef BASE_NOTIFY_H
#define BASE_NOTIFY_H

#include <uv.h>

#define NOTIFY_STATUS_MS 2000

/* A line for people, without control characters, for mem_free(). */
typedef char *notify_line(void *arg);

/* Ready to serve; starts the watchdog's timer on the loop if the manager wants one, and asks for `line` now and each
 * NOTIFY_STATUS_MS: what has changed is told. */
void notify_ready(uv_loop_t *loop, notify_line *line, void *arg);
void notify_reloading(void);
void notify_reloaded(void);
/* Stopping; the timers are closed. */
void notify_stopping(void);

#endif
