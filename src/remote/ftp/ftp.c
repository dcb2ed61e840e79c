/*
 * Probes and ranges on FTP's lines, each a control connection with its
 * transfers (remote/ftp/internal.h).
 *
 * A probe asks for size and time, and gets the file's last byte: the transfer must begin at the
 * wanted offset (REST), have that one byte and end there, so that a server which takes no
 * offsets or tells a wrong size is found out when the image is inserted.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "net/tls.h"
#include "remote/ftp/internal.h"

static uint64_t ftp_now_us(void)
{
    return uv_hrtime() / 1000;
}

/* --- the end of a transfer --- */

static void transfer_over(struct ftp_line *ftp)
{
    ftp->step = FTP_READY;
    ftp_ready(ftp);
}

/* The transfer's last byte must have come, and the server must say that this was all. */
static void probe_over(struct ftp_line *ftp)
{
    struct line_job *job = ftp->line.current;
    if (ftp->reply.code / 100 != 2) {
        ftp_fail_reply(ftp, "RETR");
        return;
    }
    if (job->filled == 1)
        job->request.verdict = REMOTE_OK;
    else
        remote_judge(&job->request, REMOTE_REFUSED, "the FTP server sent less of the image than its size, %" PRIu64, ftp->size);
    ftp->step = FTP_READY;
    line_finished(&ftp->line); /* begins the next, if there is one */
    if (!ftp->line.current)
        ftp_ready(ftp);
}

/* The transfer has ended: its data connection is closed, and its last reply is here. */
static void ended(struct ftp_line *ftp)
{
    if (ftp->line.current && line_job_is_probe(ftp->line.current) && ftp->probing)
        probe_over(ftp);
    else
        transfer_over(ftp);
}

/* Cuts the transfer, before its end or at it: its reply says which, and may be here already. */
static void ftp_cut(struct ftp_line *ftp)
{
    ftp_stream_drop(&ftp->data);
    slices_clear(&ftp->ahead);
    ftp->line.streaming = false;
    ftp->step = FTP_END;
    if (ftp->replied)
        ended(ftp);
    else
        ftp_watch(ftp);
}

/* --- data --- */

static void note_first_byte(struct ftp_line *ftp)
{
    if (ftp->asked_us && ftp->line.current)
        ftp->line.current->request.first_byte_us = ftp_now_us() - ftp->asked_us;
    ftp->asked_us = 0;
}

/* More came than the size allows: the file is another one now, or never had that size. */
static void ftp_too_long(struct ftp_line *ftp)
{
    ftp->checked_at = 0;
    if (ftp->line.current)
        line_fail(&ftp->line, REMOTE_REFUSED, -EREMOTEIO, "the FTP server sent more of the image than its size, %" PRIu64,
                 ftp->size);
    else
        ftp_cut(ftp);
}

/* Gives bytes to the current job; returns how many. */
static size_t ftp_use(struct ftp_line *ftp, const uint8_t *bytes, size_t length)
{
    struct line_job *job = ftp->line.current;
    size_t part = job->length - job->filled < length ? job->length - job->filled : length;
    line_take(&ftp->line, bytes, part);
    ftp->line.position += part;
    if (job->filled == job->length && !line_job_is_probe(job)) {
        job->request.verdict = REMOTE_OK;
        line_finished(&ftp->line);
    }
    return part;
}

static bool wants(const struct ftp_line *ftp)
{
    return ftp->step == FTP_STREAM && ftp->line.current && ftp->line.position < ftp->size;
}

void on_ftp_data(struct stream *data, const uint8_t *bytes, size_t length)
{
    struct ftp_line *ftp = data->owner;
    ftp_watch(ftp);
    note_first_byte(ftp);
    while (length > 0 && ftp->data == data && wants(ftp)) {
        size_t part = ftp_use(ftp, bytes, length);
        bytes += part;
        length -= part;
    }
    if (ftp->data != data)
        return;
    if (length > 0 && ftp->line.position >= ftp->size) {
        ftp_too_long(ftp);
    } else if (!ftp->line.current) {
        stream_read(data, false);
        if (length > 0)
            slices_add_copy(&ftp->ahead, bytes, (uint32_t)length);
        ftp_rest(ftp, FTP_STREAM_IDLE_MS);
    }
}

static void use_ahead(struct ftp_line *ftp)
{
    struct slices ahead;
    slices_init(&ahead);
    slices_take(&ahead, &ftp->ahead);
    for (uint32_t i = 0; i < ahead.count && ftp->data; i++)
        on_ftp_data(ftp->data, slice_data(&ahead.v[i]), ahead.v[i].length);
    slices_clear(&ahead);
}

void on_ftp_data_end(struct stream *data, int status)
{
    struct ftp_line *ftp = data->owner;
    struct line_job *job = ftp->line.current;
    if (ftp->step < FTP_STREAM && ftp->secure && status == -EPROTO)
        ftp_fail_stream(ftp, data, status, "data");
    else if (ftp->step < FTP_STREAM)
        ftp_stream_drop(&ftp->data); /* the reply to RETR says why */
    else if (job && !line_job_is_probe(job))
        line_fail(&ftp->line, REMOTE_TRANSIENT, 0, "the FTP server ended the transfer after %" PRIu32 " of %" PRIu32 " bytes",
                 job->filled, job->length);
    else
        ftp_cut(ftp);
}

/* Goes on with a transfer, from where the last range ended. */
static void stream_on(struct ftp_line *ftp)
{
    struct stream *data = ftp->data;
    ftp->step = FTP_STREAM;
    ftp_watch(ftp);
    use_ahead(ftp);
    if (ftp->data == data && ftp->line.current)
        stream_read(data, true);
}

/* --- the start of a transfer --- */

static void passive(struct ftp_line *ftp)
{
    if (ftp->no_epsv)
        ftp_command(ftp, FTP_PASV, "PASV");
    else
        ftp_command(ftp, FTP_EPSV, "EPSV");
}

static void checked(struct ftp_line *ftp, const char *modified)
{
    struct line_job *job = ftp->line.current;
    if (!line_check(&ftp->line, ftp->size, modified)) {
        ftp->step = FTP_READY;
        line_finished(&ftp->line); /* begins the next */
        if (!ftp->line.current)
            ftp_ready(ftp);
        return;
    }
    ftp->checked_at = uv_now(ftp->line.lines->client.loop);
    ftp->start = line_job_is_probe(job) ? ftp->size - 1 : job->offset;
    ftp->probing = line_job_is_probe(job);
    passive(ftp);
}

static void sized(struct ftp_line *ftp)
{
    const struct line_job *job = ftp->line.current;
    if (ftp->reply.code == 550)
        line_fail(&ftp->line, REMOTE_REFUSED, -ENOENT,
                 "the FTP server has no such file, or does not let it be read (550; check the path of the URL)");
    else if (ftp->reply.code / 100 == 5)
        line_fail(&ftp->line, REMOTE_REFUSED, -EREMOTEIO,
                 "the FTP server does not tell the size of files (SIZE; use another server)");
    else if (ftp->reply.code != 213 || !ftp_parse_size(ftp->reply.text, &ftp->size))
        ftp_fail_reply(ftp, "SIZE");
    else if (!line_job_is_probe(job) && !*job->expect->modified)
        checked(ftp, "");
    else
        ftp_command(ftp, FTP_MDTM, "MDTM %s", ftp->place.path);
}

static void timed(struct ftp_line *ftp)
{
    char modified[LINES_MODIFIED_MAX];
    if (ftp->reply.code == 213 && ftp_parse_time(ftp->reply.text, modified, sizeof modified))
        checked(ftp, modified);
    else if (ftp->reply.code / 100 == 5 && line_job_is_probe(ftp->line.current))
        checked(ftp, ""); /* the server does not tell the time */
    else
        ftp_fail_reply(ftp, "MDTM");
}

static void ftp_set_port(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET)
        ((struct sockaddr_in *)address)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
}

/* TLS begins when the server does its part of it, which some do before they reply. */
static void retrieve(struct ftp_line *ftp)
{
    ftp->asked_us = ftp_now_us();
    ftp_command(ftp, FTP_RETR, "RETR %s", ftp->place.path);
    if (ftp->secure)
        ftp_data_secure(ftp);
}

static void ask_for_file(struct ftp_line *ftp)
{
    if (ftp->start > 0)
        ftp_command(ftp, FTP_REST, "REST %" PRIu64, ftp->start);
    else
        retrieve(ftp);
}

static void on_data_dialled(void *arg, const struct dial_result *result)
{
    struct ftp_line *ftp = arg;
    ftp->dial = NULL;
    if (result->fd < 0)
        line_fail(&ftp->line, result->fd == -EPERM ? REMOTE_REFUSED : REMOTE_TRANSIENT, result->fd, "the data connection: %s",
                 result->error);
    else if (!ftp_data_open(ftp, result->fd))
        line_fail(&ftp->line, REMOTE_TRANSIENT, 0, "the data connection to the FTP server was lost");
    else
        ask_for_file(ftp);
}

static void dial_data(struct ftp_line *ftp, uint16_t port)
{
    struct sockaddr_storage address = ftp->peer;
    ftp_set_port(&address, port);
    ftp->step = FTP_DATA_DIAL;
    uv_timer_stop(&ftp->timer);
    ftp->dial = dial_address_new(ftp->line.lines->client.loop, (const struct sockaddr *)&address, ftp->line.lines->local,
                                 ftp->line.lines->connect_timeout_ms, on_data_dialled, ftp);
}

static void passive_reply(struct ftp_line *ftp)
{
    uint16_t port;
    bool epsv = ftp->step == FTP_EPSV;
    if (epsv && ftp->reply.code / 100 == 5 && ftp->peer.ss_family == AF_INET) {
        ftp->no_epsv = true;
        passive(ftp);
    } else if (ftp->reply.code == (epsv ? 229u : 227u) &&
               (epsv ? ftp_parse_epsv(ftp->reply.text, &port) : ftp_parse_pasv(ftp->reply.text, &port))) {
        dial_data(ftp, port);
    } else {
        ftp_fail_reply(ftp, epsv ? "EPSV" : "PASV");
    }
}

static void restarted(struct ftp_line *ftp)
{
    if (ftp->reply.code == 350)
        retrieve(ftp);
    else if (ftp->reply.code / 100 == 5)
        line_fail(&ftp->line, REMOTE_REFUSED, -EREMOTEIO,
                 "the FTP server can't begin in the middle of a file (REST; use another server)");
    else
        ftp_fail_reply(ftp, "REST");
}

static void opened(struct ftp_line *ftp)
{
    unsigned code = ftp->reply.code;
    if (code == 550)
        line_fail(&ftp->line, REMOTE_REFUSED, line_job_is_probe(ftp->line.current) ? -EACCES : -ENOENT,
                 "the FTP server does not let the file be read (550; check the server's permissions)");
    else if (code / 100 != 1)
        ftp_fail_reply(ftp, "RETR");
    else if (!ftp->data)
        line_fail(&ftp->line, REMOTE_TRANSIENT, 0, "the data connection to the FTP server was lost");
    else {
        ftp->line.streaming = true;
        ftp->line.position = ftp->start;
        ftp->opened_at = uv_now(ftp->line.lines->client.loop);
        stream_on(ftp);
    }
}

/* The reply to a transfer as a whole: it may come before the data's end. */
static void transferred(struct ftp_line *ftp)
{
    if (ftp->reply.code / 100 == 1)
        return;
    ftp->replied = true;
    if (ftp->step == FTP_END)
        ended(ftp);
}

void ftp_transfer_reply(struct ftp_line *ftp)
{
    switch (ftp->step) {
    case FTP_SIZE:
        sized(ftp);
        return;
    case FTP_MDTM:
        timed(ftp);
        return;
    case FTP_EPSV:
    case FTP_PASV:
        passive_reply(ftp);
        return;
    case FTP_REST:
        restarted(ftp);
        return;
    case FTP_RETR:
        opened(ftp);
        return;
    case FTP_STREAM:
    case FTP_END:
        transferred(ftp);
        return;
    default:
        line_fail(&ftp->line, REMOTE_TRANSIENT, 0, "the FTP server replied to nothing");
    }
}

static void transfer_begin(struct ftp_line *ftp)
{
    const struct line_job *job = ftp->line.current;
    uint64_t now = uv_now(ftp->line.lines->client.loop);
    ftp->replied = ftp->probing = false;
    ftp->start = job->offset;
    if (line_job_is_probe(job) || ftp->checked_at == 0 || now - ftp->checked_at >= LINES_CHECK_MS)
        ftp_command(ftp, FTP_SIZE, "SIZE %s", ftp->place.path);
    else
        passive(ftp);
}

/* --- the line --- */

void ftp_ready(struct ftp_line *ftp)
{
    ftp->step = FTP_READY;
    ftp->line.established = true;
    if (ftp->line.current)
        transfer_begin(ftp);
    else
        ftp_rest(ftp, LINES_IDLE_MS);
}

void ftp_idle_over(struct ftp_line *ftp)
{
    if (ftp->step == FTP_STREAM)
        ftp_cut(ftp);
    else
        ftp_reset(ftp);
}

static bool can_go_on(const struct ftp_line *ftp)
{
    const struct line_job *job = ftp->line.current;
    uint64_t age = uv_now(ftp->line.lines->client.loop) - ftp->opened_at;
    return !line_job_is_probe(job) && ftp->line.position == job->offset && age < FTP_STREAM_MAX_MS;
}

static void ftp_begin(struct line *line)
{
    struct ftp_line *ftp = ftp_of(line);
    if (ftp->step == FTP_CLOSED)
        ftp_connect(ftp);
    else if (ftp->step == FTP_READY)
        transfer_begin(ftp);
    else if (ftp->step == FTP_STREAM && can_go_on(ftp))
        stream_on(ftp);
    else if (ftp->step == FTP_STREAM)
        ftp_cut(ftp);
}

static void ftp_line_reset(struct line *line)
{
    ftp_reset(ftp_of(line));
}

static void on_ftp_timer_closed(uv_handle_t *handle)
{
    struct ftp_line *ftp = container_of((uv_timer_t *)handle, struct ftp_line, timer);
    mem_free(ftp);
}

static void ftp_close(struct line *line)
{
    struct ftp_line *ftp = ftp_of(line);
    ftp_reset(ftp);
    place_clear(&ftp->place);
    uv_close((uv_handle_t *)&ftp->timer, on_ftp_timer_closed);
}

static struct line *ftp_make(struct lines *lines);

static void ftp_free(struct lines *lines);

static const struct line_ops ftp_line_ops = {
    .streams = true,
    .make = ftp_make,
    .begin = ftp_begin,
    .reset = ftp_line_reset,
    .close = ftp_close,
    .free = ftp_free,
};

static struct line *ftp_make(struct lines *lines)
{
    struct ftp_line *ftp = mem_alloc(sizeof *ftp);
    line_init(&ftp->line, &ftp_line_ops, lines);
    place_read(&ftp->place, lines->client.url); /* place_check() passed it */
    ftp->implicit = strncasecmp(lines->client.url, "ftps:", 5) == 0;
    slices_init(&ftp->ahead);
    uv_timer_init(lines->client.loop, &ftp->timer);
    return &ftp->line;
}

/* --- the image --- */

static void ftp_free(struct lines *lines)
{
    struct ftp_image *image = container_of(lines, struct ftp_image, lines);
    tls_client_free(image->tls);
    trust_clear(&image->trust);
    mem_free(image->client_cert);
    mem_free(image->client_key);
    mem_free(image);
}

struct source *ftp_source_new(uv_loop_t *loop, const char *who, const struct ftp_options *options)
{
    unsigned requests = options->connections < FTP_REQUESTS_MAX ? options->connections : FTP_REQUESTS_MAX;
    struct ftp_image *image = mem_alloc(sizeof *image);
    image->security = options->security;
    image->verify = options->verify;
    trust_init(&image->trust, options->ca_file, options->ca_pem);
    image->client_cert = mem_strdup_nonempty(options->client_cert);
    image->client_key = mem_strdup_nonempty(options->client_key);
    return lines_source_new(&image->lines, &ftp_line_ops, loop, who, &options->lines, requests);
}
