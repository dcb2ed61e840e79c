/*
 * One SFTP line (remote/lines.h): its SSH connection and login (login.c), and the file that
 * is open on it (sftp.c). Private to remote/sftp/.
 *
 * libssh2 never blocks here: what it can't do at once it begins, says so, and is called
 * again in the same way until it is done. So one call is under way at a time, which `step` tells, and
 * a connection whose call is given up is closed.
 */
#ifndef REMOTE_SFTP_INTERNAL_H
#define REMOTE_SFTP_INTERNAL_H

#include <libssh2.h>
#include <libssh2_sftp.h>

#include "net/dial.h"
#include "remote/lines.h"
#include "remote/place.h"
#include "remote/sftp/memory.h"
#include "remote/sftp/sftp.h"

#define SFTP_READ_MAX (256u << 10) /* a buffer's size: four of them are asked for */

enum sftp_step {
    SFTP_CLOSED,
    SFTP_DIAL,
    SFTP_HANDSHAKE,
    SFTP_METHODS,
    SFTP_KEY,
    SFTP_PASSWORD,
    SFTP_QUESTIONS, /* keyboard-interactive: servers with PAM ask for the password so */
    SFTP_INIT,
    SFTP_OPEN,
    SFTP_STAT,
    SFTP_READ,
    SFTP_READY,
};

/* An image on an SFTP server. */
struct sftp_image {
    struct lines lines;
    bool verify;
    char *known_hosts; /* a file's path; read by each connection that is made */
    char *host_key, *key;
};

/* Watches the socket; freed later than the line's connection. */
struct sftp_watch {
    uv_poll_t poll;
    struct sftp_line *sftp;
};

struct sftp_line {
    struct line line;
    struct place place;
    enum sftp_step step;
    struct dial *dial;
    int fd;
    struct sftp_watch *watch;
    LIBSSH2_SESSION *session;
    struct ssh_memory memory; /* the session's */
    LIBSSH2_SFTP *channel;
    LIBSSH2_SFTP_HANDLE *file;
    char methods[256];     /* the methods of logging in that the server takes */
    uint64_t checked_at;   /* 0: not on this connection */
    uint64_t asked_us;     /* when the range was begun; 0: its first byte has come */
    unsigned char *buffer; /* SFTP_READ_MAX, while it is connected */
    uv_timer_t timer;      /* a byte is due, or the line is idle */
    struct defer defer;    /* goes on with what libssh2 has already */
};

static inline struct sftp_line *sftp_of(struct line *line)
{
    return container_of(line, struct sftp_line, line);
}

static inline const struct sftp_image *sftp_image_of(const struct sftp_line *sftp)
{
    return container_of(sftp->line.lines, struct sftp_image, lines);
}

/* --- login.c --- */

void sftp_connect(struct sftp_line *sftp);
/* The `reset` of struct line_ops. */
void sftp_reset(struct sftp_line *sftp);
void sftp_fail_ssh(struct sftp_line *sftp, const char *what); /* the line has failed, with libssh2's words */
void sftp_due(struct sftp_line *sftp, uint64_t ms);           /* a byte is, or the line is idle, and ends after that */
/* Does one of the steps up to SFTP_INIT, as far as it goes. False: it waits for the socket, or the line has failed. */
bool sftp_login_step(struct sftp_line *sftp);

/* --- sftp.c --- */

void sftp_advance(struct sftp_line *sftp);

#endif
