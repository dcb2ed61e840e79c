/*
 * What the clients of FTP and SFTP (remote/remote.h) have in common: a few connections (lines) for all ranges of a
 * source, which are kept from range to range, since making a connection costs many round trips.
 *
 * Each line has a queue of jobs, probes and ranges; the first is `current`, the one it works on. FTP reads from an
 * offset to the end of the file: so a range that begins where another one ends waits behind that one, and is read from
 * the same data connection.
 *
 * These protocols can't say which version of a file a range is from. What tells versions apart is the size and the
 * time; a line asks for these when it opens the file, and again before a range once LINES_CHECK_MS have passed since
 * (times have the resolution of a second); each probe asks, too. A file that is written to in place, within that time
 * or without its time changing, can't be seen to be another one.
 *
 * A server may take fewer connections than we like: a line that the server does not let in, while it has others, gives
 * its jobs to those.
 *
 * Bounds: LINES_MAX lines; the jobs are as many as the source has requests.
 */
#ifndef REMOTE_LINES_H
#define REMOTE_LINES_H

#include "base/defer.h"
#include "base/list.h"
#include "net/address.h"
#include "remote/remote.h"

#define LINES_MAX           4
#define LINES_CHECK_MS      1000
#define LINES_IDLE_MS       60000 /* a line that nobody uses is closed */
#define LINES_PROBE_BYTES   1     /* the file's last byte */
#define LINES_MODIFIED_MAX  256

struct line;
struct lines;

/* What the clients of both protocols are told. User and password may be NULL or "" for none; strings are copied. */
struct lines_options {
    const char *url; /* a URL that place_check() passed */
    const char *user, *password;
    bool proxied; /* the slot has a proxy, which these protocols can't go by: probes and ranges are refused */
    enum address_local local;
    uint64_t connect_timeout_ms, stall_timeout_ms;
    uint64_t io_timeout_ms;
};

struct line_ops {
    bool streams; /* a range that begins where the one before ended costs nothing */
    struct line *(*make)(struct lines *lines);
    /* Begins `current`, which is new. Calls neither line_finished() nor line_fail() from inside. */
    void (*begin)(struct line *line);
    /* Gives up what was begun: nothing of the connection is left, and the line may be used again. */
    void (*reset)(struct line *line);
    void (*close)(struct line *line);  /* ends and frees the line, now or later */
    void (*free)(struct lines *lines); /* frees what embeds `lines`, once all lines are closing */
};

/* What tells a file from another one of its name. */
struct line_file {
    uint64_t size;
    char modified[LINES_MODIFIED_MAX]; /* FTP's MDTM, SFTP's mtime in seconds; "": the server does not tell */
};

/* A probe or a range. */
struct line_job {
    struct remote_request request;
    const struct line_file *expect; /* NULL: a probe */
    uint64_t offset;
    uint32_t length, filled;
    struct line_file found; /* a probe: what was learnt */

    /* Internal. */
    struct lines *lines;
    struct line *line; /* the line that works on the job, or for which it waits */
    struct link link;  /* in the line's queue, or to be told the end */
};

struct line {
    const struct line_ops *ops;
    struct lines *lines;
    struct link link;
    struct link queue; /* of jobs, behind the current one */
    struct line_job *current;
    bool established; /* logged in: the server has let the line in */
    bool barred;      /* the server has not let the line in beside others: unused until the next probe */
    bool streaming;   /* the file's bytes from `position` on come without another request */
    uint64_t position;
};

/* A client of the source; a protocol's client embeds it. */
struct lines {
    struct remote_client client;
    const struct line_ops *ops;
    const char *who;
    char *user, *password; /* NULL: none */
    bool proxied;
    enum address_local local;
    uint64_t connect_timeout_ms, stall_timeout_ms;
    struct line_file file; /* what the probe found that was adopted last */
    bool adopted;
    struct link lines;
    unsigned count;
    struct link finished; /* jobs whose `done` is due */
    struct defer tell;
};

/* Fills the zeroed base of a client, and gives the source that owns the client. `requests`: ranges at a time. */
struct source *lines_source_new(struct lines *lines, const struct line_ops *ops, uv_loop_t *loop, const char *who,
                                const struct lines_options *options, unsigned requests);

static inline bool line_job_is_probe(const struct line_job *job)
{
    return !job->expect;
}

/* --- for a line --- */

void line_init(struct line *line, const struct line_ops *ops, struct lines *lines);
/* Takes bytes of the current job, no more than the job still wants. */
void line_take(struct line *line, const void *data, size_t length);
/* The current job has all it wants, or is refused without harm to the line: its verdict is set. Begins the next job. */
void line_finished(struct line *line);
/* The line can't go on: it is reset, and all of its jobs end with the verdict. But if the server had not let this
 * line in yet, its jobs go to lines that the server has let in, if there are any. */
__attribute__((format(printf, 4, 5))) void line_fail(struct line *line, enum remote_verdict verdict, int reason,
                                                     const char *format, ...);
/* Does the server tell the size and time that the current job expects? `modified` "": the server tells no time. A probe
 * takes them for the image's. False: the job's verdict says why. */
bool line_check(struct line *line, uint64_t size, const char *modified);

#endif
