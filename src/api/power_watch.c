#include "api/power_watch.h"

#include "base/list.h"
#include "base/text.h"

struct power_watch {
    struct slots *slots;
    struct host *host;
    uv_timer_t timer;
    struct host_request request;
    bool asking, closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void on_watch_timer_closed(uv_handle_t *handle)
{
    struct power_watch *watch = handle->data;
    void (*closed)(void *arg) = watch->closed;
    void *arg = watch->closed_arg;
    mem_free(watch);
    closed(arg);
}

static void power_watch_tell(struct power_watch *watch)
{
    enum host_power power = host_get_state(watch->host)->power;
    if (power != HOST_POWER_ON && power != HOST_POWER_OFF)
        return; /* not known, or on the way */
    for (unsigned i = 0; i < slots_count(watch->slots); i++)
        slot_tell_power(slots_get(watch->slots, i), power == HOST_POWER_ON);
}

static void on_power_told(struct host_request *request)
{
    struct power_watch *watch = container_of(request, struct power_watch, request);
    watch->asking = false;
    if (watch->closing)
        uv_close((uv_handle_t *)&watch->timer, on_watch_timer_closed);
    else if (request->status == 0)
        power_watch_tell(watch);
}

static bool is_power_wanted(struct power_watch *watch)
{
    bool wanted = false;
    for (unsigned i = 0; i < slots_count(watch->slots) && !wanted; i++) {
        struct slot_status s;
        slot_get_status(slots_get(watch->slots, i), &s);
        wanted = s.state == SLOT_READY && s.until == SLOT_UNTIL_POWER_OFF;
    }
    return wanted;
}

static void on_power_timer(uv_timer_t *timer)
{
    struct power_watch *watch = timer->data;
    if (watch->asking || !host_is_configured(watch->host) || !is_power_wanted(watch))
        return;
    watch->asking = true;
    watch->request = (struct host_request){.verb = HOST_GET, .done = on_power_told};
    host_submit(watch->host, &watch->request);
}

struct power_watch *power_watch_new(uv_loop_t *loop, struct slots *slots, struct host *host)
{
    struct power_watch *watch = mem_alloc(sizeof *watch);
    watch->slots = slots;
    watch->host = host;
    uv_timer_init(loop, &watch->timer);
    watch->timer.data = watch;
    uv_timer_start(&watch->timer, on_power_timer, POWER_WATCH_MS, POWER_WATCH_MS);
    return watch;
}

void power_watch_close(struct power_watch *watch, void (*closed)(void *arg), void *arg)
{
    watch->closing = true;
    watch->closed = closed;
    watch->closed_arg = arg;
    uv_timer_stop(&watch->timer);
    if (!watch->asking)
        uv_close((uv_handle_t *)&watch->timer, on_watch_timer_closed);
}

const char *power_watch_problem(const struct host *host, const struct slot_status *slot, enum slot_until until)
{
    if (until == SLOT_UNTIL_POWER_OFF && !host_is_configured(host))
        return "the host's power is not known here (set hook or dbus in section [host] of nbd-proxy.conf)";
    if (until == SLOT_UNTIL_USED && !slot->host_may_eject)
        return "the host can't eject from this slot, which is no USB drive (see attach in nbd-proxy.conf)";
    return NULL;
}
