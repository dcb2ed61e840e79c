/* The Redfish service: its making, its life and its end. See api/redfish/internal.h. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/redfish/internal.h"
#include "api/redfish/subscriptions.h"
#include "base/text.h"

#define MACHINE_ID "/etc/machine-id"

/* --- which service it is --- */

/* The machine's id itself is not for others (machine-id(5)): a UUID is derived for each use. */
static void make_uuid(const char *machine, const char *use, char uuid[37])
{
    char text[128];
    unsigned char d[SECRET_DIGEST];
    snprintf(text, sizeof text, "nbd-proxy %s %s", use, machine);
    secret_digest(text, d);
    d[6] = (unsigned char)((d[6] & 0x0f) | 0x80); /* RFC 9562: version 8, made in a way of one's own */
    d[8] = (unsigned char)((d[8] & 0x3f) | 0x80);
    snprintf(uuid, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", d[0], d[1], d[2], d[3],
             d[4], d[5], d[6], d[7], d[8], d[9], d[10], d[11], d[12], d[13], d[14], d[15]);
}

static bool read_machine_id(char id[33])
{
    int fd = open(MACHINE_ID, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, id, 32);
    if (fd >= 0)
        close(fd);
    id[length > 0 ? length : 0] = '\0';
    return length == 32 && strspn(id, "0123456789abcdef") == 32;
}

/* --- what the slots tell --- */

static void on_redfish_slot_changed(struct slots_watch *watch, struct slot *slot, enum slot_change change)
{
    struct redfish *redfish = container_of(watch, struct redfish, watch);
    struct slot_status s;
    slot_get_status(slot, &s);
    if (change != SLOT_INSERTED)
        redfish_setting_over(redfish, s.name);
    redfish_events_tell(redfish->events, slot, change);
}

/* --- life --- */

void redfish_call_began(struct redfish *redfish)
{
    redfish->calls++;
}

void redfish_call_over(struct redfish *redfish)
{
    redfish->calls--;
    if (redfish->calls == 0 && redfish->on_settled)
        defer_schedule(redfish->site->loop, &redfish->settled);
}

static void on_redfish_settled(struct defer *defer)
{
    struct redfish *redfish = container_of(defer, struct redfish, settled);
    if (redfish->calls == 0)
        redfish_subscriptions_close(redfish->subscriptions, redfish->on_settled, redfish->settled_arg);
}

struct redfish *redfish_new(struct site *site, char *subscriptions)
{
    struct redfish *redfish = mem_alloc(sizeof *redfish);
    char id[33];
    redfish->site = site;
    redfish->started = time(NULL);
    if (read_machine_id(id)) {
        make_uuid(id, "redfish service", redfish->uuid);
        make_uuid(id, "redfish system", redfish->system_uuid);
    }
    redfish->events = redfish_events_new(site);
    redfish->subscriptions = redfish_subscriptions_new(site, redfish->events, subscriptions);
    redfish->tasks = redfish_tasks_new(redfish);
    defer_setup(&redfish->settled, on_redfish_settled);
    redfish->watch.changed = on_redfish_slot_changed;
    slots_set_watch(site->slots, &redfish->watch);
    return redfish;
}

void redfish_user_changed(struct redfish *redfish, const char *user)
{
    redfish_events_user_changed(redfish->events, user);
}

void redfish_stop(struct redfish *redfish)
{
    redfish->stopped = true;
    slots_set_watch(redfish->site->slots, NULL);
    redfish_tasks_stop(redfish->tasks);
    redfish_subscriptions_stop(redfish->subscriptions);
    redfish_events_close(redfish->events);
    redfish_settings_stop(redfish);
}

void redfish_settle(struct redfish *redfish, void (*settled)(void *arg), void *arg)
{
    redfish->on_settled = settled;
    redfish->settled_arg = arg;
    if (redfish->calls == 0)
        defer_schedule(redfish->site->loop, &redfish->settled);
}

void redfish_free(struct redfish *redfish)
{
    redfish_tasks_free(redfish->tasks);
    mem_free(redfish);
}
