/* VirtualMedia: what is changed in the boot configurations of an image that goes in. See api/redfish/internal.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/redfish/duration.h"
#include "api/redfish/internal.h"

#define TIMEOUT_MAX 3600000

static json_t *timeout_problem(const struct redfish_call *call, const char *text)
{
    json_t *message = call->route->action
                          ? redfish_message("ActionParameterValueFormatError", REDFISH_MENU_TIMEOUT, text,
                                            REDFISH_MENU_TIMEOUT, call->route->action, NULL)
                          : redfish_message("PropertyValueFormatError", REDFISH_MENU_TIMEOUT, text, REDFISH_MENU_TIMEOUT, NULL);
    return redfish_resolve(message, "Give a duration of whole seconds from PT0S to one hour, PT1H.");
}

json_t *redfish_boot_changes_read(const struct redfish_call *call, const json_t *body, struct redfish_boot_changes *changes)
{
    const char *timeout = redfish_text(body, REDFISH_MENU_TIMEOUT);
    uint64_t ms = 0;
    *changes = (struct redfish_boot_changes){.arguments = redfish_text(body, REDFISH_KERNEL_ARGUMENTS)};
    if (!timeout)
        return NULL;
    if (!redfish_duration_parse(timeout, &ms) || ms > TIMEOUT_MAX || ms % 1000 != 0)
        return timeout_problem(call, timeout);
    snprintf(changes->menu_timeout, sizeof changes->menu_timeout, "%" PRIu64, ms / 1000);
    return NULL;
}

bool redfish_boot_changes_any(const struct redfish_boot_changes *changes)
{
    return changes->arguments || *changes->menu_timeout;
}

bool redfish_boot_changes_hold(const struct redfish_boot_changes *changes, const struct slot_status *s)
{
    return (!changes->arguments || strcmp(s->kernel_args, changes->arguments) == 0) &&
           (!*changes->menu_timeout || strcmp(s->menu_timeout, changes->menu_timeout) == 0);
}

static const char *or_nothing(const char *text)
{
    return *text ? text : NULL;
}

void redfish_boot_changes_set(const struct redfish_boot_changes *changes, const struct slot_status *s, bool keep,
                              struct slot_insert_options *options)
{
    options->kernel_args = changes->arguments ? changes->arguments : keep ? or_nothing(s->kernel_args) : NULL;
    options->menu_timeout = *changes->menu_timeout ? changes->menu_timeout : keep ? or_nothing(s->menu_timeout) : NULL;
}
