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

static struct seed_wish read_seed(json_t *body)
{
    struct seed_wish wish = {0};
    char name[64];
    for (unsigned i = 0; i < SEED_WISH_TEXTS; i++) {
        snprintf(name, sizeof name, REDFISH_OEM "/%s", seed_wish_texts[i].member);
        *seed_wish_text(&wish, i) = api_object_text(body, name);
    }
    return wish;
}

static json_t *seed_problem(const struct redfish_call *call, const struct seed_wish *wish, unsigned i)
{
    const char *text = *seed_wish_text(wish, i);
    char name[64];
    snprintf(name, sizeof name, REDFISH_OEM "/%s", seed_wish_texts[i].member);
    return text && !seed_wish_may_be(i, text) ? redfish_not_in_list(call, name, text) : NULL;
}

json_t *redfish_boot_changes_read(const struct redfish_call *call, json_t *body, struct redfish_boot_changes *changes)
{
    const char *timeout = redfish_text(body, REDFISH_MENU_TIMEOUT);
    json_t *problem = NULL;
    uint64_t ms = 0;
    *changes = (struct redfish_boot_changes){.arguments = redfish_text(body, REDFISH_KERNEL_ARGUMENTS), .seed = read_seed(body)};
    if (changes->seed.files)
        slot_config_url(&changes->seed, changes->config_url);
    for (unsigned i = 0; i < SEED_WISH_TEXTS && !problem; i++)
        problem = seed_problem(call, &changes->seed, i);
    if (problem || !timeout)
        return problem;
    if (!redfish_duration_parse(timeout, &ms) || ms > TIMEOUT_MAX || ms % 1000 != 0)
        return timeout_problem(call, timeout);
    snprintf(changes->menu_timeout, sizeof changes->menu_timeout, "%" PRIu64, ms / 1000);
    return NULL;
}

bool redfish_boot_changes_any(const struct redfish_boot_changes *changes)
{
    return changes->arguments || *changes->menu_timeout || seed_wish_any(&changes->seed);
}

/* The wish, where it says nothing as it was. */
static struct seed_wish merged(const struct seed_wish *wish, const struct seed_wish *before)
{
    struct seed_wish all = *wish;
    for (unsigned i = 0; i < SEED_WISH_TEXTS; i++)
        if (!*seed_wish_text(&all, i))
            *seed_wish_text(&all, i) = *seed_wish_text(before, i);
    return all;
}

static bool seed_holds(const struct seed_wish *wish, const struct slot_status *s)
{
    struct seed_wish all = merged(wish, s->seed);
    return seed_wish_equal(&all, s->seed);
}

bool redfish_boot_changes_hold(const struct redfish_boot_changes *changes, const struct slot_status *s)
{
    return (!changes->arguments || strcmp(s->kernel_args, changes->arguments) == 0) &&
           (!*changes->menu_timeout || strcmp(s->menu_timeout, changes->menu_timeout) == 0) && seed_holds(&changes->seed, s);
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
    options->seed = keep ? merged(&changes->seed, s->seed) : changes->seed;
    options->config = keep && s->config;
}
