/* VirtualMedia: InsertMedia, EjectMedia and PATCH, which lead to one policy. See api/redfish/internal.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/redfish/internal.h"
#include "auth/audit.h"
#include "base/log.h"
#include "base/text.h"

/* What is asked for. Texts that are NULL, and flags of -1, were not given. */
struct wish {
    const char *image, *user, *password, *method, *protocol, *profile;
    int inserted, write_protected, verify;
    struct redfish_stay stay;
    struct redfish_boot_changes changes;
};

/* Some clients send "none" when they have nothing to send. */
static const char *credential(const json_t *body, const char *name)
{
    const char *text = redfish_text(body, name);
    return text && strcasecmp(text, "none") != 0 ? text : NULL;
}

static struct wish read_wish(const json_t *body)
{
    return (struct wish){
        .image = redfish_text(body, "Image"),
        .user = credential(body, "UserName"),
        .password = credential(body, "Password"),
        .method = redfish_text(body, "TransferMethod"),
        .protocol = redfish_text(body, "TransferProtocolType"),
        .profile = redfish_text(body, REDFISH_PROFILE),
        .inserted = redfish_flag(body, "Inserted"),
        .write_protected = redfish_flag(body, "WriteProtected"),
        .verify = redfish_flag(body, "VerifyCertificate"),
    };
}

/* --- what a slot says --- */

/* 400: the client can mend it; 503: the trouble may pass. */
static const struct reason {
    int error;
    unsigned status;
    const char *key;
    const char *property;
} reasons[] = {
    {EBUSY, 400, "ResourceInUse", NULL},
    {ECANCELED, 409, "InsertGivenUp", "Image"},
    {ENOENT, 400, "ImageNotFound", "Image"},
    {EACCES, 400, "ImageAccessDenied", "Image"},
    {EPERM, 400, "ImageNotAllowed", "Image"},
    {EKEYREJECTED, 400, "ImageServerNotTrusted", "Image"},
    {EHOSTUNREACH, 400, "ImageServerUnreachable", "Image"},
    {ECONNREFUSED, 400, "ImageServerRefused", "Image"},
    {ESPIPE, 400, "ImageServerWithoutRanges", "Image"},
    {EFBIG, 400, "ImageTooLarge", "Image"},
    {EAGAIN, 503, "ImageServerBusy", "Image"},
    {EINVAL, 400, "ImageNotUsable", "Image"},
    {EPROTONOSUPPORT, 400, "ImageProtocolNotSupported", "Image"},
    {EREMOTEIO, 400, "ImageNotUsable", "Image"},
    {EISDIR, 400, "ImageNotUsable", "Image"},
    {ELOOP, 400, "ImageNotUsable", "Image"},
    {ENOTSUP, 400, "ImageNotUsable", "Image"},
    {EROFS, 400, "ImageNotUsable", "WriteProtected"},
};

static void refuse_change(struct redfish_call *call, int status, const char *words)
{
    static const struct reason other = {0, 500, "InsertFailed", NULL};
    const struct reason *reason = &other;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].error == -status)
            reason = &reasons[i];
    json_t *message = redfish_message(reason->key, reason->property, words, NULL);
    if (status == -EBUSY)
        redfish_resolve(message, words);
    if (reason->status == 503)
        redfish_fail_later(call, 503, 5000, message);
    else
        redfish_fail(call, reason->status, message);
}

/* A web page in place of an image is most likely not what was meant: that is worth an answer with words. Other
 * doubts are in the resource. */
static bool redfish_insert_is_page(const struct redfish_call *call)
{
    struct slot *slot = redfish_media_slot(call);
    struct slot_status s = {.is_page = false};
    if (slot)
        slot_get_status(slot, &s);
    return s.is_page;
}

static void reply_done(struct redfish_call *call)
{
    if (call->notes || redfish_insert_is_page(call))
        redfish_reply_changed(call, redfish_media(call));
    else
        redfish_reply_nothing(call);
}

/* --- what may follow an insert --- */

static void on_redfish_insert_steps_done(struct boot_steps *steps)
{
    struct redfish_call *call = container_of(steps, struct redfish_call, steps);
    if (!redfish_is_heard(call))
        redfish_call_free(call);
    else if (steps->status == 0)
        reply_done(call);
    else
        redfish_host_failed(call, steps->status, "InsertedButNotBooted", steps->error);
}

/* The medium is in. What the client began is done, also when it does not wait for the answer. */
static void run_steps(struct redfish_call *call, struct slot *slot)
{
    struct slot_status s;
    slot_get_status(slot, &s);
    boot_steps_audit(&call->steps, s.name, call->user, call->peer);
    call->steps.done = on_redfish_insert_steps_done;
    redfish_wait(call, NULL);
    boot_steps_run(&call->steps, call->site->host, &s);
}

static void on_redfish_insert_changed(void *arg, int status, const char *error)
{
    struct redfish_call *call = arg;
    struct slot *slot = redfish_media_slot(call);
    if (status == 0 && slot)
        redfish_stay_inserted(call, slot);
    if (status == 0 && slot && boot_steps_wanted(&call->steps))
        run_steps(call, slot);
    else if (!redfish_is_heard(call))
        redfish_call_free(call);
    else if (status == 0)
        reply_done(call);
    else
        refuse_change(call, status, error);
}

/* --- insert --- */

static json_t *protocol_problem(const struct redfish_call *call, const struct slot *slot, const struct wish *wish)
{
    if (!redfish_media_speaks(slot, wish->protocol))
        return redfish_not_in_list(call, "TransferProtocolType", wish->protocol);
    if (!redfish_media_is_of(wish->image, wish->protocol))
        return redfish_conflict(call, "TransferProtocolType", wish->protocol, "Image");
    return NULL;
}

/* What of the wish is against the rules; NULL: nothing. */
static json_t *redfish_insert_problem(const struct redfish_call *call, const struct slot *slot, const struct wish *wish,
                              const struct slot_status *s)
{
    json_t *problem;
    if (wish->inserted == 0 && call->route->action)
        return redfish_message("ActionParameterNotSupported", "Inserted", "Inserted", call->route->action, NULL);
    if (wish->method && strcmp(wish->method, "Stream") != 0)
        return redfish_not_in_list(call, "TransferMethod", wish->method);
    if (location_has_user(wish->image))
        return redfish_message("ImageHasCredentials", "Image", NULL);
    if (location_kind(wish->image) == LOCATION_PATH && !*call->site->config.file_directory)
        return redfish_message("ImageIsLocal", "Image", NULL);
    if (wish->profile && !slot_profile_may_be(wish->profile))
        return redfish_not_in_list(call, REDFISH_PROFILE, wish->profile);
    if (wish->protocol && (problem = protocol_problem(call, slot, wish)) != NULL)
        return problem;
    return redfish_stay_insert_problem(call, s, &wish->stay);
}

/* A PATCH says what is to be: what is in makes room. */
static bool replaces(const struct redfish_call *call, const struct slot_status *s)
{
    return !call->route->action && s->state == SLOT_READY;
}

static bool is_there_already(const struct redfish_call *call, const struct wish *wish, const struct slot_status *s)
{
    return s->state == SLOT_READY && s->via == SLOT_VIA_URL && strcmp(s->url, wish->image) == 0 &&
           s->writable == (wish->write_protected == 0) && strcmp(s->user, wish->user ? wish->user : "") == 0 &&
           redfish_boot_changes_hold(&wish->changes, s) &&
           redfish_stay_holds(call, s, &wish->stay);
}

static void redfish_insert_insert(struct redfish_call *call, struct slot *slot, const struct wish *wish)
{
    struct slot_status s;
    char shown[256], *trusted, *own;
    slot_get_status(slot, &s);
    bool there = is_there_already(call, wish, &s), instead = replaces(call, &s);
    bool renewed = there && instead && wish->password; /* the password may be another one */
    json_t *problem = redfish_insert_problem(call, slot, wish, &s);
    bool steps = boot_steps_wanted(&call->steps);
    char error[HOST_ERROR_MAX];
    struct slot_insert_options options = {
        .by = call->user,
        .user = wish->user,
        .password = wish->password,
        .ca_pem = trusted = certificate_store_text(call->site->certificates, s.name),
        .client_pem = own = certificate_store_text(call->site->own_certificates, s.name),
        .nfs_ids = auth_allows(call->role, AUTH_CONFIGURE_MANAGER),
        .verify = redfish_media_verify(call, &s),
        .profile = wish->profile,
        .writable = wish->write_protected == 0,
    };
    /* A PATCH of the image that is in leaves what it does not name. */
    redfish_boot_changes_set(&wish->changes, &s, instead && strcmp(s.url, wish->image) == 0, &options);
    if (problem) {
        redfish_fail(call, 400, problem);
    } else if (steps && boot_steps_problem(&call->steps, call->site->host, &s, error)) {
        redfish_host_failed(call, -ENOTSUP, NULL, error);
    } else if (there && steps && !renewed) {
        redfish_may_take_long(call);
        run_steps(call, slot);
    } else if (there && !renewed) {
        reply_done(call);
    } else {
        text_url_public(wish->image, shown, sizeof shown);
        auth_audit(AUDIT_INSERT, call->user, call->peer, s.name, shown);
        redfish_wait(call, NULL);
        redfish_may_take_long(call);
        redfish_stay_insert(call, &s, &wish->stay, &options);
        (instead ? slot_replace : slot_insert)(slot, wish->image, &options, on_redfish_insert_changed, call);
    }
    mem_free(trusted);
    mem_free_secret(own);
}

static void redfish_insert_eject(struct redfish_call *call, struct slot *slot)
{
    struct slot_status s;
    slot_get_status(slot, &s);
    if (s.state != SLOT_EMPTY)
        auth_audit(AUDIT_EJECT, call->user, call->peer, s.name, NULL);
    redfish_wait(call, NULL);
    slot_eject(slot, on_redfish_insert_changed, call);
}

/* --- VerifyCertificate --- */

/* False: answered. */
static bool set_verify(struct redfish_call *call, const struct wish *wish, const struct slot_status *s)
{
    if (wish->verify < 0 || wish->verify == redfish_media_verify(call, s))
        return true;
    if (wish->verify == 0 && !auth_allows(call->role, AUTH_CONFIGURE_MANAGER)) {
        redfish_fail(call, 403, redfish_message("InsufficientPrivilege", "VerifyCertificate", NULL));
        return false;
    }
    if (s->state != SLOT_EMPTY) {
        redfish_fail(call, 409, redfish_message("ResourceInUse", "VerifyCertificate", NULL));
        return false;
    }
    if (wish->verify == 0) {
        auth_audit(AUDIT_UNVERIFIED, call->user, call->peer, s->name, NULL);
        log_warning(s->name, "redfish: certificates of the images' servers are not checked from now on");
    }
    redfish_setting(call->redfish, s->name)->verify = wish->verify;
    return true;
}

/* --- the doors --- */

/* False: answered. */
static bool read_steps(struct redfish_call *call, const json_t *body)
{
    const char *reset = json_string_value(json_object_get(body, REDFISH_RESET));
    char shown[64];
    call->steps.boot_once = redfish_flag(body, REDFISH_BOOT_ONCE) == 1 || redfish_flag(body, REDFISH_HPE_BOOT_ONCE) == 1;
    call->steps.reset = reset;
    if (!reset || host_reset_parse(reset, &call->steps.type))
        return true;
    redfish_show(REDFISH_RESET, json_object_get(body, REDFISH_RESET), shown);
    redfish_fail(call, 400, redfish_not_in_list(call, REDFISH_RESET, shown));
    return false;
}

/* A config medium whose files are given needs no Image. */
static json_t *read_changes(const struct redfish_call *call, json_t *body, struct wish *wish)
{
    json_t *problem = redfish_boot_changes_read(call, body, &wish->changes);
    if (!wish->image && *wish->changes.config_url)
        wish->image = wish->changes.config_url;
    return problem;
}

static void insert_as_asked(struct redfish_call *call, struct slot *slot, json_t *body)
{
    if (!redfish_check(call, body, redfish_insert_parameters) || !read_steps(call, body))
        return;
    struct wish wish = read_wish(body);
    struct slot_status s;
    slot_get_status(slot, &s);
    json_t *problem = read_changes(call, body, &wish);
    if (!problem)
        problem = wish.image ? redfish_stay_read(call, body, &s, &wish.stay) : redfish_missing(call, "Image");
    if (problem)
        redfish_fail(call, 400, problem);
    else
        redfish_insert_insert(call, slot, &wish);
}

/* With the slot of the path and the flat members of the body. */
static void redfish_insert_with_slot(struct redfish_call *call, json_t *body,
                                     void (*as_asked)(struct redfish_call *call, struct slot *slot, json_t *flat))
{
    struct slot *slot = redfish_media_slot(call);
    json_t *flat = redfish_media_flatten(body);
    if (slot)
        as_asked(call, slot, flat);
    else
        redfish_not_found(call);
    json_decref(flat);
}

void redfish_media_insert(struct redfish_call *call, json_t *body)
{
    redfish_insert_with_slot(call, body, insert_as_asked);
}

static const struct redfish_property no_parameters[] = {{NULL, REDFISH_IGNORED}};

void redfish_media_eject(struct redfish_call *call, json_t *body)
{
    struct slot *slot = redfish_media_slot(call);
    if (!slot)
        redfish_not_found(call);
    else if (redfish_check(call, body, no_parameters))
        redfish_insert_eject(call, slot);
}

/* New credentials for what is in. */
static void renew(struct redfish_call *call, struct slot *slot, struct wish *wish, const struct slot_status *s)
{
    wish->image = s->url;
    wish->user = wish->user ? wish->user : *s->user ? s->user : NULL;
    wish->write_protected = wish->write_protected >= 0 ? wish->write_protected : !s->writable;
    redfish_insert_insert(call, slot, wish);
}

static bool is_renewed(const struct wish *wish, const struct slot_status *s)
{
    return s->state == SLOT_READY && s->via == SLOT_VIA_URL && *s->url && (wish->user || wish->password);
}

/* Nothing is to go in or out: what of it is not so already? NULL: all is. */
static json_t *nothing_problem(const struct redfish_call *call, const struct wish *wish, const struct slot_status *s)
{
    bool inserted = s->state == SLOT_READY, is_protected = !inserted || !s->writable;
    if (wish->inserted == 1 && !inserted)
        return redfish_missing(call, "Image");
    if (wish->write_protected >= 0 && wish->write_protected != is_protected)
        return redfish_conflict(call, "WriteProtected", "", "Image");
    return wish->user || wish->password || wish->method || wish->protocol ? redfish_missing(call, "Image") : NULL;
}

static bool says_stay(const json_t *body)
{
    return json_object_get(body, "EjectPolicy") || json_object_get(body, "EjectTimeout");
}

/* What is wrong with the body as a whole, of which nothing is done then; NULL: nothing. */
static json_t *patch_problem(const struct redfish_call *call, const json_t *body, const struct slot *slot,
                             const struct slot_status *s, struct wish *wish)
{
    bool emptied = json_object_get(body, "Image") && !wish->image;
    if (!wish->image && (boot_steps_wanted(&call->steps) || redfish_boot_changes_any(&wish->changes)))
        return redfish_missing(call, "Image");
    if ((wish->image && wish->inserted == 0) || (emptied && wish->inserted == 1))
        return redfish_conflict(call, "Inserted", "", "Image");
    json_t *problem = redfish_stay_read(call, body, s, &wish->stay);
    bool stays = s->state != SLOT_EMPTY && !wish->image && !emptied && wish->inserted != 0;
    if (!problem && stays && says_stay(body))
        problem = redfish_stay_problem(call, s, &wish->stay);
    if (!problem && wish->image)
        problem = redfish_insert_problem(call, slot, wish, s);
    else if (!problem && !emptied && wish->inserted != 0 && !is_renewed(wish, s))
        problem = nothing_problem(call, wish, s);
    return problem;
}

static void patch_as_asked(struct redfish_call *call, struct slot *slot, json_t *body)
{
    struct slot_status s;
    if (!redfish_check(call, body, redfish_media_properties) || !read_steps(call, body))
        return;
    struct wish wish = read_wish(body);
    slot_get_status(slot, &s);
    json_t *problem = read_changes(call, body, &wish);
    problem = problem ? problem : patch_problem(call, body, slot, &s, &wish);
    if (problem) {
        redfish_fail(call, 400, problem);
    } else if (set_verify(call, &wish, &s)) {
        if (says_stay(body) && !wish.image) /* else the policy is of that medium only, as with the action */
            redfish_stay_set(call, slot, &s, &wish.stay);
        if (wish.image)
            redfish_insert_insert(call, slot, &wish);
        else if (json_object_get(body, "Image") || wish.inserted == 0)
            redfish_insert_eject(call, slot);
        else if (is_renewed(&wish, &s))
            renew(call, slot, &wish, &s);
        else
            reply_done(call);
    }
}

void redfish_media_patch(struct redfish_call *call, json_t *body)
{
    redfish_insert_with_slot(call, body, patch_as_asked);
}
