#include "base/notify.h"

#include <build-config.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>

static uv_timer_t watchdog, asker;
static bool watching;
static struct {
    notify_line *line; /* NULL: nobody is told */
    void *arg;
    char *told;
} status;

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

static void on_status_due(uv_timer_t *timer)
{
    (void)timer;
    char *line = status.line(status.arg);
    if (!status.told || strcmp(status.told, line) != 0)
        sd_notifyf(0, "STATUS=%s", line);
    mem_free(status.told);
    status.told = line;
}

static void notify_status(uv_loop_t *loop, notify_line *line, void *arg)
{
    if (!getenv("NOTIFY_SOCKET"))
        return;
    status.line = line;
    status.arg = arg;
    uv_timer_init(loop, &asker);
    uv_timer_start(&asker, on_status_due, 0, NOTIFY_STATUS_MS);
    uv_unref((uv_handle_t *)&asker);
}

void notify_ready(uv_loop_t *loop, notify_line *line, void *arg)
{
    notify_watch(loop);
    notify_status(loop, line, arg);
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
    if (status.line)
        uv_close((uv_handle_t *)&asker, NULL);
    status.line = NULL;
    mem_free(status.told);
    status.told = NULL;
}

#else

void notify_ready(uv_loop_t *loop, notify_line *line, void *arg)
{
    (void)loop, (void)line, (void)arg;
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
