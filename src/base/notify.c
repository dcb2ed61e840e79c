#include "base/notify.h"

#include <build-config.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>

static uv_timer_t watchdog;
static bool watching;

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    sd_notify(0, "WATCHDOG=1");
}

static void notify_watch(uv_loop_t *loop)
{
    uint64_t limit_us;
    if (sd_watchdog_enabled(0, &limit_us) <= 0)
        return;
    watching = true;
    uv_timer_init(loop, &watchdog);
    uv_timer_start(&watchdog, on_watchdog, 0, limit_us / 3000);
    uv_unref((uv_handle_t *)&watchdog);
}

void notify_ready(uv_loop_t *loop)
{
    notify_watch(loop);
    sd_notify(0, "READY=1");
}

void notify_reloading(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
               (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
}

void notify_reloaded(void)
{
    sd_notify(0, "READY=1");
}

void notify_stopping(void)
{
    sd_notify(0, "STOPPING=1");
    if (watching)
        uv_close((uv_handle_t *)&watchdog, NULL);
    watching = false;
}

#else

void notify_ready(uv_loop_t *loop)
{
    (void)loop;
}

void notify_reloading(void)
{
}

void notify_reloaded(void)
{
}

void notify_stopping(void)
{
}

#endif
