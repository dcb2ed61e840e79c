/*
 * Who is sent the service's events by POST: what was subscribed, kept in a file over restarts (mode 0600, beside the
 * users file), and how it goes with each. The resources are in event_destinations.c, the sending in api/site/push.h.
 *
 * A subscription whose destination or fields have a secret is only written to the file with `state-secrets`. Private to
 * api/redfish.
 */
#ifndef API_REDFISH_SUBSCRIPTIONS_H
#define API_REDFISH_SUBSCRIPTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <time.h>

#include "api/site/push.h"
#include "api/site/site.h"

#define SUBSCRIPTIONS_MAX        8
#define SUBSCRIPTION_FIELDS_MAX  8
#define SUBSCRIPTION_FIELD_MAX   4096 /* of one field, and of the destination */
#define SUBSCRIPTION_CONTEXT_MAX 256
#define DELIVERY_ATTEMPTS_MAX    100
#define DELIVERY_INTERVAL_MAX    3600 /* seconds */

struct redfish_events;
struct redfish_subscriptions;

enum redfish_retry {
    REDFISH_RETRY_TERMINATE, /* the subscription goes after the last attempt */
    REDFISH_RETRY_SUSPEND,
    REDFISH_RETRY_FOREVER,
    REDFISH_RETRY_BACKOFF,
    REDFISH_RETRIES
};

struct redfish_subscription {
    unsigned number; /* 0: free */
    char *destination, *context;
    char *fields[SUBSCRIPTION_FIELDS_MAX + 1]; /* "NAME: VALUE" */
    json_t *prefixes, *types, *kinds;          /* RegistryPrefixes, ResourceTypes, EventTypes: arrays; empty: all */
    bool verify;
    enum redfish_retry retry;
    bool suspended;
    char error[PUSH_ERROR_MAX]; /* why the last text did not arrive; "": it did, or there was none */
    time_t error_at;

    struct redfish_subscriptions *set; /* private from here on */
    struct push_target *target;
};

const char *redfish_retry_name(enum redfish_retry retry);
bool redfish_retry_parse(const char *name, enum redfish_retry *retry);

/* `path` is taken over. */
struct redfish_subscriptions *redfish_subscriptions_new(struct site *site, struct redfish_events *events, char *path);
/* Takes over what the fields of `from` point to, its number is given here. NULL: there are SUBSCRIPTIONS_MAX, and
 * `from` is the caller's. */
struct redfish_subscription *redfish_subscription_add(struct redfish_subscriptions *set, struct redfish_subscription *from);
/* Frees what the fields point to. */
void redfish_subscription_clear(struct redfish_subscription *subscription);
struct redfish_subscription *redfish_subscription_next(struct redfish_subscriptions *set,
                                                       const struct redfish_subscription *after);
void redfish_subscription_remove(struct redfish_subscription *subscription);
/* Its fields were changed. */
void redfish_subscription_changed(struct redfish_subscription *subscription);
void redfish_subscription_suspend(struct redfish_subscription *subscription);
void redfish_subscription_resume(struct redfish_subscription *subscription); /* with what happens from now on */
/* How often what does not arrive is sent, and at what intervals. */
void redfish_subscriptions_get_retry(const struct redfish_subscriptions *set, unsigned *attempts, unsigned *interval_s);
void redfish_subscriptions_set_retry(struct redfish_subscriptions *set, unsigned attempts, unsigned interval_s);
/* Nothing is sent any more; the events may go. */
void redfish_subscriptions_stop(struct redfish_subscriptions *set);
/* When all is written; frees itself, then `closed`. After redfish_subscriptions_stop(). */
void redfish_subscriptions_close(struct redfish_subscriptions *set, void (*closed)(void *arg), void *arg);

#endif
