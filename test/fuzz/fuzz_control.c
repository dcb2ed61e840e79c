/*
 * A line on the control socket: it is answered exactly once, in lines of text, and what is asked of the slots and the host is
 * what can be asked of them. The first byte says how things stand: bits 0 and 1: what is in the first slot; 2: there is a
 * host; 3: root asks; 4 to 6: how what is asked for ends; 7: the slots are removed meanwhile. A password in the line is in no answer, and not in the audit log.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/control/commands.h"
#include "api/control/words.h"
#include "base/log.h"
#include "fakes.h"
#include "net/descriptors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SECRET_MARK '~' /* of passwords that are no words of an answer by chance */

struct control_client {
    struct control_peer peer;
    unsigned answers;
    bool json;
    char secret[CONTROL_LINE_MAX]; /* "": none that can be told from the rest */
};

static struct control_client client;

/* --- what client.c has --- */

static int reload(void *arg, char error[CONFIG_ERROR_MAX])
{
    (void)arg;
    snprintf(error, CONFIG_ERROR_MAX, "line 1: no");
    return -1;
}

static void quit(void *arg)
{
    (void)arg;
}

static int keep(void *arg, char error[CONFIG_ERROR_MAX])
{
    (void)arg;
    (void)error;
    return 0;
}

struct slots *control_client_slots(struct control_client *of)
{
    (void)of;
    return fakes_slots();
}

struct host *control_client_host(struct control_client *of)
{
    (void)of;
    return fakes_host();
}

const struct control_hooks *control_client_hooks(struct control_client *of)
{
    static const struct control_hooks hooks = {reload, quit, keep, NULL};
    (void)of;
    return &hooks;
}

const struct control_peer *control_client_peer(const struct control_client *of)
{
    return &of->peer;
}

bool control_peer_is_owner(const struct control_peer *peer)
{
    return peer->process.uid == 0;
}

static void check_secret(const char *text)
{
    must(!text || !*client.secret || !strstr(text, client.secret));
}

void auth_audit(enum audit_event event, const char *user, const char *peer, const char *subject, const char *detail)
{
    (void)event;
    must(user && *user && peer && *peer);
    check_secret(subject);
    check_secret(detail);
}

void control_audit(struct control_client *of, enum audit_event event, const char *subject, const char *detail)
{
    auth_audit(event, of->peer.user, of->peer.from, subject, detail);
}

static void check_text(const struct control_client *to, const char *text)
{
    must(to == &client && to->answers == 0);
    check_secret(text);
}

void control_send(struct control_client *to, const char *text)
{
    check_text(to, text);
    must(!*text || text[strlen(text) - 1] == '\n');
}

void control_set_json(struct control_client *to, bool json)
{
    to->json = json;
}

bool control_wants_json(const struct control_client *of)
{
    return of->json;
}

void control_send_json(struct control_client *to, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    must(text && !strchr(text, '\n'));
    check_text(to, text);
    free(text);
    json_decref(value);
}

__attribute__((format(printf, 2, 0))) static void answer(struct control_client *to, const char *format, va_list args)
{
    char text[2 * CONTROL_LINE_MAX];
    vsnprintf(text, sizeof text, format, args);
    check_text(to, text);
    to->answers++;
}

void control_ok(struct control_client *to, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    answer(to, format, args);
    va_end(args);
}

void control_error(struct control_client *to, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    answer(to, format, args);
    va_end(args);
}

struct stream *control_client_stream(struct control_client *of)
{
    (void)of;
    return NULL;
}

void control_hold(struct control_client *to, void (*gone)(void *arg), void *arg)
{
    (void)to, (void)gone, (void)arg; /* the client never goes */
}

void control_listen(struct control_client *to)
{
    (void)to;
    abort();
}

struct descriptors *descriptors_take(struct stream *stream, void (*taken)(void *arg, int status, const int fds[DESCRIPTORS]),
                                     void *arg, int *status)
{
    (void)stream, (void)taken, (void)arg;
    *status = -ENOMEM;
    return NULL;
}

void descriptors_cancel(struct descriptors *descriptors)
{
    (void)descriptors;
    abort();
}

void control_watch(struct control_client *to, const char *slot)
{
    must(slots_find(fakes_slots(), slot));
    to->answers++;
}

void cache_get_stats(const struct cache *cache, struct cache_stats *stats)
{
    (void)cache;
    *stats = (struct cache_stats){0};
}

/* --- a line --- */

/* The value of an insert's option, if it stands in the line once. */
static void secret_find(const char *line)
{
    char copy[CONTROL_LINE_MAX], *words[WORDS_MAX];
    const char *problem, *found;
    snprintf(copy, sizeof copy, "%s", line);
    int count = words_split(copy, words, &problem);
    for (int i = 3; i < count && strcmp(words[0], "insert") == 0; i++)
        if (strncmp(words[i], "password=", 9) == 0 && strchr(words[i] + 9, SECRET_MARK))
            snprintf(client.secret, sizeof client.secret, "%s", words[i] + 9);
    found = strstr(line, client.secret);
    if (!found || (*found && strstr(found + 1, client.secret)))
        *client.secret = '\0';
}

static void stand_of(uint8_t byte)
{
    static const int statuses[] = {0, 0, -EBUSY, -ENOENT, -EACCES, -EINVAL, -EAGAIN, -ECANCELED};
    struct fakes behind = {.medium = (enum fake_medium)(byte & 3),
                           .status = statuses[byte >> 4 & 7],
                           .host = byte & 4,
                           .removed = byte & 128,
                           .may_insert = true,
                           .may_manage = byte & 8};
    client = (struct control_client){.peer = {.process.uid = behind.may_manage ? 0 : 1000, .user = "somebody", .from = "control"}};
    fakes_begin(&behind);
}

/* client.c gives no NUL, no newline and nothing longer. */
static bool is_line(const uint8_t *data, size_t size)
{
    return size < CONTROL_LINE_MAX && !memchr(data, '\0', size) && !memchr(data, '\n', size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    log_setup(LOG_TO_STDERR, LOG_LEVEL_ERROR - 1);
    if (size == 0 || !is_line(data + 1, size - 1))
        return 0;
    char *line = malloc(size);
    must(line);
    memcpy(line, data + 1, size - 1);
    line[size - 1] = '\0';
    stand_of(data[0]);
    secret_find(line);
    commands_run(&client, line);
    while (fakes_answer())
        continue;
    must(client.answers == 1);
    free(line);
    return 0;
}
