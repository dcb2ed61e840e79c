/*
 * Probes and ranges on SFTP's lines, each an SSH connection with the file open (remote/sftp/internal.h). Reads are
 * pipelined by libssh2, which asks for up to four times the buffer that it is given: that is a fourth of what a range
 * still wants.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "remote/sftp/internal.h"

#define READS_MAX 64 /* a turn of the loop; each is of 30000 bytes at most */

/* --- the file --- */

static void fail_sftp(struct sftp_line *sftp, const char *what)
{
    unsigned long code = sftp->channel ? libssh2_sftp_last_error(sftp->channel) : LIBSSH2_FX_OK;
    bool protocol = libssh2_session_last_errno(sftp->session) == LIBSSH2_ERROR_SFTP_PROTOCOL;
    if (protocol && (code == LIBSSH2_FX_NO_SUCH_FILE || code == LIBSSH2_FX_NO_SUCH_PATH))
        line_fail(&sftp->line, REMOTE_REFUSED, -ENOENT, "the SFTP server has no such file (check the path of the URL)");
    else if (protocol && code == LIBSSH2_FX_PERMISSION_DENIED)
        line_fail(&sftp->line, REMOTE_REFUSED, -EACCES,
                  "the SFTP server does not let the file be read (check its permissions)");
    else if (protocol && code != LIBSSH2_FX_OK)
        line_fail(&sftp->line, REMOTE_TRANSIENT, 0, "the SFTP server answered %s with error %lu", what, code);
    else
        sftp_fail_ssh(sftp, what);
}

static bool do_open(struct sftp_line *sftp)
{
    const char *path = sftp->place.path;
    sftp->file =
        libssh2_sftp_open_ex(sftp->channel, path, (unsigned)strlen(path), LIBSSH2_FXF_READ, 0, LIBSSH2_SFTP_OPENFILE);
    if (sftp->file)
        sftp->step = SFTP_STAT;
    else if (libssh2_session_last_errno(sftp->session) != LIBSSH2_ERROR_EAGAIN)
        fail_sftp(sftp, "opening the file");
    return sftp->file;
}

static void range_begin(struct sftp_line *sftp)
{
    const struct line_job *job = sftp->line.current;
    sftp->step = SFTP_READ;
    sftp->asked_us = uv_hrtime() / 1000;
    libssh2_sftp_seek64(sftp->file, line_job_is_probe(job) ? job->found.size - 1 : job->offset);
}

static void next_range(struct sftp_line *sftp)
{
    sftp->step = SFTP_READY;
    line_finished(&sftp->line); /* begins the next, if there is one */
    if (!sftp->line.current)
        sftp_due(sftp, LINES_IDLE_MS);
}

/* Whether this is a regular file with a size and a time; for anything else these mean nothing. */
static bool is_file(const LIBSSH2_SFTP_ATTRIBUTES *a)
{
    bool known = a->flags & LIBSSH2_SFTP_ATTR_PERMISSIONS;
    return (a->flags & LIBSSH2_SFTP_ATTR_SIZE) && a->filesize <= INT64_MAX &&
           (!known || LIBSSH2_SFTP_S_ISREG(a->permissions));
}

static bool do_stat(struct sftp_line *sftp)
{
    LIBSSH2_SFTP_ATTRIBUTES a;
    char modified[32] = "";
    int status = libssh2_sftp_fstat_ex(sftp->file, &a, 0);
    if (status == LIBSSH2_ERROR_EAGAIN)
        return false;
    if (status != 0) {
        fail_sftp(sftp, "asking for the file's size");
        return false;
    }
    if (!is_file(&a)) {
        line_fail(&sftp->line, REMOTE_REFUSED, -EISDIR, "this is not a file with a size (check the path of the URL)");
        return false;
    }
    if (a.flags & LIBSSH2_SFTP_ATTR_ACMODTIME)
        snprintf(modified, sizeof modified, "%lu", a.mtime);
    sftp->checked_at = uv_now(sftp->line.lines->client.loop);
    if (!line_check(&sftp->line, a.filesize, modified)) {
        sftp->checked_at = 0;
        next_range(sftp);
        return sftp->step != SFTP_READY;
    }
    range_begin(sftp);
    return true;
}

/* The most that the buffer takes for the job: libssh2 must not ask for more than the range still wants. */
static size_t buffer_for(const struct line_job *job)
{
    size_t wants = job->length - job->filled, part = wants / 4;
    return part > SFTP_READ_MAX ? SFTP_READ_MAX : part > 0 ? part : 1;
}

static bool do_read(struct sftp_line *sftp)
{
    struct line_job *job = sftp->line.current;
    for (unsigned reads = 0; reads < READS_MAX; reads++) {
        ssize_t n = libssh2_sftp_read(sftp->file, (char *)sftp->buffer, buffer_for(job));
        if (n == LIBSSH2_ERROR_EAGAIN)
            return false;
        if (n < 0) {
            fail_sftp(sftp, "a read");
            return false;
        }
        if (n == 0) {
            line_fail(&sftp->line, REMOTE_TRANSIENT, 0, "the SFTP server's file ended after %u of %u bytes", job->filled,
                      job->length);
            return false;
        }
        if (sftp->asked_us)
            job->request.first_byte_us = uv_hrtime() / 1000 - sftp->asked_us;
        sftp->asked_us = 0;
        line_take(&sftp->line, sftp->buffer, (size_t)n);
        if (job->filled == job->length) {
            job->request.verdict = REMOTE_OK;
            next_range(sftp);
            return sftp->step != SFTP_READY;
        }
    }
    defer_schedule(sftp->line.lines->client.loop, &sftp->defer); /* others have their turn */
    return false;
}

/* --- steps --- */

static bool do_step(struct sftp_line *sftp)
{
    switch (sftp->step) {
    case SFTP_CLOSED:
    case SFTP_DIAL:
    case SFTP_READY:
        return false;
    case SFTP_OPEN:
        return do_open(sftp);
    case SFTP_STAT:
        return do_stat(sftp);
    case SFTP_READ:
        return do_read(sftp);
    default:
        return sftp_login_step(sftp);
    }
}

static void on_ready_socket(uv_poll_t *poll, int status, int events);

/* What libssh2 waits for. An idle line is left alone: what comes is read with the next range. */
static void wait_for_socket(struct sftp_line *sftp)
{
    if (sftp->step == SFTP_READY) {
        uv_poll_stop(&sftp->watch->poll);
        return;
    }
    int directions = libssh2_session_block_directions(sftp->session), events = UV_READABLE;
    if (directions & LIBSSH2_SESSION_BLOCK_OUTBOUND)
        events |= UV_WRITABLE;
    uv_poll_start(&sftp->watch->poll, events, on_ready_socket);
}

void sftp_advance(struct sftp_line *sftp)
{
    while (do_step(sftp))
        ;
    if (sftp->session)
        wait_for_socket(sftp);
}

static void on_ready_socket(uv_poll_t *poll, int status, int events)
{
    struct sftp_line *sftp = container_of(poll, struct sftp_watch, poll)->sftp;
    (void)events;
    if (status < 0) {
        line_fail(&sftp->line, REMOTE_TRANSIENT, 0, "the connection to the SFTP server was lost");
        return;
    }
    sftp_due(sftp, sftp->line.lines->stall_timeout_ms);
    sftp_advance(sftp);
}

static void on_sftp_deferred(struct defer *defer)
{
    struct sftp_line *sftp = container_of(defer, struct sftp_line, defer);
    if (sftp->session)
        sftp_advance(sftp);
}

/* --- the line --- */

static void sftp_begin(struct line *line)
{
    struct sftp_line *sftp = sftp_of(line);
    if (sftp->step == SFTP_CLOSED) {
        sftp_connect(sftp);
        return;
    }
    if (line_job_is_probe(line->current)) {
        /* The name may be another file's by now: it is opened anew. */
        sftp_reset(sftp);
        sftp_connect(sftp);
        return;
    }
    if (uv_now(sftp->line.lines->client.loop) - sftp->checked_at < LINES_CHECK_MS)
        range_begin(sftp);
    else
        sftp->step = SFTP_STAT;
    sftp_due(sftp, sftp->line.lines->stall_timeout_ms);
    defer_schedule(line->lines->client.loop, &sftp->defer);
}

static void sftp_line_reset(struct line *line)
{
    sftp_reset(sftp_of(line)); /* libssh2 must not be left in the midst of a call */
}

static void on_sftp_timer_closed(uv_handle_t *handle)
{
    mem_free(container_of((uv_timer_t *)handle, struct sftp_line, timer));
}

static void sftp_close(struct line *line)
{
    struct sftp_line *sftp = sftp_of(line);
    sftp_reset(sftp);
    place_clear(&sftp->place);
    uv_close((uv_handle_t *)&sftp->timer, on_sftp_timer_closed);
}

static struct line *sftp_make(struct lines *lines);

static void sftp_free(struct lines *lines);

static const struct line_ops sftp_line_ops = {
    .make = sftp_make,
    .begin = sftp_begin,
    .reset = sftp_line_reset,
    .close = sftp_close,
    .free = sftp_free,
};

static struct line *sftp_make(struct lines *lines)
{
    static bool initialised;
    struct sftp_line *sftp = mem_alloc(sizeof *sftp);
    if (!initialised && libssh2_init(0) != 0)
        mem_exhausted();
    initialised = true;
    line_init(&sftp->line, &sftp_line_ops, lines);
    place_read(&sftp->place, lines->client.url); /* place_check() passed it */
    defer_setup(&sftp->defer, on_sftp_deferred);
    uv_timer_init(lines->client.loop, &sftp->timer);
    return &sftp->line;
}

/* --- the image --- */

static void sftp_free(struct lines *lines)
{
    struct sftp_image *image = container_of(lines, struct sftp_image, lines);
    mem_free(image->known_hosts);
    mem_free(image->host_key);
    mem_free(image->key);
    mem_free(image);
}

struct source *sftp_source_new(uv_loop_t *loop, const char *who, const struct sftp_options *options)
{
    unsigned requests = options->connections < LINES_MAX ? options->connections : LINES_MAX;
    struct sftp_image *image = mem_alloc(sizeof *image);
    image->verify = options->verify;
    image->known_hosts = mem_strdup_nonempty(options->known_hosts);
    image->host_key = mem_strdup_nonempty(options->host_key);
    image->key = mem_strdup_nonempty(options->key);
    return lines_source_new(&image->lines, &sftp_line_ops, loop, who, &options->lines, requests);
}
