#include "remote/smb/connection.h"

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/text.h"
#include "remote/smb/internal.h"

#define NTLMSSP    1 /* of smb2_set_authentication(): Kerberos would ask name servers, and wait */
#define TARGET_MAX (NI_MAXHOST + NI_MAXSERV + 4)

/* --- what the owner is told --- */

static void on_smb_connection_tell(struct defer *defer)
{
    struct smb *smb = container_of(defer, struct smb, defer);
    if (smb->opened_due && !smb->failure_due) {
        smb->opened_due = false;
        smb->events.opened(smb->owner, &smb->file, smb->round_trip_us);
    } else if (!list_empty(&smb->finished)) {
        struct smb_read *read = container_of(list_pop(&smb->finished), struct smb_read, link);
        read->smb = NULL;
        smb_tell(smb); /* first: the owner may close */
        read->done(read);
    } else if (smb->failure_due) {
        smb->failure_due = false;
        smb->events.failed(smb->owner, smb->transient, smb->reason, smb->error);
    }
}

void smb_tell(struct smb *smb)
{
    if (!smb->ending)
        defer_schedule(smb->loop, &smb->defer);
}

void smb_fail(struct smb *smb, bool transient, int reason, const char *format, ...)
{
    va_list args;
    char text[SMB_ERROR_MAX];
    if (smb->stage == SMB_FAILED || smb->ending)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    text_escape(text, smb->error, sizeof smb->error);
    smb->stage = SMB_FAILED;
    smb->failure_due = true;
    smb->transient = transient;
    smb->reason = reason;
    uv_timer_stop(&smb->timer);
    smb_tell(smb);
}

/* --- time --- */

static void on_smb_connection_timer(uv_timer_t *timer)
{
    struct smb *smb = timer->data;
    uint64_t quiet = uv_now(smb->loop) - smb->heard;
    if (smb->stage == SMB_CONNECTING)
        smb_fail(smb, true, -EHOSTUNREACH, "could not connect: no answer within connect-timeout (check host and port)");
    else if (smb->stage < SMB_OPEN)
        smb_fail(smb, true, -EAGAIN, "the server did not open the image within connect-timeout (is this the port of its SMB? if it is "
                                       "slow, raise that)");
    else if (smb->awaited > 0 && quiet >= smb->stall_timeout_ms)
        smb_fail(smb, true, 0, "the server sent nothing for stall-timeout");
    else if (smb->awaited > 0)
        uv_timer_start(timer, on_smb_connection_timer, smb->stall_timeout_ms - quiet, 0);
}

void smb_await(struct smb *smb)
{
    if (smb->awaited++ > 0 || smb->stage != SMB_OPEN)
        return;
    smb->heard = uv_now(smb->loop);
    if (!uv_is_active((uv_handle_t *)&smb->timer))
        uv_timer_start(&smb->timer, on_smb_connection_timer, smb->stall_timeout_ms, 0);
}

bool smb_answered(struct smb *smb, int status)
{
    if ((uint32_t)status == SMB2_STATUS_PENDING)
        return false;
    if (smb->awaited > 0)
        smb->awaited--;
    return true;
}

void smb_queue(struct smb *smb, struct smb2_pdu *pdu)
{
    if (!pdu) {
        smb_fail(smb, true, 0, "libsmb2: %s", smb2_get_error(smb->library));
        return;
    }
    smb2_queue_pdu(smb->library, pdu);
    smb_await(smb);
}

uint32_t smb_last_status(struct smb2_context *library)
{
    const char *at = strstr(smb2_get_error(library), "(0x");
    return at ? (uint32_t)strtoul(at + 1, NULL, 16) : 0;
}

/* --- life --- */

/* libsmb2 takes its random numbers from random(), and sows that with the time. */
static void sow(void)
{
    unsigned seed;
    if (getrandom(&seed, sizeof seed, 0) == sizeof seed)
        srandom(seed);
}

static void smb_connection_configure(struct smb *smb, const struct smb_options *options)
{
    struct smb2_context *library = smb->library;
    smb2_set_authentication(library, NTLMSSP);
    smb2_set_version(library, smb->must_seal ? SMB2_VERSION_ANY3 : smb->newest ? SMB2_VERSION_ANY : SMB2_VERSION_ANY2);
    smb2_set_security_mode(library,
                           SMB2_NEGOTIATE_SIGNING_ENABLED | (smb->guest ? 0 : SMB2_NEGOTIATE_SIGNING_REQUIRED));
    smb2_set_sign(library, !smb->guest);
    smb2_set_seal(library, smb->must_seal);
    smb2_set_passthrough(library, 1);
    /* In this order: the user's name makes libsmb2 look for a password in a file. */
    smb2_set_user(library, smb->guest ? "Guest" : options->user);
    smb2_set_password(library, smb->guest ? "" : options->password ? options->password : "");
    if (options->domain && *options->domain)
        smb2_set_domain(library, options->domain);
}

static bool smb_connection_start(struct smb *smb, const struct smb_options *options)
{
    char host[NI_MAXHOST], port[NI_MAXSERV], target[TARGET_MAX];
    socklen_t size = options->address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    smb->library = smb2_init_context();
    if (!smb->library)
        mem_exhausted();
    sow();
    smb_connection_configure(smb, options);
    if (getnameinfo(options->address, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return false;
    snprintf(target, sizeof target, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    errno = 0;
    if (smb2_connect_share_async(smb->library, target, smb->share, NULL, smb_on_login, smb) != 0) {
        int error = errno;
        smb_fail(smb, true, -EHOSTUNREACH, "could not connect: %s",
                 error ? strerror(error) : smb2_get_error(smb->library));
        return true;
    }
    return smb_stream_begin(smb);
}

struct smb *smb_open(uv_loop_t *loop, const struct smb_options *options, const struct smb_events *events, void *owner)
{
    struct smb *smb = mem_alloc(sizeof *smb);
    smb->loop = loop;
    smb->events = *events;
    smb->owner = owner;
    smb->tcp = smb->pair = -1;
    smb->server = mem_strdup(options->server);
    smb->share = mem_strdup(options->share);
    smb->path = mem_strdup(options->path);
    smb->guest = !options->user || !*options->user;
    smb->must_seal = options->must_seal;
    smb->newest = options->newest || options->must_seal;
    smb->stall_timeout_ms = options->stall_timeout_ms;
    smb_guard_init(&smb->guard, smb->must_seal, smb->guest);
    defer_setup(&smb->defer, on_smb_connection_tell);
    struct link *lists[] = {&smb->reading, &smb->read, &smb->checking, &smb->finished, &smb->waiting, &smb->pieces};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        list_init(lists[i]);
    uv_timer_init(loop, &smb->timer);
    smb->timer.data = smb;
    uv_timer_start(&smb->timer, on_smb_connection_timer, options->connect_timeout_ms, 0);
    if (!smb_connection_start(smb, options))
        smb_fail(smb, true, 0, "no connection can be made now: %s", strerror(errno));
    return smb;
}

bool smb_newest_may_do(const struct smb *smb)
{
    return smb->newest_may_do;
}

void smb_set_owner(struct smb *smb, const struct smb_events *events, void *owner)
{
    smb->events = *events;
    smb->owner = owner;
}

static void on_smb_connection_closed(struct closing *closing)
{
    struct smb *smb = container_of(closing, struct smb, closing);
    mem_free(smb->server);
    mem_free(smb->share);
    mem_free(smb->path);
    mem_free(smb);
}

void smb_close(struct smb *smb)
{
    if (!smb)
        return;
    struct link *lists[] = {&smb->reading, &smb->read, &smb->checking, &smb->finished};
    smb->ending = true;
    defer_cancel(&smb->defer);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (struct link *l = list_pop(lists[i]); l; l = list_pop(lists[i]))
            smb_read_cancel(container_of(l, struct smb_read, link));
    closing_begin(&smb->closing, smb->loop, on_smb_connection_closed);
    closing_add(&smb->closing, (uv_handle_t *)&smb->timer);
    smb_stream_end(smb);
    smb2_destroy_context(smb->library);
    closing_end(&smb->closing);
}
