#include "fakes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

struct slots {
    struct fakes how;
    bool gone;
};

struct slot {
    unsigned index;
    enum fake_medium medium;
    char url[SLOT_URL_MAX], user[256], image_name[256];
    bool writable;
    slot_done *done; /* what is asked for, NULL: nothing */
    void *arg;
    slot_preview_done *previewed;
    void *preview_arg;
};

struct host {
    struct host_state state;
    struct link requests;
};

static struct slots slots;
static struct slot all[FAKE_SLOTS];
static struct host host;

void must(bool condition)
{
    if (!condition)
        abort();
}

/* --- slots --- */

static const char *const names[FAKE_SLOTS] = {"slot0", "stick"};

static void put_in(struct slot *slot, const char *url, const char *user, bool writable)
{
    slot->medium = FAKE_FROM_URL;
    slot->writable = writable;
    snprintf(slot->url, sizeof slot->url, "%s", url);
    snprintf(slot->user, sizeof slot->user, "%s", user ? user : "");
    snprintf(slot->image_name, sizeof slot->image_name, "%.200s", url);
}

static void slot_reset(unsigned index, enum fake_medium medium)
{
    struct slot *slot = &all[index];
    must(!slot->done);
    *slot->url = *slot->user = *slot->image_name = '\0';
    slot->index = index;
    slot->writable = false;
    if (medium == FAKE_FROM_URL)
        put_in(slot, "https://images.example/a.iso?key=1", "reader", false);
    else if (medium == FAKE_FROM_BROWSER)
        snprintf(slot->image_name, sizeof slot->image_name, "a\"\\\xff\n.iso"); /* a browser may call it anything */
    slot->medium = medium;
}

unsigned slots_count(const struct slots *set)
{
    return set->gone ? 0 : FAKE_SLOTS;
}

struct slot *slots_get(struct slots *set, unsigned index)
{
    must(index < slots_count(set));
    return &all[index];
}

struct slot *slots_find(struct slots *set, const char *name)
{
    for (unsigned i = 0; i < slots_count(set); i++)
        if (strcmp(names[i], name) == 0 || (name[0] == (char)('0' + i) && !name[1]))
            return &all[i];
    return NULL;
}

const char *slot_state_name(enum slot_state state)
{
    return state == SLOT_EMPTY ? "empty" : state == SLOT_READY ? "ready" : "opening";
}

const char *slot_until_name(enum slot_until until)
{
    static const char *const known[SLOT_UNTILS] = {"Persistent", "OnPowerOff", "AfterUse"};
    return known[until];
}

bool slot_until_parse(const char *name, enum slot_until *until)
{
    for (*until = SLOT_UNTIL_EJECTED; *until < SLOT_UNTILS; (*until)++)
        if (strcmp(slot_until_name(*until), name) == 0)
            return true;
    return false;
}

void slot_tell_power(struct slot *slot, bool on)
{
    (void)slot;
    (void)on;
}

void slot_get_status(struct slot *slot, struct slot_status *status)
{
    static const enum slot_state states[] = {SLOT_EMPTY, SLOT_READY, SLOT_READY, SLOT_OPENING};
    static const struct host_reads reads = {.count = 7, .failed = {.count = 2, .why = "\xff\n"}};
    static const struct seed_wish seed = {.kind = "cidata", .files = "{}"};
    static const enum slot_via vias[] = {SLOT_VIA_NOTHING, SLOT_VIA_URL, SLOT_VIA_BROWSER, SLOT_VIA_URL};
    *status = (struct slot_status){
        .name = names[slot->index],
        .index = slot->index,
        .media = slot->index == 0 ? MEDIA_CD : MEDIA_DISK,
        .state = states[slot->medium],
        .socket = "/run/slot.sock",
        .attach = ATTACH_USB,
        .device = "/dev/nbd0",
        .cdrom = slot->index == 0,
        .image = slot->image_name,
        .url = slot->url,
        .user = slot->user,
        .kernel_args = slot->writable ? "a=b" : "",
        .menu_timeout = slot->writable ? "5" : "",
        .seed = &seed,
        .config = slot->writable,
        .verify = true,
        .size = 1 << 20,
        .writable = slot->writable,
        .via = vias[slot->medium],
        .warning = slot->medium == FAKE_FROM_BROWSER ? "it is no medium" : "",
        .error = "",
        .oldest = {.offset = 512, .length = 4096, .waited_us = slot->medium == FAKE_FROM_URL ? 3000000 : 0},
        .reads = &reads,
    };
    snprintf(status->image_name, sizeof status->image_name, "%s", slot->image_name);
}

static void ask(struct slot *slot, slot_done *done, void *arg)
{
    must(!slot->done); /* a target asks for one thing at a time */
    slot->done = done;
    slot->arg = arg;
}

static void insert(struct slot *slot, const char *url, const struct slot_insert_options *options, slot_done *done, void *arg)
{
    must(slots.how.may_insert && url);
    must(!options->nfs_ids || slots.how.may_manage);
    must(options->verify >= -1 && options->verify <= 1 && options->writable >= -1 && options->writable <= 1);
    if (slots.how.status == 0)
        put_in(slot, url, options->user, options->writable == 1);
    ask(slot, done, arg);
}

void slot_insert(struct slot *slot, const char *url, const struct slot_insert_options *options, slot_done *done, void *arg)
{
    insert(slot, url, options, done, arg);
}

void slot_replace(struct slot *slot, const char *url, const struct slot_insert_options *options, slot_done *done, void *arg)
{
    insert(slot, url, options, done, arg);
}

static void on_previewed(void *arg, int status, const char *error)
{
    struct slot *slot = arg;
    slot->previewed(slot->preview_arg, status, error, status == 0 ? "+append a\n" : "");
}

void slot_preview(struct slot *slot, const char *url, const struct slot_insert_options *options, slot_preview_done *done,
                  void *arg)
{
    must(slots.how.may_insert && url);
    must(!options->nfs_ids || slots.how.may_manage);
    slot->previewed = done;
    slot->preview_arg = arg;
    ask(slot, on_previewed, slot);
}

void slot_eject(struct slot *slot, slot_done *done, void *arg)
{
    must(slots.how.may_insert);
    if (slots.how.status == 0)
        slot_reset(slot->index, FAKE_EMPTY);
    ask(slot, done, arg);
}

void slot_give_up(struct slot *slot)
{
    (void)slot;
    must(slots.how.may_insert);
}

bool slot_speaks(const struct slot *slot, enum location_kind kind)
{
    return slot->index == 0 || kind == LOCATION_HTTPS;
}

void slot_set_stay(struct slot *slot, uint64_t stay_ms, enum slot_until until, const char *tied)
{
    (void)slot;
    (void)tied;
    must(until <= SLOT_UNTIL_USED);
    must(slots.how.may_insert && stay_ms <= 30 * 86400000ull);
}

void slot_set_trace(struct slot *slot, bool on)
{
    (void)slot;
    (void)on;
}

int slot_browser_problem(struct slot *slot, const char *claim, const struct slot_insert_options *changes,
                         char error[SLOT_ERROR_MAX])
{
    (void)changes;
    must(claim != NULL);
    snprintf(error, SLOT_ERROR_MAX, "it has a medium");
    return slot->medium == FAKE_EMPTY ? 0 : -EBUSY;
}

void slot_connect_browser(struct slot *slot, const char *name, const char *by, const struct browser_connection *connection,
                          const struct slot_insert_options *changes, slot_done *done, void *arg)
{
    (void)slot, (void)name, (void)by, (void)connection, (void)changes, (void)done, (void)arg;
    abort(); /* no target has a browser */
}

void slot_config_url(const struct seed_wish *wish, char url[SLOT_CONFIG_URL_MAX])
{
    must(wish->files);
    snprintf(url, SLOT_CONFIG_URL_MAX, "config:x");
}

bool slot_profile_may_be(const char *profile)
{
    return strcmp(profile, "own") == 0 || strncmp(profile, "https://", 8) == 0;
}

bool slot_host_waits(const struct slot_status *status)
{
    return status->oldest.waited_us > 0;
}

void slot_dismiss(struct slot *slot)
{
    (void)slot;
}

void slot_get_totals(struct slot *slot, struct slot_totals *totals)
{
    (void)slot;
    *totals = (struct slot_totals){.source = {.requests = 1}};
}

bool slot_get_report(struct slot *slot, struct slot_report *report)
{
    *report = (struct slot_report){.reads = {.reads = 1, .worst_count = 1, .mark_count = 1}};
    snprintf(report->image, sizeof report->image, "%.200s", slot->image_name);
    return slot->medium != FAKE_EMPTY;
}

char *slot_profile_text(struct slot *slot)
{
    return slot->medium == FAKE_FROM_URL ? mem_strdup("{}") : NULL;
}

bool slot_awaits(const struct slot *slot)
{
    (void)slot;
    return false;
}

struct cache *slots_cache(struct slots *set)
{
    (void)set;
    return NULL;
}

void slots_set_watch(struct slots *set, struct slots_watch *watch)
{
    (void)set;
    (void)watch;
}

static bool slot_answer(struct slot *slot)
{
    slot_done *done = slot->done;
    slot->done = NULL;
    slots.gone = slots.gone || (done && slots.how.removed);
    if (done)
        done(slot->arg, slots.how.status, slots.how.status == 0 ? "" : strerror(-slots.how.status));
    return done;
}

/* --- the host --- */

const struct host_state *host_get_state(const struct host *asked)
{
    return &asked->state;
}

bool host_is_configured(const struct host *asked)
{
    (void)asked;
    return slots.how.host;
}

bool host_problem(const struct host *asked, const struct host_request *request, char error[HOST_ERROR_MAX])
{
    (void)asked;
    (void)request;
    snprintf(error, HOST_ERROR_MAX, "no host is configured");
    return !slots.how.host;
}

void host_submit(struct host *asked, struct host_request *request)
{
    must(request->verb == HOST_GET || slots.how.may_insert);
    must(request->reset < HOST_RESETS && request->boot.target < HOST_TARGETS && request->boot.enabled < HOST_ENABLEDS &&
         request->boot.mode < HOST_MODES);
    list_append(&asked->requests, &request->link);
}

/* Each is one of its own here. */
bool host_join(struct host *asked, struct host_request *request)
{
    (void)asked, (void)request;
    return false;
}

static bool host_answer(void)
{
    struct link *first = list_pop(&host.requests);
    if (!first)
        return false;
    struct host_request *request = container_of(first, struct host_request, link);
    request->status = slots.how.host ? slots.how.status : -ENODEV;
    snprintf(request->error, sizeof request->error, "%s", request->status == 0 ? "" : strerror(-request->status));
    host.state.known = slots.how.host;
    slots.gone = slots.how.removed && request->verb != HOST_GET;
    request->done(request);
    return true;
}

/* --- both --- */

void fakes_begin(const struct fakes *fakes)
{
    slots = (struct slots){.how = *fakes};
    host.state = (struct host_state){.power = HOST_POWER_ON, .resets = 0x7f, .targets = 0x1f, .modes = 6};
    list_init(&host.requests);
    slot_reset(0, fakes->medium);
    slot_reset(1, FAKE_EMPTY);
}

bool fakes_answer(void)
{
    return host_answer() || slot_answer(&all[0]) || slot_answer(&all[1]);
}

struct slots *fakes_slots(void)
{
    return &slots;
}

struct host *fakes_host(void)
{
    return &host;
}
