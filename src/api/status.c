#include "api/status.h"

#include <build-config.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/trouble.h"
#include "base/text.h"

/* --- text that grows --- */

struct text {
    char *start;
    size_t used, size;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    size_t need = (size_t)vsnprintf(NULL, 0, format, args) + 1;
    va_end(args);
    if (text->used + need > text->size) {
        text->size = (text->used + need) * 2;
        text->start = mem_realloc(text->start, text->size);
    }
    vsnprintf(text->start + text->used, need, format, again);
    va_end(again);
    text->used += need - 1;
}

static const char *media_name(enum config_media media)
{
    return media == MEDIA_CD ? "cd" : "disk";
}

static const char *attach_name(enum config_attach attach)
{
    static const char *const names[] = {"auto", "socket", "nbd", "usb"};
    return names[attach];
}

static void add_awaited(struct text *text, const struct slot_status *s)
{
    char image[sizeof s->awaited], when[TEXT_SIZE_MAX + 8] = "now", time[TEXT_SIZE_MAX];
    if (!*s->awaited)
        return;
    text_escape(s->awaited, image, sizeof image);
    text_duration((s->awaited_ms + 999) / 1000 * 1000, time);
    if (s->awaited_ms > 0)
        snprintf(when, sizeof when, "in %s", time);
    add(text, "    tries again %s to insert %s (%u tries failed)\n", when, image, s->awaited_tries);
}

/* What the host waits for, and what it did not get. */
static void add_reads(struct text *text, const struct slot_status *s)
{
    char words[TROUBLE_WORDS_MAX], shown[2 * TROUBLE_WORDS_MAX];
    api_waits_words(s, words);
    text_escape(words, shown, sizeof shown);
    if (*words)
        add(text, "    the host %s\n", shown);
    api_failed_words(s, words);
    text_escape(words, shown, sizeof shown);
    if (*words)
        add(text, "    %s (dismiss %s)\n", shown, s->name);
}

static void add_row(struct text *text, const struct slot_status *s)
{
    char size[TEXT_SIZE_MAX] = "-", image[256], error[SLOT_ERROR_MAX];
    if (s->state == SLOT_READY)
        text_human_size(s->size, size);
    text_escape(*s->image ? s->image : "-", image, sizeof image);
    text_escape(s->error, error, sizeof error);
    add(text, "%-3u %-12s %-5s %-10s %-7s %-10s %-3s %s\n", s->index, s->name, media_name(s->media),
        slot_state_name(s->state), attach_name(s->attach), size, s->state != SLOT_READY ? "-" : s->writable ? "rw" : "ro", image);
    if (*error)
        add(text, "    last error: %s\n", error);
    if (*s->warning)
        add(text, "    warning: %s\n", s->warning);
    add_awaited(text, s);
    add_reads(text, s);
}

char *status_table(struct slots *slots)
{
    struct text text = {0};
    add(&text, "%-3s %-12s %-5s %-10s %-7s %-10s %-3s %s\n", "#", "SLOT", "MEDIA", "STATE", "ATTACH", "SIZE", "RW", "IMAGE");
    for (unsigned i = 0; i < slots_count(slots); i++) {
        struct slot_status status;
        slot_get_status(slots_get(slots, i), &status);
        add_row(&text, &status);
    }
    return text.start;
}

char *status_line(struct slots *slots)
{
    struct text text = {0};
    for (unsigned i = 0; i < slots_count(slots); i++) {
        char words[TROUBLE_WORDS_MAX], shown[2 * TROUBLE_WORDS_MAX], image[256];
        struct slot_status s;
        slot_get_status(slots_get(slots, i), &s);
        text_escape(s.image_name, image, sizeof image);
        api_waits_words(&s, words);
        text_escape(words, shown, sizeof shown);
        add(&text, "%s%s: %s%s%s%s%s", i > 0 ? "; " : "", s.name, slot_state_name(s.state), *image ? ", " : "", image,
            *shown ? ", the host " : "", shown);
    }
    return text.start;
}

char *status_stats(struct slot *slot)
{
    struct text text = {0};
    struct slot_status s;
    char rate[TEXT_SIZE_MAX];
    slot_get_status(slot, &s);
    text_human_size(s.mean_rate, rate);
    add(&text, "slot: %s\nstate: %s\nattach: %s\n", s.name, slot_state_name(s.state), attach_name(s.attach));
    if (*s.device)
        add(&text, "device: %s\n", s.device);
    add(&text, "clients: %u\nreads: %" PRIu64 "\nread-bytes: %" PRIu64 "\nwrites: %" PRIu64 "\nwrite-bytes: %" PRIu64
               "\nclient-errors: %" PRIu64 "\n",
        s.server.connections, s.server.reads, s.server.read_bytes, s.server.writes, s.server.write_bytes, s.server.errors);
    add(&text, "source-requests: %" PRIu64 "\nsource-bytes: %" PRIu64 "\nsource-errors: %" PRIu64 "\nsource-retries: %" PRIu64 "\n",
        s.counters.source.requests, s.counters.source.bytes, s.counters.source.errors, s.counters.source.retries);
    add(&text, "mean-rate: %s/s\nreads-waited: %.1f %%\nreads-failed: %" PRIu64 "\n", rate, 100 * api_waited_share(&s),
        s.reads->failed.count);
    if (s.counters.source.quiet_rtt_us > 0)
        add(&text, "round-trip: %.1f ms\n", (double)s.counters.source.quiet_rtt_us / 1000);
    add(&text, "cache-hits: %" PRIu64 "\ncache-misses: %" PRIu64 "\nread-ahead: %" PRIu64
               "\nread-ahead-wasted: %" PRIu64 "\ncached: %" PRIu64 "\n",
        s.counters.source.hits, s.counters.source.misses, s.counters.source.prefetched,
        s.counters.source.wasted, s.counters.cached);
    if (s.counters.overlay_bound > 0)
        add(&text, "overlay: %" PRIu64 " of %" PRIu64 " in %s\n", s.counters.overlay_used, s.counters.overlay_bound,
            strcmp(s.counters.overlay_in, "memory") == 0 ? "memory, thrown away at the eject" : "a file");
    return text.start;
}

char *status_cache(struct slots *slots)
{
    struct text text = {0};
    struct cache_stats c;
    cache_get_stats(slots_cache(slots), &c);
    add(&text, "limit: %" PRIu64 "\nlive: %" PRIu64 "\nfetching: %" PRIu64 "\nimages: %u\nhits: %" PRIu64 "\nmisses: %" PRIu64
               "\nevictions: %" PRIu64 "\ntable: %" PRIu64 "\n",
        c.limit, c.live, c.fetching, c.images, c.hits, c.misses, c.evictions, c.table);
    return text.start;
}

/* --- JSON --- */

static void api_status_put(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

static json_t *api_status_json_stats(const struct source_stats *s)
{
    json_t *o = json_object();
    api_status_put(o, "requests", s->requests);
    api_status_put(o, "bytes", s->bytes);
    api_status_put(o, "errors", s->errors);
    api_status_put(o, "retries", s->retries);
    api_status_put(o, "rtt_us", s->quiet_rtt_us);
    api_status_put(o, "hits", s->hits);
    api_status_put(o, "misses", s->misses);
    api_status_put(o, "prefetched", s->prefetched);
    api_status_put(o, "wasted", s->wasted);
    return o;
}

static json_t *json_clients(const struct nbd_server_stats *s)
{
    json_t *o = json_object();
    api_status_put(o, "connections", s->connections);
    api_status_put(o, "reads", s->reads);
    api_status_put(o, "read_bytes", s->read_bytes);
    api_status_put(o, "writes", s->writes);
    api_status_put(o, "write_bytes", s->write_bytes);
    api_status_put(o, "others", s->others);
    api_status_put(o, "errors", s->errors);
    api_status_put(o, "waiting", s->waiting);
    return o;
}

static json_t *api_status_json_awaited(const struct slot_status *s)
{
    if (!*s->awaited)
        return json_null();
    return json_pack("{s:o, s:i, s:I}", "image", api_text(s->awaited), "tries", (int)s->awaited_tries, "next_try_ms",
                     (json_int_t)s->awaited_ms);
}

json_t *status_slot_json(struct slot *slot)
{
    struct slot_status s;
    json_t *o = json_object();
    slot_get_status(slot, &s);
    api_status_put(o, "index", s.index);
    json_object_set_new(o, "name", api_text(s.name));
    json_object_set_new(o, "media", api_text(media_name(s.media)));
    json_object_set_new(o, "state", api_text(slot_state_name(s.state)));
    json_object_set_new(o, "image", *s.image ? api_text(s.image) : json_null());
    json_object_set_new(o, "image_name", *s.image_name ? api_text(s.image_name) : json_null());
    api_status_put(o, "size", s.size);
    json_object_set_new(o, "writable", json_boolean(s.writable));
    json_object_set_new(o, "socket", api_text(s.socket));
    json_object_set_new(o, "attach", json_string(attach_name(s.attach)));
    json_object_set_new(o, "device", *s.device ? json_string(s.device) : json_null());
    json_object_set_new(o, "cdrom", json_boolean(s.cdrom));
    json_object_set_new(o, "error", *s.error ? api_text(s.error) : json_null());
    json_object_set_new(o, "warning", *s.warning ? api_text(s.warning) : json_null());
    json_object_set_new(o, "awaited", api_status_json_awaited(&s));
    json_object_set_new(o, "host_waits", api_waits_json(&s));
    json_object_set_new(o, "failed_reads", api_unseen_json(&s));
    api_status_put(o, "mean_rate", s.mean_rate);
    api_status_put(o, "reads", s.reads->count);
    api_status_put(o, "reads_waited", s.reads->slow);
    json_object_set_new(o, "until", json_string(slot_until_name(s.until)));
    json_object_set_new(o, "stats", api_status_json_stats(&s.counters.source));
    json_object_set_new(o, "clients", json_clients(&s.server));
    api_status_put(o, "cached", s.counters.cached);
    api_status_put(o, "overlay_used", s.counters.overlay_used);
    api_status_put(o, "overlay_bound", s.counters.overlay_bound);
    json_object_set_new(o, "overlay_in", s.counters.overlay_bound > 0 ? json_string(s.counters.overlay_in) : json_null());
    return o;
}

json_t *status_cache_json(struct slots *slots)
{
    struct cache_stats c;
    json_t *o = json_object();
    cache_get_stats(slots_cache(slots), &c);
    api_status_put(o, "limit", c.limit);
    api_status_put(o, "live", c.live);
    api_status_put(o, "fetching", c.fetching);
    api_status_put(o, "images", c.images);
    api_status_put(o, "hits", c.hits);
    api_status_put(o, "misses", c.misses);
    api_status_put(o, "evictions", c.evictions);
    api_status_put(o, "table", c.table);
    return o;
}

json_t *status_json(struct slots *slots)
{
    json_t *root = json_object(), *list = json_array();
    for (unsigned i = 0; i < slots_count(slots); i++)
        json_array_append_new(list, status_slot_json(slots_get(slots, i)));
    json_object_set_new(root, "version", json_string(PACKAGE_VERSION));
    json_object_set_new(root, "slots", list);
    json_object_set_new(root, "cache", status_cache_json(slots));
    return root;
}
