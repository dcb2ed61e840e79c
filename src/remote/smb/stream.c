/* The stream below libsmb2: the server's socket, the pair that the library reads, and the guard between. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/text.h"
#include "remote/smb/internal.h"

#define LENGTH 4 /* before each message: its bytes, big endian */

static void on_smb_stream_poll(uv_poll_t *poll, int status, int events);

static uint32_t message_length(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void smb_stream_watch(struct smb *smb, int events)
{
    if (events == smb->polled)
        return;
    smb->polled = events;
    if (events)
        uv_poll_start(&smb->poll, events, on_smb_stream_poll);
    else
        uv_poll_stop(&smb->poll);
}

/* --- to the server --- */

/* The library's requests as they come, each looked at once it is whole. */
static void check_requests(struct smb *smb)
{
    while (smb->out_used - smb->out_checked >= LENGTH) {
        const uint8_t *at = smb->out + smb->out_checked;
        size_t length = message_length(at);
        if (length > SMB_OUT_MAX - LENGTH) {
            smb_fail(smb, false, -EREMOTEIO, "libsmb2 made a request that is too long");
            return;
        }
        if (smb->out_used - smb->out_checked - LENGTH < length)
            return;
        if (!smb_guard_request(&smb->guard, at + LENGTH, length)) {
            smb_fail(smb, false, -EREMOTEIO, "libsmb2 made a request that is not allowed here");
            return;
        }
        smb->out_checked += LENGTH + length;
    }
}

static bool take_requests(struct smb *smb)
{
    if (smb2_which_events(smb->library) & POLLOUT &&
        smb2_service_fd(smb->library, smb2_get_fd(smb->library), POLLOUT) < 0) {
        smb_fail(smb, true, 0, "%s", smb2_get_error(smb->library));
        return false;
    }
    if (smb->stage == SMB_FAILED || smb->out_used == SMB_OUT_MAX)
        return false;
    ssize_t n = recv(smb->pair, smb->out + smb->out_used, SMB_OUT_MAX - smb->out_used, MSG_DONTWAIT);
    if (n <= 0)
        return false;
    smb->out_used += (size_t)n;
    check_requests(smb);
    return smb->stage != SMB_FAILED;
}

/* False: the socket is full, or failed. */
static bool send_requests(struct smb *smb)
{
    while (smb->out_sent < smb->out_checked) {
        ssize_t n =
            send(smb->tcp, smb->out + smb->out_sent, smb->out_checked - smb->out_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            smb_fail(smb, true, 0, "the connection broke: %s", strerror(errno));
        if (n < 0)
            return false;
        smb->out_sent += (size_t)n;
    }
    memmove(smb->out, smb->out + smb->out_sent, smb->out_used - smb->out_sent);
    smb->out_used -= smb->out_sent;
    smb->out_checked = smb->out_sent = 0;
    return true;
}

void smb_stream_send(struct smb *smb)
{
    bool full = false;
    if (smb->stage == SMB_CONNECTING || smb->stage == SMB_FAILED)
        return;
    while (!full && take_requests(smb))
        full = !send_requests(smb);
    if (smb->stage != SMB_FAILED)
        smb_stream_watch(smb, UV_READABLE | (smb->out_sent < smb->out_checked ? UV_WRITABLE : 0));
}

/* --- from the server --- */

/* Lets libsmb2 read all that lies in the pair. Until the file is open libsmb2 leaves the share to us and hands on
 * what it can't decode; but then it gives its own callbacks an interim answer too, which they take for the last. */
static bool serve_library(struct smb *smb)
{
    int left = 0;
    smb2_set_passthrough(smb->library, smb->stage < SMB_OPEN && !smb->guard.silent);
    do {
        int fd = smb2_get_fd(smb->library);
        if (smb->stage == SMB_FAILED || fd < 0)
            return false;
        if (smb2_service_fd(smb->library, fd, POLLIN) < 0) {
            smb_fail(smb, true, 0, "the server's answer can't be used: %s", smb2_get_error(smb->library));
            return false;
        }
        fd = smb2_get_fd(smb->library);
        if (fd < 0 || ioctl(fd, FIONREAD, &left) != 0)
            left = 0;
    } while (left > 0);
    return smb->stage != SMB_FAILED;
}

static bool feed_library(struct smb *smb, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = send(smb->pair, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            smb_fail(smb, true, 0, "libsmb2 gave up: %s", smb2_get_error(smb->library));
            return false;
        }
        if (n > 0) {
            bytes += n;
            length -= (size_t)n;
        }
        if (!serve_library(smb))
            return false;
    }
    return true;
}

static bool refuse_answer(struct smb *smb)
{
    smb_fail(smb, false, smb->guard.reason, "%s", smb->guard.error);
    return false;
}

/* The message at the beginning of what was received: how many bytes of it may go to the library; 0: there must
 * be more of it first. False: the message is refused. */
static bool smb_stream_look(struct smb *smb, const uint8_t *at, size_t have, size_t *count)
{
    size_t length = have < LENGTH ? 0 : message_length(at), known = have < LENGTH ? 0 : have - LENGTH;
    *count = 0;
    if (have < LENGTH)
        return true;
    if (length > SMB_GUARD_READ_MAX + SMB_GUARD_SMALL_MAX) {
        smb_fail(smb, false, -EREMOTEIO, "the server's answer is not SMB: a message of %zu bytes", length);
        return false;
    }
    known = known < length ? known : length;
    if (known < length && known < SMB_GUARD_HEAD)
        return true;
    enum smb_guard_verdict verdict = smb_guard_answer(&smb->guard, at + LENGTH, known, length);
    if (verdict == SMB_GUARD_REFUSE)
        return refuse_answer(smb);
    if (verdict == SMB_GUARD_WHOLE)
        return true;
    smb->passing = length - known;
    *count = LENGTH + known;
    return true;
}

static void take_answers(struct smb *smb)
{
    size_t at = 0, count;
    while (smb->stage != SMB_FAILED && at < smb->in_used) {
        size_t have = smb->in_used - at;
        if (smb->passing > 0) {
            count = have < smb->passing ? have : (size_t)smb->passing;
            smb->passing -= count;
        } else if (!smb_stream_look(smb, smb->in + at, have, &count)) {
            return;
        }
        if (count == 0)
            break;
        if (!feed_library(smb, smb->in + at, count))
            return;
        at += count;
    }
    memmove(smb->in, smb->in + at, smb->in_used - at);
    smb->in_used -= at;
}

static void smb_stream_receive(struct smb *smb)
{
    for (size_t turn = 0; turn < SMB_TURN_MAX && smb->stage != SMB_FAILED;) {
        ssize_t n = recv(smb->tcp, smb->in + smb->in_used, SMB_IN_MAX - smb->in_used, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            smb->newest_may_do = smb->stage == SMB_LOGIN && !smb->newest;
            smb_fail(smb, true, smb->stage == SMB_LOGIN ? -EREMOTEIO : 0, "%s%s",
                     n == 0 ? "the server closed the connection" : strerror(errno),
                     smb->stage == SMB_LOGIN ? " before a login (it must speak SMB2 or SMB3)" : "");
            return;
        }
        smb->heard = uv_now(smb->loop);
        smb->in_used += (size_t)n;
        turn += (size_t)n;
        take_answers(smb);
    }
}

/* --- connecting --- */

static void on_smb_stream_connected(struct smb *smb)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(smb->tcp, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        smb_fail(smb, true, error == ECONNREFUSED ? -ECONNREFUSED : -EHOSTUNREACH, "could not connect: %s",
                 strerror(error));
        return;
    }
    smb->stage = SMB_LOGIN;
    if (smb2_service_fd(smb->library, smb2_get_fd(smb->library), POLLOUT) < 0)
        smb_fail(smb, false, -EREMOTEIO, "%s", smb2_get_error(smb->library));
}

static void on_smb_stream_poll(uv_poll_t *poll, int status, int events)
{
    struct smb *smb = poll->data;
    if (smb->stage == SMB_CONNECTING)
        on_smb_stream_connected(smb);
    else if (status < 0 || events & UV_READABLE)
        smb_stream_receive(smb);
    if (smb->stage != SMB_FAILED && (smb->out_sent == smb->out_checked || send_requests(smb)))
        smb_stream_send(smb);
    if (smb->stage == SMB_FAILED)
        smb_stream_watch(smb, 0);
}

/* The library's socket, which connects, becomes ours; under its number the library finds the pair. */
static bool replace_socket(struct smb *smb)
{
    int pair[2], fd = smb2_get_fd(smb->library), on = 1;
    struct linger none = {0};
    if (fd < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
        return false;
    smb->pair = pair[0];
    smb->tcp = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    bool good = smb->tcp >= 0 && dup3(pair[1], fd, O_CLOEXEC) >= 0;
    close(pair[1]);
    if (good) {
        setsockopt(smb->tcp, SOL_SOCKET, SO_LINGER, &none, sizeof none);
        setsockopt(smb->tcp, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    }
    return good;
}

bool smb_stream_begin(struct smb *smb)
{
    if (!replace_socket(smb) || uv_poll_init(smb->loop, &smb->poll, smb->tcp) != 0)
        return false;
    smb->poll.data = smb;
    smb->out = mem_alloc(SMB_OUT_MAX);
    smb->in = mem_alloc(SMB_IN_MAX);
    smb_stream_watch(smb, UV_WRITABLE);
    return true;
}

void smb_stream_end(struct smb *smb)
{
    if (smb->poll.data) {
        uv_poll_stop(&smb->poll);
        closing_add(&smb->closing, (uv_handle_t *)&smb->poll);
    }
    if (smb->pair >= 0)
        close(smb->pair);
    if (smb->tcp >= 0)
        close(smb->tcp);
    smb->tcp = smb->pair = -1;
    mem_free(smb->out);
    mem_free(smb->in);
    smb->out = smb->in = NULL;
}
