/* Redfish's names, and texts made of them. See host/host.h. */
#include <stdio.h>
#include <string.h>

#include "host/host.h"

static const char *const powers[HOST_POWERS] = {"Unknown", "On", "Off", "PoweringOn", "PoweringOff", "Paused"};
static const char *const resets[HOST_RESETS] = {
    "On",         "ForceOn",         "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart",
    "PowerCycle", "PushPowerButton", "Nmi"};
static const char *const targets[HOST_TARGETS] = {"None", "Pxe",       "Floppy",    "Cd",    "Usb",
                                                  "Hdd",  "BiosSetup", "Utilities", "Diags", "SDCard"};
static const char *const enableds[HOST_ENABLEDS] = {"Disabled", "Once", "Continuous"};
static const char *const modes[HOST_MODES] = {"Unknown", "UEFI", "Legacy"};

/* -1: none of them. */
static int names_find(const char *const *names, int first, int count, const char *text)
{
    for (int i = first; i < count; i++)
        if (strcmp(names[i], text) == 0)
            return i;
    return -1;
}

const char *host_power_name(enum host_power power)
{
    return powers[power];
}

const char *host_reset_name(enum host_reset reset)
{
    return resets[reset];
}

const char *host_target_name(enum host_target target)
{
    return targets[target];
}

const char *host_enabled_name(enum host_enabled enabled)
{
    return enableds[enabled];
}

const char *host_mode_name(enum host_mode mode)
{
    return modes[mode];
}

bool host_power_parse(const char *text, enum host_power *power)
{
    int found = names_find(powers, 0, HOST_POWERS, text);
    if (found >= 0)
        *power = (enum host_power)found;
    return found >= 0;
}

bool host_reset_parse(const char *text, enum host_reset *reset)
{
    int found = names_find(resets, 0, HOST_RESETS, text);
    if (found >= 0)
        *reset = (enum host_reset)found;
    return found >= 0;
}

bool host_target_parse(const char *text, enum host_target *target)
{
    int found = names_find(targets, 0, HOST_TARGETS, text);
    if (found >= 0)
        *target = (enum host_target)found;
    return found >= 0;
}

bool host_enabled_parse(const char *text, enum host_enabled *enabled)
{
    int found = names_find(enableds, 0, HOST_ENABLEDS, text);
    if (found >= 0)
        *enabled = (enum host_enabled)found;
    return found >= 0;
}

bool host_mode_parse(const char *text, enum host_mode *mode)
{
    int found = names_find(modes, HOST_MODE_UEFI, HOST_MODES, text);
    if (found >= 0)
        *mode = (enum host_mode)found;
    return found >= 0;
}

/* --- texts --- */

static void put_names(const char *const *names, int count, char out[HOST_TEXT_MAX])
{
    size_t used = 0;
    for (int i = 0; i < count; i++)
        used += (size_t)snprintf(out + used, HOST_TEXT_MAX - used, "%s%s", i > 0 ? ", " : "", names[i]);
}

void host_reset_names(char out[HOST_TEXT_MAX])
{
    put_names(resets, HOST_RESETS, out);
}

void host_target_names(char out[HOST_TEXT_MAX])
{
    put_names(targets, HOST_TARGETS, out);
}

void host_boot_text(const struct host_boot *boot, char *out, size_t size)
{
    bool has_mode = boot->mode != HOST_MODE_UNKNOWN;
    snprintf(out, size, "%s %s%s%s", targets[boot->target], enableds[boot->enabled], has_mode ? " " : "",
             has_mode ? modes[boot->mode] : "");
}

void host_request_text(const struct host_request *request, char *out, size_t size)
{
    char boot[64];
    host_boot_text(&request->boot, boot, sizeof boot);
    if (request->verb == HOST_GET)
        snprintf(out, size, "get");
    else if (request->verb == HOST_RESET)
        snprintf(out, size, "reset %s", resets[request->reset]);
    else
        snprintf(out, size, "boot %s", boot);
}

static size_t put_list(char *out, size_t used, const char *key, const char *const *names, int count, unsigned mask)
{
    if (mask == 0)
        return used;
    used += (size_t)snprintf(out + used, HOST_TEXT_MAX - used, "%s", key);
    for (int i = 0; i < count; i++)
        if (mask & (1u << i))
            used += (size_t)snprintf(out + used, HOST_TEXT_MAX - used, " %s", names[i]);
    return used + (size_t)snprintf(out + used, HOST_TEXT_MAX - used, "\n");
}

void host_state_text(const struct host_state *state, char out[HOST_TEXT_MAX])
{
    char boot[64];
    host_boot_text(&state->boot, boot, sizeof boot);
    size_t used = (size_t)snprintf(out, HOST_TEXT_MAX, "PowerState %s\n", powers[state->power]);
    if (state->targets)
        used += (size_t)snprintf(out + used, HOST_TEXT_MAX - used, "Boot %s\n", boot);
    used = put_list(out, used, "ResetTypes", resets, HOST_RESETS, state->resets);
    used = put_list(out, used, "BootTargets", targets, HOST_TARGETS, state->targets);
    put_list(out, used, "BootModes", modes, HOST_MODES, state->modes);
}
