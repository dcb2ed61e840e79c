/*
 * Replies of an FTP server (RFC 959, 4.2), and what is read from those that clients need: the
 * size and time of a file (RFC 3659, 3 and 4) and the port of a data connection (RFC 959, 4.1.2;
 * RFC 2428, 3). Pure. The address in PASV's reply is never looked at: a data connection goes to
 * where the control connection went.
 */
#ifndef REMOTE_FTP_REPLY_H
#define REMOTE_FTP_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FTP_LINE_MAX  1024        /* of which more is not kept */
#define FTP_REPLY_MAX (32u << 10) /* of one reply, all its lines */

struct ftp_reply {
    unsigned code;           /* of the reply that is complete, 100..599 */
    char text[FTP_LINE_MAX]; /* its first line's, behind the code */
    /* Internal. */
    char line[FTP_LINE_MAX];
    size_t used, total;
    unsigned open; /* the code of a reply of several lines; 0: none */
};

enum ftp_fed { FTP_MORE, FTP_REPLY, FTP_GARBAGE };

void ftp_reply_init(struct ftp_reply *reply);
/* Takes bytes up to the end of a reply, and says how many. FTP_GARBAGE: this is no FTP, or a
 * reply without an end. */
enum ftp_fed ftp_reply_feed(struct ftp_reply *reply, const uint8_t *data, size_t length, size_t *taken);

/* Parse the text of a 213, a 229 and a 227. False: the value is missing or impossible. */
bool ftp_parse_size(const char *text, uint64_t *size);
bool ftp_parse_time(const char *text, char *time, size_t size); /* YYYYMMDDHHMMSS, and a fraction if there is one */
bool ftp_parse_epsv(const char *text, uint16_t *port);
bool ftp_parse_pasv(const char *text, uint16_t *port);

#endif
