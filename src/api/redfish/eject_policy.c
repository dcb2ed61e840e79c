/*
 * VirtualMedia: EjectPolicy and EjectTimeout. The slot itself does Timed (slot_insert_options.stay_ms), and OnPowerOff
 * and AfterUse (.until), which are offered where the host's power is known and where the host can eject; a medium with
 * the policy Session is bound to its session here. See api/redfish/internal.h.
 */
#include <stdio.h>
#include <string.h>

#include "api/power_watch.h"
#include "api/redfish/duration.h"
#include "api/redfish/internal.h"
#include "base/log.h"

#define TIMEOUT_MIN 1000ull
#define TIMEOUT_MAX (30 * 86400000ull)

static const char *const names[] = {
    [REDFISH_PERSISTENT] = "Persistent", [REDFISH_SESSION] = "Session",    [REDFISH_TIMED] = "Timed",
    [REDFISH_POWER_OFF] = "OnPowerOff",  [REDFISH_AFTER_USE] = "AfterUse",
};
#define NAMES (sizeof names / sizeof *names)
static const enum slot_until untils[NAMES] = {[REDFISH_POWER_OFF] = SLOT_UNTIL_POWER_OFF,
                                              [REDFISH_AFTER_USE] = SLOT_UNTIL_USED};
static const char ends_with_session[] = "it ends with the session that inserted it";

json_t *redfish_eject_policies(const struct redfish_call *call, const struct slot_status *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < NAMES; i++)
        if (!power_watch_problem(call->site->host, s, untils[i]))
            json_array_append_new(list, json_string(names[i]));
    return list;
}

/* --- what holds --- */

static struct redfish_stay configured(const struct redfish_call *call, const char *slot)
{
    const struct config *config = &call->site->config;
    struct redfish_stay stay = {.policy = REDFISH_PERSISTENT, .configured = true};
    for (unsigned i = 0; i < config->slot_count; i++)
        if (strcmp(config->slots[i].name, slot) == 0 && config->slots[i].eject_after_ms > 0)
            stay = (struct redfish_stay){.policy = REDFISH_TIMED, .ms = config->slots[i].eject_after_ms, .configured = true};
    return stay;
}

/* The policy of the medium that is in, or of the next one. */
static struct redfish_stay current(const struct redfish_call *call, const struct slot_status *s)
{
    const struct redfish_setting *setting = redfish_setting(call->redfish, s->name);
    if (s->state == SLOT_EMPTY)
        return setting->stay_given ? setting->stay : configured(call, s->name);
    struct redfish_stay stay = {.policy = s->stay_ms > 0 ? REDFISH_TIMED : REDFISH_PERSISTENT, .ms = s->stay_ms};
    if (stay.policy == REDFISH_TIMED)
        return stay;
    for (size_t i = 0; i < NAMES; i++)
        if (s->until != SLOT_UNTIL_EJECTED && untils[i] == s->until)
            stay.policy = (enum redfish_eject)i;
    if (setting->session.session || s->via == SLOT_VIA_BROWSER) /* a browser's file goes with its login */
        stay.policy = REDFISH_SESSION;
    stay.ms = setting->stay.ms;
    return stay;
}

void redfish_stay_show(const struct redfish_call *call, const struct slot_status *s, json_t *media)
{
    struct redfish_stay stay = current(call, s);
    char text[REDFISH_DURATION_SIZE];
    redfish_duration_show(stay.ms, text);
    json_object_set_new(media, "EjectPolicy", json_string(names[stay.policy]));
    json_object_set_new(media, "EjectPolicy@Redfish.AllowableValues", redfish_eject_policies(call, s));
    json_object_set_new(media, "EjectTimeout", stay.ms > 0 ? json_string(text) : json_null());
}

/* --- what is asked for --- */

static json_t *read_policy(const struct redfish_call *call, const char *text, const struct slot_status *s,
                           struct redfish_stay *stay)
{
    const char *problem = NULL;
    for (size_t i = 0; i < NAMES; i++)
        if (strcmp(names[i], text) == 0) {
            stay->policy = (enum redfish_eject)i;
            problem = power_watch_problem(call->site->host, s, untils[i]);
            if (!problem)
                return NULL;
        }
    json_t *message = redfish_not_in_list(call, "EjectPolicy", text);
    return problem ? redfish_resolve(message, problem) : message;
}

static json_t *read_timeout(const struct redfish_call *call, const char *text, struct redfish_stay *stay)
{
    bool good = redfish_duration_parse(text, &stay->ms) && stay->ms >= TIMEOUT_MIN && stay->ms <= TIMEOUT_MAX;
    if (good)
        return NULL;
    json_t *message = call->route->action
                          ? redfish_message("ActionParameterValueFormatError", "EjectTimeout", text, "EjectTimeout",
                                            call->route->action, NULL)
                          : redfish_message("PropertyValueFormatError", "EjectTimeout", text, "EjectTimeout", NULL);
    return redfish_resolve(message, "Give a duration from one second, PT1S, to 30 days, P30D.");
}

/* A policy of null or "" asks for what is configured; so does an image in the place of a browser's file, whose policy
 * was of that file. */
json_t *redfish_stay_read(const struct redfish_call *call, const json_t *body, const struct slot_status *s,
                          struct redfish_stay *stay)
{
    const char *policy = redfish_text(body, "EjectPolicy"), *timeout = redfish_text(body, "EjectTimeout");
    json_t *problem = NULL;
    bool reset = json_object_get(body, "EjectPolicy") ? !policy
                                                      : s->via == SLOT_VIA_BROWSER && redfish_text(body, "Image");
    *stay = reset ? configured(call, s->name) : current(call, s);
    stay->configured = reset && !timeout;
    stay->asked = policy;
    if (policy)
        problem = read_policy(call, policy, s, stay);
    if (!problem && timeout)
        problem = read_timeout(call, timeout, stay);
    if (!problem && stay->policy == REDFISH_TIMED && stay->ms == 0)
        problem = redfish_missing(call, "EjectTimeout");
    return problem;
}

bool redfish_stay_holds(const struct redfish_call *call, const struct slot_status *s, const struct redfish_stay *stay)
{
    struct redfish_stay now = current(call, s);
    return now.policy == stay->policy && (now.policy != REDFISH_TIMED || now.ms == stay->ms);
}

static json_t *session_problem(const struct redfish_call *call, const struct redfish_stay *stay)
{
    if (stay->policy != REDFISH_SESSION || (*call->session && sessions_by_id(call->site->sessions, call->session)))
        return NULL;
    return redfish_resolve(redfish_conflict(call, "EjectPolicy", "Session", "UserName"),
                           "Open a session and send its token: this request came with a password.");
}

json_t *redfish_stay_problem(const struct redfish_call *call, const struct slot_status *s,
                             const struct redfish_stay *stay)
{
    if (s->via == SLOT_VIA_BROWSER && stay->policy != REDFISH_SESSION && stay->policy != REDFISH_TIMED)
        return redfish_conflict(call, "EjectPolicy", names[stay->policy], "ConnectedVia");
    return s->via == SLOT_VIA_BROWSER ? NULL : session_problem(call, stay);
}

/* What the slot shows goes on, whoever asks; but for a browser's file, since it is its own login's. */
static bool stay_goes_on(const struct redfish_call *call, const struct slot_status *s, const struct redfish_stay *stay)
{
    return s->state != SLOT_EMPTY && s->via != SLOT_VIA_BROWSER && redfish_stay_holds(call, s, stay);
}

json_t *redfish_stay_insert_problem(const struct redfish_call *call, const struct slot_status *s,
                                    const struct redfish_stay *stay)
{
    return stay_goes_on(call, s, stay) ? NULL : session_problem(call, stay);
}

/* --- a medium of a session --- */

static void ignore_done(void *arg, int status, const char *error)
{
    (void)arg;
    (void)status;
    (void)error;
}

static void on_redfish_eject_policy_session_ended(struct session_attachment *attachment, const struct session *session)
{
    struct redfish_setting *setting = container_of(attachment, struct redfish_setting, session);
    struct slot *slot = slots_find(setting->slots, setting->slot);
    if (!slot)
        return;
    log_notice(setting->slot, "redfish: the session of %s has ended, and so its medium is ejected", session->user);
    slot_eject(slot, ignore_done, NULL);
}

static void bind_session(struct redfish_setting *setting, struct session *session)
{
    session_detach(&setting->session);
    setting->session.ended = on_redfish_eject_policy_session_ended;
    setting->session.onlooker = true;
    if (session)
        session_attach(session, &setting->session);
}

static struct session *own_session(const struct redfish_call *call)
{
    return *call->session ? sessions_by_id(call->site->sessions, call->session) : NULL;
}

/* An image in the place of another goes with the session that asks for that, or with the one of before. An insert that
 * only waits with another one leaves the medium to that. */
static void bond_later(struct redfish_call *call, const struct redfish_setting *setting, const struct redfish_stay *stay)
{
    bool session = stay->policy == REDFISH_SESSION;
    const struct session *before = setting->session.session;
    call->bonds = session || !call->route->action;
    if (session)
        snprintf(call->bond, sizeof call->bond, "%s", before && !(stay->asked && own_session(call)) ? before->id : call->session);
}

void redfish_stay_insert(struct redfish_call *call, const struct slot_status *s, const struct redfish_stay *stay,
                         struct slot_insert_options *options)
{
    struct redfish_setting *setting = redfish_setting(call->redfish, s->name);
    bool session = stay->policy == REDFISH_SESSION;
    options->tied = session ? ends_with_session : NULL;
    options->stay_ms = stay->policy == REDFISH_TIMED ? stay->ms : SLOT_STAYS;
    options->until = untils[stay->policy];
    options->keeps_stay = stay_goes_on(call, s, stay);
    if (s->state == SLOT_EMPTY)
        bind_session(setting, session ? own_session(call) : NULL);
    else
        bond_later(call, setting, stay);
}

/* The bond of what was in went out with it. */
void redfish_stay_inserted(struct redfish_call *call, struct slot *slot)
{
    struct slot_status s;
    struct session *session = *call->bond ? sessions_by_id(call->site->sessions, call->bond) : NULL;
    slot_get_status(slot, &s);
    if (!call->bonds || s.state == SLOT_EMPTY)
        return;
    bind_session(redfish_setting(call->redfish, s.name), session);
    if (session) {
        slot_set_stay(slot, 0, SLOT_UNTIL_EJECTED, ends_with_session);
    } else if (*call->bond) {
        log_notice(s.name, "redfish: the session of the medium has ended meanwhile: it is ejected");
        slot_eject(slot, ignore_done, NULL);
    }
}

void redfish_stay_set(struct redfish_call *call, struct slot *slot, const struct slot_status *s,
                      const struct redfish_stay *stay)
{
    struct redfish_setting *setting = redfish_setting(call->redfish, s->name);
    setting->stay_given = !stay->configured;
    setting->stay = *stay;
    if (s->state == SLOT_EMPTY)
        return;
    bool session = stay->policy == REDFISH_SESSION && s->via != SLOT_VIA_BROWSER;
    bind_session(setting, session ? own_session(call) : NULL);
    slot_set_stay(slot, stay->policy == REDFISH_TIMED ? stay->ms : 0, untils[stay->policy],
                  session ? ends_with_session : NULL);
}
