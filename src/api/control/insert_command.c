/* "insert" and "eject" of the control socket. See api/control/commands.h. */
#include <stdio.h>
#include <string.h>

#include "api/boot_steps.h"
#include "api/control/commands.h"
#include "api/json.h"
#include "api/power_watch.h"
#include "api/status.h"
#include "base/text.h"

/* An insert or eject under way. The client outlives its command. */
struct media_request {
    struct control_client *client;
    char slot[CONFIG_SLOT_NAME_MAX];
    unsigned renewals; /* the medium's when the command came */
    struct boot_steps steps; /* that follow an insert */
};

static struct media_request *media_request(struct control_client *client, struct slot *slot)
{
    struct slot_status s;
    struct media_request *request = mem_alloc(sizeof *request);
    slot_get_status(slot, &s);
    request->client = client;
    snprintf(request->slot, sizeof request->slot, "%s", s.name);
    return request;
}

static void answer_warning(struct media_request *request, const struct slot_status *s)
{
    char line[512];
    if (!*s->warning)
        return;
    snprintf(line, sizeof line, "warning: %s: %s\n", request->slot, s->warning);
    control_send(request->client, line);
}

static void answer_inserted(struct media_request *request, const struct slot_status *s)
{
    const struct boot_steps *steps = &request->steps;
    char name[256];
    struct slot *slot = slots_find(control_client_slots(request->client), request->slot);
    text_escape(s->image_name, name, sizeof name);
    if (control_wants_json(request->client) && slot)
        control_send_json(request->client, json_pack("{s:o}", "slot", status_slot_json(slot)));
    else
        answer_warning(request, s);
    bool stayed = s->renewals > request->renewals;
    control_ok(request->client, "%s: %s %s, %llu bytes, %s%s%s%s", request->slot,
               stayed ? "goes on with the same image," : "inserted", name, (unsigned long long)s->size, s->writable ? "writable" : "read-only",
               steps->boot_once ? "; the host's next boot is from it" : "", steps->reset ? "; the host was reset: " : "",
               steps->reset ? host_reset_name(steps->type) : "");
}

/* False: a reload has taken the slot away meanwhile, and nothing is known of the medium. */
static bool get_status(const struct media_request *request, struct slot_status *s)
{
    struct slot *slot = slots_find(control_client_slots(request->client), request->slot);
    *s = (struct slot_status){.name = request->slot, .image_name = "", .warning = ""};
    if (slot)
        slot_get_status(slot, s);
    return slot;
}

static void on_control_insert_steps_done(struct boot_steps *steps)
{
    struct media_request *request = container_of(steps, struct media_request, steps);
    struct slot_status s;
    get_status(request, &s);
    if (steps->status != 0)
        control_error(request->client, "%s: %s", request->slot, steps->error);
    else
        answer_inserted(request, &s);
    mem_free(request);
}

static void on_control_insert_inserted(void *arg, int status, const char *error)
{
    struct media_request *request = arg;
    struct slot_status s;
    bool there = get_status(request, &s);
    if (status == 0 && there && boot_steps_wanted(&request->steps)) {
        const struct control_peer *peer = control_client_peer(request->client);
        boot_steps_audit(&request->steps, s.name, peer->user, peer->from);
        request->steps.done = on_control_insert_steps_done;
        boot_steps_run(&request->steps, control_client_host(request->client), &s);
        return;
    }
    if (status != 0)
        control_error(request->client, "%s: %s", request->slot, error);
    else
        answer_inserted(request, &s);
    mem_free(request);
}

/* "NAME=VALUE" as that option's value, or NULL. */
static char *option_value(char *word, const char *name)
{
    size_t length = strlen(name);
    return strncmp(word, name, length) == 0 && word[length] == '=' ? word + length + 1 : NULL;
}

/* What is said of the machine and of a config medium. */
static bool set_seed_option(struct seed_wish *wish, char *word)
{
    for (unsigned i = 0; i < SEED_WISH_TEXTS; i++) {
        char *value = option_value(word, seed_wish_texts[i].name);
        if (value)
            *seed_wish_text(wish, i) = value;
        if (value)
            return true;
    }
    return false;
}

static bool set_option(struct slot_insert_options *options, char *word)
{
    const struct {
        const char *name;
        const char **text;
        int *yes;
    } known[] = {
        {"kernel-args", &options->kernel_args, NULL}, {"menu-timeout", &options->menu_timeout, NULL},
        {"user", &options->user, NULL},       {"password", &options->password, NULL}, {"bearer-token", &options->bearer_token, NULL},
        {"ca-file", &options->ca_file, NULL}, {"verify", NULL, &options->verify},     {"writable", NULL, &options->writable},
        {"profile", &options->profile, NULL},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char *value = option_value(word, known[i].name);
        bool yes;
        if (!value)
            continue;
        if (known[i].text)
            *known[i].text = value;
        else if (text_parse_bool(value, &yes))
            *known[i].yes = yes;
        else
            return false;
        return true;
    }
    return set_seed_option(&options->seed, word);
}

/* "eject-policy=P", by Redfish's words. */
static bool set_policy(struct slot_insert_options *options, char *word)
{
    const char *value = option_value(word, "eject-policy");
    if (!value || !slot_until_parse(value, &options->until))
        return false;
    options->stay_ms = SLOT_STAYS;
    return true;
}

/* "boot-once", "reset" and "reset=TYPE". */
static bool set_step(struct boot_steps *steps, char *word)
{
    const char *type = option_value(word, "reset");
    if (strcmp(word, "boot-once") == 0) {
        steps->boot_once = true;
        return true;
    }
    steps->type = HOST_RESET_FORCE_RESTART;
    steps->reset = type ? host_reset_parse(type, &steps->type) : strcmp(word, "reset") == 0;
    return steps->reset;
}

/* What an insert says behind the image. */
struct insert_words {
    struct slot_insert_options options;
    struct boot_steps steps;
    bool replaces;
    bool dry_run;
};

static bool set_way(struct insert_words *insert, const char *word)
{
    bool replace = strcmp(word, "replace") == 0, dry_run = strcmp(word, "dry-run") == 0;
    insert->replaces |= replace;
    insert->dry_run |= dry_run;
    return replace || dry_run;
}

static void refuse_option(struct control_client *client, char *word)
{
    const char *type = option_value(word, "reset");
    enum host_reset reset;
    if (type)
        control_read_reset(client, type, &reset);
    else /* only the option's name: its value may be a secret */
        control_error(client,
                      "unknown option or value in \"%.*s=...\" (expected user=, password=, bearer-token=, ca-file=, "
                      "verify=yes|no, writable=yes|no, profile=no|own|auto|URL, kernel-args=, menu-timeout=, menu-default=, image-files=, "
                      "config-kind=, config-label=, network-data=, network-kind=, serial=, uuid=, mac=, "
                      "eject-policy=Persistent|OnPowerOff|AfterUse, dry-run, replace, boot-once, reset, reset=TYPE)",
                      (int)strcspn(word, "="), word);
}

/* False: a bad option was found, and the client is answered. */
static bool read_options(struct control_client *client, int count, char **words, struct insert_words *insert)
{
    for (int i = 2; i < count; i++)
        if (!set_option(&insert->options, words[i]) && !set_step(&insert->steps, words[i]) &&
            !set_policy(&insert->options, words[i]) && !set_way(insert, words[i])) {
            refuse_option(client, words[i]);
            return false;
        }
    return true;
}

/* "config=" with a file's URL or path, or with the files themselves as JSON: the URL of what is to be inserted. */
static const char *config_url(char *word, struct slot_insert_options *options, char given[SLOT_CONFIG_URL_MAX])
{
    char *value = option_value(word, "config");
    options->config = value;
    if (!value || value[strspn(value, " \t")] != '{')
        return value ? value : word;
    options->seed.files = value;
    slot_config_url(&options->seed, given);
    return given;
}

static void audit_insert(struct control_client *client, const char *slot, const char *url, bool unverified)
{
    char shown[256];
    text_url_public(url, shown, sizeof shown);
    control_audit(client, AUDIT_INSERT, slot, shown);
    if (unverified)
        control_audit(client, AUDIT_UNVERIFIED, slot, shown);
}

static void on_previewed(void *arg, int status, const char *error, const char *text)
{
    struct media_request *request = arg;
    if (status != 0) {
        control_error(request->client, "%s: %s", request->slot, error);
    } else {
        if (control_wants_json(request->client))
            control_send_json(request->client, json_pack("{s:s, s:o}", "slot", request->slot, "changes", api_text(text)));
        else
            control_send(request->client, text);
        control_ok(request->client, "%s: nothing was inserted: a dry run", request->slot);
    }
    mem_free(request);
}

static void preview_insert(struct control_client *client, struct slot *slot, const char *url,
                           const struct insert_words *insert)
{
    struct media_request *request = media_request(client, slot);
    audit_insert(client, request->slot, url, insert->options.verify == 0);
    slot_preview(slot, url, &insert->options, on_previewed, request);
}

/* True: the host can't do what the insert wants of it, and the client is answered. */
static bool host_problem_of(struct control_client *client, struct insert_words *insert, const struct slot_status *s)
{
    struct host *host = control_client_host(client);
    char error[HOST_ERROR_MAX];
    const char *problem = power_watch_problem(host, s, insert->options.until);
    if (!problem && boot_steps_wanted(&insert->steps) && boot_steps_problem(&insert->steps, host, s, error))
        problem = error;
    if (problem)
        control_error(client, "%s: nothing was inserted: %s", s->name, problem);
    return problem;
}

void insert_command(struct control_client *client, int count, char **words)
{
    struct insert_words insert = {
        .options = {.nfs_ids = control_peer_is_owner(control_client_peer(client)), .verify = -1, .writable = -1}};
    struct slot *slot = control_find_slot(client, words[0]);
    struct slot_status s;
    char given[SLOT_CONFIG_URL_MAX];
    if (!slot || !read_options(client, count, words, &insert))
        return;
    const char *url = config_url(words[1], &insert.options, given);
    if (insert.dry_run) {
        preview_insert(client, slot, url, &insert);
        return;
    }
    slot_get_status(slot, &s);
    if (host_problem_of(client, &insert, &s))
        return;
    struct media_request *request = media_request(client, slot);
    request->steps = insert.steps;
    request->renewals = s.renewals;
    audit_insert(client, s.name, url, insert.options.verify == 0);
    (insert.replaces ? slot_replace : slot_insert)(slot, url, &insert.options, on_control_insert_inserted,
                                                   request);
}

static void on_ejected(void *arg, int status, const char *error)
{
    struct media_request *request = arg;
    if (status != 0)
        control_error(request->client, "%s: %s", request->slot, error);
    else
        control_ok(request->client, "%s: empty", request->slot);
    mem_free(request);
}

void eject_command(struct control_client *client, int count, char **words)
{
    (void)count;
    struct slot *slot = control_find_slot(client, words[0]);
    if (!slot)
        return;
    struct media_request *request = media_request(client, slot);
    control_audit(client, AUDIT_EJECT, request->slot, NULL);
    slot_eject(slot, on_ejected, request);
}
