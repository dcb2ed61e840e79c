/* A client of the control socket: its lines, one after the other, and their answers. */
#include "api/control/client.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/trouble.h"
#include "base/closing.h"
#include "base/defer.h"
#include "base/text.h"
#include "net/stream.h"

#define WATCH_MS 1000

struct control_client {
    struct control_clients *all;
    struct link link;
    struct stream *stream;
    struct control_peer peer;
    char line[CONTROL_LINE_MAX];
    size_t used;
    char *typed_ahead; /* input that came while a command ran; at most one read's */
    size_t ahead_length;
    bool busy;    /* a command has not answered yet */
    bool json, json_sent; /* see control_set_json() */
    bool ended;   /* there is no more input */
    bool leaving; /* closes when all is sent */
    void (*held)(void *arg); /* see control_hold(); NULL: no command holds it */
    void *held_arg;
    bool watching;
    char watched[CONFIG_SLOT_NAME_MAX];
    uint64_t watched_bytes, watched_at;
    uv_timer_t timer;
    struct closing closing;
    bool stream_closed, timer_closed;
    struct defer go_on;
};

static void client_go_on(struct control_client *client);

/* --- output --- */

void control_send(struct control_client *client, const char *text)
{
    struct slices data;
    size_t length = strlen(text);
    slices_init(&data);
    slices_alloc(&data, length, BYTES_PIECE);
    slices_copy_in(&data, 0, text, length);
    stream_write(client->stream, &data);
}

void control_set_json(struct control_client *client, bool json)
{
    client->json = json;
    client->json_sent = false;
}

bool control_wants_json(const struct control_client *client)
{
    return client->json;
}

void control_send_json(struct control_client *client, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    size_t size = strlen(text) + sizeof "\n";
    char *line = mem_alloc(size);
    snprintf(line, size, "%s\n", text);
    control_send(client, line);
    client->json_sent = true;
    mem_free(line);
    mem_free(text);
    json_decref(value);
}

/* Of the last line, where that is all there is to say. */
static void send_last_words(struct control_client *client, const char *word, const char *text)
{
    bool failed = strcmp(word, "ok") != 0;
    if (client->json && (failed || !client->json_sent))
        control_send_json(client, json_pack("{s:o}", failed ? "error" : "message", api_text(text)));
    client->json = false;
}

/* The last line of an answer; then the next command may run. */
__attribute__((format(printf, 3, 0))) static void finish_command(struct control_client *client, const char *word,
                                                                 const char *format, va_list args)
{
    char raw[1024], text[1024 + 64], line[1200];
    vsnprintf(raw, sizeof raw, format, args);
    text_escape(raw, text, sizeof text); /* it may quote what a server sent */
    snprintf(line, sizeof line, "%s%s%s\n", word, *text ? ": " : "", text);
    send_last_words(client, word, raw);
    control_send(client, line);
    client->busy = false;
    client->held = NULL;
    defer_schedule(client->all->loop, &client->go_on);
}

void control_ok(struct control_client *client, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    finish_command(client, "ok", format, args);
    va_end(args);
}

void control_error(struct control_client *client, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    finish_command(client, "error", format, args);
    va_end(args);
}

struct slots *control_client_slots(struct control_client *client)
{
    return client->all->slots;
}

struct host *control_client_host(struct control_client *client)
{
    return client->all->host;
}

const struct control_hooks *control_client_hooks(struct control_client *client)
{
    return &client->all->hooks;
}

const struct control_peer *control_client_peer(const struct control_client *client)
{
    return &client->peer;
}

struct stream *control_client_stream(struct control_client *client)
{
    return client->stream;
}

void control_audit(struct control_client *client, enum audit_event event, const char *subject, const char *detail)
{
    auth_audit(event, client->peer.user, client->peer.from, subject, detail);
}

/* --- a command that holds its client --- */

void control_hold(struct control_client *client, void (*gone)(void *arg), void *arg)
{
    client->held = gone;
    client->held_arg = arg;
    stream_read(client->stream, false);
}

void control_listen(struct control_client *client)
{
    stream_read(client->stream, true);
}

static void control_hold_end(struct control_client *client)
{
    void (*gone)(void *arg) = client->held;
    client->held = NULL;
    if (gone)
        gone(client->held_arg);
}

/* --- the end of a client --- */

static void client_free_when_done(struct control_client *client)
{
    struct control_clients *all = client->all;
    if (!client->stream_closed || !client->timer_closed || client->busy)
        return;
    defer_cancel(&client->go_on);
    list_remove(&client->link);
    stream_free(client->stream);
    mem_free(client->typed_ahead);
    explicit_bzero(client->line, sizeof client->line);
    mem_free(client);
    all->count--;
    all->gone(all);
}

static void on_control_stream_closed(struct stream *stream)
{
    struct control_client *client = stream->owner;
    client->stream_closed = true;
    client_free_when_done(client);
}

static void on_control_timer_closed(uv_handle_t *handle)
{
    struct control_client *client = container_of((uv_timer_t *)handle, struct control_client, timer);
    client->timer_closed = true;
    client_free_when_done(client);
}

/* A watch ends only with its client. */
static void client_close(struct control_client *client)
{
    if (client->stream->closing)
        return;
    if (client->watching)
        client->watching = client->busy = false;
    control_hold_end(client);
    stream_close(client->stream);
    uv_close((uv_handle_t *)&client->timer, on_control_timer_closed);
}

static void client_leave(struct control_client *client)
{
    client->leaving = true;
    stream_read(client->stream, false);
    if (client->stream->unsent == 0)
        client_close(client);
}

/* --- watch --- */

/* What went to clients since the line before. */
static uint64_t watch_rate(struct control_client *client, const struct slot_status *s)
{
    uint64_t now = uv_now(client->all->loop), elapsed = now - client->watched_at;
    uint64_t moved = s->server.read_bytes >= client->watched_bytes ? s->server.read_bytes - client->watched_bytes : 0;
    client->watched_bytes = s->server.read_bytes;
    client->watched_at = now;
    return elapsed ? moved * 1000 / elapsed : 0;
}

/* What the host waits for; or, if it does not, what it did not get. "": neither. */
static void watch_trouble(const struct slot_status *s, char trouble[TROUBLE_WORDS_MAX + 16])
{
    char words[TROUBLE_WORDS_MAX];
    api_waits_words(s, words);
    bool waits = *words;
    if (!waits)
        api_failed_words(s, words);
    snprintf(trouble, TROUBLE_WORDS_MAX + 16, "%s%s", waits ? "the host " : "", words);
}

static void watch_line(struct control_client *client, const struct slot_status *s)
{
    char line[TROUBLE_WORDS_MAX + 512], bytes[TEXT_SIZE_MAX], rate[TEXT_SIZE_MAX], mean[TEXT_SIZE_MAX];
    char awaited[48] = "", waiting[40] = "", trip[40] = "", words[TROUBLE_WORDS_MAX + 16], trouble[TROUBLE_WORDS_MAX + 16];
    text_human_size(s->server.read_bytes, bytes);
    text_human_size(watch_rate(client, s), rate);
    text_human_size(s->mean_rate, mean);
    watch_trouble(s, words);
    text_escape(words, trouble, sizeof trouble);
    if (*s->awaited)
        snprintf(awaited, sizeof awaited, ", tries again in %llu s", (unsigned long long)(s->awaited_ms + 999) / 1000);
    if (s->server.waiting > 0)
        snprintf(waiting, sizeof waiting, ", %u waiting", s->server.waiting);
    if (s->counters.source.quiet_rtt_us > 0)
        snprintf(trip, sizeof trip, ", round trip %.1f ms", (double)s->counters.source.quiet_rtt_us / 1000);
    snprintf(line, sizeof line, "%s: %s%s%s%s, read %s, %s/s, mean %s/s, %.1f %% of the reads waited%s%s\n", s->name,
             slot_state_name(s->state), awaited, *trouble ? ", " : "", trouble, bytes, rate, mean,
             100 * api_waited_share(s), trip, waiting);
    control_send(client, line);
}

/* How much of the image was read at least once, as far as heat tells. */
static uint64_t watch_covered(struct slot *slot)
{
    const struct heat *heat = slot_heat(slot);
    uint64_t sum = 0;
    for (unsigned i = 0; heat && i < HEAT_BUCKETS; i++)
        sum += heat->read[i];
    return sum;
}

static void watch_json(struct control_client *client, struct slot *slot, const struct slot_status *s)
{
    char trouble[TROUBLE_WORDS_MAX + 16];
    watch_trouble(s, trouble);
    json_t *line = json_pack(
        "{s:o, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:i, s:I, s:I, s:I, s:o, s:o, s:o}", "name", api_text(s->name), "state",
        slot_state_name(s->state), "image_name", *s->image_name ? api_text(s->image_name) : json_null(), "size",
        (json_int_t)s->size, "covered", (json_int_t)watch_covered(slot), "read_bytes", (json_int_t)s->server.read_bytes, "rate",
        (json_int_t)watch_rate(client, s), "mean_rate", (json_int_t)s->mean_rate, "waiting", (int)s->server.waiting, "reads",
        (json_int_t)s->reads->count, "reads_waited", (json_int_t)s->reads->slow, "rtt_us",
        (json_int_t)s->counters.source.quiet_rtt_us, "trouble", *trouble ? api_text(trouble) : json_null(), "error",
        *s->error ? api_text(s->error) : json_null(), "next_try_ms",
        *s->awaited ? json_integer((json_int_t)s->awaited_ms) : json_null());
    control_send_json(client, line);
}

static void watch_tell(struct control_client *client)
{
    struct slot *slot = slots_find(client->all->slots, client->watched);
    struct slot_status s;
    if (!slot) {
        client->watching = false;
        uv_timer_stop(&client->timer);
        control_error(client, "the slot is gone");
        return;
    }
    if (client->stream->unsent >= CONTROL_UNSENT_MAX) /* a slow reader misses lines */
        return;
    slot_get_status(slot, &s);
    if (client->json)
        watch_json(client, slot, &s);
    else
        watch_line(client, &s);
}

static void on_control_watch(uv_timer_t *timer)
{
    watch_tell(container_of(timer, struct control_client, timer));
}

void control_watch(struct control_client *client, const char *slot)
{
    struct slot_status s;
    slot_get_status(slots_find(client->all->slots, slot), &s);
    snprintf(client->watched, sizeof client->watched, "%s", s.name);
    client->watching = true;
    client->watched_at = uv_now(client->all->loop);
    client->watched_bytes = s.server.read_bytes;
    watch_tell(client);
    uv_timer_start(&client->timer, on_control_watch, WATCH_MS, WATCH_MS);
}

static void control_watch_end(struct control_client *client)
{
    client->watching = false;
    uv_timer_stop(&client->timer);
    control_ok(client, "%s", "");
}

/* --- input --- */

static void run_line(struct control_client *client)
{
    size_t length = client->used;
    while (length > 0 && (client->line[length - 1] == '\r' || client->line[length - 1] == '\n'))
        length--;
    client->line[length] = '\0';
    client->used = 0;
    client->busy = true;
    if (memchr(client->line, '\0', length))
        control_error(client, "the line has a NUL byte");
    else
        client->all->run(client, client->line);
    explicit_bzero(client->line, sizeof client->line); /* the line may have held a password */
}

/* Takes bytes up to the end of a line; gives how many. */
static size_t control_take_line(struct control_client *client, const char *data, size_t length)
{
    const char *end = memchr(data, '\n', length);
    size_t part = end ? (size_t)(end - data) + 1 : length;
    if (client->used + part >= CONTROL_LINE_MAX) {
        client->busy = true;
        control_error(client, "the line is too long (%d bytes at most)", CONTROL_LINE_MAX - 1);
        client_leave(client);
        return length;
    }
    memcpy(client->line + client->used, data, part);
    client->used += part;
    if (end)
        run_line(client);
    return part;
}

static bool may_run(const struct control_client *client)
{
    return !client->busy && !client->leaving && !client->stream->closing && client->stream->unsent < CONTROL_UNSENT_MAX;
}

static void take_input(struct control_client *client, const char *data, size_t length)
{
    if (client->watching && length > 0) {
        control_watch_end(client);
        const char *end = memchr(data, '\n', length);
        size_t skip = end ? (size_t)(end - data) + 1 : length;
        data += skip;
        length -= skip;
    }
    while (length > 0 && may_run(client)) {
        size_t part = control_take_line(client, data, length);
        data += part;
        length -= part;
    }
    if (length > 0 && client->held) {
        control_hold_end(client);
        return;
    }
    if (length == 0 || client->leaving || client->stream->closing)
        return;
    client->typed_ahead = mem_alloc(length);
    client->ahead_length = length;
    memcpy(client->typed_ahead, data, length);
    stream_read(client->stream, false);
}

static void control_on_data(struct stream *stream, const uint8_t *data, size_t length)
{
    take_input(stream->owner, (const char *)data, length);
}

/* Goes on with what waits, after a command was answered or the client has read. */
static void client_go_on(struct control_client *client)
{
    if (client->stream->closing) {
        client_free_when_done(client);
        return;
    }
    if (client->leaving) {
        if (client->stream->unsent == 0)
            client_close(client);
        return;
    }
    if (!may_run(client))
        return;
    char *ahead = client->typed_ahead;
    client->typed_ahead = NULL;
    if (ahead)
        take_input(client, ahead, client->ahead_length);
    mem_free(ahead);
    if (client->typed_ahead || client->stream->closing || client->leaving)
        return;
    if (client->ended && !client->busy && client->used > 0)
        run_line(client); /* the last line needs no end */
    if (client->ended && !client->busy)
        client_leave(client);
    else if (!client->ended)
        stream_read(client->stream, true);
}

static void on_go_on(struct defer *defer)
{
    client_go_on(container_of(defer, struct control_client, go_on));
}

static void on_control_drain(struct stream *stream)
{
    client_go_on(stream->owner);
}

static void control_on_end(struct stream *stream, int status)
{
    struct control_client *client = stream->owner;
    if (status != 0) {
        client_close(client);
        return;
    }
    client->ended = true; /* a watch goes on until its lines can't be written */
    control_hold_end(client);
    client_go_on(client);
}

/* --- its beginning --- */

void control_client_new(struct control_clients *all, struct stream *stream, const struct control_peer *peer)
{
    struct control_client *client = mem_alloc(sizeof *client);
    client->all = all;
    client->stream = stream;
    client->peer = *peer;
    stream->owner = client;
    stream->on_data = control_on_data;
    stream->on_end = control_on_end;
    stream->on_drain = on_control_drain;
    stream->on_closed = on_control_stream_closed;
    defer_setup(&client->go_on, on_go_on);
    uv_timer_init(all->loop, &client->timer);
    list_append(&all->list, &client->link);
    all->count++;
    stream_read(stream, true);
}

void control_clients_close(struct control_clients *all)
{
    list_for_each (l, &all->list)
        client_close(container_of(l, struct control_client, link));
}
