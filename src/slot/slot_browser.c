/* Files in browsers as media: how they come to the slot, and come back to it after a lost connection. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "slot/slot_internal.h"

static struct source *browser_of(const struct slot *slot)
{
    return slot->source && slot->wanted ? pipeline_browser(slot->source) : NULL;
}

/* The planner of what is changed in the file; NULL: nothing. The status is 0, or a negative errno with `error`. */
static int changes_of(const struct slot *slot, const struct slot_insert_options *changes, struct inject_planner **planner,
                      char error[SLOT_ERROR_MAX])
{
    struct pipeline_refusal refusal;
    *planner = NULL;
    if (!changes || pipeline_browser_changes(&slot->shared->context, &slot->config, changes, planner, &refusal))
        return 0;
    snprintf(error, SLOT_ERROR_MAX, "%s", refusal.error);
    return refusal.status;
}

static int browser_changes_problem(const struct slot *slot, const struct slot_insert_options *changes,
                                   char error[SLOT_ERROR_MAX])
{
    struct inject_planner *planner;
    int status = changes_of(slot, changes, &planner, error);
    pipeline_planner_drop(planner);
    return status;
}

int slot_browser_problem(struct slot *slot, const char *claim, const struct slot_insert_options *changes,
                         char error[SLOT_ERROR_MAX])
{
    const struct source *browser = browser_of(slot);
    if (browser && browser_source_awaits(browser, claim))
        return 0;
    slot_insert_problem(slot, error);
    if (browser && browser_source_is_waiting(browser))
        snprintf(error, SLOT_ERROR_MAX, "the slot waits for another file to come back: %.200s%s%.64s", slot->image_name,
                 slot->media.by ? ", by " : "", slot->media.by ? slot->media.by : "");
    else if (!*error && slot->state != SLOT_EMPTY)
        snprintf(error, SLOT_ERROR_MAX, "the slot is trying to put in an image by itself (eject it first)");
    return *error ? -EBUSY : browser_changes_problem(slot, changes, error);
}

static void slot_browser_remember(struct slot *slot, const char *name, const char *by)
{
    slot->media = (struct slot_media){.by = mem_strdup(by), .verify = -1, .writable = -1, .stay_ms = slot->config.eject_after_ms};
    snprintf(slot->image_name, sizeof slot->image_name, "%s", name);
    slot->url_public = mem_alloc(SLOT_URL_MAX);
    snprintf(slot->url_public, SLOT_URL_MAX, "browser:%s", slot->image_name);
}

static void slot_browser_insert(struct slot *slot, const char *name, const char *by,
                                const struct browser_connection *connection, const struct slot_insert_options *changes,
                                struct slot_request *request)
{
    struct inject_planner *planner;
    char error[SLOT_ERROR_MAX];
    changes_of(slot, changes, &planner, error); /* as it was when slot_browser_problem() was asked */
    slot_retry_cancel(slot);
    struct pipeline_drive drive = slot_device_drive(slot);
    slot_browser_remember(slot, name, by);
    struct source *source =
        pipeline_browser_new(&slot->shared->context, &slot->config, &drive, slot->url_public, connection, planner);
    slot_begin_insert(slot, source, request);
}

void slot_connect_browser(struct slot *slot, const char *name, const char *by, const struct browser_connection *connection,
                          const struct slot_insert_options *changes, slot_done *done, void *arg)
{
    struct slot_request *request = slot_request_new(done, arg);
    struct source *browser = browser_of(slot);
    if (!browser) {
        slot_browser_insert(slot, name, by, connection, changes, request);
        return;
    }
    browser_source_connect(browser, connection);
    slot_request_answer(slot, request, 0, "");
}

void slot_revoke_browser(struct slot *slot, const void *arg)
{
    struct source *browser = browser_of(slot);
    if (!browser || !browser_source_has(browser, arg))
        return;
    slot_fail(slot, -EACCES, "the login of the browser's user has ended");
    browser_source_set_end(browser, BROWSER_REFUSED, slot->error);
    source_close(slot->source); /* at once, however long the host keeps the medium */
    slot_step(slot);
}
