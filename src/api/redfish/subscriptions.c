#include "api/redfish/subscriptions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/redfish/internal.h"
#include "base/log.h"
#include "base/save.h"
#include "base/text.h"

#define WHO              "redfish"
#define VERSION          1
#define ATTEMPTS_DEFAULT 3
#define INTERVAL_DEFAULT 30

struct redfish_subscriptions {
    struct site *site;
    struct redfish_events *events;
    struct push *push;
    struct save save;
    struct redfish_subscription all[SUBSCRIPTIONS_MAX];
    unsigned last; /* number */
    unsigned attempts, interval_s;
    void (*closed)(void *arg);
    void *closed_arg;
};

const char *redfish_retry_name(enum redfish_retry retry)
{
    static const char *const names[REDFISH_RETRIES] = {"TerminateAfterRetries", "SuspendRetries", "RetryForever",
                                                       "RetryForeverWithBackoff"};
    return names[retry];
}

bool redfish_retry_parse(const char *name, enum redfish_retry *retry)
{
    for (*retry = 0; *retry < REDFISH_RETRIES; (*retry)++)
        if (strcmp(redfish_retry_name(*retry), name) == 0)
            return true;
    return false;
}

/* --- the file --- */

static bool subscription_is_public(const struct redfish_subscription *s)
{
    char shown[SUBSCRIPTION_FIELD_MAX];
    text_url_public(s->destination, shown, sizeof shown);
    return !s->fields[0] && strcmp(shown, s->destination) == 0;
}

static json_t *subscription_save(const struct redfish_subscription *s)
{
    json_t *fields = json_array();
    for (char *const *field = s->fields; *field; field++)
        json_array_append_new(fields, json_string(*field));
    return json_pack("{s:i, s:s, s:s*, s:o, s:O, s:O, s:O, s:b, s:s, s:b}", "number", (int)s->number, "destination",
                     s->destination, "context", s->context, "fields", fields, "prefixes", s->prefixes, "types", s->types,
                     "kinds", s->kinds, "verify", s->verify, "retry", redfish_retry_name(s->retry), "suspended",
                     s->suspended);
}

static void subscriptions_save(struct redfish_subscriptions *set)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < SUBSCRIPTIONS_MAX; i++)
        if (set->all[i].number && (set->site->config.state_secrets || subscription_is_public(&set->all[i])))
            json_array_append_new(list, subscription_save(&set->all[i]));
    json_t *root = json_pack("{s:i, s:i, s:i, s:o}", "version", VERSION, "attempts", (int)set->attempts, "interval",
                             (int)set->interval_s, "subscriptions", list);
    char *text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    if (!text)
        mem_exhausted();
    save_text(&set->save, mem_strdup(text));
    memset(text, 0, strlen(text));
    free(text);
}

static json_t *array_of(const json_t *entry, const char *name)
{
    json_t *list = json_object_get(entry, name);
    return json_is_array(list) ? json_incref(list) : json_array();
}

/* False: the entry is damaged. */
static bool subscription_read(const json_t *entry, struct redfish_subscription *s)
{
    const char *destination = json_string_value(json_object_get(entry, "destination"));
    const char *retry = json_string_value(json_object_get(entry, "retry"));
    json_int_t number = json_integer_value(json_object_get(entry, "number"));
    const json_t *fields = json_object_get(entry, "fields");
    *s = (struct redfish_subscription){.number = (unsigned)number};
    if (!destination || !retry || number <= 0 || number > INT32_MAX || !redfish_retry_parse(retry, &s->retry))
        return false;
    for (size_t i = 0; i < SUBSCRIPTION_FIELDS_MAX && i < json_array_size(fields); i++)
        s->fields[i] = mem_strdup(json_string_value(json_array_get(fields, i)));
    s->destination = mem_strdup(destination);
    s->context = mem_strdup(json_string_value(json_object_get(entry, "context")));
    s->prefixes = array_of(entry, "prefixes");
    s->types = array_of(entry, "types");
    s->kinds = array_of(entry, "kinds");
    s->verify = !json_is_false(json_object_get(entry, "verify"));
    s->suspended = json_is_true(json_object_get(entry, "suspended"));
    return true;
}

static void subscription_start(struct redfish_subscription *s);

static void subscriptions_load(struct redfish_subscriptions *set)
{
    json_t *entry;
    size_t i;
    json_t *root = api_load_saved(WHO, set->save.path, "the subscriptions of events are not known");
    json_int_t attempts = json_integer_value(json_object_get(root, "attempts"));
    json_int_t interval = json_integer_value(json_object_get(root, "interval"));
    set->attempts = attempts > 0 && attempts <= DELIVERY_ATTEMPTS_MAX ? (unsigned)attempts : ATTEMPTS_DEFAULT;
    set->interval_s = interval > 0 && interval <= DELIVERY_INTERVAL_MAX ? (unsigned)interval : INTERVAL_DEFAULT;
    json_array_foreach (json_object_get(root, "subscriptions"), i, entry) {
        struct redfish_subscription s;
        if (i >= SUBSCRIPTIONS_MAX || !subscription_read(entry, &s)) {
            log_warning(WHO, "%s: a subscription of events is left out: it is damaged", set->save.path);
            continue;
        }
        set->last = s.number > set->last ? s.number : set->last;
        set->all[i] = s;
        set->all[i].set = set;
        subscription_start(&set->all[i]);
    }
    json_decref(root);
}

/* --- what is sent --- */

static char *subscription_text(void *arg, uint64_t *seen)
{
    const struct redfish_subscription *s = arg;
    return redfish_events_next_for(s->set->events, s, seen);
}

static void subscription_asleep(struct redfish_subscription *s)
{
    char shown[256];
    bool ends = s->retry == REDFISH_RETRY_TERMINATE;
    text_url_public(s->destination, shown, sizeof shown);
    log_warning(WHO, "events can't be sent to %s: %s (the subscription %s)", shown, s->error,
                ends ? "ends" : "is suspended");
    s->suspended = true;
    if (ends)
        redfish_subscription_remove(s);
    else
        subscriptions_save(s->set);
}

static void on_subscription_attempted(void *arg, const char *error, bool asleep)
{
    struct redfish_subscription *s = arg;
    snprintf(s->error, sizeof s->error, "%s", error);
    if (*error)
        s->error_at = time(NULL);
    if (asleep)
        subscription_asleep(s);
}

static bool retries_forever(const struct redfish_subscription *s)
{
    return s->retry == REDFISH_RETRY_FOREVER || s->retry == REDFISH_RETRY_BACKOFF;
}

static void subscription_start(struct redfish_subscription *s)
{
    struct push_options options = {
        .url = s->destination,
        .fields = (const char *const *)s->fields,
        .verify = s->verify,
        .forever = retries_forever(s),
        .backoff = s->retry == REDFISH_RETRY_BACKOFF,
        .attempts = s->set->attempts,
        .interval_ms = s->set->interval_s * 1000ull,
        .seen = redfish_events_last(s->set->events),
        .next = subscription_text,
        .attempted = on_subscription_attempted,
        .arg = s,
    };
    s->target = push_target_new(s->set->push, &options);
    if (s->suspended)
        push_target_sleep(s->target);
}

static void subscription_retry(struct redfish_subscription *s)
{
    push_target_set_retry(s->target, retries_forever(s), s->retry == REDFISH_RETRY_BACKOFF, s->set->attempts,
                          s->set->interval_s * 1000ull);
}

/* --- changes --- */

void redfish_subscription_clear(struct redfish_subscription *s)
{
    for (char **field = s->fields; *field; field++)
        mem_free_secret(*field);
    mem_free_secret(s->destination);
    mem_free(s->context);
    json_decref(s->prefixes);
    json_decref(s->types);
    json_decref(s->kinds);
    *s = (struct redfish_subscription){0};
}

struct redfish_subscription *redfish_subscription_add(struct redfish_subscriptions *set, struct redfish_subscription *from)
{
    struct redfish_subscription *s = set->all;
    while (s < set->all + SUBSCRIPTIONS_MAX && s->number)
        s++;
    if (s == set->all + SUBSCRIPTIONS_MAX)
        return NULL;
    *s = *from;
    s->number = ++set->last;
    s->set = set;
    subscription_start(s);
    if (!set->site->config.state_secrets && !subscription_is_public(s))
        log_notice(WHO, "subscription %u of events has secrets: it is forgotten at a restart (see state-secrets)", s->number);
    subscriptions_save(set);
    return s;
}

struct redfish_subscription *redfish_subscription_next(struct redfish_subscriptions *set,
                                                       const struct redfish_subscription *after)
{
    struct redfish_subscription *s = set->all + (after ? after + 1 - set->all : 0);
    while (s < set->all + SUBSCRIPTIONS_MAX && !s->number)
        s++;
    return s < set->all + SUBSCRIPTIONS_MAX ? s : NULL;
}

void redfish_subscription_remove(struct redfish_subscription *s)
{
    struct redfish_subscriptions *set = s->set;
    push_target_free(s->target);
    redfish_subscription_clear(s);
    subscriptions_save(set);
}

void redfish_subscription_changed(struct redfish_subscription *s)
{
    push_target_set_verify(s->target, s->verify);
    subscription_retry(s);
    subscriptions_save(s->set);
}

void redfish_subscription_suspend(struct redfish_subscription *s)
{
    s->suspended = true;
    push_target_sleep(s->target);
    subscriptions_save(s->set);
}

void redfish_subscription_resume(struct redfish_subscription *s)
{
    s->suspended = false;
    *s->error = '\0';
    push_target_resume(s->target, redfish_events_last(s->set->events));
    subscriptions_save(s->set);
}

void redfish_subscriptions_get_retry(const struct redfish_subscriptions *set, unsigned *attempts, unsigned *interval_s)
{
    *attempts = set->attempts;
    *interval_s = set->interval_s;
}

void redfish_subscriptions_set_retry(struct redfish_subscriptions *set, unsigned attempts, unsigned interval_s)
{
    set->attempts = attempts;
    set->interval_s = interval_s;
    for (struct redfish_subscription *s = NULL; (s = redfish_subscription_next(set, s)) != NULL;)
        subscription_retry(s);
    subscriptions_save(set);
}

/* --- life --- */

static void on_subscriptions_tick(void *arg)
{
    struct redfish_subscriptions *set = arg;
    redfish_events_look(set->events);
}

struct redfish_subscriptions *redfish_subscriptions_new(struct site *site, struct redfish_events *events, char *path)
{
    struct redfish_subscriptions *set = mem_alloc(sizeof *set);
    set->site = site;
    set->events = events;
    set->attempts = ATTEMPTS_DEFAULT;
    set->interval_s = INTERVAL_DEFAULT;
    set->push = push_new(site->loop, &site->config.http, on_subscriptions_tick, set);
    save_init(&set->save, site->loop, path, "the subscriptions of events would be lost at a restart");
    redfish_events_set_push(events, set->push);
    subscriptions_load(set);
    return set;
}

void redfish_subscriptions_stop(struct redfish_subscriptions *set)
{
    redfish_events_set_push(set->events, NULL);
    for (struct redfish_subscription *s = NULL; (s = redfish_subscription_next(set, s)) != NULL;) {
        push_target_free(s->target);
        s->target = NULL;
    }
}

static void on_subscriptions_closed(void *arg)
{
    struct redfish_subscriptions *set = arg;
    void (*closed)(void *arg) = set->closed;
    void *closed_arg = set->closed_arg;
    for (unsigned i = 0; i < SUBSCRIPTIONS_MAX; i++)
        redfish_subscription_clear(&set->all[i]);
    save_free(&set->save);
    mem_free(set);
    closed(closed_arg);
}

static void on_subscriptions_written(void *arg)
{
    struct redfish_subscriptions *set = arg;
    push_close(set->push, on_subscriptions_closed, set);
}

void redfish_subscriptions_close(struct redfish_subscriptions *set, void (*closed)(void *arg), void *arg)
{
    set->closed = closed;
    set->closed_arg = arg;
    save_flush(&set->save, on_subscriptions_written, set);
}
