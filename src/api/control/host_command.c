/* "host" of the control socket. See api/control/commands.h. */
#include <stdio.h>
#include <string.h>

#include "api/control/commands.h"
#include "api/host_words.h"
#include "base/text.h"

struct host_wait {
    struct control_client *client;
    struct host_request request;
};

/* A request that changes something: its words behind the verb are for the audit log. */
static void control_host_command_audit(struct control_client *client, enum audit_event event,
                                       const struct host_request *request)
{
    char words[128];
    host_request_text(request, words, sizeof words);
    control_audit(client, event, NULL, strchr(words, ' ') + 1);
}

static void submit(struct control_client *client, const struct host_request *request,
                   void (*done)(struct host_request *request))
{
    struct host_wait *wait = mem_alloc(sizeof *wait);
    wait->client = client;
    wait->request = *request;
    wait->request.done = done;
    host_submit(control_client_host(client), &wait->request);
}

/* Answers a request that failed; the client is NULL then. */
static struct control_client *control_host_command_take_answer(struct host_request *request)
{
    struct host_wait *wait = container_of(request, struct host_wait, request);
    struct control_client *client = wait->client;
    if (request->status != 0) {
        control_error(client, "%s", request->error);
        client = NULL;
    }
    return client;
}

static json_t *host_state_json(const struct host_state *state)
{
    char boot[64];
    host_boot_text(&state->boot, boot, sizeof boot);
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "PowerState", host_power_name(state->power), "Boot",
                     state->targets ? json_string(boot) : json_null(), "ResetTypes",
                     api_host_resets(state->resets), "BootTargets",
                     api_host_targets(state->targets), "BootModes",
                     api_host_modes(state->modes));
}

static void on_status(struct host_request *request)
{
    struct control_client *client = control_host_command_take_answer(request);
    char text[HOST_TEXT_MAX];
    if (client && control_wants_json(client)) {
        control_send_json(client, host_state_json(host_get_state(control_client_host(client))));
        control_ok(client, "%s", "");
    } else if (client) {
        host_state_text(host_get_state(control_client_host(client)), text);
        control_send(client, text);
        control_ok(client, "%s", "");
    }
    mem_free(container_of(request, struct host_wait, request));
}

static void on_control_host_command_changed(struct host_request *request)
{
    struct control_client *client = control_host_command_take_answer(request);
    char words[128];
    host_request_text(request, words, sizeof words);
    if (client)
        control_ok(client, "%s", words);
    mem_free(container_of(request, struct host_wait, request));
}

static bool refuse_word(struct control_client *client, const char *what, const char *word, const char *known)
{
    control_error(client, "unknown %s \"%.40s\" (expected %s)", what, word, known);
    return false;
}

bool control_read_reset(struct control_client *client, const char *word, enum host_reset *reset)
{
    char known[HOST_TEXT_MAX];
    host_reset_names(known);
    return host_reset_parse(word, reset) || refuse_word(client, "reset type", word, known);
}

/* False: a word is unknown, and the client is answered. */
static bool control_host_command_read_boot(struct control_client *client, int count, char **words, struct host_boot *boot)
{
    char known[HOST_TEXT_MAX];
    *boot = (struct host_boot){.enabled = HOST_ONCE};
    host_target_names(known);
    if (!host_target_parse(words[0], &boot->target))
        return refuse_word(client, "boot target", words[0], known);
    if (count > 1 && !host_enabled_parse(words[1], &boot->enabled))
        return refuse_word(client, "word", words[1], "Once, Continuous or Disabled");
    return count < 3 || host_mode_parse(words[2], &boot->mode) || refuse_word(client, "boot mode", words[2], "UEFI or Legacy");
}

static void run_reset(struct control_client *client, const char *type)
{
    struct host_request request = {.verb = HOST_RESET};
    if (!control_read_reset(client, type, &request.reset))
        return;
    control_host_command_audit(client, AUDIT_RESET, &request);
    submit(client, &request, on_control_host_command_changed);
}

static void run_boot(struct control_client *client, int count, char **words)
{
    struct host_request request = {.verb = HOST_BOOT};
    if (!control_host_command_read_boot(client, count, words, &request.boot))
        return;
    control_host_command_audit(client, AUDIT_BOOT, &request);
    submit(client, &request, on_control_host_command_changed);
}

void host_command(struct control_client *client, int count, char **words)
{
    struct host_request request = {.verb = HOST_GET};
    if (strcmp(words[0], "status") == 0 && count == 1)
        submit(client, &request, on_status);
    else if (strcmp(words[0], "reset") == 0 && count == 2)
        run_reset(client, words[1]);
    else if (strcmp(words[0], "boot") == 0 && count > 1)
        run_boot(client, count - 1, words + 1);
    else
        control_error(client, "usage: host status | host reset TYPE (as ForceRestart) | host boot TARGET (as Cd) "
                              "[Once|Continuous|Disabled] [UEFI|Legacy]");
}
