/*
 * One FTP line (remote/lines.h): its control connection and login (control.c), and the
 * transfers on it with their data connections (ftp.c). Private to remote/ftp/.
 *
 * Commands go one at a time: `step` says which command's reply is due. RETR sends a file to
 * its end; once a range has all it wants, the data connection stays open, and the next range
 * goes on reading from it; or it is cut: we close it, the server replies how the transfer
 * ended, and then the control connection is as good as before. No ABOR is sent: servers
 * differ in how many replies they give to it.
 */
#ifndef REMOTE_FTP_INTERNAL_H
#define REMOTE_FTP_INTERNAL_H

#include "net/dial.h"
#include "net/tls_client.h"
#include "net/tls_trust.h"
#include "remote/ftp/ftp.h"
#include "remote/ftp/reply.h"
#include "remote/image_location.h"
#include "remote/lines.h"
#include "remote/place.h"

#define FTP_STREAM_IDLE_MS 3000  /* a data connection that nobody reads from is cut */
#define FTP_STREAM_MAX_MS  30000 /* after that a transfer is cut at a range's end, to check size and time */
#define FTP_COMMAND_MAX    (LOCATION_URL_MAX + 16)

enum ftp_step {
    FTP_CLOSED,
    FTP_DIAL,
    FTP_GREETING,
    FTP_AUTH,
    FTP_USER,
    FTP_PASS,
    FTP_PBSZ,
    FTP_PROT,
    FTP_TYPE,
    FTP_READY, /* logged in, and nothing under way */
    FTP_SIZE,
    FTP_MDTM,
    FTP_EPSV,
    FTP_PASV,
    FTP_DATA_DIAL,
    FTP_REST,
    FTP_RETR,
    FTP_STREAM, /* the file comes, or waits to be read on */
    FTP_END,    /* the data connection is closed; the transfer's reply is due */
};

/* An image on an FTP server. */
struct ftp_image {
    struct lines lines;
    enum ftp_security security;
    bool verify;
    struct trust trust;
    char *client_cert, *client_key;
    struct tls_client *tls; /* NULL: none was made */
};

struct ftp_line {
    struct line line;
    struct place place;
    bool implicit; /* ftps:// */
    enum ftp_step step;
    struct dial *dial;
    struct sockaddr_storage peer; /* the address that the control connection went to */
    struct stream *control, *data;
    bool secure; /* the control connection is encrypted, and data connections are to be */
    struct ftp_reply reply;
    bool no_epsv;
    uint64_t size;       /* the file's, as SIZE said last */
    uint64_t start;      /* where the transfer begins */
    uint64_t checked_at; /* when size and time were asked for; 0: not on this connection */
    struct slices ahead; /* bytes of `data` that no range has asked for yet: at most one read */
    bool probing;        /* the transfer is a probe's */
    uint64_t opened_at;  /* when the transfer began */
    bool replied;        /* the transfer's last reply was there before its data's end */
    uint64_t asked_us;   /* when RETR was sent; 0: its first byte has come */
    uv_timer_t timer;    /* a reply or a byte is due, or the line is idle */
};

static inline struct ftp_line *ftp_of(struct line *line)
{
    return container_of(line, struct ftp_line, line);
}

static inline struct ftp_image *ftp_image_of(const struct ftp_line *ftp)
{
    return container_of(ftp->line.lines, struct ftp_image, lines);
}

/* --- control.c --- */

void ftp_connect(struct ftp_line *ftp);
/* The `reset` of struct line_ops. */
void ftp_reset(struct ftp_line *ftp);
__attribute__((format(printf, 3, 4))) void ftp_command(struct ftp_line *ftp, enum ftp_step step, const char *format,
                                                       ...);
/* The line has failed: the reply was none of those that `what` may have. */
void ftp_fail_reply(struct ftp_line *ftp, const char *what);
void ftp_fail_stream(struct ftp_line *ftp, struct stream *stream, int status, const char *which);
void ftp_stream_drop(struct stream **stream);     /* closes and frees it, later */
void ftp_watch(struct ftp_line *ftp);             /* a byte is due within the stall timeout */
void ftp_rest(struct ftp_line *ftp, uint64_t ms); /* no byte is due: the line is idle, and ends after `ms` */
bool ftp_data_open(struct ftp_line *ftp, int fd); /* false: it failed */
void ftp_data_secure(struct ftp_line *ftp);       /* TLS on it, with the control connection's session */

/* --- ftp.c --- */

void ftp_ready(struct ftp_line *ftp);
void ftp_transfer_reply(struct ftp_line *ftp); /* takes a reply in one of the steps behind FTP_READY */
void ftp_idle_over(struct ftp_line *ftp);
void on_ftp_data(struct stream *data, const uint8_t *bytes, size_t length);
void on_ftp_data_end(struct stream *data, int status);

#endif
