#include "api/boot_steps.h"

#include <stdio.h>

#include "auth/audit.h"

/* An image that is too large for a CD is shown as a stick. */
static struct host_boot boot_from(const struct host *host, const struct slot_status *slot)
{
    bool disk = slot->media == MEDIA_DISK || (slot->state == SLOT_READY && slot->attach == ATTACH_USB && !slot->cdrom);
    return (struct host_boot){.target = disk ? HOST_TARGET_USB : HOST_TARGET_CD,
                              .enabled = HOST_ONCE,
                              .mode = host_get_state(host)->boot.mode};
}

bool boot_steps_wanted(const struct boot_steps *steps)
{
    return steps->boot_once || steps->reset;
}

bool boot_steps_problem(struct boot_steps *steps, struct host *host, const struct slot_status *slot,
                        char error[HOST_ERROR_MAX])
{
    struct host_request boot = {.verb = HOST_BOOT, .boot = boot_from(host, slot)};
    struct host_request reset = {.verb = HOST_RESET, .reset = steps->type};
    return (steps->boot_once && host_problem(host, &boot, error)) ||
           (steps->reset && host_problem(host, &reset, error));
}

void boot_steps_audit(const struct boot_steps *steps, const char *slot, const char *user, const char *peer)
{
    if (steps->boot_once)
        auth_audit(AUDIT_BOOT, user, peer, slot, "once, from the medium");
    if (steps->reset)
        auth_audit(AUDIT_RESET, user, peer, NULL, host_reset_name(steps->type));
}

static void on_reset(struct host_request *request)
{
    struct boot_steps *steps = container_of(request, struct boot_steps, request);
    steps->status = request->status;
    if (request->status != 0)
        snprintf(steps->error, sizeof steps->error, "the medium is inserted%s, but the host was not reset: %s",
                 steps->boot_once ? ", and the host's next boot is from it" : "", request->error);
    steps->done(steps);
}

static struct host_request reset_of(const struct boot_steps *steps)
{
    return (struct host_request){
        .verb = HOST_RESET, .reset = steps->type, .boot = steps->boot, .occasion = steps->medium, .done = on_reset};
}

static void reset(struct boot_steps *steps)
{
    steps->request = reset_of(steps);
    host_submit(steps->host, &steps->request);
}

static void on_boot(struct host_request *request)
{
    struct boot_steps *steps = container_of(request, struct boot_steps, request);
    if (request->status == 0 && steps->reset) {
        reset(steps);
        return;
    }
    steps->status = request->status;
    if (request->status != 0)
        snprintf(steps->error, sizeof steps->error,
                 "the medium is inserted, but the host's boot source was not set%s: %s",
                 steps->reset ? " and it was not reset" : "", request->error);
    steps->done(steps);
}

void boot_steps_run(struct boot_steps *steps, struct host *host, const struct slot_status *slot)
{
    steps->host = host;
    steps->medium = slot->medium;
    steps->status = 0;
    *steps->error = '\0';
    steps->boot = steps->boot_once ? boot_from(host, slot) : (struct host_boot){.target = HOST_TARGET_NONE};
    steps->request = reset_of(steps);
    if (steps->reset && host_join(host, &steps->request))
        return; /* somebody's boot source is set, and the reset under way */
    if (!steps->boot_once) {
        reset(steps);
        return;
    }
    steps->request = (struct host_request){
        .verb = HOST_BOOT, .boot = steps->boot, .occasion = steps->medium, .done = on_boot};
    host_submit(host, &steps->request);
}
