#include "api/control/commands.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/control/command.h"
#include "api/control/words.h"
#include "api/json.h"
#include "api/report.h"
#include "api/status.h"
#include "base/log.h"
#include "base/text.h"

const struct control_command *control_find_command(const char *name)
{
    const struct control_command *c = control_commands;
    while (c->name && strcmp(c->name, name) != 0)
        c++;
    return c->name ? c : NULL;
}

struct slot *control_find_slot(struct control_client *client, const char *name)
{
    struct slot *slot = slots_find(control_client_slots(client), name);
    if (!slot)
        control_error(client, "there is no slot \"%.40s\" (see: slots)", name);
    return slot;
}

static void send_and_free(struct control_client *client, char *text)
{
    control_send(client, text);
    mem_free(text);
    control_ok(client, "%s", "");
}

static void unknown_command(struct control_client *client, const char *name)
{
    control_error(client, "unknown command \"%.40s\" (try: help)", name);
}

static void send_help(struct control_client *client, const struct control_command *c)
{
    char line[2048];
    snprintf(line, sizeof line, "%s\n    %s\n", c->usage, c->help);
    control_send(client, line);
}

static json_t *help_json(const char *only)
{
    json_t *list = json_array();
    for (const struct control_command *c = control_commands; c->name; c++)
        if (!only || strcmp(c->name, only) == 0)
            json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "name", c->name, "usage", c->usage, "help", c->help));
    return json_pack("{s:o}", "commands", list);
}

static void run_help(struct control_client *client, int count, char **words)
{
    const char *only = count > 0 ? words[0] : NULL;
    if (only && !control_find_command(only)) {
        unknown_command(client, only);
        return;
    }
    if (control_wants_json(client)) {
        control_send_json(client, help_json(only));
    } else {
        for (const struct control_command *c = control_commands; c->name; c++)
            if (!only || strcmp(c->name, only) == 0)
                send_help(client, c);
        if (!only)
            control_send(client, "    With --json behind any of them the answer is JSON, on one line.\n");
    }
    control_ok(client, "%s", "");
}

static void run_status(struct control_client *client, int count, char **words)
{
    struct slots *slots = control_client_slots(client);
    (void)count;
    (void)words;
    if (!control_wants_json(client)) {
        send_and_free(client, status_table(slots));
        return;
    }
    control_send_json(client, status_json(slots));
    control_ok(client, "%s", "");
}

static json_t *slots_json(struct slots *slots)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < slots_count(slots); i++) {
        struct slot_status s;
        char uri[512];
        slot_get_status(slots_get(slots, i), &s);
        snprintf(uri, sizeof uri, "nbd+unix:///?socket=%s", s.socket);
        json_array_append_new(list, json_pack("{s:i, s:s, s:s, s:o}", "index", (int)s.index, "name", s.name, "media",
                                              s.media == MEDIA_CD ? "cd" : "disk", "uri", api_text(uri)));
    }
    return json_pack("{s:o}", "slots", list);
}

static void run_slots(struct control_client *client, int count, char **words)
{
    (void)count;
    (void)words;
    struct slots *slots = control_client_slots(client);
    if (control_wants_json(client))
        control_send_json(client, slots_json(slots));
    for (unsigned i = 0; i < slots_count(slots) && !control_wants_json(client); i++) {
        struct slot_status s;
        char line[512];
        slot_get_status(slots_get(slots, i), &s);
        snprintf(line, sizeof line, "%u %s %s nbd+unix:///?socket=%s\n", s.index, s.name, s.media == MEDIA_CD ? "cd" : "disk",
                 s.socket);
        control_send(client, line);
    }
    control_ok(client, "%s", "");
}

/* --- the rest --- */

static void run_cache(struct control_client *client, int count, char **words)
{
    struct slots *slots = control_client_slots(client);
    (void)count;
    (void)words;
    if (!control_wants_json(client)) {
        send_and_free(client, status_cache(slots));
        return;
    }
    control_send_json(client, status_cache_json(slots));
    control_ok(client, "%s", "");
}

static void run_stats(struct control_client *client, int count, char **words)
{
    struct slots *slots = control_client_slots(client);
    struct slot *only = count > 0 ? control_find_slot(client, words[0]) : NULL;
    json_t *list = json_array();
    if (count > 0 && !only)
        goto out;
    for (unsigned i = 0; i < slots_count(slots); i++) {
        if (only && slots_get(slots, i) != only)
            continue;
        json_array_append_new(list, status_slot_json(slots_get(slots, i)));
        char *text = status_stats(slots_get(slots, i));
        if (!control_wants_json(client))
            control_send(client, text);
        mem_free(text);
    }
    if (control_wants_json(client))
        control_send_json(client, json_pack("{s:O}", "slots", list));
    control_ok(client, "%s", "");
out:
    json_decref(list);
}

static void run_report(struct control_client *client, int count, char **words)
{
    struct slot *slot = control_find_slot(client, words[0]);
    json_t *report = slot ? report_json(slot) : NULL;
    (void)count;
    if (report) {
        control_send_json(client, report);
        control_ok(client, "%s", "");
    } else if (slot) {
        control_error(client, "%s: nothing was read of a medium that had to be fetched", words[0]);
    }
}

static void run_profile(struct control_client *client, int count, char **words)
{
    struct slot *slot = control_find_slot(client, words[0]);
    char *text = slot ? slot_profile_text(slot) : NULL;
    (void)count;
    if (text) {
        control_send_json(client, json_loads(text, 0, NULL));
        control_ok(client, "%s", "");
    } else if (slot) {
        control_error(client, "%s: nothing was read yet that is worth knowing at another boot", words[0]);
    }
    mem_free(text);
}

static void run_trace(struct control_client *client, int count, char **words)
{
    struct slots *slots = control_client_slots(client);
    bool on = strcmp(words[0], "on") == 0;
    if (!on && strcmp(words[0], "off") != 0) { /* a slot's number is no word for yes or no */
        control_error(client, "usage: trace on|off [SLOT]");
        return;
    }
    struct slot *only = count > 1 ? control_find_slot(client, words[1]) : NULL;
    if (count > 1 && !only)
        return;
    struct slot_status s;
    if (only)
        slot_get_status(only, &s);
    control_audit(client, AUDIT_TRACE, only ? s.name : NULL, on ? "on" : "off");
    for (unsigned i = 0; i < slots_count(slots); i++)
        if (!only || slots_get(slots, i) == only)
            slot_set_trace(slots_get(slots, i), on);
    control_ok(client, "trace is %s", on ? "on: see the log" : "off");
}

/* The audit log's line is written at the more talkative one of the two levels. */
static void set_level(struct control_client *client, enum log_level level, const char *name)
{
    enum log_level before = log_get_level();
    if (level > before)
        log_set_level(level);
    control_audit(client, AUDIT_LOG, NULL, name);
    log_set_level(level);
    control_ok(client, "the log's level is %s", name);
}

static void run_log(struct control_client *client, int count, char **words)
{
    static const char *const names[] = {"error", "warning", "notice", "info", "debug"};
    (void)count;
    for (int i = 0; i < 5; i++)
        if (strcmp(words[0], names[i]) == 0) {
            set_level(client, (enum log_level)(LOG_LEVEL_ERROR + i), names[i]);
            return;
        }
    control_error(client, "unknown level (expected error, warning, notice, info or debug)");
}

static void run_reload(struct control_client *client, int count, char **words)
{
    const struct control_hooks *hooks = control_client_hooks(client);
    char error[CONFIG_ERROR_MAX];
    (void)count;
    (void)words;
    control_audit(client, AUDIT_RELOAD, NULL, NULL);
    if (hooks->reload(hooks->arg, error) == 0)
        control_ok(client, "reloaded");
    else
        control_error(client, "nothing was changed: %s", error);
}

static void quit_keeping(struct control_client *client)
{
    const struct control_hooks *hooks = control_client_hooks(client);
    char error[CONFIG_ERROR_MAX];
    control_audit(client, AUDIT_QUIT, NULL, "keep");
    if (hooks->keep(hooks->arg, error) == 0)
        control_ok(client, "stopping; the media stay in for the next start");
    else
        control_error(client, "%s", error);
}

static void run_quit(struct control_client *client, int count, char **words)
{
    const struct control_hooks *hooks = control_client_hooks(client);
    if (count == 0) {
        control_audit(client, AUDIT_QUIT, NULL, NULL);
        control_ok(client, "stopping");
        hooks->quit(hooks->arg);
    } else if (strcmp(words[0], "--keep") == 0) {
        quit_keeping(client);
    } else {
        control_error(client, "usage: quit [--keep]");
    }
}

static void run_dismiss(struct control_client *client, int count, char **words)
{
    struct slot *slot = control_find_slot(client, words[0]);
    struct slot_status s;
    (void)count;
    if (!slot)
        return;
    slot_get_status(slot, &s);
    control_audit(client, AUDIT_DISMISS, s.name, NULL);
    slot_dismiss(slot);
    control_ok(client, "%s: dismissed", s.name);
}

static void run_watch(struct control_client *client, int count, char **words)
{
    (void)count;
    if (control_find_slot(client, words[0]))
        control_watch(client, words[0]);
}

const struct control_command control_commands[] = {
    {"help", "help [COMMAND]", "Lists the commands, or shows one.", 0, 1, run_help},
    {"status", "status", "Shows all slots.", 0, 0, run_status},
    {"slots", "slots", "Lists the slots and their NBD URIs.", 0, 0, run_slots},
    {"insert", "insert SLOT URL|config=FILE [user=U] [password=P] [bearer-token=T] [ca-file=FILE] [verify=yes|no] [writable=yes|no] "
     "[profile=no|own|auto|URL] [kernel-args=A] [menu-timeout=S] [menu-default=ENTRY] [image-files=JSON|FILE] "
     "[config-kind=K] [config-label=L] [network-data=JSON] [network-kind=K] [serial=S] [uuid=U] [mac=M] [eject-policy=Persistent|OnPowerOff|AfterUse] [dry-run] [replace] "
     "[boot-once] [reset[=TYPE]]",
     "Inserts an image; answers when it is readable, or why it is not. With replace what is in makes room, or is gone "
     "on with if it is the same image. Then the host's next boot may be set to it, and the host be reset. The kernels "
     "that the image boots can be given further arguments, its menus a timeout and a default, and files of it be changed; with dry-run it is only shown what that changes. "
     "config=FILE makes a medium with a machine's settings. An eject-policy of OnPowerOff or AfterUse has the "
     "medium go when the host is off, or has ejected it.",
     2, 23, insert_command},
    {"serve", "serve SLOT",
     "For a program: takes two descriptors, behind which is an NBD server, and serves that as a file in a browser; "
     "answers when it is out.",
     1, 1, serve_command},
    {"eject", "eject SLOT", "Ejects the medium; an empty slot stays empty.", 1, 1, eject_command},
    {"dismiss", "dismiss SLOT", "Takes note of the slot's failed reads and its last error: they are shown no more.", 1, 1, run_dismiss},
    {"host", "host status | host reset TYPE | host boot TARGET [Once|Continuous|Disabled] [UEFI|Legacy]",
     "Shows the host's power and boot source and what can be done to them, or does it.", 1, 4, host_command},
    {"cache", "cache", "Shows the cache's memory and counters.", 0, 0, run_cache},
    {"stats", "stats [SLOT]", "Shows the counters of one slot, or of all.", 0, 1, run_stats},
    {"report", "report SLOT", "Shows as JSON how the boot from the slot's medium, or from its last one, went.", 1, 1, run_report},
    {"profile", "profile SLOT", "Shows as JSON what was read of the slot's medium, to be given to an insert elsewhere.", 1, 1,
     run_profile},
    {"trace", "trace on|off [SLOT]", "Logs each read and write, or stops it.", 1, 2, run_trace},
    {"log", "log error|warning|notice|info|debug", "Sets how much is logged.", 1, 1, run_log},
    {"reload", "reload", "Reads the configuration again: all of it, or nothing if it has an error.", 0, 0, run_reload},
    {"quit", "quit [--keep]",
     "Stops the daemon: ejects all, or with --keep leaves the media in for a daemon that is started soon.", 0, 1, run_quit},
    {"watch", "watch SLOT", "Prints a line of progress each second, until a line comes or the connection is closed.", 1, 1, run_watch},
    {0},
};

/* Takes every --json out: what is left are that many. */
static int commands_take_json(int count, char **words, bool *json)
{
    int left = 0;
    for (int i = 0; i < count; i++)
        if (i > 0 && strcmp(words[i], "--json") == 0)
            *json = true;
        else
            words[left++] = words[i];
    return left;
}

void commands_run(struct control_client *client, char *line)
{
    char *words[WORDS_MAX];
    const char *problem;
    bool json = false;
    int count = words_split(line, words, &problem);
    if (count < 0) {
        control_error(client, "%s", problem);
        return;
    }
    count = commands_take_json(count, words, &json);
    control_set_json(client, json);
    const struct control_command *c = count > 0 ? control_find_command(words[0]) : NULL;
    if (count == 0)
        control_ok(client, "%s", "");
    else if (!c)
        unknown_command(client, words[0]);
    else if (count - 1 < c->least || count - 1 > c->most)
        control_error(client, "usage: %s", c->usage);
    else
        c->run(client, count - 1, words + 1);
}
