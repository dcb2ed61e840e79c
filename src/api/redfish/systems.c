/* Redfish's managed system: the host. See api/redfish/internal.h. */
#include <string.h>

#include "api/host_words.h"
#include "api/redfish/internal.h"
#include "auth/audit.h"

#define TARGET  "Boot/BootSourceOverrideTarget"
#define ENABLED "Boot/BootSourceOverrideEnabled"
#define MODE    "Boot/BootSourceOverrideMode"

json_t *redfish_systems(struct redfish_call *call)
{
    json_t *collection = redfish_collection(call, "Computer System Collection");
    redfish_add_member(collection, REDFISH_ROOT "/Systems", "system");
    return collection;
}

/* --- what may be changed --- */

/* The first row is left out when the platform has no boot modes. */
static const struct redfish_property system_properties[] = {
    {MODE, REDFISH_TEXT},
    {TARGET, REDFISH_TEXT},
    {ENABLED, REDFISH_TEXT},
    {"Boot", REDFISH_OBJECT},
    {"PowerState", REDFISH_READ_ONLY},
    {"Status", REDFISH_READ_ONLY},
    {"SystemType", REDFISH_READ_ONLY},
    {"UUID", REDFISH_READ_ONLY},
    {"VirtualMedia", REDFISH_READ_ONLY},
    {"Links", REDFISH_READ_ONLY},
    {"Actions", REDFISH_READ_ONLY},
    {"Id", REDFISH_READ_ONLY},
    {"Name", REDFISH_READ_ONLY},
    {NULL, REDFISH_IGNORED},
};

static const struct redfish_property *changeable(const struct host_state *state)
{
    return system_properties + (state->modes ? 0 : 1);
}

static const struct redfish_property reset_parameters[] = {{"ResetType", REDFISH_TEXT}, {NULL, REDFISH_IGNORED}};

/* --- what the platform tells --- */

static const struct host_state *state_of(const struct redfish_call *call)
{
    return host_get_state(call->site->host);
}

/* An empty object when the boot source can't be set. */
static json_t *boot(const struct host_state *state)
{
    json_t *boot = json_object();
    if (!state->targets)
        return boot;
    redfish_set_writeable(boot, "Boot/", changeable(state));
    json_object_set_new(boot, "BootSourceOverrideTarget", json_string(host_target_name(state->boot.target)));
    json_object_set_new(boot, "BootSourceOverrideTarget@Redfish.AllowableValues",
                        api_host_targets(state->targets));
    json_object_set_new(boot, "BootSourceOverrideEnabled", json_string(host_enabled_name(state->boot.enabled)));
    json_object_set_new(boot, "BootSourceOverrideEnabled@Redfish.AllowableValues",
                        api_host_enableds());
    if (!state->modes)
        return boot;
    bool known = state->boot.mode != HOST_MODE_UNKNOWN;
    json_object_set_new(boot, "BootSourceOverrideMode",
                        known ? json_string(host_mode_name(state->boot.mode)) : json_null());
    json_object_set_new(boot, "BootSourceOverrideMode@Redfish.AllowableValues",
                        api_host_modes(state->modes));
    return boot;
}

static json_t *redfish_systems_actions(const struct host_state *state)
{
    json_t *redfish_systems_actions = json_object();
    if (state->resets)
        json_object_set_new(redfish_systems_actions, "#ComputerSystem.Reset",
                            json_pack("{s:s, s:s, s:o}", "target", REDFISH_SYSTEM "/Actions/ComputerSystem.Reset",
                                      "@Redfish.ActionInfo", REDFISH_SYSTEM "/ResetActionInfo", "ResetType@Redfish.AllowableValues",
                                      api_host_resets(state->resets)));
    return redfish_systems_actions;
}

static json_t *reset_values(const struct redfish_call *call, const char *name)
{
    (void)name; /* there is one parameter */
    return api_host_resets(state_of(call)->resets);
}

json_t *redfish_reset_info(struct redfish_call *call)
{
    return redfish_action_info(call, "Reset", reset_parameters, "ResetType", reset_values);
}

static json_t *condition_at(time_t time, json_t *message)
{
    json_t *condition = redfish_condition(message);
    json_object_set_new(condition, "Timestamp", redfish_time(time));
    return condition;
}

static json_t *redfish_systems_status_of(const struct redfish_call *call, const struct host_state *state)
{
    bool configured = host_is_configured(call->site->host), silent = configured && state->status != 0;
    json_t *conditions = json_array();
    if (!configured)
        json_array_append_new(conditions,
                              condition_at(call->redfish->started, redfish_message("HostNotConfigured", NULL, NULL)));
    else if (silent)
        json_array_append_new(conditions, condition_at(state->failed_at,
                                                       redfish_message("HostStateUnknown", NULL, state->error, NULL)));
    return json_pack("{s:s, s:s, s:o}", "State", "Enabled", "Health", silent ? "Warning" : "OK", "Conditions",
                     conditions);
}

/* Boot and Actions are there, maybe empty, since clients refuse a system without them. */
json_t *redfish_system(struct redfish_call *call)
{
    const struct host_state *state = state_of(call);
    json_t *system = redfish_resource(TYPE_COMPUTER_SYSTEM, call->path, "system", "Host");
    bool known = state->power != HOST_POWER_UNKNOWN;
    json_object_set_new(system, "SystemType", json_string("Physical"));
    json_object_set_new(system, "UUID", redfish_uuid(call->redfish->system_uuid));
    json_object_set_new(system, "PowerState", known ? json_string(host_power_name(state->power)) : json_null());
    json_object_set_new(system, "Status", redfish_systems_status_of(call, state));
    json_object_set_new(system, "Boot", boot(state));
    json_object_set_new(system, "VirtualMedia", redfish_link(REDFISH_MEDIA));
    json_object_set_new(
        system, "Links",
        json_pack("{s:i, s:[o]}", "ManagedBy@odata.count", 1, "ManagedBy", redfish_link(REDFISH_MANAGER)));
    json_object_set_new(system, "Actions", redfish_systems_actions(state));
    return system;
}

/* --- a change --- */

/* A PATCH is answered with the resource: RackN's driver takes an answer without a body for an error. */
static void on_redfish_systems_changed(struct host_request *request)
{
    struct redfish_call *call = container_of(request, struct redfish_call, host);
    if (!call->request)
        redfish_call_free(call);
    else if (request->status != 0)
        redfish_host_failed(call, request->status, NULL, request->error);
    else if (call->route->action)
        redfish_reply_nothing(call);
    else
        redfish_reply_changed(call, redfish_system(call));
}

/* A change that was begun is done, even if the client does not wait for the answer. */
static void change(struct redfish_call *call, enum audit_event event, const struct host_request *request)
{
    char words[128];
    host_request_text(request, words, sizeof words);
    auth_audit(event, call->user, call->peer, NULL, strchr(words, ' ') + 1);
    call->host = *request;
    call->host.done = on_redfish_systems_changed;
    redfish_wait(call, NULL);
    host_submit(call->site->host, &call->host);
}

/* True: the platform has never answered, so nothing is known of what it can do; the call is answered with that. */
static bool is_silent(struct redfish_call *call)
{
    if (!host_is_configured(call->site->host) || state_of(call)->known)
        return false;
    redfish_host_failed(call, call->host.status, NULL, call->host.error);
    return true;
}

/* --- Reset --- */

void redfish_system_reset(struct redfish_call *call, json_t *body)
{
    const struct host_state *state = state_of(call);
    const char *type = json_string_value(json_object_get(body, "ResetType"));
    struct host_request request = {.verb = HOST_RESET};
    char shown[64];
    if (is_silent(call))
        return;
    if (!state->resets) {
        redfish_fail(call, 400, redfish_message("ActionNotSupported", NULL, call->route->action, NULL));
    } else if (!redfish_check(call, body, reset_parameters)) {
        return;
    } else if (!type) {
        redfish_fail(call, 400,
                     redfish_message("ActionParameterMissing", "ResetType", call->route->action, "ResetType", NULL));
    } else if (!host_reset_parse(type, &request.reset) || !(state->resets & (1u << request.reset))) {
        redfish_show("ResetType", json_object_get(body, "ResetType"), shown);
        redfish_fail(call, 400,
                     redfish_message("ActionParameterValueNotInList", "ResetType", shown, "ResetType",
                                     call->route->action, NULL));
    } else {
        change(call, AUDIT_RESET, &request);
    }
}

/* --- Boot --- */

/* The property whose value the platform does not have; NULL: all is good, and read. */
static const char *read_boot(const json_t *body, const struct host_state *state, struct host_boot *boot)
{
    const char *target = json_string_value(json_object_get(body, TARGET));
    const char *enabled = json_string_value(json_object_get(body, ENABLED));
    const char *mode = json_string_value(json_object_get(body, MODE));
    *boot = state->boot;
    if (target && (!host_target_parse(target, &boot->target) || !(state->targets & (1u << boot->target))))
        return TARGET;
    if (enabled && !host_enabled_parse(enabled, &boot->enabled))
        return ENABLED;
    if (mode && state->modes && (!host_mode_parse(mode, &boot->mode) || !(state->modes & (1u << boot->mode))))
        return MODE;
    return NULL;
}

static void patch_boot(struct redfish_call *call, const json_t *body)
{
    struct host_request request = {.verb = HOST_BOOT};
    char shown[64];
    const char *wrong = read_boot(body, state_of(call), &request.boot);
    if (!wrong) {
        change(call, AUDIT_BOOT, &request);
        return;
    }
    redfish_show(wrong, json_object_get(body, wrong), shown);
    redfish_fail(call, 400, redfish_message("PropertyValueNotInList", wrong, shown, wrong, NULL));
}

void redfish_system_patch(struct redfish_call *call, json_t *body)
{
    const struct host_state *state = state_of(call);
    json_t *flat = redfish_flatten(body, "Boot");
    if (is_silent(call)) {
        json_decref(flat);
        return;
    }
    if (json_object_get(body, "Boot") && !state->targets)
        redfish_fail(call, 400, redfish_message("HostBootNotSupported", "Boot", NULL));
    else if (redfish_check(call, flat, changeable(state)))
        patch_boot(call, flat);
    json_decref(flat);
}
