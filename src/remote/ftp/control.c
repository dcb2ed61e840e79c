/* An FTP line's control connection: see remote/ftp/internal.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wipe.h"
#include "net/socket.h"
#include "net/tls.h"
#include "remote/ftp/internal.h"

/* --- ends --- */

static void on_dropped(struct stream *stream)
{
    stream_free(stream);
}

void ftp_stream_drop(struct stream **stream)
{
    if (!*stream)
        return;
    (*stream)->on_closed = on_dropped;
    stream_close(*stream);
    *stream = NULL;
}

void ftp_reset(struct ftp_line *ftp)
{
    dial_cancel(ftp->dial);
    ftp->dial = NULL;
    ftp_stream_drop(&ftp->data);
    ftp_stream_drop(&ftp->control);
    slices_clear(&ftp->ahead);
    uv_timer_stop(&ftp->timer);
    ftp->step = FTP_CLOSED;
    ftp->line.streaming = ftp->line.established = false;
    ftp->secure = ftp->no_epsv = false;
    ftp->checked_at = 0;
}

void ftp_fail_reply(struct ftp_line *ftp, const char *what)
{
    /* A range's image was good when it was opened, so the trouble may pass: a probe finds out whether the image
     * still is. */
    bool ranges = ftp->line.current && !line_job_is_probe(ftp->line.current);
    bool passing = ftp->reply.code / 100 == 4 || ranges;
    line_fail(&ftp->line, passing ? REMOTE_TRANSIENT : REMOTE_REFUSED, 0, "the FTP server answered %s with %u %.160s", what,
             ftp->reply.code, ftp->reply.text);
}

void ftp_fail_stream(struct ftp_line *ftp, struct stream *stream, int status, const char *which)
{
    char refusal[TRUST_WORDS_MAX];
    const char *words = ftp->secure ? tls_stream_error(stream) : "";
    if (ftp->secure && status == -EPROTO && tls_client_refusal(stream, refusal))
        line_fail(&ftp->line, REMOTE_REFUSED, -EKEYREJECTED, "%s", refusal);
    else if (ftp->secure && tls_client_is_plain(stream))
        line_fail(&ftp->line, REMOTE_REFUSED, 0, "the server speaks no TLS there (use ftp://, or the port of its FTPS)");
    else if (status == 0)
        line_fail(&ftp->line, REMOTE_TRANSIENT, 0, "the FTP server closed the %s connection", which);
    else
        line_fail(&ftp->line, REMOTE_TRANSIENT, 0, "the %s connection to the FTP server failed: %s", which,
                 *words ? words : strerror(-status));
}

/* --- time --- */

static void on_ftp_control_timer(uv_timer_t *timer)
{
    struct ftp_line *ftp = container_of(timer, struct ftp_line, timer);
    if (ftp->line.current || (ftp->step != FTP_READY && ftp->step != FTP_STREAM))
        line_fail(&ftp->line, REMOTE_TRANSIENT, 0, "the FTP server sent nothing within stall-timeout (is this its port? if it is "
                                                    "slow, raise that)");
    else
        ftp_idle_over(ftp);
}

void ftp_watch(struct ftp_line *ftp)
{
    uv_timer_start(&ftp->timer, on_ftp_control_timer, ftp->line.lines->stall_timeout_ms, 0);
}

void ftp_rest(struct ftp_line *ftp, uint64_t ms)
{
    uv_timer_start(&ftp->timer, on_ftp_control_timer, ms, 0);
}

/* --- commands --- */

void ftp_command(struct ftp_line *ftp, enum ftp_step step, const char *format, ...)
{
    char *text = mem_alloc(FTP_COMMAND_MAX);
    struct slices data;
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, FTP_COMMAND_MAX - 2, format, args); /* a URL's path, or a config's word, is shorter */
    va_end(args);
    ftp->step = step;
    text[length++] = '\r';
    text[length++] = '\n';
    slices_init(&data);
    slices_add_copy(&data, text, (uint32_t)length);
    stream_write(ftp->control, &data);
    mem_free_secret(text);
    ftp_watch(ftp);
}

/* --- logging in --- */

static const char *user_of(const struct ftp_line *ftp)
{
    const char *user = ftp->line.lines->user;
    return user ? user : "anonymous";
}

/* RFC 1635: an anonymous user's password is a mail address. */
static const char *password_of(const struct ftp_line *ftp)
{
    const struct lines *lines = ftp->line.lines;
    return lines->password ? lines->password : lines->user ? "" : "anonymous@";
}

static bool ftp_control_is_line(const char *text)
{
    return text[strcspn(text, "\r\n\xff")] == '\0';
}

static void send_user(struct ftp_line *ftp)
{
    if (ftp_control_is_line(user_of(ftp)) && ftp_control_is_line(password_of(ftp)))
        ftp_command(ftp, FTP_USER, "USER %s", user_of(ftp));
    else
        line_fail(&ftp->line, REMOTE_REFUSED, -EACCES, "a user and a password for FTP can't have the end of a line in them");
}

static void ftp_control_logged_in(struct ftp_line *ftp)
{
    if (ftp->secure)
        ftp_command(ftp, FTP_PBSZ, "PBSZ 0");
    else
        ftp_command(ftp, FTP_TYPE, "TYPE I");
}

static void ftp_control_login_refused(struct ftp_line *ftp)
{
    if (ftp->reply.code / 100 == 4)
        ftp_fail_reply(ftp, "the login");
    else
        line_fail(&ftp->line, REMOTE_REFUSED, -EACCES, "the FTP server refused the login: %u %.160s (check user and password)",
                 ftp->reply.code, ftp->reply.text);
}

static void set_control(struct ftp_line *ftp, struct stream *control);

/* Made once, at its first use. False: the line has failed. */
static bool make_tls(struct ftp_line *ftp)
{
    struct ftp_image *image = ftp_image_of(ftp);
    char error[256];
    struct tls_client_options options = {
        .verify = image->verify,
        .trust = &image->trust,
        .certificate = image->client_cert,
        .key = image->client_key,
        .handshake_timeout_ms = image->lines.connect_timeout_ms,
    };
    if (!image->tls)
        image->tls = tls_client_new(&options, error, sizeof error);
    if (!image->tls)
        line_fail(&ftp->line, REMOTE_REFUSED, 0, "%s (check ca-file, client-certificate and client-key)", error);
    return image->tls;
}

static struct stream *secured(struct ftp_line *ftp, struct stream *like, struct stream *below)
{
    return tls_client_stream_new(ftp_image_of(ftp)->tls, ftp->place.host, like, below);
}

/* Bytes that came in clear behind the reply would be taken for encrypted ones. */
static void start_tls(struct ftp_line *ftp, bool more)
{
    if (more) {
        line_fail(&ftp->line, REMOTE_REFUSED, 0, "the FTP server sent something before TLS began");
        return;
    }
    if (!make_tls(ftp))
        return;
    struct stream *below = ftp->control;
    ftp->secure = true;
    stream_read(below, false);
    set_control(ftp, secured(ftp, NULL, below));
    send_user(ftp);
}

static void no_tls(struct ftp_line *ftp)
{
    if (ftp_image_of(ftp)->security == FTP_SECURITY_REQUIRED)
        line_fail(&ftp->line, REMOTE_REFUSED, -EPERM, "the FTP server has no TLS, which is required here (see ftp-tls)");
    else
        send_user(ftp);
}

static void greeted(struct ftp_line *ftp)
{
    if (ftp->reply.code == 120)
        return; /* the server will be ready, and says 220 then */
    if (ftp->reply.code != 220)
        ftp_fail_reply(ftp, "the connection");
    else if (ftp->implicit || ftp_image_of(ftp)->security == FTP_SECURITY_NONE)
        send_user(ftp);
    else
        ftp_command(ftp, FTP_AUTH, "AUTH TLS");
}

static void login_reply(struct ftp_line *ftp, bool more)
{
    unsigned code = ftp->reply.code;
    if (ftp->step == FTP_GREETING)
        greeted(ftp);
    else if (ftp->step == FTP_AUTH && code == 234)
        start_tls(ftp, more);
    else if (ftp->step == FTP_AUTH && code / 100 == 5)
        no_tls(ftp);
    else if (ftp->step == FTP_AUTH)
        ftp_fail_reply(ftp, "AUTH TLS");
    else if ((ftp->step == FTP_USER || ftp->step == FTP_PASS) && code / 100 == 2)
        ftp_control_logged_in(ftp);
    else if (ftp->step == FTP_USER && code == 331)
        ftp_command(ftp, FTP_PASS, "PASS %s", password_of(ftp));
    else if (ftp->step == FTP_USER || ftp->step == FTP_PASS)
        ftp_control_login_refused(ftp);
    else if (code / 100 != 2)
        ftp_fail_reply(ftp, ftp->step == FTP_TYPE ? "TYPE I" : ftp->step == FTP_PROT ? "PROT P" : "PBSZ");
    else if (ftp->step == FTP_PBSZ)
        ftp_command(ftp, FTP_PROT, "PROT P");
    else if (ftp->step == FTP_PROT)
        ftp_command(ftp, FTP_TYPE, "TYPE I");
    else
        ftp_ready(ftp);
}

/* --- the control connection --- */

static void take_reply(struct ftp_line *ftp, bool more)
{
    if (ftp->reply.code == 421)
        ftp_fail_reply(ftp, "a request"); /* the server closes the connection */
    else if (ftp->step < FTP_READY)
        login_reply(ftp, more);
    else if (ftp->step > FTP_READY)
        ftp_transfer_reply(ftp);
    else
        line_fail(&ftp->line, REMOTE_TRANSIENT, 0, "the FTP server replied to nothing");
}

static void on_control_data(struct stream *control, const uint8_t *data, size_t length)
{
    struct ftp_line *ftp = control->owner;
    while (length > 0 && ftp->control == control) {
        size_t taken;
        enum ftp_fed fed = ftp_reply_feed(&ftp->reply, data, length, &taken);
        data += taken;
        length -= taken;
        if (fed == FTP_GARBAGE)
            line_fail(&ftp->line, REMOTE_REFUSED, 0, "the server does not speak FTP");
        else if (fed == FTP_REPLY)
            take_reply(ftp, length > 0);
    }
}

static void on_control_end(struct stream *control, int status)
{
    ftp_fail_stream(control->owner, control, status, "control");
}

static void set_control(struct ftp_line *ftp, struct stream *control)
{
    ftp->control = control;
    control->owner = ftp;
    control->on_data = on_control_data;
    control->on_end = on_control_end;
    ftp_reply_init(&ftp->reply);
    stream_read(control, true);
}

static void on_ftp_control_dialled(void *arg, const struct dial_result *result)
{
    struct ftp_line *ftp = arg;
    socklen_t length = sizeof ftp->peer;
    int status = 0;
    ftp->dial = NULL;
    if (result->fd < 0) {
        line_fail(&ftp->line, result->fd == -EPERM ? REMOTE_REFUSED : REMOTE_TRANSIENT, result->fd, "%s", result->error);
        return;
    }
    bool known = getpeername(result->fd, (struct sockaddr *)&ftp->peer, &length) == 0;
    struct stream *control = socket_stream_connected(ftp->line.lines->client.loop, result->fd, &status);
    if (!control || !known) {
        ftp_stream_drop(&control);
        line_fail(&ftp->line, REMOTE_TRANSIENT, 0, "the connection to the FTP server was lost");
        return;
    }
    if (ftp->implicit && !make_tls(ftp)) {
        ftp_stream_drop(&control);
        return;
    }
    ftp->secure = ftp->implicit;
    ftp->step = FTP_GREETING;
    set_control(ftp, ftp->implicit ? secured(ftp, NULL, control) : control);
    ftp_watch(ftp);
}

void ftp_connect(struct ftp_line *ftp)
{
    ftp->step = FTP_DIAL;
    uv_timer_stop(&ftp->timer);
    ftp->dial = dial_new(ftp->line.lines->client.loop, ftp->place.host, ftp->place.port, ftp->line.lines->local,
                         ftp->line.lines->connect_timeout_ms, on_ftp_control_dialled, ftp);
}

static void set_data(struct ftp_line *ftp, struct stream *data)
{
    ftp->data = data;
    data->owner = ftp;
    data->on_data = on_ftp_data;
    data->on_end = on_ftp_data_end;
}

bool ftp_data_open(struct ftp_line *ftp, int fd)
{
    int status = 0;
    struct stream *data = socket_stream_connected(ftp->line.lines->client.loop, fd, &status);
    if (data)
        set_data(ftp, data);
    return data;
}

void ftp_data_secure(struct ftp_line *ftp)
{
    set_data(ftp, secured(ftp, ftp->control, ftp->data));
}
