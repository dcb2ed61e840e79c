/* /api/slots: what is in the slots, and how it was read. See api/web/handlers.h and web/api.js. */
#include <stdio.h>
#include <string.h>

#include "api/report.h"
#include "api/trouble.h"
#include "api/web/handlers.h"
#include "base/text.h"

/* The page knows nothing of gadgets: binding is attaching, and so on. */
static const char *state_name(const struct slot_status *s)
{
    static const char *const names[] = {"empty", "opening",   "attaching", "attaching",
                                        "ready", "detaching", "detaching", "closing"};
    return s->waiting && s->state == SLOT_READY ? "waiting" : names[s->state];
}

static json_t *web_slot_shown_json_stats(const struct slot_status *s)
{
    const struct source_stats *source = &s->counters.source;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "readBytes", (json_int_t)s->server.read_bytes, "bytes",
                     (json_int_t)source->bytes, "meanRate", (json_int_t)s->mean_rate, "reads", (json_int_t)s->reads->count,
                     "readsWaited", (json_int_t)s->reads->slow, "rttUs", (json_int_t)source->quiet_rtt_us, "cached", (json_int_t)s->counters.cached);
}

static json_t *web_slot_shown_json_awaited(const struct slot_status *s)
{
    if (!*s->awaited)
        return json_null();
    return json_pack("{s:o, s:i, s:i}", "image", api_text(s->awaited), "tries", (int)s->awaited_tries, "inSeconds",
                     (int)((s->awaited_ms + 999) / 1000));
}

static json_t *web_slot_shown_json_slot(struct slot *slot)
{
    static const char *const via[] = {"none", "uri", "applet"};
    struct slot_status s;
    char websocket[32];
    slot_get_status(slot, &s);
    snprintf(websocket, sizeof websocket, "/nbd/%u", s.index);
    return json_pack("{s:s, s:i, s:s, s:s, s:o, s:o, s:I, s:b, s:s, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:s, s:I, s:o, s:I, s:b}",
                     "name", s.name, "index", (int)s.index, "media", s.media == MEDIA_CD ? "cd" : "disk", "state", state_name(&s), "image",
                     api_text(s.via == SLOT_VIA_URL ? s.image : ""), "imageName", api_text(s.image_name), "size",
                     (json_int_t)s.size, "writable", (int)s.writable, "connectedVia", via[s.via], "error",
                     api_text(s.error), "warning", api_text(s.warning), "awaited", web_slot_shown_json_awaited(&s), "stats",
                     web_slot_shown_json_stats(&s), "failing", (int)s.failing, "hostWaits", api_waits_json(&s), "failedReads",
                     api_unseen_json(&s), "websocket", websocket, "errorAt", *s.error ? (json_int_t)s.error_at : (json_int_t)0, "by",
                     api_text(s.by), "written", (json_int_t)s.counters.overlay_used, "writtenStays",
                     (int)s.counters.overlay_kept);
}

json_t *slot_shown_status(struct site *site)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < slots_count(site->slots); i++)
        json_array_append_new(list, web_slot_shown_json_slot(slots_get(site->slots, i)));
    return json_pack("{s:o, s:s}", "slots", list, "instance", site->instance);
}

void slot_shown_list(const struct web_parts *parts, struct http_request *request, const struct api_caller *caller,
                      char **words)
{
    (void)caller;
    (void)words;
    api_reply_json(request, 200, slot_shown_status(parts->site));
}

struct slot *slot_shown_find(struct site *site, struct http_request *request, const char *name)
{
    struct slot *slot = slots_find(site->slots, name);
    if (!slot)
        api_reply_error(request, 404, "There is no such slot.");
    return slot;
}

void slot_shown_heat(const struct web_parts *parts, struct http_request *request, const struct api_caller *caller,
                      char **words)
{
    (void)caller;
    struct slot *slot = slot_shown_find(parts->site, request, words[2]);
    if (!slot)
        return;
    const struct heat *heat = slot_heat(slot);
    uint8_t levels[HEAT_BUCKETS] = {0};
    if (heat)
        heat_get(heat, levels);
    json_t *buckets = json_array();
    for (unsigned i = 0; i < HEAT_BUCKETS; i++)
        json_array_append_new(buckets, json_integer(levels[i]));
    api_reply_json(request, 200,
                   json_pack("{s:I, s:o}", "size", heat ? (json_int_t)heat->size : (json_int_t)0, "buckets", buckets));
}

void slot_shown_report(const struct web_parts *parts, struct http_request *request, const struct api_caller *caller,
                        char **words)
{
    (void)caller;
    struct slot *slot = slot_shown_find(parts->site, request, words[2]);
    if (!slot)
        return;
    json_t *report = report_json(slot);
    api_reply_json(request, 200, json_pack("{s:o}", "report", report ? report : json_null()));
}

void slot_shown_profile(const struct web_parts *parts, struct http_request *request, const struct api_caller *caller,
                         char **words)
{
    (void)caller;
    struct slot *slot = slot_shown_find(parts->site, request, words[2]);
    if (!slot)
        return;
    char *text = slot_profile_text(slot);
    if (text)
        http_reply(request, 200, "application/json", text, strlen(text));
    else
        api_reply_error(request, 404, "Nothing was read yet that is worth knowing at another boot.");
    mem_free(text);
}
