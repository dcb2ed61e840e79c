/*
 * What FTP and SFTP have in common: a few connections (lines) for all fetches of a source,
 * which are kept from range to range, since making one costs many round trips.
 *
 * Each line has a queue of fetches; the first is `current`, the one it works on. FTP reads from an
 * offset to the end of the file: there a range that begins where another one ends queues up
 * behind it, and is read from the same data connection.
 *
 * These protocols can't say of which version of a file a range is. What tells versions apart is
 * the size and the time; a line asks for them when it opens the file, and again
 * before a range once FETCH_CHECK_MS have passed since (times have the resolution of a second), and
 * each probe does. A file that is written to in place, within that time or without its
 * time changing, can't be seen to be another one.
 *
 * A server may take fewer connections than we like: a line that it does not let in while it has
 * others gives its fetches to those.
 *
 * Bounds: FETCH_LINES_MAX lines; the fetches are as many as the source has workers.
 */
#ifndef REMOTE_LINES_H
#define REMOTE_LINES_H

#include "base/defer.h"
#include "remote/fetch_internal.h"

#define FETCH_LINES_MAX 4
#define FETCH_CHECK_MS  1000
#define FETCH_IDLE_MS   60000 /* a line that nobody uses is closed */

struct fetch_line;

struct fetch_line_ops {
    bool streams; /* a range costs nothing where the one before ended */
    struct fetch_line *(*make)(struct fetch_lines *lines);
    /* `current` is new. Nothing may be reported from inside. */
    void (*begin)(struct fetch_line *line);
    /* `current` is gone before its end: nothing of it is known any more. What was begun for it is given up. */
    void (*abandon)(struct fetch_line *line);
    void (*close)(struct fetch_line *line); /* frees itself, now or later */
};

struct fetch_line {
    const struct fetch_line_ops *ops;
    struct fetch_lines *lines;
    struct link link;
    struct link queue; /* of fetches, behind the current one */
    struct fetch *current;
    bool established; /* logged in: the server has taken it */
    bool barred;      /* the server has not taken it beside others: unused until the next probe */
    bool streaming;   /* what comes next is the file's, from `position` on, with no request */
    uint64_t position;
};

/* Of a setup: all its fetches are of one URL. */
struct fetch_lines {
    const struct fetch_line_ops *ops;
    struct fetch_setup *setup;
    uv_loop_t *loop;
    char *url;
    struct link lines;
    unsigned count;
    struct link finished; /* fetches whose `done` is due */
    struct defer tell;
};

void fetch_lines_start(struct fetch *fetch, const struct fetch_line_ops *ops, const char *url);
void fetch_lines_cancel(struct fetch *fetch);
void fetch_lines_free(struct fetch_lines *lines); /* no fetch runs; NULL is allowed */

/* --- for a line --- */

void fetch_line_init(struct fetch_line *line, const struct fetch_line_ops *ops, struct fetch_lines *lines);
/* Bytes of the current fetch, which are no more than it still wants. */
void fetch_line_take(struct fetch_line *line, const void *data, size_t length);
/* The current fetch has all it wants, or is refused alone: its verdict is set. The next is begun. */
void fetch_line_finished(struct fetch_line *line);
/* The line has given up what it was doing: all of its fetches end so. */
__attribute__((format(printf, 4, 5))) void fetch_line_failed(struct fetch_line *line, enum fetch_verdict verdict,
                                                             int reason, const char *format, ...);
/* The same for a line that was not established: others that are get its fetches. False: there are none. */
bool fetch_line_yield(struct fetch_line *line);
/* Is what the server says now what the current fetch expects? `modified` "": it does not say. A probe
 * takes it for what the image is. If not, its verdict says so. */
bool fetch_line_check(struct fetch_line *line, uint64_t size, const char *modified);

#endif
